"""Operations that move elements and compute nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _core
from .._core import Array
from ..tensor import Tensor, _plain_index, as_tensor, record
from .arithmetic import unbroadcast

__all__ = [
    "cat", "expand", "flatten", "getitem", "pad", "permute", "reshape", "squeeze", "stack",
    "transpose", "unsqueeze",
]  # fmt: skip


def axis_of(dim: int, ndim: int, op: str) -> int:
    """`dim` counted from the front, or IndexError."""
    if not isinstance(dim, int | np.integer):
        raise TypeError(f"{op}: dim must be an int, got {type(dim).__name__}")
    if not -ndim <= dim < ndim:
        raise IndexError(f"{op}: dim {dim} is out of range for {ndim} dimensions")
    return int(dim) % ndim


def reshape(x: Any, shape: Sequence[int]) -> Tensor:
    """The same elements (and the same memory) in another shape; one size may be -1."""
    x = as_tensor(x, "reshape")
    a, new = x._array, tuple(shape)
    if new.count(-1) > 1 or any(size < -1 for size in new):
        raise ValueError(f"reshape: at most one size may be -1, none smaller, got {new}")
    known = math.prod(size for size in new if size != -1)
    if -1 in new:
        if known == 0 or a.size % known:
            raise ValueError(f"reshape: cannot make {new} from {a.shape}")
        new = tuple(a.size // known if size == -1 else size for size in new)
    old = a.shape
    return record("reshape", a.reshape(new), (x,), lambda dy: (dy.reshape(old),))


def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The dimensions start_dim..end_dim as one."""
    x = as_tensor(x, "flatten")
    if x.ndim == 0:
        return reshape(x, (1,))
    first, last = axis_of(start_dim, x.ndim, "flatten"), axis_of(end_dim, x.ndim, "flatten")
    if first > last:
        raise ValueError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    if first == last:
        return x
    shape = x._array.shape
    return reshape(x, (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]))


def squeeze(x: Any, dim: int | None = None) -> Tensor:
    """Without the dimensions of size 1, or without `dim` if its size is 1."""
    x = as_tensor(x, "squeeze")
    if dim is None:
        return reshape(x, [size for size in x.shape if size != 1])
    axis = axis_of(dim, x.ndim, "squeeze")
    return reshape(x, [size for i, size in enumerate(x.shape) if i != axis or size != 1])


def unsqueeze(x: Any, dim: int) -> Tensor:
    """With a new dimension of size 1 at `dim`."""
    x = as_tensor(x, "unsqueeze")
    axis = axis_of(dim, x.ndim + 1, "unsqueeze")
    return reshape(x, (*x.shape[:axis], 1, *x.shape[axis:]))


def permute(x: Any, dims: Sequence[int]) -> Tensor:
    """Dimension i of the result is dimension dims[i] of x."""
    x = as_tensor(x, "permute")
    axes = tuple(axis_of(d, x.ndim, "permute") for d in dims)
    if sorted(axes) != list(range(x.ndim)):
        raise ValueError(f"permute: dims must name each of {x.ndim} dimensions once, got {dims}")
    back = tuple(axes.index(i) for i in range(len(axes)))
    y = _core.permute(x._array, axes)
    return record("permute", y, (x,), lambda dy: (_core.permute(dy, back),))


def transpose(x: Any, dim0: int, dim1: int) -> Tensor:
    """Two dimensions exchanged."""
    x = as_tensor(x, "transpose")
    axes = list(range(x.ndim))
    i, j = axis_of(dim0, x.ndim, "transpose"), axis_of(dim1, x.ndim, "transpose")
    axes[i], axes[j] = axes[j], axes[i]
    return permute(x, axes)


def expand(x: Any, shape: Sequence[int]) -> Tensor:
    """A copy broadcast to `shape`; -1 keeps a size."""
    x = as_tensor(x, "expand")
    lead = len(shape) - x.ndim
    new = tuple(
        x.shape[i - lead] if size == -1 and i >= lead else size for i, size in enumerate(shape)
    )
    old = x.shape
    return record("expand", _core.expand(x._array, new), (x,), lambda dy: (unbroadcast(dy, old),))


