"""Layers: modules with state around the functions of `fastnn.functional`."""

from .. import init
from . import activation
from .activation import *  # noqa: F403
from .container import ModuleList, Residual, Sequential
from .conv import Conv2d, ConvTranspose2d
from .dropout import DropConnect, Dropout
from .embedding import Embedding
from .fold import fold_batch_norm
from .linear import Flatten, Identity, Input, Linear, Maxout
from .loss import (
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    L1Loss,
    MSELoss,
    MultiMarginLoss,
    NLLLoss,
    SmoothL1Loss,
)
from .module import Module, Parameter
from .norm import BatchNorm1d, BatchNorm2d, GroupNorm, LayerNorm
from .pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d

__all__ = [
    "AdaptiveAvgPool2d", "AvgPool2d", "BCEWithLogitsLoss", "BatchNorm1d", "BatchNorm2d", "Conv2d",
    "ConvTranspose2d", "CrossEntropyLoss", "DropConnect", "Dropout", "Embedding", "Flatten",
    "GroupNorm", "Identity", "Input", "L1Loss", "LayerNorm", "Linear", "MSELoss", "MaxPool2d",
    "Maxout", "Module", "ModuleList", "MultiMarginLoss", "NLLLoss", "Parameter", "Residual",
    "Sequential", "SmoothL1Loss", "activation", "fold_batch_norm", "init", *activation.__all__,
]  # fmt: skip
