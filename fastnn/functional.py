"""Stateless functions on Tensors and NumPy arrays, under PyTorch's names (channels last)."""

from .ops import activation as _activation
from .ops import (
    adaptive_avg_pool2d,
    avg_pool2d,
    batch_norm,
    cat,
    conv2d,
    conv2d_algo,
    conv_transpose2d,
    dropout,
    embedding,
    group_norm,
    layer_norm,
    linear,
    log_softmax,
    max_pool2d,
    pad,
    softmax,
    stack,
)
from .ops import loss as _loss
from .ops.activation import *  # noqa: F403
from .ops.loss import *  # noqa: F403

__all__ = [
    "adaptive_avg_pool2d", "avg_pool2d", "batch_norm", "cat", "conv2d", "conv2d_algo",
    "conv_transpose2d", "dropout", "embedding", "group_norm", "layer_norm", "linear",
    "log_softmax", "max_pool2d", "pad", "softmax", "stack", *_activation.__all__, *_loss.__all__,
]  # fmt: skip
