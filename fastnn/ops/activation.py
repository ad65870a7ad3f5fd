"""Activation functions."""

from __future__ import annotations

import math
import numbers
from typing import Any

from .. import _core
from ..tensor import Tensor, as_tensor, record
from .arithmetic import clip, unary

__all__ = [
    "celu", "elu", "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "logsigmoid",
    "maxout", "mish", "prelu", "relu", "relu6", "selu", "sigmoid", "silu", "softplus", "softsign",
    "tanh", "threshold",
]  # fmt: skip

_GELU = {"none": "gelu", "tanh": "gelu_tanh"}


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


def selu(x: Any) -> Tensor:
    """1.0507 elu(x, 1.6733), whose outputs tend to mean 0 and variance 1.

    Range (-1.7581, inf), saturates on the left; derivative 1.0507 where x > 0, else y + 1.7581
    (Klambauer et al., Self-Normalizing Neural Networks, 2017).
    """
    return unary("selu", x)


def celu(x: Any, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha (exp(x / alpha) - 1), for alpha > 0.

    Range (-alpha, inf), saturates on the left; derivative 1 where x > 0, else y / alpha + 1, so
    that it is continuous for every alpha (Barron, Continuously Differentiable ELUs, 2017).
    """
    alpha = _finite("celu", "alpha", alpha)
    if alpha <= 0:
        raise ValueError(f"celu: alpha must be positive, got {alpha}")
    return unary("celu", x, alpha)


def silu(x: Any) -> Tensor:
    """x sigmoid(x), also called swish.

    Range [-0.2785, inf), saturates on the left (towards -0); derivative s (1 + x (1 - s)) with
    s = sigmoid(x) (Elfwing et al., 2018; Ramachandran et al., 2017).
    """
    return unary("silu", x)


def gelu(x: Any, approximate: str = "none") -> Tensor:
    """x Phi(x), with Phi the distribution function of the normal distribution.

    Range [-0.17, inf), saturates on the left (towards -0); derivative Phi(x) + x phi(x)
    (Hendrycks and Gimpel, Gaussian Error Linear Units, 2016).

    Parameters
    ----------
    x : float Tensor
    approximate : {"none", "tanh"}
        "tanh": x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, within 5e-4 of "none" and a
        little cheaper.
    """
    if approximate not in _GELU:
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    return unary(_GELU[approximate], x)


def mish(x: Any) -> Tensor:
    """x tanh(softplus(x)).

    Range [-0.3088, inf), saturates on the left (towards -0); derivative
    t + x (1 - t^2) sigmoid(x) with t = tanh(softplus(x)) (Misra, 2019).
    """
    return unary("mish", x)


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta x)) / beta, and x itself where beta x > threshold.

    Range (0, inf), not centred on zero, saturates on the left; derivative sigmoid(beta x), or 1
    above the threshold (Dugas et al., 2001).
    """
    beta, threshold = _finite("softplus", "beta", beta), number("softplus", "threshold", threshold)
    if beta == 0:
        raise ValueError("softplus: beta must not be 0")
    return unary("softplus", x, beta, threshold)


def softsign(x: Any) -> Tensor:
    """x / (1 + |x|).

    Range (-1, 1), saturates on both sides, slowly; derivative 1 / (1 + |x|)^2 (Turian et al.,
    2009).
    """
    return unary("softsign", x)


def logsigmoid(x: Any) -> Tensor:
    """log(1 / (1 + exp(-x))), without overflow or cancellation.

    Range (-inf, 0), saturates on the right; derivative sigmoid(-x) = 1 - exp(y).
    """
    return unary("logsigmoid", x)


def hardtanh(x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """min(max(x, min_val), max_val); the gradient at both bounds is 0 (Collobert, 2004)."""
    low, high = number("hardtanh", "min_val", min_val), number("hardtanh", "max_val", max_val)
    if not low <= high:
        raise ValueError(f"hardtanh: min_val must be at most max_val, got {low} and {high}")
    return unary("hardtanh", x, low, high)


def relu6(x: Any) -> Tensor:
    """min(max(x, 0), 6); the gradient at 0 and 6 is 0 (Krizhevsky, 2010)."""
    return unary("hardtanh", x, 0.0, 6.0)


def hardsigmoid(x: Any) -> Tensor:
    """min(max(x + 3, 0), 6) / 6; the gradient at -3 and 3 is 0 (Courbariaux et al., 2015)."""
    return unary("hardsigmoid", x)


def hardswish(x: Any) -> Tensor:
    """x hardsigmoid(x).

    Range [-0.375, inf), 0 below -3; derivative x / 3 + 1 / 2 inside of (-3, 3), 0 at -3, 1 at 3
    (Howard et al., Searching for MobileNetV3, 2019).
    """
    return unary("hardswish", x)


def threshold(x: Any, threshold: float, value: float) -> Tensor:
    """x where x > threshold, else value; the gradient at the threshold is 0."""
    limit, value = number("threshold", "threshold", threshold), number("threshold", "value", value)
    return unary("threshold", x, limit, value)


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
