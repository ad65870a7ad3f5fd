"""Losses. `reduction` is "mean", "sum" or "none", as in PyTorch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import _core
from .._core import Array
from ..autograd import _mode
from ..tensor import Tensor, as_tensor, from_numpy, record
from .activation import _finite, logsigmoid
from .arithmetic import abs, add, mul, neg, square, sub, unary
from .reduction import mean, sum
from .shape import getitem
from .softmax import log_softmax

__all__ = [
    "binary_cross_entropy_with_logits", "cross_entropy", "l1_loss", "mse_loss",
    "multi_margin_loss", "nll_loss", "smooth_l1_loss",
]  # fmt: skip


_ARRAYS = (Tensor, np.ndarray)  # a union is made anew at each isinstance
_INT64 = np.dtype(np.int64)


def _check_reduction(op: str, reduction: str) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{op}: reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


def _labels(
    op: str, target: Any, expected: str = "target must be an array of integer labels"
) -> Array:
    """Integer labels as int64."""
    if isinstance(target, Tensor):
        if target._array.dtype == "int64":
            return target._array
        target = target.numpy()
    if not isinstance(target, np.ndarray) or target.dtype.kind not in "iu":
        got = getattr(target, "dtype", type(target).__name__)
        raise TypeError(f"{op}: {expected}, got {got}")
    if target.dtype != _INT64:
        target = target.astype(np.int64)
    return _core.from_buffer(target, copy=False)


def _class_weight(op: str, weight: Any) -> Array | None:
    if weight is None:
        return None
    weight = as_tensor(weight, op, "weight")
    if weight.requires_grad:
        raise ValueError(f"{op}: weight must not require a gradient")
    if not _core.is_class_weight(weight._array):
        raise ValueError(f"{op}: weight must be finite and not negative")
    return weight._array


def _record(name: str, x: Tensor, loss: Array, dx: Array | None, divisor: Any) -> Tensor:
    """A loss on the tape; dx is the gradient of the sum of the rows' losses."""
    if dx is None:
        return Tensor(loss)
    if loss.ndim:  # reduction="none": a gradient for each row
        return record(name, loss, (x,), lambda dy: (_core.scale_rows(dx, dy),))

    return record(name, loss, (x,), lambda dy: (_core.loss_bwd(dx, dy, divisor),))


def cross_entropy(
    x: Any, target: Any, weight: Any = None, reduction: str = "mean", label_smoothing: float = 0.0
) -> Tensor:
    """Softmax and negative log-likelihood in one pass, shifted so that nothing overflows.

    loss[i] = -w[t] log softmax(x[i])[t], or with smoothing e
    (1 - e) that - e / C sum over c of w[c] log softmax(x[i])[c]; "mean" divides the sum by
    the sum of w[target].

    Parameters
    ----------
    x : (N, C) float
        Logits.
    target : (N,) integer, or (N, C) float
        Labels in [0, C); or a probability of each class (as `data.Mixup` makes), of x's dtype:
        then loss[i] = -sum over c of target[i, c] w[c] log softmax(x[i])[c], and "mean" divides
        by N.
    weight : (C,), optional
        Weight of each class.
    reduction : {"mean", "sum", "none"}
    label_smoothing : float
        In [0, 1].

    Raises
    ------
    ValueError
        If the batch is empty, a label is out of range, or probabilities have another shape.
    TypeError
        If target holds neither integers nor floats of x's dtype.
    """
    _check_reduction("cross_entropy", reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"cross_entropy: label_smoothing must be in [0, 1], got {label_smoothing}")
    x = as_tensor(x, "cross_entropy")
    if isinstance(target, _ARRAYS) and target.ndim != 1 and target.dtype.kind == "f":
        return _soft_cross_entropy(x, target, weight, reduction, label_smoothing)
    loss, dx, divisor = _core.cross_entropy(
        x._array,
        _labels("cross_entropy", target),
        _class_weight("cross_entropy", weight),
        label_smoothing,
        x.requires_grad and _mode.enabled,
        reduction,
    )
    return _record("cross_entropy", x, loss, dx, divisor)


