# SPDX-License-Identifier: BSD-3-Clause
"""compile: a training step that is recorded once and then runs without Python between kernels."""

from __future__ import annotations

import operator
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from . import _core
from .autograd import is_grad_enabled
from .nn import Module
from .random import reserve
from .tensor import Tensor, as_tensor

__all__ = ["CompiledStep", "compile"]

_MOST_PLANS = 8  # of shapes and dtypes


def compile(
    model: Module,
    loss: Callable[[Any, Any], Tensor],
    optimizer: Any = None,
    *,
    fullgraph: bool = False,
) -> CompiledStep:
    """A training step that is recorded once for each input shape and replayed from then on.

    `step(x, y)` forgets all gradients, computes ``loss(model(x), y)`` and its gradients, calls
    ``optimizer.step()`` and returns the loss as a float: the same bits as the same step without
    compile. See `CompiledStep`.

    Parameters
    ----------
    model : nn.Module
    loss : callable
        ``loss(outputs, targets)``: a Tensor of one element.
    optimizer : optim.Optimizer, optional
        None: the step ends with the gradients, which are left to the caller.
    fullgraph : bool
        Raise RuntimeError where the step cannot be recorded, instead of running it as it is.

    Examples
    --------
    >>> import fastnn as fnn
    >>> model = fnn.nn.Linear(2, 2)
    >>> optimizer = fnn.optim.SGD(model.parameters(), lr=0.1)
    >>> step = fnn.compile(model, fnn.functional.cross_entropy, optimizer)
    >>> x, y = fnn.ones(4, 2), fnn.zeros(4, dtype="int64")
    >>> step(x, y) > step(x, y)
    True
    """
    return CompiledStep(model, loss, optimizer, fullgraph=fullgraph)


