"""Batch, group and layer normalization; channels are the last axis."""

from __future__ import annotations

import math
from typing import Any

from .. import _core
from ..tensor import Tensor, as_tensor, record
from .activation import number

__all__ = ["batch_norm", "batch_norm_act", "group_norm", "layer_norm"]


def batch_norm(
    x: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Batch normalization: each channel with mean 0 and variance 1, then scaled and shifted.

    y = (x - mean) / sqrt(var + eps) weight + bias (Ioffe & Szegedy, 2015, algorithm 1)

    Parameters
    ----------
    x : (N, ..., C)
        (N, C), (N, H, W, C) or the like: statistics are over all axes but the last.
    running_mean, running_var : (C,) or None
        In training, both move by `momentum` towards the batch's mean and its unbiased variance;
        otherwise they are what x is normalized with. None in training: not kept.
    weight, bias : (C,), optional
        1 and 0 unless given.
    training : bool
        Whether mean and (biased) variance are those of the batch.
    momentum, eps : float

    Returns
    -------
    Tensor of x's shape

    Raises
    ------
    ValueError
        If shapes do not fit, there is one value per channel in training, or there are no running
        statistics otherwise.
    TypeError
        If dtypes differ.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import functional as F
    >>> y = F.batch_norm(np.array([[1.0], [2.0], [3.0]]), None, None, training=True)
    >>> y.numpy().round(3).ravel().tolist()
    [-1.225, 0.0, 1.225]
    """
    return batch_norm_act(
        x, running_mean, running_var, weight, bias, training, momentum, eps, None, None
    )


def batch_norm_act(
    x: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any,
    bias: Any,
    training: bool,
    momentum: float | None,
    eps: float,
    act: tuple[str, float, float] | None,
    residual: Any,
    seen: Tensor | None = None,
) -> Tensor:
    """act(batch_norm(x) + residual) in one pass over memory; the same bits.

    `act` is an element-wise function (row name, p0, p1) or None, `residual` of x's shape or None.
    `seen`, an int64, counts the batches in training; momentum None is 1 / seen.
    """
    op = "batch_norm"
    x = as_tensor(x, op)
    weight, bias = _optional(op, "weight", weight), _optional(op, "bias", bias)
    residual = _optional(op, "residual", residual)
    mean, var = (
        None if t is None else t._array
        for t in (
            _optional(op, "running_mean", running_mean),
            _optional(op, "running_var", running_var),
        )
    )
    eps = _eps(op, eps)
    share = math.nan if momentum is None else number(op, "momentum", momentum)
    a = x._array
    _core.norm_check(op, a, *(None if t is None else t._array for t in (weight, bias, residual)))
    if training:
        channels = a.shape[-1]
        if a.size == channels > 0:
            raise ValueError(
                f"batch_norm: training needs more than one value per channel, got shape {a.shape}"
            )
        count = None if seen is None else seen._array
        stats = _core.norm_stats(op, a, 1, channels, eps, mean, var, count, share)
    elif mean is None or var is None:
        raise ValueError("batch_norm: running_mean and running_var are needed outside of training")
    else:
        stats = _core.norm_given(op, a, mean, var, eps)
    return _normalized(op, x, stats, weight, bias, not training, act, residual)


def _optional(op: str, name: str, t: Any) -> Tensor | None:
    return None if t is None else as_tensor(t, op, name)


def _eps(op: str, eps: Any) -> float:
    eps = number(op, "eps", eps)
    if not 0.0 <= eps < math.inf:
        raise ValueError(f"{op}: eps must be at least 0 and finite, got {eps}")
    return eps


def _normalized(
    op: str,
    x: Tensor,
    stats: _core.Array,
    weight: Tensor | None,
    bias: Tensor | None,
    fixed: bool,
    act: tuple[str, float, float] | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """act((x - mean) / std weight + bias + residual); fixed: the statistics are constants."""
    row, p0, p1 = (-1, 0.0, 0.0) if act is None else (_core.UNARY[act[0]][0], act[1], act[2])
    optional = (weight, bias, residual)
    a = x._array
    w, b, r = (None if t is None else t._array for t in optional)
    y = _core.norm_fwd(op, a, stats, w, b, r, row, p0, p1)
    needs = [t is not None and t.requires_grad for t in (x, *optional)]
    present = [True, *(t is not None for t in optional)]
    again = act is not None and act[0] == "relu" and r is None  # cheaper than to read y
    saved = y if row >= 0 and not again else None

    def backward(dy: _core.Array) -> list[_core.Array | None]:
        grads = _core.norm_bwd(op, dy, a, saved, stats, w, b, fixed, row, p0, p1, *needs)
        return [g for g, there in zip(grads, present, strict=True) if there]

    return record(op, y, (x, *(t for t in optional if t is not None)), backward, saved is not None)


def group_norm(
    x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """Group normalization: each group of channels of each sample with mean 0 and variance 1.

    y = (x - mean) / sqrt(var + eps) weight + bias (Wu & He, 2018, section 3.1)

    Parameters
    ----------
    x : (N, ..., C)
        Statistics are over all axes but the first, and over C / num_groups neighbouring channels.
    num_groups : int
        Divides C. 1 normalizes whole samples, C each channel alone (instance normalization).
    weight, bias : (C,), optional
        1 and 0 unless given.
    eps : float

    Returns
    -------
    Tensor of x's shape

    Raises
    ------
    ValueError, TypeError
        If shapes or dtypes do not fit, or num_groups does not divide C.
    """
    op = "group_norm"
    x = as_tensor(x, op)
    weight, bias = _optional(op, "weight", weight), _optional(op, "bias", bias)
    if isinstance(num_groups, bool) or not hasattr(num_groups, "__index__"):
        raise TypeError(f"group_norm: num_groups must be an int, got {type(num_groups).__name__}")
    groups, eps, a = int(num_groups), _eps(op, eps), x._array
    _core.norm_check(op, a, *(None if t is None else t._array for t in (weight, bias)))
    if groups < 1 or a.shape[-1] % groups:
        raise ValueError(f"group_norm: num_groups must divide {a.shape[-1]} channels, got {groups}")
    stats = _core.norm_stats(op, a, a.shape[0], groups, eps)
    return _normalized(op, x, stats, weight, bias, False)


def layer_norm(
    x: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """Layer normalization: the last axes of each sample with mean 0 and variance 1.

    y = (x - mean) / sqrt(var + eps) weight + bias (Ba, Kiros & Hinton, 2016, section 3)

    Parameters
    ----------
    x : (..., *normalized_shape)
    normalized_shape : int or sequence of int
        The shape of the last axes, over which mean and variance are taken.
    weight, bias : normalized_shape, optional
        1 and 0 unless given.
    eps : float

    Returns
    -------
    Tensor of x's shape

    Raises
    ------
    ValueError, TypeError
        If shapes or dtypes do not fit.
    """
    op = "layer_norm"
    x = as_tensor(x, op)
    shape = sizes(op, normalized_shape)
    optional = (_optional(op, "weight", weight), _optional(op, "bias", bias))
    w, b = (None if t is None else t._array for t in optional)
    dims, eps, a = len(shape), _eps(op, eps), x._array
    if a.shape[max(a.ndim - dims, 0) :] != shape:
        raise ValueError(f"layer_norm: x must be (..., {str(shape)[1:-1]}), got shape {a.shape}")
    y, stats = _core.layer_norm_fwd(a, dims, w, b, eps)
    needs = [t is not None and t.requires_grad for t in (x, *optional)]
    present = [True, *(t is not None for t in optional)]

    def backward(dy: _core.Array) -> list[_core.Array | None]:
        grads = _core.layer_norm_bwd(dy, a, stats, dims, w, *needs)
        return [g for g, there in zip(grads, present, strict=True) if there]

    return record(op, y, (x, *(t for t in optional if t is not None)), backward)


def sizes(op: str, shape: Any) -> tuple[int, ...]:
    """normalized_shape as a tuple of at least one positive int."""
    items = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    if not items or any(isinstance(n, bool) or not hasattr(n, "__index__") for n in items):
        raise TypeError(f"{op}: normalized_shape must be an int or several, got {shape!r}")
    if min(items) < 1:
        raise ValueError(f"{op}: normalized_shape must be at least 1, got {shape!r}")
    return tuple(int(n) for n in items)
