"""Tensor: an array with a gradient and a place on the tape; and the ways to make one."""

from __future__ import annotations

import itertools
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import _core
from ._core import Node, run_backward
from .autograd import Backward, _mode

_hook_ids = itertools.count()
_DTYPES = ("float32", "float64", "int64", "int32", "uint8", "bool")


class Tensor(_core.TensorBase):
    """A C-contiguous array of float32, float64, int64, int32, uint8 or bool, with autograd.

    Made by `fastnn.tensor` (copies), `fastnn.from_numpy` (shares), `fastnn.zeros` and the like, and
    by operations. Wherever a Tensor is accepted, a NumPy array is too.

    Attributes
    ----------
    requires_grad : bool
        Whether `backward` brings a gradient here.
    grad : Tensor or None
        The gradient, summed over calls of `backward`.
    """

    __slots__ = ("__weakref__",)
    __array_priority__ = 1000  # so that `ndarray + Tensor` comes here
    __hash__ = object.__hash__

    # --- what it is ---------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the dimensions."""
        return self._array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's dtype of the elements."""
        return np.dtype(self._array.dtype)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self._array.ndim

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made it."""
        return self._node is None

    @property
    def T(self) -> Tensor:
        """The dimensions in reverse order."""
        return _ops.permute(self, tuple(range(self.ndim))[::-1])

    def numel(self) -> int:
        """Number of elements."""
        return self._array.size

    def size(self, dim: int | None = None) -> Any:
        """`shape`, or the size of one dimension."""
        return self.shape if dim is None else self.shape[dim]

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len: a tensor without dimensions has no length")
        return self.shape[0]

    def __repr__(self) -> str:
        body = np.array2string(self.numpy(), separator=", ", prefix="tensor(", threshold=100)
        dtype = "" if self._array.dtype == "float32" else f", dtype={self._array.dtype}"
        if self._node is not None:
            return f"tensor({body}{dtype}, grad_fn={self._node.name})"
        return f"tensor({body}{dtype}{', requires_grad=True' if self.requires_grad else ''})"

    # --- in and out ---------------------------------------------------------------------------

    def numpy(self) -> np.ndarray[Any, Any]:
        """A NumPy array that shares this tensor's memory."""
        return np.asarray(self._array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if dtype is None and not copy:
            return self.numpy()
        return np.array(self.numpy(), dtype=dtype)

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self.numpy().__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)  # kDLCPU

    def item(self) -> Any:
        """The only element, as a Python number."""
        return self._array.item()

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        return self.numpy().tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self._node is not None:
            raise RuntimeError("deepcopy: only leaf tensors can be copied; call detach() first")
        out = type(self).__new__(type(self))
        _core.TensorBase.__init__(out, self._array.copy(), self.requires_grad)
        if self.grad is not None:
            out.grad = Tensor(self.grad._array.copy())
        memo[id(self)] = out
        return out

    def __reduce__(self) -> Any:
        return _rebuild, (type(self), np.array(self.numpy()), self.requires_grad)

    # --- autograd -----------------------------------------------------------------------------

    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Adds the derivative of this tensor to the `.grad` of every leaf it was computed from.

        Parameters
        ----------
        gradient : Tensor or array, optional
            Weights of this tensor's elements, of its shape; 1 for a tensor of one element.
        retain_graph : bool
            Keep what was recorded, so that `backward` can be called again.

        Raises
        ------
        RuntimeError
            If nothing was recorded, the graph was freed, or an input was modified in place.
        """
        if not self.requires_grad:
            raise RuntimeError("backward: this tensor was not computed from any that requires_grad")
        own = self._array
        if gradient is None:
            if own.size != 1:
                raise RuntimeError(
                    f"backward: gradient is needed for a tensor of shape {own.shape}"
                )
            array = _core.full(own.shape, own.dtype, 1.0)
        else:
            array = as_tensor(gradient, "backward", "gradient")._array
            if array.dtype != own.dtype:
                raise TypeError(f"backward: gradient must be {own.dtype}, got {array.dtype}")
            if array.shape != own.shape:
                raise ValueError(
                    f"backward: gradient must have shape {own.shape}, got {array.shape}"
                )
        run_backward(self, array, retain_graph, Tensor)

    def detach(self) -> Tensor:
        """The same memory, off the tape."""
        return Tensor(self._array)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Sets `requires_grad` of a leaf; returns the tensor."""
        if self._node is not None:
            raise RuntimeError("requires_grad_: only for leaves; use detach() first")
        if requires_grad and not self._array.dtype.startswith("float"):
            raise TypeError(f"requires_grad_: expected a float tensor, got {self._array.dtype}")
        self.requires_grad = requires_grad
        return self

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Handle:
        """Calls `hook(gradient)` when this tensor's gradient is known; it may return another one.

        Returns a handle whose `remove()` takes the hook away.
        """
        if not self.requires_grad:
            raise RuntimeError("register_hook: the tensor does not require a gradient")
        if self._hooks is None:
            self._hooks = {}
        return Handle(self._hooks, hook)

    # --- in-place, for leaves and under no_grad -------------------------------------------------

    def copy_(self, source: Any) -> Tensor:
        """Overwrites the elements with those of `source` (broadcast; one dtype)."""
        self._check_writable("copy_")
        source = as_tensor(source, "copy_", "source")
        _check_unrecorded("copy_", source)
        array = source._array
        if array.dtype != self._array.dtype:
            raise TypeError(f"copy_: source must be {self._array.dtype}, got {array.dtype}")
        np.copyto(self.numpy(), np.asarray(array))
        self._array.touch()
        return self

    def fill_(self, value: float) -> Tensor:
        """Overwrites every element with `value`, which must fit the dtype."""
        self._check_writable("fill_")
        self.numpy()[...] = self._values("fill_", value)
        self._array.touch()
        return self

    def zero_(self) -> Tensor:
        """Overwrites every element with 0."""
        return self.fill_(0)

    def __setitem__(self, index: Any, value: Any) -> None:
        self._check_writable("assignment")
        self.numpy()[_plain_index(index)] = self._values("assignment", value)
        self._array.touch()

    def _is_recorded_with(self, other: Any) -> bool:
        """Whether `self += other` goes to the tape: then it gives a new tensor its old name."""
        return _mode.enabled and (
            self._node is not None
            or (not self.requires_grad and isinstance(other, Tensor) and other.requires_grad)
        )

    def _in_place(self, op: str, function: np.ufunc, value: Any) -> Tensor:
        self._check_writable(op)
        if not isinstance(value, numbers.Real):
            value = as_tensor(value, op, "the right side")
        values = self._values(op, value)
        if function is np.true_divide and self.dtype.kind != "f":
            raise TypeError(f"{op}: expected a float tensor, got {self._array.dtype}")
        if _broadcast(self.shape, values.shape) != self.shape:
            raise ValueError(
                f"{op}: the right side must broadcast to {self.shape}, got {values.shape}"
            )
        function(self.numpy(), values, out=self.numpy())
        self._array.touch()
        return self

    def __iadd__(self, other: Any) -> Tensor:
        if self._is_recorded_with(other):
            return _ops.add(self, other)
        return self._in_place("+=", np.add, other)

    def __isub__(self, other: Any) -> Tensor:
        if self._is_recorded_with(other):
            return _ops.sub(self, other)
        return self._in_place("-=", np.subtract, other)

    def __imul__(self, other: Any) -> Tensor:
        if self._is_recorded_with(other):
            return _ops.mul(self, other)
        return self._in_place("*=", np.multiply, other)

    def __itruediv__(self, other: Any) -> Tensor:
        if self._is_recorded_with(other):
            return _ops.div(self, other)
        return self._in_place("/=", np.true_divide, other)

    def _values(self, op: str, value: Any) -> np.ndarray[Any, Any]:
        """`value` (a tensor, an array, a number or nested lists) in this dtype, if it fits."""
        if isinstance(value, Tensor | np.ndarray | np.generic):
            if isinstance(value, Tensor):
                _check_unrecorded(op, value)
            if value.dtype != self.dtype:
                raise TypeError(f"{op}: the value must be {self.dtype}, got {value.dtype}")
            return np.asarray(value)
        given = np.asarray(value)
        if given.dtype.kind not in "biuf" and not isinstance(value, int):
            raise TypeError(f"{op}: expected a number or a Tensor, got {type(value).__name__}")
        try:
            with np.errstate(all="ignore"):
                values = given.astype(self.dtype)
        except OverflowError:  # a Python int beyond every dtype
            values = np.empty(0)
        if values.size != given.size or (
            self.dtype.kind != "f" and not np.array_equal(values, given)
        ):
            raise ValueError(f"{op}: the value must fit {self.dtype}, got {value}")
        return values

    def _check_writable(self, op: str) -> None:
        if self._array.readonly:
            raise ValueError(f"{op}: the tensor shares read-only memory")
        if self.requires_grad and _mode.enabled:
            raise RuntimeError(
                f"{op}: a tensor that requires a gradient is changed in place only under no_grad()"
            )

    # --- operations: see fastnn/ops -------------------------------------------------------------

    def __add__(self, other: Any) -> Tensor:
        return _ops.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return _ops.add(self, other)

    def __sub__(self, other: Any) -> Tensor:
        return _ops.sub(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return _ops.sub(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return _ops.mul(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return _ops.mul(self, other)

    def __truediv__(self, other: Any) -> Tensor:
        return _ops.div(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return _ops.div(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return _ops.pow(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return _ops.pow(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return _ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return _ops.matmul(other, self)

    def __neg__(self) -> Tensor:
        return _ops.neg(self)

    def __abs__(self) -> Tensor:
        return _ops.abs(self)

    def __lt__(self, other: Any) -> Tensor:
        return _ops.compare("less", self, other)

    def __le__(self, other: Any) -> Tensor:
        return _ops.compare("less_equal", self, other)

    def __gt__(self, other: Any) -> Tensor:
        return _ops.compare("greater", self, other)

    def __ge__(self, other: Any) -> Tensor:
        return _ops.compare("greater_equal", self, other)

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        return _ops.compare("equal", self, other)

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        return _ops.compare("not_equal", self, other)

    def __getitem__(self, index: Any) -> Tensor:
        return _ops.getitem(self, index)

    def sum(self, dim: Any = None, keepdim: bool = False) -> Tensor:
        """Sum over `dim` (an axis, several, or all)."""
        return _ops.sum(self, dim, keepdim)

    def mean(self, dim: Any = None, keepdim: bool = False) -> Tensor:
        """Mean over `dim`."""
        return _ops.mean(self, dim, keepdim)

    def var(self, dim: Any = None, unbiased: bool = True, keepdim: bool = False) -> Tensor:
        """Variance over `dim`; unbiased divides by n - 1."""
        return _ops.var(self, dim, unbiased, keepdim)

    def max(self, dim: Any = None, keepdim: bool = False) -> Any:
        """The largest element, or (values, indices) along one axis `dim`."""
        return _ops.max(self, dim, keepdim)

    def min(self, dim: Any = None, keepdim: bool = False) -> Any:
        """The smallest element, or (values, indices) along one axis `dim`."""
        return _ops.min(self, dim, keepdim)

    def argmax(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        """Index (int64) of the first largest element along `dim`, or in the flattened tensor."""
        return _ops.argmax(self, dim, keepdim)

    def argmin(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        """Index (int64) of the first smallest element along `dim`, or in the flattened tensor."""
        return _ops.argmin(self, dim, keepdim)

    def exp(self) -> Tensor:
        """e to each element, at most 4 ulp off."""
        return _ops.exp(self)

    def log(self) -> Tensor:
        """Natural logarithm of each element."""
        return _ops.log(self)

    def sqrt(self) -> Tensor:
        """Square root of each element."""
        return _ops.sqrt(self)

    def abs(self) -> Tensor:
        """Absolute value of each element."""
        return _ops.abs(self)

    def square(self) -> Tensor:
        """Square of each element."""
        return _ops.square(self)

    def clip(self, min: float | None = None, max: float | None = None) -> Tensor:
        """Each element moved into [min, max]."""
        return _ops.clip(self, min, max)

    clamp = clip

    def sigmoid(self) -> Tensor:
        """1 / (1 + exp(-x)) of each element."""
        return _ops.sigmoid(self)

    def tanh(self) -> Tensor:
        """Hyperbolic tangent of each element."""
        return _ops.tanh(self)

    def relu(self) -> Tensor:
        """max(0, x) of each element."""
        return _ops.relu(self)

    def softmax(self, dim: int = -1) -> Tensor:
        """Softmax along `dim`."""
        return _ops.softmax(self, dim)

    def log_softmax(self, dim: int = -1) -> Tensor:
        """Logarithm of softmax along `dim`."""
        return _ops.log_softmax(self, dim)

    def matmul(self, other: Any) -> Tensor:
        """`self @ other`."""
        return _ops.matmul(self, other)

    def reshape(self, *shape: Any) -> Tensor:
        """The same elements in another shape; one size may be -1."""
        return _ops.reshape(self, _shape_argument(shape, "reshape"))

    view = reshape

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """Two dimensions exchanged."""
        return _ops.transpose(self, dim0, dim1)

    def permute(self, *dims: Any) -> Tensor:
        """Dimension i of the result is dimension dims[i] of this tensor."""
        return _ops.permute(self, _shape_argument(dims, "permute"))

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """The dimensions start_dim..end_dim as one."""
        return _ops.flatten(self, start_dim, end_dim)

    def squeeze(self, dim: int | None = None) -> Tensor:
        """Without the dimensions of size 1, or without that one."""
        return _ops.squeeze(self, dim)

    def unsqueeze(self, dim: int) -> Tensor:
        """With a new dimension of size 1."""
        return _ops.unsqueeze(self, dim)

    def expand(self, *shape: Any) -> Tensor:
        """Broadcast to a shape (a copy)."""
        return _ops.expand(self, _shape_argument(shape, "expand"))

    def clone(self) -> Tensor:
        """A copy that stays on the tape."""
        return _ops.clone(self)

    def astype(self, dtype: Any) -> Tensor:
        """A copy in another dtype; gradients go back through float to float."""
        return _ops.astype(self, dtype)

    def float(self) -> Tensor:
        """A float32 copy."""
        return _ops.astype(self, "float32")

    def double(self) -> Tensor:
        """A float64 copy."""
        return _ops.astype(self, "float64")


class Handle:
    """Takes a hook away: `handle.remove()`."""

    def __init__(self, hooks: dict[int, Any], hook: Any) -> None:
        if not callable(hook):
            raise TypeError(f"hook: expected a callable, got {type(hook).__name__}")
        self._hooks, self._key = hooks, next(_hook_ids)
        hooks[self._key] = hook
        _core.change()

    def remove(self) -> None:
        """Removes the hook; a second call does nothing."""
        _core.change()
        self._hooks.pop(self._key, None)


def _check_unrecorded(op: str, value: Tensor) -> None:
    if value.requires_grad and _mode.enabled:
        raise RuntimeError(
            f"{op}: the gradient of the value would not be recorded; use cat or stack, or detach()"
        )


def _broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...] | None:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        return None


def record(
    name: str,
    array: _core.Array,
    inputs: tuple[Tensor, ...],
    backward: Backward,
    reads_output: bool = False,
    adds: bool = False,
) -> Tensor:
    """The result of an operation, with a node on the tape where an input requires a gradient.

    reads_output says that `backward` reads the result, which then must not be written to. adds: see
    `Node`.
    """
    out = Tensor(array)
    if _mode.enabled:
        for tensor in inputs:
            if tensor.requires_grad:
                out.requires_grad = True
                out._node = Node(name, inputs, backward, array if reads_output else None, adds)
                break
    return out


def as_tensor(x: Any, op: str, name: str = "x") -> Tensor:
    """x itself if it is a Tensor; a Tensor that shares (or, if strided, copies) a NumPy array."""
    if isinstance(x, Tensor):
        return x
    if isinstance(x, np.ndarray | np.generic):
        return from_numpy(np.asarray(x), _op=op, _name=name)
    raise TypeError(f"{op}: {name} must be a Tensor or a NumPy array, got {type(x).__name__}")


def _native(a: np.ndarray[Any, Any], op: str, name: str) -> np.ndarray[Any, Any]:
    """`a` in native byte order and a supported dtype, or TypeError."""
    if a.dtype.name not in _DTYPES:
        raise TypeError(f"{op}: {name} must be one of {', '.join(_DTYPES)}, got {a.dtype}")
    return a if a.dtype.isnative else a.astype(a.dtype.newbyteorder("="))


def from_numpy(a: Any, *, _op: str = "from_numpy", _name: str = "a") -> Tensor:
    """A Tensor that shares the memory of a C-contiguous NumPy array; a strided one is copied.

    Raises
    ------
    TypeError
        If `a` is no array, or its dtype is not one of Tensor's.
    """
    if not isinstance(a, np.ndarray):
        raise TypeError(f"{_op}: {_name} must be a NumPy array, got {type(a).__name__}")
    return Tensor(_core.from_buffer(_native(a, _op, _name), copy=False))


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A Tensor with a copy of `data`: a number, nested lists, a NumPy array or a Tensor.

    Parameters
    ----------
    data
        Python floats become float32 and Python integers int64, as in PyTorch; arrays keep their
        dtype.
    dtype : str or numpy.dtype, optional
        Convert to it.
    requires_grad : bool
        Only for float32 and float64.

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.tensor([[1.0, 2.0]]).shape
    (1, 2)
    """
    if isinstance(data, Tensor):
        a = data.numpy()
    else:
        a = np.asarray(data)
        if not isinstance(data, np.ndarray | np.generic) and a.dtype == np.float64:
            a = np.asarray(data, dtype=np.float32) if dtype is None else a
    if dtype is not None:
        a = a.astype(check_dtype(dtype, "tensor"))
    out = Tensor(_core.from_buffer(_native(a, "tensor", "data")))
    return out.requires_grad_() if requires_grad else out


def check_dtype(dtype: Any, op: str) -> str:
    """The dtype's name, if it is one of Tensor's."""
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = str(dtype)
    if name not in _DTYPES:
        raise TypeError(f"{op}: dtype must be one of {', '.join(_DTYPES)}, got {name}")
    return name


def _shape_argument(args: Sequence[Any], op: str = "shape") -> tuple[int, ...]:
    """Sizes given one by one or as one sequence."""
    if len(args) == 1 and isinstance(args[0], tuple | list):
        args = args[0]
    for a in args:
        if isinstance(a, bool) or not hasattr(a, "__index__"):
            raise TypeError(f"{op}: expected ints, got {type(a).__name__}")
    return tuple(int(a.__index__()) for a in args)


def _plain_index(index: Any) -> Any:
    """An index in which Tensors are NumPy arrays."""
    if isinstance(index, tuple):
        return tuple(_plain_index(i) for i in index)
    if isinstance(index, Tensor):
        return index.numpy()
    return index


def _rebuild(kind: type[Tensor], data: np.ndarray[Any, Any], requires_grad: bool) -> Tensor:
    out = kind.__new__(kind)
    _core.TensorBase.__init__(out, _core.from_buffer(data), requires_grad)
    return out


from . import ops as _ops  # noqa: E402  (the operations need Tensor)