class CompiledStep:
    """What `compile` returns: call it with a batch of inputs and their targets.

    A recording holds the C calls of forward, loss and backward with their buffers, which nobody
    else uses until the step is dropped. It is made anew for another shape or dtype, and where a
    parameter was replaced or frozen, an attribute or the mode of a module changed. Dropout draws
    new numbers, running statistics move, labels are checked. The optimizer is called as ever: its
    options may change.

    Numbers that Python code of the model or the loss takes from elsewhere (a global variable, say)
    are those of the recording; `reset` forgets all recordings. `.grad` and what the model kept of
    its intermediate results are overwritten by the next step; inputs get no gradient. A step that
    reads values (``item()``, ``numpy()``, indexing), takes arrays from NumPy, calls hooks or sets
    attributes of its modules cannot be recorded: it runs as it is, after one warning that says why.

    Raises
    ------
    RuntimeError
        Under `no_grad`, or where fullgraph forbids what cannot be recorded: before the optimizer.
    TypeError, ValueError, MemoryError
        As the same step without compile.
    """

    def __init__(
        self,
        model: Module,
        loss: Callable[[Any, Any], Tensor],
        optimizer: Any = None,
        *,
        fullgraph: bool = False,
    ) -> None:
        if not isinstance(model, Module):
            raise TypeError(f"compile: model must be a Module, got {type(model).__name__}")
        if not callable(loss):
            raise TypeError(f"compile: loss must be callable, got {type(loss).__name__}")
        if optimizer is not None and not callable(getattr(optimizer, "step", None)):
            raise TypeError(f"compile: optimizer has no step, got {type(optimizer).__name__}")
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.fullgraph = fullgraph
        self._roots = [part for part in (model, loss) if isinstance(part, Module)]
        self._plans: dict[Any, tuple[_core.Plan | str, list[Any]]] = {}
        self._output: _core.Array | None = None
        self._changes = -1
        self._warned = False
        self._lock = threading.Lock()

    @property
    def output(self) -> Tensor:
        """A copy of what the model returned in the last step."""
        if self._output is None:
            raise RuntimeError("compile: there is no output: no step, or the model gave no Tensor")
        return Tensor(self._output.copy())

    @property
    def recorded(self) -> bool:
        """Whether there is any recording to replay."""
        return any(not isinstance(plan, str) for plan, _ in self._plans.values())

    def reset(self) -> None:
        """Forgets all recordings; their memory goes back to the pool."""
        with self._lock:
            self._plans.clear()
            self._output = None

    def __call__(self, x: Any, y: Any) -> float:
        """One step; the loss before it."""
        value = self.backward(x, y)
        if self.optimizer is not None:
            self.optimizer.step()
        return value

    def backward(self, x: Any, y: Any) -> float:
        """The step without the optimizer: the loss; its gradients are in `.grad`."""
        if not is_grad_enabled():
            raise RuntimeError("compile: a step computes gradients, which no_grad() forbids")
        if type(y) is np.ndarray and y.dtype.kind in "iu" and y.dtype != np.int64:
            y = y.astype(np.int64)  # as the losses would
        inputs = as_tensor(x, "compile")._array, as_tensor(y, "compile", "y")._array
        a, b = inputs
        key = a.shape, a.dtype, b.shape, b.dtype
        with self._lock:
            changes = _core.change_count()
            if changes != self._changes:
                state = self._state()
                for k in [k for k, (_, before) in self._plans.items() if not _same(before, state)]:
                    del self._plans[k]
                self._changes = changes
            plan = self._plans.get(key, (None,))[0]
            if isinstance(plan, str) or _core.searching():  # why there is none; detect_anomaly
                return self._run(inputs).item()
            if plan is None or not plan.holds():
                return self._record(key, inputs)
            value = plan.replay(inputs, reserve)
            self._output = plan.output
            return value

    def _run(self, inputs: tuple[_core.Array, _core.Array]) -> Tensor:
        """The step as it is; the loss."""
        for tensor in self._parameters():
            tensor.grad = None
        x, y = map(Tensor, inputs)
        output = self.model(x)
        self._output = output._array if isinstance(output, Tensor) else None
        loss = self.loss(output, y)
        loss.backward()
        return loss

    def _record(self, key: Any, inputs: tuple[_core.Array, _core.Array]) -> float:
        self._plans.pop(key, None)
        if len(self._plans) == _MOST_PLANS:
            del self._plans[next(iter(self._plans))]
        if _core.overlap(*inputs):  # a replay has to tell them apart
            inputs = inputs[0], inputs[1].copy()
        before = [(m, dict(m.__dict__)) for root in self._roots for m in root.modules()]
        plan = _core.Plan()
        _core.attach(plan)
        try:
            loss = self._run(inputs)
        finally:
            _core.detach(plan)
        tensors = [*self._parameters(), *(b for root in self._roots for b in root.buffers())]
        reason = plan.finish(inputs, tensors, self._output, loss._array) or _changed(before)
        if reason is not None:
            message = f"compile: the step runs as it is, because {reason}"
            if self.fullgraph:
                raise RuntimeError(message)
            if not self._warned:
                warnings.warn(message, RuntimeWarning, stacklevel=4)
                self._warned = True
        self._plans[key] = reason or plan, self._state()
        return float(loss.item())

    def _parameters(self) -> list[Tensor]:
        """Whose gradients the step computes."""
        groups = getattr(self.optimizer, "param_groups", ())
        own = (p for root in self._roots for p in root.parameters())
        return list(dict.fromkeys([*own, *(p for group in groups for p in group["params"])]))

    def _state(self) -> list[Any]:
        """What a recording depends on, to be compared by identity."""
        state: list[Any] = []
        for root in self._roots:
            for module in root.modules():
                state += (module, module.has_hooks(), *module.__dict__.values())
        return state + [bool(tensor._hooks) for tensor in self._parameters()]


def _changed(before: list[tuple[Module, dict[str, Any]]]) -> str | None:
    """Which attribute the step itself has set: the next step would see it, a replay would not."""
    for module, attributes in before:
        for name, value in module.__dict__.items():
            if name not in attributes or attributes[name] is not value:
                return f"it sets {name!r} of {type(module).__name__}"
    return None


def _same(before: list[Any], now: list[Any]) -> bool:
    return len(before) == len(now) and all(map(operator.is_, before, now))
