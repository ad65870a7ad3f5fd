"""The tape: what an operation leaves behind in forward, and the walk back over it.

An operation that has an input with `requires_grad` leaves a `Node` on its output: its inputs, and a
function from the gradient of its output to the gradients of its inputs. Nodes are numbered as they
are made, so descending numbers are an order in which every node comes after all that used it.
"""

from __future__ import annotations

import functools
import itertools
import operator
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from . import _core
from ._core import WATCHES, Array

if TYPE_CHECKING:
    from .tensor import Tensor

Backward = Callable[..., Sequence[Array | None]]
_F = TypeVar("_F", bound=Callable[..., Any])
_ADD = _core.BINARY["add"]
_numbers = itertools.count()
_number = operator.attrgetter("number")


class _Mode(threading.local):
    enabled = True


_mode = _Mode()


class Node:
    """One operation on the tape.

    `output` is its result where backward reads it, too. `adds`: backward takes the gradient of the
    first input that has gathered so far, if any, and returns the sum with its own, which saves a
    pass over memory; the bits are those of a sum afterwards.
    """

    __slots__ = ("adds", "backward", "clock", "inputs", "layer", "name", "number", "output")

    def __init__(
        self,
        name: str,
        inputs: tuple[Tensor, ...],
        backward: Backward,
        output: Array | None = None,
        adds: bool = False,
    ) -> None:
        self.adds = adds
        self.name = name
        self.inputs = inputs
        self.output = output
        self.backward: Backward | None = backward
        self.number = next(_numbers)
        self.clock = _core.clock()  # what is written to later spoils the gradient
        watch = _core.watch() if WATCHES else None
        self.layer = "" if watch is None else watch.layer

    def check_unwritten(self) -> None:
        """Raises RuntimeError if an input or the output was written to since."""
        if any(t._array.written > self.clock for t in self.inputs):
            raise RuntimeError(
                f"backward: an input of {self.name} was modified in place after it was used"
            )
        if self.output is not None and self.output.written > self.clock:
            raise RuntimeError(
                f"backward: the result of {self.name} was modified in place, but is needed"
            )


def is_grad_enabled() -> bool:
    """Whether operations of this thread are recorded."""
    return _mode.enabled


class no_grad:
    """Context manager and decorator: operations of this thread are not recorded inside.

    Examples
    --------
    >>> import fastnn as fnn
    >>> x = fnn.ones(2, requires_grad=True)
    >>> with fnn.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    def __enter__(self) -> None:
        self._before = _mode.enabled
        _mode.enabled = False

    def __exit__(self, *exc: object) -> None:
        _mode.enabled = self._before

    def __call__(self, function: _F) -> _F:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with no_grad():
                return function(*args, **kwargs)

        return wrapped  # type: ignore[return-value]


def run_backward(
    root: Tensor, gradient: Array, retain_graph: bool, wrap: Callable[[Array], Tensor]
) -> None:
    """Adds d root / d leaf, weighted by `gradient`, to the `.grad` of every leaf below root.

    `wrap` makes the Tensors that hooks and leaves see.
    """
    nodes, leaves, watched = _below(root)
    # Gradients gather at the node that made a tensor, or at the tensor itself if it is a leaf.
    incoming: dict[Any, Array] = {root._node or root: gradient}
    shared = {root}  # leaves whose gradient something else refers to, too
    watch = _core.watch() if WATCHES else None
    layer = "" if watch is None else watch.layer
    for node in nodes:
        dy = incoming.pop(node, None)
        if dy is None:
            continue
        if watch is not None:
            watch.layer = node.layer
        if node in watched:
            dy = _run_hooks(watched[node], dy, wrap)
        backward, inputs = node.backward, node.inputs
        if backward is None:
            raise RuntimeError(
                f"backward: the graph of {node.name} was freed by an earlier backward; "
                "pass retain_graph=True to the first one"
            )
        if node.clock != _core.clock():
            node.check_unwritten()
        if not retain_graph:
            node.backward, node.inputs, node.output = None, (), None
        before = incoming.pop(inputs[0]._node or inputs[0], None) if node.adds else None
        grads = backward(dy) if before is None else backward(dy, before)
        for tensor, dx in zip(inputs, grads, strict=True):
            if dx is None or not tensor.requires_grad:
                continue
            key = tensor._node or tensor
            if key in incoming:
                incoming[key] = _core.binary(_ADD, incoming[key], dx)
                shared.discard(tensor)
            else:
                incoming[key] = dx
                if key is tensor and (dx is dy or dx.base is not None):
                    shared.add(tensor)
    if watch is not None:
        watch.layer = layer
    for leaf in leaves:
        if leaf in incoming:
            dy = incoming[leaf]
            if leaf in watched:
                dy = _run_hooks(watched[leaf], dy, wrap)
            if leaf.grad is not None:
                _core.add_(leaf.grad._array, dy)
            else:
                leaf.grad = wrap(dy.copy() if leaf in shared or leaf in watched else dy)


def _below(root: Tensor) -> tuple[list[Node], list[Tensor], dict[Any, list[Tensor]]]:
    """What root depends on: nodes, latest first; leaves; tensors with hooks, by their key."""
    nodes: list[Node] = []
    leaves: list[Tensor] = []
    watched: dict[Any, list[Tensor]] = {}
    seen: set[Any] = set()
    stack = [root]
    while stack:
        tensor = stack.pop()
        if not tensor.requires_grad:
            continue
        key: Any = tensor._node or tensor
        if tensor._hooks:
            known = watched.setdefault(key, [])
            if not any(other is tensor for other in known):
                known.append(tensor)
        if key in seen:
            continue
        seen.add(key)
        if key is tensor:
            leaves.append(tensor)
        else:
            nodes.append(key)
            stack.extend(key.inputs)
    nodes.sort(key=_number, reverse=True)
    return nodes, leaves, watched


def _run_hooks(
    tensors: Sequence[Tensor], gradient: Array, wrap: Callable[[Array], Tensor]
) -> Array:
    _core.spoil("is called", "a hook on a tensor")
    for tensor in tensors:
        for hook in list(tensor._hooks.values()):
            result = hook(wrap(gradient))
            if result is not None:
                array = getattr(result, "_array", None)
                if array is None or array.shape != gradient.shape:
                    got = type(result).__name__ if array is None else array.shape
                    raise ValueError(
                        f"register_hook: a hook must return None or a Tensor of shape "
                        f"{gradient.shape}, got {got}"
                    )
                if array.dtype != gradient.dtype:
                    raise TypeError(
                        f"register_hook: a hook must return {gradient.dtype}, got {array.dtype}"
                    )
                gradient = array
    return gradient
