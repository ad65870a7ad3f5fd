"""Modules made of modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, overload

from .. import _core
from .._core import WATCHES
from ..tensor import Tensor
from .activation import Elementwise, make
from .conv import Conv2d
from .linear import Linear
from .module import Module
from .norm import BatchNorm1d, BatchNorm2d

# A layer of the first kind computes a following one of the second kind in its own pass. Only
# activations whose derivative needs nothing but their output: the one in between is never stored.
_NORMS = (BatchNorm1d, BatchNorm2d)
_HOSTS = (Linear, Conv2d, *_NORMS)
_GUESTS: frozenset[type[Elementwise]] = frozenset(
    kind for kind in Elementwise.__subclasses__() if _core.UNARY[kind.kernel][1] == "Y"
)


class _Numbered(Module):
    """Sub-modules in order, under the names 0, 1, 2 ... unless they were named."""

    def __init__(self, modules: Mapping[str, Module] | Iterable[Module]) -> None:
        if not isinstance(modules, Mapping):
            modules = {str(i): module for i, module in enumerate(modules)}
        for name, module in modules.items():
            self._put(name, module)

    def _put(self, name: str, module: Module) -> None:
        kind = type(self).__name__
        if not isinstance(module, Module):
            raise TypeError(f"{kind}: {name} must be a Module, got {type(module).__name__}")
        if not isinstance(name, str) or not name or "." in name:
            raise ValueError(f"{kind}: a name must be a str without '.', got {name!r}")
        if hasattr(self, name) and not isinstance(getattr(self, name), Module):
            raise ValueError(f"{kind}: the name {name!r} is taken")
        setattr(self, name, module)

    def _layers(self) -> list[Module]:
        return [value for value in self.__dict__.values() if isinstance(value, Module)]

    def __len__(self) -> int:
        return len(self._layers())

    def __iter__(self) -> Iterator[Module]:
        return iter(self._layers())

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Module | Self:
        if isinstance(index, slice):
            return self.from_config({"modules": dict(list(self.named_children())[index])})
        return self._layers()[index]

    def __setitem__(self, index: int, module: Module) -> None:
        self._put(list(self.named_children())[index][0], module)

    def append(self, module: Module) -> Self:
        """Adds a module at the end; returns the container."""
        name = len(self)
        while hasattr(self, str(name)):
            name += 1
        self._put(str(name), module)
        return self

    def config(self) -> dict[str, Any]:
        return {"modules": dict(self.named_children())}


class Sequential(_Numbered):
    """Calls modules one after the other: `Sequential(a, b)` or `Sequential({"first": a, ...})`.

    A Linear, Conv2d or BatchNorm layer and an element-wise activation behind it are computed in one
    pass over memory where neither has hooks. The bits are the same.

    Examples
    --------
    >>> from fastnn import nn
    >>> nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=True)
      (1): ReLU()
    )
    """

    def __init__(self, *modules: Any) -> None:
        named = len(modules) == 1 and isinstance(modules[0], Mapping)
        super().__init__(modules[0] if named else modules)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(config["modules"])

    def forward(self, x: Any) -> Any:
        return _run(self._layers(), x)


def _run(layers: list[Module], x: Any) -> Any:
    """Calls the layers one after the other, some together with the next."""
    last = len(layers) - 1
    fused = False
    for i, layer in enumerate(layers):
        if fused:
            fused = False
        elif i < last and type(layer) in _HOSTS and not layer.has_hooks() and _fits(layers[i + 1]):
            x = _together(layer, x, layers[i + 1].row)  # type: ignore[attr-defined]
            fused = True
        else:
            x = layer(x)
    return x


def _together(layer: Any, *args: Any) -> Any:
    """`forward_act`, as a call of the layer."""
    if WATCHES:
        return layer.watched(layer.forward_act, *args)
    return layer.forward_act(*args)


def _fits(activation: Module | None) -> bool:
    """Whether the layer before can compute this one in its own pass."""
    return type(activation) in _GUESTS and not activation.has_hooks()  # type: ignore


class ModuleList(_Numbered):
    """A list of modules that are found by `parameters()` and the like; not callable."""

    def __init__(self, modules: Mapping[str, Module] | Iterable[Module] = ()) -> None:
        super().__init__(modules)

    def extend(self, modules: Iterable[Module]) -> Self:
        """Adds modules at the end; returns the list."""
        for module in modules:
            self.append(module)
        return self


class Residual(Module):
    """activation(body(x) + shortcut(x)) (He et al., 2016).

    Where the body is a Sequential that ends with a BatchNorm layer or a Conv2d, that layer computes
    the sum and an element-wise activation in its own pass over memory. The bits are the same.

    Parameters
    ----------
    body : Module
    shortcut : Module, optional
        The identity unless given.
    activation : str, Module or class, optional
        None: the sum as it is.
    """

    def __init__(
        self, body: Module, shortcut: Module | None = None, activation: Any = None
    ) -> None:
        for name, module in (("body", body), ("shortcut", shortcut)):
            if not isinstance(module, Module) and (name == "body" or module is not None):
                raise TypeError(f"Residual: {name} must be a Module, got {type(module).__name__}")
        self.body = body
        self.shortcut = shortcut
        self.activation = None if activation is None else make(activation)

    def forward(self, x: Any) -> Tensor:
        act, last = self.activation, self.last_host()
        if last is None:
            y = self.body(x) + self._skip(x)
        else:
            before = _run(self.body._layers()[:-1], x)  # type: ignore[attr-defined]
            skip = self._skip(x)
            if skip.shape != last.output_shape(before.shape):  # a sum that broadcasts
                y = last(before) + skip
            elif _fits(act):
                return _together(last, before, act.row, skip)  # type: ignore[union-attr]
            else:
                y = _together(last, before, None, skip)
        return y if act is None else act(y)

    def _skip(self, x: Any) -> Any:
        return x if self.shortcut is None else self.shortcut(x)

    def last_host(self) -> BatchNorm1d | BatchNorm2d | Conv2d | None:
        """The last layer of the body where it can compute the sum, too, or None."""
        body = self.body
        if type(body) is not Sequential or body.has_hooks() or not len(body):
            return None
        last = body[-1]
        return last if type(last) in (*_NORMS, Conv2d) and not last.has_hooks() else None  # type: ignore

    def config(self) -> dict[str, Any]:
        return {"body": self.body, "shortcut": self.shortcut, "activation": self.activation}
