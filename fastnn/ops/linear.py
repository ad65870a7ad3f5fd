"""Matrix products and the fully connected layer."""

from __future__ import annotations

from typing import Any

from .. import _core
from .._core import Array
from ..tensor import Tensor, as_tensor, record
from .shape import expand, reshape

__all__ = ["linear", "linear_act", "matmul"]


def linear(x: Any, weight: Any, bias: Any = None) -> Tensor:
    """y = x weight^T + bias.

    Parameters
    ----------
    x : (..., in_features)
    weight : (out_features, in_features)
    bias : (out_features,), optional

    Returns
    -------
    Tensor (..., out_features)

    Raises
    ------
    ValueError, TypeError
        If shapes or dtypes do not fit.
    """
    return linear_act(x, weight, bias, None)


def linear_act(x: Any, weight: Any, bias: Any, act: tuple[str, float, float] | None) -> Tensor:
    """`linear` with an element-wise function (row name, p0, p1) fused into it; the same bits."""
    x, weight = as_tensor(x, "linear"), as_tensor(weight, "linear", "weight")
    op, p0, p1 = (-1, 0.0, 0.0) if act is None else (_core.UNARY[act[0]][0], act[1], act[2])
    a, w = x._array, weight._array
    need_x, need_w = x.requires_grad, weight.requires_grad
    if bias is None:
        y = _core.linear_fwd(a, w, None, op, p0, p1)
        if not (need_x or need_w):  # as `record` finds, but without making a closure
            return Tensor(y)
        return record(
            "linear",
            y,
            (x, weight),
            lambda dy: _core.linear_bwd(dy, a, w, y, op, p0, p1, need_x, need_w, False)[:2],
            op >= 0,
        )
    bias = as_tensor(bias, "linear", "bias")
    need_b = bias.requires_grad
    y = _core.linear_fwd(a, w, bias._array, op, p0, p1)
    if not (need_x or need_w or need_b):
        return Tensor(y)
    return record(
        "linear",
        y,
        (x, weight, bias),
        lambda dy: _core.linear_bwd(dy, a, w, y, op, p0, p1, need_x, need_w, need_b),
        op >= 0,
    )


def matmul(a: Any, b: Any) -> Tensor:
    """Matrix product over the last two dimensions; the leading ones broadcast (NumPy's `@`).

    Raises
    ------
    ValueError
        If the inner sizes differ, or an operand has no dimension.
    """
    a, b = as_tensor(a, "matmul", "a"), as_tensor(b, "matmul", "b")
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(f"matmul: shapes {a.shape} and {b.shape} do not multiply")
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ValueError(
            f"matmul: a has {a.shape[-1]} columns, b has {b.shape[-2 if b.ndim > 1 else 0]} rows "
            f"(shapes {a.shape} and {b.shape})"
        )
    if a.ndim == 1 or b.ndim == 1:
        left = reshape(a, (1, -1)) if a.ndim == 1 else a
        right = reshape(b, (-1, 1)) if b.ndim == 1 else b
        out = matmul(left, right)
        shape = out.shape[:-2] + out.shape[-2 + (a.ndim == 1) : out.ndim - (b.ndim == 1)]
        return reshape(out, shape)
    if b.ndim > 2:
        try:
            lead = _broadcast(a.shape[:-2], b.shape[:-2])
        except ValueError:
            raise ValueError(f"matmul: shapes {a.shape} and {b.shape} do not broadcast") from None
        if a.shape[:-2] != lead:
            a = expand(a, lead + a.shape[-2:])
        if b.shape[:-2] != lead:
            b = expand(b, lead + b.shape[-2:])
    x, y, need_a, need_b = a._array, b._array, a.requires_grad, b.requires_grad

    def backward(dz: Array) -> tuple[Array | None, Array | None]:
        dx = _core.matmul(dz, y, False, True) if need_a else None
        if not need_b:
            return dx, None
        if (
            y.ndim == 2 and x.ndim > 2
        ):  # one matrix for the whole batch: its rows are one tall matrix
            tall_x = x.reshape((x.size // x.shape[-1] if x.shape[-1] else 0, x.shape[-1]))
            tall_z = dz.reshape((dz.size // dz.shape[-1] if dz.shape[-1] else 0, dz.shape[-1]))
            return dx, _core.matmul(tall_x, tall_z, True, False)
        return dx, _core.matmul(x, dz, True, False)

    return record("matmul", _core.matmul(x, y), (a, b), backward)


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    import numpy as np

    return np.broadcast_shapes(a, b)
