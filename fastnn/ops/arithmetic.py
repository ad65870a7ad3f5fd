"""Element-wise arithmetic with broadcasting (NumPy's rules), and the basic functions."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from .. import _core
from .._core import Array
from ..tensor import Tensor, as_tensor, check_dtype, record

__all__ = [
    "abs", "add", "astype", "clip", "clone", "compare", "div", "exp", "log", "maximum", "minimum",
    "mul", "neg", "pow", "sqrt", "square", "sub", "unary",
]  # fmt: skip

_ADD, _SUB, _MUL, _DIV, _POW, _MAX, _MIN = (
    _core.BINARY[name] for name in ("add", "sub", "mul", "div", "pow", "maximum", "minimum")
)


def unary(name: str, x: Any, p0: float = 0.0, p1: float = 0.0) -> Tensor:
    """The element-wise function of a row in kernels.def, with its parameters."""
    op, saved = _core.UNARY[name]
    x = as_tensor(x, name)
    array = x._array
    y = _core.unary_fwd(op, array, p0, p1)
    if not x.requires_grad:  # as `record` finds, but the closure is half of a small call
        return Tensor(y)
    keep = y if saved == "Y" else array
    return record(name, y, (x,), lambda dy: (_core.unary_bwd(op, dy, keep, p0, p1),), keep is y)


def _scale(a: Array, factor: float) -> Array:
    return _core.binary_scalar(_MUL, a, factor)


def unbroadcast(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Sums a gradient over the axes along which a value of `shape` was broadcast."""
    if gradient.shape == shape:
        return gradient
    lead = gradient.ndim - len(shape)
    if lead:
        gradient = _core.sum_axes(gradient, 0, lead, False)
    for axis, size in enumerate(shape):
        if size == 1 and gradient.shape[axis] != 1:
            gradient = _core.sum_axes(gradient, axis, axis + 1, True)
    return gradient


def _operands(a: Any, b: Any, op: str) -> tuple[Tensor | float, Tensor | float]:
    """Two Tensors, or a Tensor and a Python number."""
    if not isinstance(a, Tensor):
        a = float(a) if isinstance(a, numbers.Real) and _is_number(a) else as_tensor(a, op, "a")
    if not isinstance(b, Tensor):
        b = float(b) if isinstance(b, numbers.Real) and _is_number(b) else as_tensor(b, op, "b")
    return a, b


def _is_number(x: Any) -> bool:
    """A Python number takes the other operand's dtype; a NumPy scalar keeps its own."""
    return not isinstance(x, np.generic)


def add(a: Any, b: Any) -> Tensor:
    """a + b."""
    a, b = _operands(a, b, "add")
    if not isinstance(b, Tensor):
        return record("add", _core.binary_scalar(_ADD, a._array, b), (a,), lambda dy: (dy,))
    if not isinstance(a, Tensor):
        return add(b, a)
    x, y = a._array, b._array
    return record(
        "add",
        _core.binary(_ADD, x, y),
        (a, b),
        lambda dz: (unbroadcast(dz, x.shape), unbroadcast(dz, y.shape)),
    )


def sub(a: Any, b: Any) -> Tensor:
    """a - b."""
    a, b = _operands(a, b, "sub")
    if not isinstance(b, Tensor):
        return add(a, -b)
    y = b._array
    if not isinstance(a, Tensor):
        z = _core.binary_scalar(_SUB, y, a, True)
        return record("sub", z, (b,), lambda dz: (_scale(dz, -1.0),))
    x = a._array
    return record(
        "sub",
        _core.binary(_SUB, x, y),
        (a, b),
        lambda dz: (unbroadcast(dz, x.shape), unbroadcast(_scale(dz, -1.0), y.shape)),
    )


def mul(a: Any, b: Any) -> Tensor:
    """a b."""
    a, b = _operands(a, b, "mul")
    if not isinstance(b, Tensor):
        return record(
            "mul", _core.binary_scalar(_MUL, a._array, b), (a,), lambda dz: (_scale(dz, b),)
        )
    if not isinstance(a, Tensor):
        return mul(b, a)
    x, y, need_a, need_b = a._array, b._array, a.requires_grad, b.requires_grad
    return record(
        "mul",
        _core.binary(_MUL, x, y),
        (a, b),
        lambda dz: (
            unbroadcast(_core.binary(_MUL, dz, y), x.shape) if need_a else None,
            unbroadcast(_core.binary(_MUL, dz, x), y.shape) if need_b else None,
        ),
    )


def div(a: Any, b: Any) -> Tensor:
    """a / b."""
    a, b = _operands(a, b, "div")
    if not isinstance(b, Tensor):
        z = _core.binary_scalar(_DIV, a._array, b)
        return record("div", z, (a,), lambda dz: (_core.binary_scalar(_DIV, dz, b),))
    y, need_b = b._array, b.requires_grad
    if not isinstance(a, Tensor):
        z = _core.binary_scalar(_DIV, y, a, True)

        def backward_divisor(dz: Array) -> tuple[Array]:
            return (_scale(_core.binary(_DIV, _core.binary(_MUL, dz, z), y), -1.0),)

        return record("div", z, (b,), backward_divisor, True)
    x, need_a = a._array, a.requires_grad
    z = _core.binary(_DIV, x, y)

    def backward(dz: Array) -> tuple[Array | None, Array | None]:
        dx = _core.binary(_DIV, dz, y)
        dy = unbroadcast(_scale(_core.binary(_MUL, dx, z), -1.0), y.shape) if need_b else None
        return unbroadcast(dx, x.shape) if need_a else None, dy

    return record("div", z, (a, b), backward, True)