def _soft_cross_entropy(
    x: Tensor, target: Any, weight: Any, reduction: str, label_smoothing: float
) -> Tensor:
    """Cross-entropy with a probability for each class."""
    x, target = _same_shape("cross_entropy", x, target)
    if x.ndim != 2:
        raise ValueError(f"cross_entropy: x must be (N, classes), got shape {x.shape}")
    if label_smoothing:
        target = add(mul(target, 1 - label_smoothing), label_smoothing / x.shape[1])
    if weight is not None:
        array = _class_weight("cross_entropy", weight)
        assert array is not None
        if array.shape != (x.shape[1],):
            raise ValueError(
                f"cross_entropy: weight must have shape ({x.shape[1]},), got {array.shape}"
            )
        target = mul(target, Tensor(array))
    return _reduce(neg(sum(mul(target, log_softmax(x)), 1)), reduction)


def nll_loss(x: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Tensor:
    """Negative log-likelihood: -w[t] x[i, t] for log-probabilities x (N, C) and labels (N,).

    "mean" divides the sum by the sum of w[target].
    """
    _check_reduction("nll_loss", reduction)
    x = as_tensor(x, "nll_loss")
    if not x._array.dtype.startswith("float"):
        raise TypeError(f"nll_loss: x must be float32 or float64, got {x._array.dtype}")
    labels = np.asarray(_labels("nll_loss", target))
    if x.ndim != 2 or x.shape[0] == 0:
        raise ValueError(f"nll_loss: x must be (N, classes) with N > 0, got shape {x.shape}")
    if labels.shape != (x.shape[0],):
        raise ValueError(f"nll_loss: target must have shape ({x.shape[0]},), got {labels.shape}")
    bad = np.flatnonzero((labels < 0) | (labels >= x.shape[1]))
    if bad.size:
        raise ValueError(
            f"nll_loss: label {labels[bad[0]]} at index {bad[0]} is out of range for "
            f"{x.shape[1]} classes"
        )
    picked = -getitem(x, (np.arange(labels.size), labels))
    if weight is None:
        return _reduce(picked, reduction)
    w = _class_weight("nll_loss", weight)
    assert w is not None
    if w.dtype != x._array.dtype:
        raise TypeError(f"nll_loss: weight must be {x._array.dtype}, got {w.dtype}")
    if w.shape != (x.shape[1],):
        raise ValueError(f"nll_loss: weight must have shape ({x.shape[1]},), got {w.shape}")
    rows = np.asarray(w)[labels]
    weighted = mul(picked, from_numpy(rows))
    if reduction == "mean":
        return sum(weighted) / float(rows.sum(dtype=np.float64))
    return _reduce(weighted, reduction)


def _reduce(loss: Tensor, reduction: str) -> Tensor:
    return loss if reduction == "none" else mean(loss) if reduction == "mean" else sum(loss)


def _same_shape(op: str, x: Any, target: Any) -> tuple[Tensor, Tensor]:
    x, target = as_tensor(x, op), as_tensor(target, op, "target")
    if x.shape != target.shape:
        raise ValueError(f"{op}: x has shape {x.shape}, target has {target.shape}")
    if x.dtype != target.dtype:
        raise TypeError(f"{op}: x is {x.dtype}, target is {target.dtype}; they must have one dtype")
    if x.numel() == 0:
        raise ValueError(f"{op}: the batch is empty (x has shape {x.shape})")
    return x, target


def mse_loss(x: Any, target: Any, reduction: str = "mean") -> Tensor:
    """(x - target)^2, for equal shapes."""
    _check_reduction("mse_loss", reduction)
    x, target = _same_shape("mse_loss", x, target)
    return _reduce(square(sub(x, target)), reduction)


def l1_loss(x: Any, target: Any, reduction: str = "mean") -> Tensor:
    """|x - target|, for equal shapes."""
    _check_reduction("l1_loss", reduction)
    x, target = _same_shape("l1_loss", x, target)
    return _reduce(abs(sub(x, target)), reduction)


def smooth_l1_loss(x: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """d^2 / (2 beta) where d = |x - target| < beta, else d - beta / 2, for equal shapes.

    beta = 0 is `l1_loss` (Girshick, Fast R-CNN, 2015; Huber, 1964, divided by beta).
    """
    _check_reduction("smooth_l1_loss", reduction)
    beta = _finite("smooth_l1_loss", "beta", beta)
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    x, target = _same_shape("smooth_l1_loss", x, target)
    d = sub(x, target)
    return _reduce(abs(d) if beta == 0 else unary("smooth_l1", d, beta), reduction)


def binary_cross_entropy_with_logits(
    x: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Tensor:
    """Sigmoid and binary cross-entropy, summed from terms of one sign, so that nothing cancels.

    loss = w (-p t log sigmoid(x) - (1 - t) log sigmoid(-x)); the derivative by x is
    w ((1 - t) sigmoid(x) - p t sigmoid(-x)).

    Parameters
    ----------
    x : float Tensor
        Logits.
    target : of x's shape
        Probabilities t in [0, 1].
    weight, pos_weight : broadcast to x's shape, optional
        w, a weight for each element, and p, one for the positive side.
    reduction : {"mean", "sum", "none"}
        "mean" divides by the number of elements.
    """
    op = "binary_cross_entropy_with_logits"
    _check_reduction(op, reduction)
    x, target = _same_shape(op, x, target)
    positive = mul(target, logsigmoid(x))
    if pos_weight is not None:
        positive = mul(_element_weight(op, "pos_weight", pos_weight, x), positive)
    loss = neg(add(positive, mul(sub(1.0, target), logsigmoid(neg(x)))))
    if weight is not None:
        loss = mul(_element_weight(op, "weight", weight, x), loss)
    return _reduce(loss, reduction)


def _element_weight(op: str, name: str, weight: Any, x: Tensor) -> Tensor:
    """A weight that broadcasts to x without making it larger."""
    weight = as_tensor(weight, op, name)
    if weight.dtype != x.dtype:
        raise TypeError(f"{op}: {name} is {weight.dtype}, x is {x.dtype}; they must have one dtype")
    sizes = zip(reversed(weight.shape), reversed(x.shape), strict=False)
    if weight.ndim > x.ndim or any(w not in (1, n) for w, n in sizes):
        raise ValueError(f"{op}: {name} of shape {weight.shape} does not broadcast to {x.shape}")
    return weight


def multi_margin_loss(
    x: Any,
    target: Any,
    p: int = 1,
    margin: float = 1.0,
    weight: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """Multiclass hinge loss: sum over j != t of w[t] max(0, margin - x[i, t] + x[i, j])^p / C.

    Parameters
    ----------
    x : (N, C) float
    target : (N,) integer
        Labels in [0, C).
    p : {1, 2}
    margin : float
    weight : (C,), optional
    reduction : {"mean", "sum", "none"}
        "mean" divides by N.
    """
    _check_reduction("multi_margin_loss", reduction)
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss: p must be 1 or 2, got {p}")
    if not math.isfinite(margin):
        raise ValueError(f"multi_margin_loss: margin must be finite, got {margin}")
    x = as_tensor(x, "multi_margin_loss")
    loss, dx, divisor = _core.multi_margin(
        x._array,
        _labels("multi_margin_loss", target),
        _class_weight("multi_margin_loss", weight),
        p,
        margin,
        x.requires_grad and _mode.enabled,
        reduction,
    )
    return _record("multi_margin_loss", x, loss, dx, divisor)
