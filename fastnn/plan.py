# SPDX-License-Identifier: BSD-3-Clause
"""compile: a training step, or inference, recorded once and run without Python between kernels."""

from __future__ import annotations

import itertools
import operator
import threading
import warnings
from collections.abc import Callable
from typing import Any, overload

import numpy as np

from . import _core
from .autograd import is_grad_enabled, no_grad
from .nn import Module
from .random import reserve
from .tensor import Tensor, as_tensor

__all__ = ["CompiledModel", "CompiledStep", "compile"]

_MOST_PLANS = 8  # of shapes and dtypes


@overload
def compile(
    model: Module, loss: None = None, optimizer: None = None, *, fullgraph: bool = False
) -> CompiledModel: ...
@overload
def compile(
    model: Module,
    loss: Callable[[Any, Any], Tensor],
    optimizer: Any = None,
    *,
    fullgraph: bool = False,
) -> CompiledStep: ...
def compile(
    model: Module,
    loss: Callable[[Any, Any], Tensor] | None = None,
    optimizer: Any = None,
    *,
    fullgraph: bool = False,
) -> CompiledModel | CompiledStep:
    """A training step, or inference, recorded once for each input shape and replayed from then on.

    With a loss, `step(x, y)` forgets all gradients, computes ``loss(model(x), y)`` and its
    gradients, calls ``optimizer.step()`` and returns the loss as a float: see `CompiledStep`.
    Without, `predict(x)` is ``model(x)`` under `no_grad`: see `CompiledModel`. The bits are those
    of the same code without compile.

    Parameters
    ----------
    model : nn.Module
    loss : callable, optional
        ``loss(outputs, targets)``: a Tensor of one element. None: inference.
    optimizer : optim.Optimizer, optional
        None: the step ends with the gradients, which are left to the caller.
    fullgraph : bool
        Raise RuntimeError where the code cannot be recorded, instead of running it as it is.

    Examples
    --------
    >>> import fastnn as fnn
    >>> model = fnn.nn.Linear(2, 2)
    >>> optimizer = fnn.optim.SGD(model.parameters(), lr=0.1)
    >>> step = fnn.compile(model, fnn.functional.cross_entropy, optimizer)
    >>> x, y = fnn.ones(4, 2), fnn.zeros(4, dtype="int64")
    >>> step(x, y) > step(x, y)
    True
    >>> predict = fnn.compile(fnn.nn.fold_batch_norm(model.eval()))
    >>> predict(x).shape
    (4, 2)
    """
    if loss is None:
        if optimizer is not None:
            raise TypeError("compile: an optimizer needs a loss")
        return CompiledModel(model, fullgraph=fullgraph)
    return CompiledStep(model, loss, optimizer, fullgraph=fullgraph)


class _Compiled:
    """Recordings by shapes and dtypes of inputs, made anew where what they depend on changed."""

    _what = "model"

    def __init__(self, model: Module, parts: tuple[Any, ...], fullgraph: bool) -> None:
        if not isinstance(model, Module):
            raise TypeError(f"compile: model must be a Module, got {type(model).__name__}")
        self.model, self.fullgraph = model, fullgraph
        self._roots = [part for part in parts if isinstance(part, Module)]
        self._plans: dict[Any, tuple[_core.Plan | str, list[Any]]] = {}
        self._output: _core.Array | None = None
        self._changes = -1
        self._warned = False
        self._lock = threading.Lock()

    @property
    def recorded(self) -> bool:
        """Whether there is any recording to replay."""
        return any(not isinstance(plan, str) for plan, _ in self._plans.values())

    def reset(self) -> None:
        """Forgets all recordings; their memory goes back to the pool."""
        with self._lock:
            self._plans.clear()
            self._output = None

    def _compute(self, inputs: tuple[_core.Array, ...]) -> _core.Array | None:
        """The code as it is; sets _output and returns the loss, if there is one."""
        raise NotImplementedError

    def _run(self, inputs: tuple[_core.Array, ...]) -> Any:
        """Replays or records, or computes as it is; returns the loss, if there is one."""
        key = tuple([(a.shape, a.dtype) for a in inputs])
        changes = _core.change_count()
        if changes != self._changes:
            state = self._state()
            for k in [k for k, (_, before) in self._plans.items() if not _same(before, state)]:
                del self._plans[k]
            self._changes = changes
        plan = self._plans.get(key, (None,))[0]
        if isinstance(plan, str) or _core.searching():  # why there is none; detect_anomaly
            loss = self._compute(inputs)
            return None if loss is None else loss.item()
        if plan is None or not plan.holds():
            return self._record(key, inputs)
        value = plan.replay(inputs, reserve)
        self._output = plan.output
        return value

    def _record(self, key: Any, inputs: tuple[_core.Array, ...]) -> Any:
        self._plans.pop(key, None)
        if len(self._plans) == _MOST_PLANS:
            del self._plans[next(iter(self._plans))]
        if any(_core.overlap(a, b) for a, b in itertools.combinations(inputs, 2)):
            inputs = tuple(a.copy() for a in inputs)  # a replay has to tell them apart
        before = [(m, dict(m.__dict__)) for root in self._roots for m in root.modules()]
        plan = _core.Plan()
        _core.attach(plan)
        try:
            loss = self._compute(inputs)
        finally:
            _core.detach(plan)
        tensors = [*self._parameters(), *(b for root in self._roots for b in root.buffers())]
        reason = plan.finish(inputs, tensors, self._output, loss) or _changed(before)
        if reason is not None:
            message = f"compile: the {self._what} runs as it is, because {reason}"
            if self.fullgraph:
                raise RuntimeError(message)
            if not self._warned:
                warnings.warn(message, RuntimeWarning, stacklevel=5)
                self._warned = True
        self._plans[key] = reason or plan, self._state()
        return None if loss is None else loss.item()

    def _parameters(self) -> list[Tensor]:
        """Which tensors a recording reads, beside buffers."""
        return [p for root in self._roots for p in root.parameters()]

    def _state(self) -> list[Any]:
        """What a recording depends on, to be compared by identity."""
        state: list[Any] = []
        for root in self._roots:
            for module in root.modules():
                state += (module, module.has_hooks(), *module.__dict__.values())
        return state + [bool(tensor._hooks) for tensor in self._parameters()]