def pow(a: Any, b: Any) -> Tensor:
    """a to the power b; d/db is a^b log a, and 0 where a is 0 and b is not negative."""
    a, b = _operands(a, b, "pow")
    if not isinstance(b, Tensor):
        x = a._array
        if b == 2.0:
            return square(a)
        z = _core.binary_scalar(_POW, x, b)

        def backward_base(dz: Array) -> tuple[Array]:
            if b == 0.0:
                return (_core.full(x.shape, x.dtype, 0.0),)
            slope = _scale(_core.binary_scalar(_POW, x, b - 1.0), b)
            return (_core.binary(_MUL, dz, slope),)

        return record("pow", z, (a,), backward_base)
    if not isinstance(a, Tensor):
        a = Tensor(_core.full((), b._array.dtype, a))
    x, y, need_a, need_b = a._array, b._array, a.requires_grad, b.requires_grad
    z = _core.binary(_POW, x, y)

    def backward(dz: Array) -> tuple[Array | None, Array | None]:
        dx = dy = None
        xs, ys, zs, g = (np.asarray(v) for v in (x, y, z, dz))
        with np.errstate(all="ignore"):
            if need_a:
                slope = np.where(ys == 0, 0, ys * xs ** (ys - 1))
                dx = unbroadcast(_core.from_buffer((g * slope).astype(g.dtype)), x.shape)
            if need_b:
                slope = np.where((xs == 0) & (ys >= 0), 0, zs * np.log(xs))
                dy = unbroadcast(_core.from_buffer((g * slope).astype(g.dtype)), y.shape)
        return dx, dy

    return record("pow", z, (a, b), backward, True)


def _extremum(name: str, op: int, a: Any, b: Any) -> Tensor:
    a, b = as_tensor(a, name, "a"), as_tensor(b, name, "b")
    x, y = a._array, b._array
    z = _core.binary(op, x, y)

    def backward(dz: Array) -> tuple[Array, Array]:
        xs, ys, g = np.asarray(x), np.asarray(y), np.asarray(dz)
        # Equal operands share the gradient, as in PyTorch.
        zs = np.asarray(z)
        share_a = np.where(xs == zs, np.where(ys == zs, 0.5, 1.0), 0.0).astype(g.dtype)
        dx, dy = g * share_a, g * (1 - share_a)
        return (
            unbroadcast(_core.from_buffer(dx), x.shape),
            unbroadcast(_core.from_buffer(dy), y.shape),
        )

    return record(name, z, (a, b), backward, True)


def maximum(a: Any, b: Any) -> Tensor:
    """The larger of a and b; NaN if either is NaN."""
    return _extremum("maximum", _MAX, a, b)


def minimum(a: Any, b: Any) -> Tensor:
    """The smaller of a and b; NaN if either is NaN."""
    return _extremum("minimum", _MIN, a, b)


def neg(x: Any) -> Tensor:
    """-x."""
    x = as_tensor(x, "neg")
    y = _core.unary_fwd(_core.UNARY["neg"][0], x._array)
    return record("neg", y, (x,), lambda dy: (_scale(dy, -1.0),))


def abs(x: Any) -> Tensor:
    """|x|; the gradient at 0 is 0."""
    return unary("abs", x)


def exp(x: Any) -> Tensor:
    """e^x, at most 4 ulp off in float32."""
    return unary("exp", x)


def log(x: Any) -> Tensor:
    """Natural logarithm; -inf at 0, NaN below."""
    return unary("log", x)


def sqrt(x: Any) -> Tensor:
    """Square root; NaN below 0."""
    return unary("sqrt", x)


def square(x: Any) -> Tensor:
    """x^2."""
    return unary("square", x)


def clip(x: Any, min: float | None = None, max: float | None = None) -> Tensor:
    """x moved into [min, max]; the gradient passes where min <= x <= max."""
    if min is None and max is None:
        raise ValueError("clip: min or max must be given")
    low = -math.inf if min is None else float(min)
    high = math.inf if max is None else float(max)
    if not low <= high:
        raise ValueError(f"clip: min must be at most max, got min={min}, max={max}")
    return unary("clip", x, low, high)


def compare(name: str, a: Any, b: Any) -> Tensor:
    """A bool Tensor: NumPy's less, less_equal, greater, greater_equal, equal or not_equal."""
    x, y = _comparable(a, name, "a"), _comparable(b, name, "b")
    if isinstance(x, np.ndarray) and isinstance(y, np.ndarray):
        if x.dtype != y.dtype and x.dtype.kind == y.dtype.kind == "f":
            raise TypeError(f"{name}: a is {x.dtype}, b is {y.dtype}")
        try:
            np.broadcast_shapes(x.shape, y.shape)
        except ValueError:
            raise ValueError(f"{name}: shapes {x.shape} and {y.shape} do not broadcast") from None
    return Tensor(_core.from_buffer(np.asarray(getattr(np, name)(x, y))))


def _comparable(v: Any, op: str, name: str) -> Any:
    """An array, or a Python number: an int stays one, to be compared exactly with integers."""
    if isinstance(v, numbers.Real) and _is_number(v):
        return v if isinstance(v, int) else float(v)
    return np.asarray(as_tensor(v, op, name)._array)


def clone(x: Any) -> Tensor:
    """A copy."""
    x = as_tensor(x, "clone")
    return record("clone", x._array.copy(), (x,), lambda dy: (dy,))


def astype(x: Any, dtype: Any) -> Tensor:
    """A copy in another dtype."""
    x = as_tensor(x, "astype")
    before, name = x._array.dtype, check_dtype(dtype, "astype")
    y = _core.from_buffer(np.asarray(x._array).astype(name))
    if not name.startswith("float"):
        return Tensor(y)
    return record("astype", y, (x,), lambda dy: (_core.from_buffer(np.asarray(dy).astype(before)),))
