"""Activation functions."""

from __future__ import annotations

import math
import numbers
from typing import Any

from .. import _core
from ..tensor import Tensor, as_tensor, record
from .arithmetic import clip, unary

__all__ = ["elu", "leaky_relu", "maxout", "prelu", "relu", "sigmoid", "tanh"]


def sigmoid(x: Any) -> Tensor:
    r"""1 / (1 + exp(-x)), at most 4 ulp off in float32.

    Range (0, 1), saturates on both sides, not centred on zero; derivative y (1 - y) <= 1/4.
    """
    return unary("sigmoid", x)


def tanh(x: Any) -> Tensor:
    """Hyperbolic tangent, at most 4 ulp off in float32.

    Range (-1, 1), saturates on both sides, centred on zero; derivative 1 - y^2.
    """
    return unary("tanh", x)


def relu(x: Any) -> Tensor:
    """max(0, x); the gradient at 0 is 0 (Nair and Hinton, 2010)."""
    return unary("relu", x)


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Tensor:
    """x where x > 0, else negative_slope x (Maas et al., 2013)."""
    slope = _finite("leaky_relu", "negative_slope", negative_slope)
    if slope < 0:  # the kernel's backward reads the sign of x from y
        x = as_tensor(x, "leaky_relu")
        return prelu(x, Tensor(_core.full((1,), x._array.dtype, slope)))
    return unary("leaky_relu", x, slope)


def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha (exp(x) - 1) (Clevert et al., 2015)."""
    alpha = _finite("elu", "alpha", alpha)
    if alpha < 0:  # the kernel's backward reads the sign of x from y
        return relu(x) + alpha * unary("elu", clip(x, max=0.0), 1.0)
    return unary("elu", x, alpha)


def prelu(x: Any, weight: Any) -> Tensor:
    """x where x > 0, else weight x (He et al., 2015).

    Parameters
    ----------
    x : (..., channels)
    weight : (1,) or (channels,)
        The learned slopes, shared or one for each channel (the last axis).
    """
    x, weight = as_tensor(x, "prelu"), as_tensor(weight, "prelu", "weight")
    a, w = x._array, weight._array
    return record("prelu", _core.prelu_fwd(a, w), (x, weight), lambda dy: _core.prelu_bwd(dy, a, w))


def maxout(x: Any, pieces: int) -> Tensor:
    """The largest of each `pieces` neighbouring values of the last axis (Goodfellow et al., 2013).

    Parameters
    ----------
    x : (..., features * pieces)
    pieces : int
        At least 1. Of equal values the first one gets the gradient.

    Returns
    -------
    Tensor (..., features)
    """
    x = as_tensor(x, "maxout")
    y, index = _core.maxout_fwd(x._array, pieces)
    return record("maxout", y, (x,), lambda dy: (_core.maxout_bwd(dy, index, pieces),))


def number(op: str, name: str, value: Any) -> float:
    """A Python or NumPy number as a float."""
    if not isinstance(value, numbers.Real):
        raise TypeError(f"{op}: {name} must be a number, got {type(value).__name__}")
    return float(value)


def _finite(op: str, name: str, value: Any) -> float:
    value = number(op, name, value)
    if not math.isfinite(value):
        raise ValueError(f"{op}: {name} must be finite, got {value}")
    return value
