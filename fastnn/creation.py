"""Tensors made from nothing: constants and random numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _core
from .random import reserve
from .tensor import Tensor, _shape_argument, as_tensor, check_dtype

__all__ = [
    "arange", "empty", "eye", "full", "ones", "ones_like", "rand", "randn", "zeros", "zeros_like",
]  # fmt: skip


def full(
    size: Any, fill_value: float, dtype: Any = "float32", requires_grad: bool = False
) -> Tensor:
    """A Tensor filled with one value."""
    array = _core.full(_shape_argument((size,)), check_dtype(dtype, "full"), fill_value)
    return _finish(array, requires_grad)


def zeros(*size: Any, dtype: Any = "float32", requires_grad: bool = False) -> Tensor:
    """A Tensor of zeros: `zeros(2, 3)` or `zeros((2, 3))`."""
    return full(_shape_argument(size), 0.0, dtype, requires_grad)


def ones(*size: Any, dtype: Any = "float32", requires_grad: bool = False) -> Tensor:
    """A Tensor of ones."""
    return full(_shape_argument(size), 1.0, dtype, requires_grad)


def empty(*size: Any, dtype: Any = "float32", requires_grad: bool = False) -> Tensor:
    """A Tensor with unspecified contents."""
    array = _core.empty(_shape_argument(size), check_dtype(dtype, "empty"))
    return _finish(array, requires_grad)


def zeros_like(x: Any) -> Tensor:
    """Zeros of x's shape and dtype."""
    x = as_tensor(x, "zeros_like")
    return full(x.shape, 0.0, x.dtype)


def ones_like(x: Any) -> Tensor:
    """Ones of x's shape and dtype."""
    x = as_tensor(x, "ones_like")
    return full(x.shape, 1.0, x.dtype)


def eye(n: int, dtype: Any = "float32") -> Tensor:
    """The n by n identity."""
    return Tensor(_core.from_buffer(np.eye(n, dtype=check_dtype(dtype, "eye"))))


def arange(*args: Any, dtype: Any = None) -> Tensor:
    """`arange(stop)` or `arange(start, stop, step)`: int64 from ints, float32 from floats."""
    if dtype is None:
        dtype = "int64" if all(isinstance(a, int) for a in args) else "float32"
    return Tensor(_core.from_buffer(np.arange(*args).astype(check_dtype(dtype, "arange"))))


def rand(*size: Any, dtype: Any = "float32", requires_grad: bool = False) -> Tensor:
    """Uniform in [0, 1), from fastnn's random stream."""
    return _random(size, dtype, False, 0.0, 1.0, requires_grad)


def randn(*size: Any, dtype: Any = "float32", requires_grad: bool = False) -> Tensor:
    """Standard normal, from fastnn's random stream."""
    return _random(size, dtype, True, 0.0, 1.0, requires_grad)


def _random(
    size: Any, dtype: Any, gaussian: bool, a: float, b: float, requires_grad: bool
) -> Tensor:
    shape = _shape_argument(size)
    count = 1
    for n in shape:
        if n < 0:
            raise ValueError(f"random: negative dimension {n} in {shape}")
        count *= n
    return _finish(
        _core.random(shape, check_dtype(dtype, "random"), gaussian, a, b, *reserve(count)),
        requires_grad,
    )


def _finish(array: _core.Array, requires_grad: bool) -> Tensor:
    out = Tensor(array)
    return out.requires_grad_() if requires_grad else out