class CompiledStep(_Compiled):
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

    _what = "step"

    def __init__(
        self,
        model: Module,
        loss: Callable[[Any, Any], Tensor],
        optimizer: Any = None,
        *,
        fullgraph: bool = False,
    ) -> None:
        super().__init__(model, (model, loss), fullgraph)
        if not callable(loss):
            raise TypeError(f"compile: loss must be callable, got {type(loss).__name__}")
        if optimizer is not None and not callable(getattr(optimizer, "step", None)):
            raise TypeError(f"compile: optimizer has no step, got {type(optimizer).__name__}")
        self.loss, self.optimizer = loss, optimizer

    @property
    def output(self) -> Tensor:
        """A copy of what the model returned in the last step."""
        if self._output is None:
            raise RuntimeError("compile: there is no output: no step, or the model gave no Tensor")
        return Tensor(self._output.copy())

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
        with self._lock:
            return float(self._run(inputs))

    def _compute(self, inputs: tuple[_core.Array, ...]) -> _core.Array:
        for tensor in self._parameters():
            tensor.grad = None
        x, y = map(Tensor, inputs)
        output = self.model(x)
        self._output = output._array if isinstance(output, Tensor) else None
        loss = self.loss(output, y)
        loss.backward()
        return loss._array

    def _parameters(self) -> list[Tensor]:
        """Whose gradients the step computes."""
        groups = getattr(self.optimizer, "param_groups", ())
        own = super()._parameters()
        return list(dict.fromkeys([*own, *(p for group in groups for p in group["params"])]))


class CompiledModel(_Compiled):
    """What `compile` returns without a loss: ``predict(x)`` is ``model(x)`` under `no_grad`.

    A recording holds the C calls of forward with their buffers, and the weights of convolutions and
    linear layers as their kernels read them (for Winograd's algorithm, transformed). A change of a
    parameter is always seen: weights that an optimizer, `load_state_dict` or an assignment wrote to
    are prepared again at the next call, and those whose memory a NumPy array shares
    (``weight.numpy()``, while it lives) at each. A recording is made anew for another shape or
    dtype, and where a parameter was replaced, an attribute, a hook or the mode of a module changed.

    Batch normalization in eval mode stays a pass of its own, with the bits of the model as it is;
    ``compile(nn.fold_batch_norm(model))`` has none, and does not see later changes of the model.

    Numbers that Python code of the model takes from elsewhere are those of the recording; `reset`
    forgets all recordings. What cannot be recorded (see `CompiledStep`) runs as it is, after one
    warning that says why. Calls from several threads run one after the other.

    Raises
    ------
    RuntimeError
        Where an input requires a gradient that `no_grad` does not forbid, or fullgraph forbids what
        cannot be recorded.
    TypeError, ValueError, MemoryError
        As the model itself; TypeError where it returns anything but one Tensor.

    Examples
    --------
    >>> import fastnn as fnn
    >>> model = fnn.models.lenet5().eval()
    >>> predict, x = fnn.compile(model), fnn.zeros(1, 28, 28, 1)
    >>> before = predict(x)
    >>> with fnn.no_grad():
    ...     model[-1].bias += 1.0
    >>> bool((predict(x) == before + 1.0).numpy().all())
    True
    """

    def __init__(self, model: Module, *, fullgraph: bool = False) -> None:
        super().__init__(model, (model,), fullgraph)

    def __call__(self, *inputs: Any) -> Tensor:
        """The model's output: memory of its own, off the tape."""
        tensors = [as_tensor(x, "compile") for x in inputs]
        if is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            raise RuntimeError("compile: inference has no gradients, but an input requires one")
        with self._lock:
            self._run(tuple([tensor._array for tensor in tensors]))
            assert self._output is not None
            return Tensor(self._output.copy())

    def _compute(self, inputs: tuple[_core.Array, ...]) -> None:
        with no_grad():
            output = self.model(*map(Tensor, inputs))
        if not isinstance(output, Tensor):
            raise TypeError(f"compile: the model must return a Tensor, got {type(output).__name__}")
        self._output = output._array


def _changed(before: list[tuple[Module, dict[str, Any]]]) -> str | None:
    """Which attribute the step itself has set: the next step would see it, a replay would not."""
    for module, attributes in before:
        for name, value in module.__dict__.items():
            if name not in attributes or attributes[name] is not value:
                return f"it sets {name!r} of {type(module).__name__}"
    return None


def _same(before: list[Any], now: list[Any]) -> bool:
    return len(before) == len(now) and all(map(operator.is_, before, now))
