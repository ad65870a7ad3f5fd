"""Stateless functions on Tensors and NumPy arrays, under PyTorch's names (channels last)."""

from .ops import (
    adaptive_avg_pool2d,
    avg_pool2d,
    batch_norm,
    cat,
    conv2d,
    conv_transpose2d,
    cross_entropy,
    dropout,
    elu,
    embedding,
    l1_loss,
    leaky_relu,
    linear,
    log_softmax,
    max_pool2d,
    maxout,
    mse_loss,
    multi_margin_loss,
    nll_loss,
    pad,
    prelu,
    relu,
    sigmoid,
    softmax,
    stack,
    tanh,
)

__all__ = [
    "adaptive_avg_pool2d", "avg_pool2d", "batch_norm", "cat", "conv2d", "conv_transpose2d",
    "cross_entropy", "dropout", "elu", "embedding", "l1_loss", "leaky_relu", "linear",
    "log_softmax", "max_pool2d", "maxout", "mse_loss", "multi_margin_loss", "nll_loss", "pad",
    "prelu", "relu", "sigmoid", "softmax", "stack", "tanh",
]  # fmt: skip
