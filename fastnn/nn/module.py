"""Module: what layers and models are made of; and Parameter, what an optimizer changes.

A module's parameters and sub-modules are simply those of its attributes that are `Parameter`s or
`Module`s, in the order in which they were set: there is no second registry to keep in step, no
base constructor to call, and reading an attribute costs nothing extra.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from .. import _core
from .._core import WATCHES
from ..tensor import Handle, Tensor, as_tensor, check_dtype, record

if TYPE_CHECKING:
    from ..profiler import Profile
    from .summary import Summary

_EMPTY: Mapping[str, Any] = MappingProxyType({})


class Parameter(Tensor):
    """A Tensor that a Module owns and an optimizer changes; it shares the memory of `data`.

    Raises
    ------
    TypeError
        If `data` is neither float32 nor float64.
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        array = as_tensor(data, "Parameter", "data")._array
        if not array.dtype.startswith("float"):
            raise TypeError(f"Parameter: data must be float32 or float64, got {array.dtype}")
        super().__init__(array, requires_grad)


class LoadResult(NamedTuple):
    """What `load_state_dict(strict=False)` left out."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """A layer or a model: subclasses set attributes and define `forward`.

    Examples
    --------
    >>> import fastnn as fnn
    >>> from fastnn import nn
    >>> class Scale(nn.Module):
    ...     def __init__(self):
    ...         self.factor = nn.Parameter(fnn.ones(1))
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> [name for name, _ in Scale().named_parameters()]
    ['factor']
    """

    training = True
    _buffers: Mapping[str, bool] = _EMPTY  # name of a buffer -> whether state_dict has it
    _hooks: dict[str, dict[int, Any]] | None = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What calling the module computes."""
        raise NotImplementedError(f"{type(self).__name__}: forward is not defined")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._hooks is None and not WATCHES:
            return self.forward(*args, **kwargs)
        if self._hooks is None:
            return self.watched(self.forward, *args, **kwargs)
        return self.watched(self._call_hooked, args, kwargs)

    def watched(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """function(*args, **kwargs), while this thread's Watch, if any, knows that it is ours."""
        watch = _core.watch()
        if watch is None:
            return function(*args, **kwargs)
        if self not in watch.names:
            for name, module in self.named_modules():
                kind = type(module).__name__
                watch.names.setdefault(module, f"{name} ({kind})" if name else kind)
        before, watch.layer = watch.layer, watch.names[self]
        try:
            return function(*args, **kwargs)
        finally:
            watch.layer = before

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(self.__dict__.get(name), Parameter) and not (
            value is None or isinstance(value, Parameter)
        ):
            raise TypeError(
                f"{type(self).__name__}: {name} is a Parameter and cannot become a "
                f"{type(value).__name__}; use {name}.copy_(...) under no_grad() to change it"
            )
        object.__setattr__(self, name, value)
        _core.change()

    # --- what it consists of ------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The sub-modules, one level down."""
        for name, value in list(self.__dict__.items()):
            if isinstance(value, Module):
                yield name, value

    def children(self) -> Iterator[Module]:
        """The sub-modules, one level down, without names."""
        for _, child in self.named_children():
            yield child

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module (under the name "") and all below it, each once, parents first."""
        seen: set[Module] = set()
        for name, module in self._walk(prefix):
            if module not in seen:
                seen.add(module)
                yield name, module

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        for _, module in self.named_modules():
            yield module

    def _walk(self, prefix: str) -> Iterator[tuple[str, Module]]:
        """Every path to a module."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child._walk(_join(prefix, name))

    def _named(self, kind: str, prefix: str, recurse: bool) -> Iterator[tuple[str, Tensor]]:
        """Every path to a parameter or buffer."""
        for path, module in self._walk(prefix) if recurse else [(prefix, self)]:
            for name, value in list(module.__dict__.items()):
                if (
                    isinstance(value, Parameter)
                    if kind == "parameter"
                    else name in module._buffers and value is not None
                ):
                    yield _join(path, name), value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(name, parameter), each parameter once."""
        yield from _once(self._named("parameter", prefix, recurse))  # type: ignore[misc]

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, each once."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """(name, buffer), each buffer once."""
        yield from _once(self._named("buffer", prefix, recurse))

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers, each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Sets an attribute that is state, but not for an optimizer.

        Parameters
        ----------
        name : str
        tensor : Tensor or None
        persistent : bool
            Whether `state_dict` has it.
        """
        if not isinstance(name, str) or not name or "." in name:
            raise ValueError(f"register_buffer: name must be a str without '.', got {name!r}")
        if hasattr(self, name) and name not in self._buffers:
            raise ValueError(f"register_buffer: {type(self).__name__} already has {name!r}")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"register_buffer: expected a Tensor, got {type(tensor).__name__}")
        self._buffers = {**self._buffers, name: persistent}
        setattr(self, name, tensor)

    # --- mode, gradients, dtype -----------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Sets training mode (which dropout looks at) here and below; returns the module."""
        if not isinstance(mode, bool):
            raise TypeError(f"train: mode must be a bool, got {type(mode).__name__}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Leaves training mode."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forgets the gradients of all parameters (sets them to None)."""
        for parameter in self.parameters():
            parameter.grad = None

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Sets `requires_grad` of all parameters: False freezes them."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def apply(self, fn: Callable[[Module], object]) -> Self:
        """Calls `fn` on every module, children first; returns the module."""
        for module in list(self.modules())[::-1]:
            fn(module)
        return self

    def to_dtype(self, dtype: Any) -> Self:
        """Converts parameters, their gradients and float buffers; returns the module.

        Raises
        ------
        TypeError
            If dtype is neither float32 nor float64.
        """
        name = check_dtype(dtype, "to_dtype")
        if not name.startswith("float"):
            raise TypeError(f"to_dtype: dtype must be float32 or float64, got {name}")
        for tensor in [*self.parameters(), *self.buffers()]:
            if not tensor._array.dtype.startswith("float"):
                continue
            for holder in (tensor, tensor.grad):
                if holder is not None:
                    values = np.asarray(holder._array).astype(name)
                    holder._array = _core.from_buffer(values)
        return self

    def float(self) -> Self:
        """Converts to float32."""
        return self.to_dtype("float32")

    def double(self) -> Self:
        """Converts to float64."""
        return self.to_dtype("float64")

    # --- state ----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and persistent buffers by name, detached; they share the module's memory."""
        return {name: tensor.detach() for name, tensor in self._state().items()}

    def _state(self) -> dict[str, Tensor]:
        out: dict[str, Tensor] = {}
        for path, module in self._walk(""):
            for name, value in module.__dict__.items():
                if value is not None and (
                    isinstance(value, Parameter) or module._buffers.get(name, False)
                ):
                    out[_join(path, name)] = value
        return out

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Copies values (Tensors or NumPy arrays) into the parameters and buffers of these names.

        Raises
        ------
        RuntimeError
            If a shape or dtype differs or, where strict, a name is missing or unknown. It lists
            all of them, and nothing was changed.
        """
        result = self.check_state_dict(state_dict, strict)
        for name, tensor in self._state().items():
            if name in state_dict:
                np.copyto(tensor.numpy(), np.asarray(state_dict[name]))
                tensor._array.touch()
        return result

    def check_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Raises what `load_state_dict` would raise, and changes nothing."""
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"load_state_dict: expected a mapping of names to tensors, "
                f"got {type(state_dict).__name__}"
            )
        own = self._state()
        result = LoadResult(
            [name for name in own if name not in state_dict],
            [name for name in state_dict if name not in own],
        )
        problems = []
        if strict and result.missing_keys:
            problems.append(f"missing: {', '.join(result.missing_keys)}")
        if strict and result.unexpected_keys:
            problems.append(f"unexpected: {', '.join(map(str, result.unexpected_keys))}")
        for name, tensor in own.items():
            if name not in state_dict:
                continue
            value = as_tensor(state_dict[name], "load_state_dict", name)
            if value.shape != tensor.shape:
                problems.append(f"{name} must have shape {tensor.shape}, got {value.shape}")
            if value.dtype != tensor.dtype:
                problems.append(f"{name} must be {tensor.dtype}, got {value.dtype}")
        if problems:
            raise RuntimeError(f"load_state_dict ({type(self).__name__}): {'; '.join(problems)}")
        return result

    # --- hooks ----------------------------------------------------------------------------------

    def _add_hook(self, kind: str, hook: Callable[..., Any]) -> Handle:
        if self._hooks is None:
            self._hooks = {"pre": {}, "forward": {}, "call": {}, "backward": {}}
        return Handle(self._hooks[kind], hook)

    def register_forward_pre_hook(self, hook: Callable[[Any, Any], Any]) -> Handle:
        """Calls `hook(module, args)` before forward; what it returns replaces args.

        Returns a handle whose `remove()` takes the hook away.
        """
        return self._add_hook("pre", hook)

    def register_forward_hook(self, hook: Callable[[Any, Any, Any], Any]) -> Handle:
        """Calls `hook(module, args, output)` after forward; what it returns replaces output."""
        return self._add_hook("forward", hook)

    def register_full_backward_hook(self, hook: Callable[[Any, Any, Any], Any]) -> Handle:
        """Calls `hook(module, grad_input, grad_output)` when backward has passed the module.

        grad_input holds a Tensor for each Tensor argument, None for those without a gradient;
        grad_output holds the gradient of the output (of each, if forward returns a tuple). Where
        the module has one argument, the hook may return a replacement for its gradient.
        """
        return self._add_hook("backward", hook)

    def has_hooks(self) -> bool:
        """Whether any hook is registered on this very module."""
        return self._hooks is not None and any(self._hooks.values())

    def _call_hooked(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        assert self._hooks is not None
        if self.has_hooks():
            _core.spoil("is called", f"a hook on {type(self).__name__}")
        for hook in list(self._hooks["pre"].values()):
            result = hook(self, args)
            if result is not None:
                args = result if isinstance(result, tuple) else (result,)
        watch = _BackwardWatch(self, args) if self._hooks["backward"] else None
        output = self.forward(*(watch.args if watch else args), **kwargs)
        for hook in list(self._hooks["forward"].values()):
            result = hook(self, args, output)
            if result is not None:
                output = result
        for hook in list(self._hooks["call"].values()):  # the summary's: sees keywords too
            hook(args, kwargs, output)
        return watch.outputs(output) if watch else output

    # --- description ----------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """Constructor arguments that make an equal layer: JSON values and, in containers, Modules.

        `fastnn.save` stores them.
        """
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The layer that `config` describes."""
        return cls(**config)

    def flops(self, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> int:
        """Multiplications and additions of this layer's products in one forward (2 per MAC)."""
        return 0

    def algorithm(self, input_shape: tuple[int, ...]) -> str:
        """How it computes: one name, or those of forward and its two gradients, or nothing."""
        return ""

    def summary(self, input_shape: tuple[int, ...], profile: Profile | None = None) -> Summary:
        """A table of layers, output shapes, parameters, FLOPs, activation bytes and algorithms.

        Parameters
        ----------
        input_shape : tuple of int
            Shape of one sample, without the batch: (28, 28, 1). Zeros of that shape run through
            the model, in eval mode; its mode and gradients are as before afterwards.
        profile : Profile, optional
            Of this model, in another `with` block: its times are shown, too. An activation that was
            computed by the layer before it has none of its own.
        """
        from .summary import summarize

        return summarize(self, input_shape, profile)

    def extra_repr(self) -> str:
        """What `repr` has between the parentheses of a layer without children."""
        return ", ".join(f"{name}={value!r}" for name, value in self.config().items())

    def __repr__(self) -> str:
        children = list(self.named_children())
        if not children:
            return f"{type(self).__name__}({self.extra_repr()})"
        lines = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in children]
        return f"{type(self).__name__}(\n  " + "\n  ".join(lines) + "\n)"


class _BackwardWatch:
    """Runs a module's backward hooks in one call: collects gradients where they pass its border."""

    def __init__(self, module: Module, args: tuple[Any, ...]) -> None:
        self.module = module
        self.grad_output: list[Tensor | None] = []
        self.grad_input: list[Tensor | None] = [None for a in args if isinstance(a, Tensor)]
        # The border: a tensor of its own, so that other uses of the argument are not counted.
        self.args: tuple[Any, ...] = tuple(
            record("module_input", a._array, (a,), lambda dy: (dy,)) if isinstance(a, Tensor) else a
            for a in args
        )
        self.inputs = [a for a in self.args if isinstance(a, Tensor)]
        self.tracked = [i for i, a in enumerate(self.inputs) if a.requires_grad]
        for i in self.tracked:
            self.inputs[i].register_hook(partial(self.arrived, i))

    def outputs(self, output: Any) -> Any:
        """The output with hooks on its gradients, behind a border of its own."""
        if isinstance(output, Tensor):
            return self.outputs((output,))[0]
        if not isinstance(output, tuple):
            return output
        marked = list(output)
        for i, tensor in enumerate(output):
            if isinstance(tensor, Tensor) and tensor.requires_grad:
                marked[i] = record("module_output", tensor._array, (tensor,), lambda dy: (dy,))
                marked[i].register_hook(partial(self.left, i))
        self.grad_output = [None] * len(output)
        return tuple(marked)

    def left(self, i: int, gradient: Tensor) -> None:
        self.grad_output[i] = gradient
        if not self.tracked and all(g is not None for g in self.grad_output):
            self.call()

    def arrived(self, i: int, gradient: Tensor) -> Tensor | None:
        self.grad_input[i] = gradient
        # Arguments were recorded in order and are met in reverse: the first one comes last.
        return self.call() if i == self.tracked[0] else None

    def call(self) -> Tensor | None:
        hooks = self.module._hooks
        replaced = None
        for hook in list(hooks["backward"].values()) if hooks else []:
            result = hook(self.module, tuple(self.grad_input), tuple(self.grad_output))
            if result is None:
                continue
            if len(self.grad_input) != 1:
                raise RuntimeError(
                    "register_full_backward_hook: only the gradient of a single argument can be "
                    f"replaced, {type(self.module).__name__} was called with {len(self.grad_input)}"
                )
            replaced = result[0] if isinstance(result, tuple) else result
            self.grad_input[0] = replaced
        return replaced


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _once(pairs: Iterator[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    seen: set[Tensor] = set()
    for name, tensor in pairs:
        if tensor not in seen:
            seen.add(tensor)
            yield name, tensor