def getitem(x: Any, index: Any) -> Tensor:
    """x[index] (a copy), with every kind of NumPy index; repeated elements add up in backward."""
    x = as_tensor(x, "getitem")
    a, index = x._array, _plain_index(index)
    y = np.asarray(a)[index]
    parts = index if isinstance(index, tuple) else (index,)
    simple = all(part is None or part is Ellipsis or _is_basic(part) for part in parts)

    def backward(dy: Array) -> tuple[Array]:
        dx = _core.full(a.shape, a.dtype, 0.0)
        if simple:
            np.asarray(dx)[index] = np.asarray(dy)
        else:
            np.add.at(np.asarray(dx), index, np.asarray(dy))
        return (dx,)

    return record("getitem", _core.from_buffer(np.asarray(y)), (x,), backward)


def _is_basic(part: Any) -> bool:
    return isinstance(part, slice | int | np.integer) and not isinstance(part, bool | np.bool_)


def _sequence(tensors: Any, op: str) -> list[Tensor]:
    parts = [as_tensor(t, op, f"tensors[{i}]") for i, t in enumerate(tensors)]
    if not parts:
        raise ValueError(f"{op}: expected at least one tensor")
    for i, part in enumerate(parts):
        if part.dtype != parts[0].dtype:
            raise TypeError(f"{op}: tensors[{i}] is {part.dtype}, tensors[0] is {parts[0].dtype}")
    return parts


def cat(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """Tensors joined along an existing dimension."""
    parts = _sequence(tensors, "cat")
    axis = axis_of(dim, parts[0].ndim, "cat")
    first = parts[0].shape
    for i, part in enumerate(parts):
        shape = part.shape
        if len(shape) != len(first) or shape[:axis] + shape[axis + 1 :] != (
            first[:axis] + first[axis + 1 :]
        ):
            raise ValueError(
                f"cat: tensors[{i}] has shape {shape}, tensors[0] has {first}; "
                f"they may differ in dim {axis} only"
            )
    total = sum(part.shape[axis] for part in parts)
    y = _core.empty((*first[:axis], total, *first[axis + 1 :]), parts[0]._array.dtype)
    np.concatenate([np.asarray(part._array) for part in parts], axis, out=np.asarray(y))

    def backward(dy: Array) -> tuple[Array, ...]:
        ends = np.cumsum([part.shape[axis] for part in parts])[:-1]
        return tuple(_core.from_buffer(g) for g in np.split(np.asarray(dy), ends, axis))

    return record("cat", y, tuple(parts), backward)


def stack(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """Tensors of one shape joined along a new dimension."""
    parts = _sequence(tensors, "stack")
    for i, part in enumerate(parts):
        if part.shape != parts[0].shape:
            raise ValueError(
                f"stack: tensors[{i}] has shape {part.shape}, tensors[0] has {parts[0].shape}"
            )
    axis = axis_of(dim, parts[0].ndim + 1, "stack")
    return cat([unsqueeze(part, axis) for part in parts], axis)


def pad(x: Any, padding: Sequence[int], value: float = 0.0) -> Tensor:
    """Constant padding; `padding` is (before, after) for the last dimension, then the one before...

    (PyTorch's order.) Negative numbers are an error.
    """
    x = as_tensor(x, "pad")
    if len(padding) % 2 or len(padding) > 2 * x.ndim or any(p < 0 for p in padding):
        raise ValueError(
            f"pad: padding must be pairs of non-negative ints, at most {x.ndim}, got {padding}"
        )
    pairs = [(0, 0)] * (x.ndim - len(padding) // 2)
    pairs += [(int(padding[i]), int(padding[i + 1])) for i in range(len(padding) - 2, -1, -2)]
    a = x._array
    y = _core.full(
        tuple(n + b + e for n, (b, e) in zip(a.shape, pairs, strict=True)), a.dtype, float(value)
    )
    inner = tuple(slice(b, b + n) for n, (b, _) in zip(a.shape, pairs, strict=True))
    np.asarray(y)[inner] = np.asarray(a)
    return record("pad", y, (x,), lambda dy: (_core.from_buffer(np.asarray(dy)[inner]),))
