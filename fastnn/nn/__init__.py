"""Layers: modules with state around the functions of `fastnn.functional`."""

from .. import init
from . import activation
from .activation import ELU, LeakyReLU, LogSoftmax, PReLU, ReLU, Sigmoid, Softmax, Tanh
from .container import ModuleList, Residual, Sequential
from .conv import Conv2d, ConvTranspose2d
from .dropout import Dropout
from .embedding import Embedding
from .fold import fold_batch_norm
from .linear import Flatten, Identity, Input, Linear, Maxout
from .loss import CrossEntropyLoss, L1Loss, MSELoss, MultiMarginLoss, NLLLoss
from .module import Module, Parameter
from .norm import BatchNorm1d, BatchNorm2d
from .pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d

__all__ = [
    "ELU", "AdaptiveAvgPool2d", "AvgPool2d", "BatchNorm1d", "BatchNorm2d", "Conv2d",
    "ConvTranspose2d", "CrossEntropyLoss", "Dropout", "Embedding", "Flatten", "Identity", "Input",
    "L1Loss", "LeakyReLU", "Linear", "LogSoftmax", "MSELoss", "MaxPool2d", "Maxout", "Module",
    "ModuleList", "MultiMarginLoss", "NLLLoss", "PReLU", "Parameter", "ReLU", "Residual",
    "Sequential", "Sigmoid", "Softmax", "Tanh", "activation", "fold_batch_norm", "init",
]  # fmt: skip
