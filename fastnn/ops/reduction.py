"""Reductions over axes, in blocks of a fixed size: the same bits at any thread count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _core
from .._core import Array
from ..tensor import Tensor, as_tensor, record
from .shape import axis_of, permute, reshape

__all__ = ["argmax", "argmin", "max", "mean", "min", "sum", "var"]

Dim = int | Sequence[int] | None


def _axes(dim: Dim, ndim: int, op: str) -> tuple[int, ...]:
    if dim is None:
        return tuple(range(ndim))
    axes = tuple(axis_of(d, ndim, op) for d in (dim if isinstance(dim, Sequence) else (dim,)))
    if len(set(axes)) != len(axes):
        raise ValueError(f"{op}: dim names an axis twice: {dim}")
    return tuple(sorted(axes))


def sum(x: Any, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Sum over `dim`: an axis, several, or all; within 2 ulp or so of the exact one.

    Integers and bools add up to int64.
    """
    x = as_tensor(x, "sum")
    axes = _axes(dim, x.ndim, "sum")
    a = x._array
    if not a.dtype.startswith("float"):
        total = np.sum(np.asarray(a), axes, np.int64, keepdims=keepdim)
        return Tensor(_core.from_buffer(np.asarray(total)))
    old = a.shape
    kept = tuple(1 if i in axes else n for i, n in enumerate(old))
    if axes and axes[-1] - axes[0] + 1 == len(axes):
        y = _core.sum_axes(a, axes[0], axes[-1] + 1, True)
    else:
        y = a.copy() if not axes else a
        for axis in axes:
            y = _core.sum_axes(y, axis, axis + 1, True)
    if not keepdim:
        y = y.reshape(tuple(n for i, n in enumerate(old) if i not in axes))
    return record("sum", y, (x,), lambda dy: (_core.expand(dy.reshape(kept), old),))


def _count(x: Tensor, axes: tuple[int, ...], op: str) -> int:
    count = 1
    for axis in axes:
        count *= x.shape[axis]
    if count == 0:
        raise ValueError(f"{op}: no elements to reduce in shape {x.shape}")
    return count


def mean(x: Any, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Mean over `dim`."""
    x = as_tensor(x, "mean")
    if not x._array.dtype.startswith("float"):
        raise TypeError(f"mean: x must be float32 or float64, got {x._array.dtype}")
    return sum(x, dim, keepdim) / _count(x, _axes(dim, x.ndim, "mean"), "mean")


def var(x: Any, dim: Dim = None, unbiased: bool = True, keepdim: bool = False) -> Tensor:
    """Variance over `dim`, from deviations (two passes); divided by n - 1 where unbiased."""
    x = as_tensor(x, "var")
    axes = _axes(dim, x.ndim, "var")
    count = _count(x, axes, "var")
    if unbiased and count < 2:
        raise ValueError("var: unbiased needs at least two elements")
    deviation = x - mean(x, axes, True)
    return sum(deviation * deviation, axes, keepdim) / (count - 1 if unbiased else count)


def _extremum(name: str, x: Any, dim: int | None, keepdim: bool) -> tuple[Tensor, Tensor]:
    """(values, indices) along one axis, or over the flattened tensor."""
    x = as_tensor(x, name)
    if dim is None:
        values, indices = _extremum(name, reshape(x, (-1,)), 0, False)
        if keepdim:
            ones = (1,) * x.ndim
            return reshape(values, ones), reshape(indices, ones)
        return values, indices
    axis = axis_of(dim, x.ndim, name)
    a = x._array
    y, index = _core.extremum_axes(a, axis, axis + 1, keepdim, name == "max")

    def backward(dy: Array) -> tuple[Array]:
        dx = _core.full(a.shape, a.dtype, 0.0)
        kept = tuple(1 if i == axis else n for i, n in enumerate(a.shape))
        np.put_along_axis(
            np.asarray(dx), np.asarray(index.reshape(kept)), np.asarray(dy.reshape(kept)), axis
        )
        return (dx,)

    return record(name, y, (x,), backward), Tensor(index)


def max(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The largest element, or (values, indices) along `dim`; NaN wins, then the first maximum.

    The gradient goes to that one element (PyTorch divides it between equal ones when dim is None).
    """
    values, indices = _extremum("max", x, dim, keepdim)
    return values if dim is None else (values, indices)


def min(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The smallest element, or (values, indices) along `dim`; NaN wins, then the first minimum."""
    values, indices = _extremum("min", x, dim, keepdim)
    return values if dim is None else (values, indices)


def argmax(x: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Index (int64) of the first largest element."""
    return _extremum("max", as_tensor(x, "argmax").detach(), dim, keepdim)[1]


def argmin(x: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Index (int64) of the first smallest element."""
    return _extremum("min", as_tensor(x, "argmin").detach(), dim, keepdim)[1]


def move_last(x: Tensor, axis: int) -> Tensor:
    """x with `axis` exchanged with the last one (its own inverse)."""
    axes = list(range(x.ndim))
    axes[axis], axes[-1] = axes[-1], axes[axis]
    return permute(x, axes)
