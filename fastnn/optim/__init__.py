"""Optimizers: update rules, learning-rate schedules, clipping and averaging of weights."""

from . import lr_scheduler, swa_utils
from .adadelta import Adadelta
from .adagrad import Adagrad
from .adam import Adam, AdamW, NAdam
from .clip import clip_grad_norm_, clip_grad_value_, max_norm_
from .lbfgs import LBFGS
from .optimizer import Optimizer
from .rmsprop import RMSprop
from .sgd import SGD

__all__ = [
    "LBFGS", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "NAdam", "Optimizer", "RMSprop",
    "clip_grad_norm_", "clip_grad_value_", "lr_scheduler", "max_norm_", "swa_utils",
]  # fmt: skip
