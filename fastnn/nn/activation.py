"""Activation layers, and `make`, which finds one by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .. import ops
from ..creation import full
from ..tensor import Tensor
from .linear import Identity, count
from .module import Module, Parameter


class Elementwise(Module):
    """An activation that is a row of the kernel table; `row` is its name and two parameters."""

    row: tuple[str, float, float]

    def forward(self, x: Any) -> Tensor:
        name, p0, p1 = self.row
        return ops.unary(name, x, p0, p1)


class Sigmoid(Elementwise):
    """1 / (1 + exp(-x)): see `functional.sigmoid`."""

    row = ("sigmoid", 0.0, 0.0)


class Tanh(Elementwise):
    """Hyperbolic tangent: see `functional.tanh`."""

    row = ("tanh", 0.0, 0.0)


class ReLU(Elementwise):
    """max(0, x): see `functional.relu`."""

    row = ("relu", 0.0, 0.0)


class LeakyReLU(Elementwise):
    """x where x > 0, else negative_slope x: see `functional.leaky_relu`."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = _finite("LeakyReLU", "negative_slope", negative_slope)

    @property
    def row(self) -> tuple[str, float, float]:  # type: ignore[override]
        """The kernel's name and parameters."""
        return ("leaky_relu", self.negative_slope, 0.0)

    def config(self) -> dict[str, Any]:
        return {"negative_slope": self.negative_slope}


class ELU(Elementwise):
    """x where x > 0, else alpha (exp(x) - 1): see `functional.elu`."""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = _finite("ELU", "alpha", alpha)

    @property
    def row(self) -> tuple[str, float, float]:  # type: ignore[override]
        """The kernel's name and parameters."""
        return ("elu", self.alpha, 0.0)

    def config(self) -> dict[str, Any]:
        return {"alpha": self.alpha}


class PReLU(Module):
    """x where x > 0, else weight x, with learned slopes: see `functional.prelu`.

    Parameters
    ----------
    num_parameters : int
        1 (shared), or the number of channels (the last axis).
    init : float
        What the slopes start with.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        self.num_parameters = count("PReLU", "num_parameters", num_parameters)
        self.init = _finite("PReLU", "init", init)
        self.weight = Parameter(full(self.num_parameters, self.init))

    def forward(self, x: Any) -> Tensor:
        return ops.prelu(x, self.weight)

    def config(self) -> dict[str, Any]:
        return {"num_parameters": self.num_parameters, "init": self.init}

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class Softmax(Module):
    """exp(x) / sum exp(x) along `dim`, by default the last one."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = int(dim)

    def forward(self, x: Any) -> Tensor:
        return ops.softmax(x, self.dim)

    def config(self) -> dict[str, Any]:
        return {"dim": self.dim}


class LogSoftmax(Module):
    """x - log sum exp(x) along `dim`, by default the last one."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = int(dim)

    def forward(self, x: Any) -> Tensor:
        return ops.log_softmax(x, self.dim)

    def config(self) -> dict[str, Any]:
        return {"dim": self.dim}


_BY_NAME: dict[str, type[Module]] = {
    "elu": ELU,
    "identity": Identity,
    "leaky_relu": LeakyReLU,
    "prelu": PReLU,
    "relu": ReLU,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
}


def names() -> list[str]:
    """Names that `make` knows."""
    return sorted(_BY_NAME)


def name_of(activation: Module) -> str | None:
    """The name under which `make` knows this kind of activation, or None."""
    return next((name for name, kind in _BY_NAME.items() if type(activation) is kind), None)


def make(activation: str | Module | Callable[[], Module]) -> Module:
    """An activation layer from its name, its class or another function that makes it, or itself.

    Raises
    ------
    ValueError
        If the name is unknown; the message lists the known ones.
    TypeError
        If it is nothing that makes a Module.

    Examples
    --------
    >>> from fastnn import nn
    >>> nn.activation.make("relu"), nn.activation.make(nn.Tanh)
    (ReLU(), Tanh())
    """
    if isinstance(activation, str):
        kind = _BY_NAME.get(activation)
        if kind is None:
            raise ValueError(
                f"activation: expected one of {', '.join(names())}, got {activation!r}"
            )
        return kind()
    made = (
        activation() if callable(activation) and not isinstance(activation, Module) else activation
    )
    if not isinstance(made, Module):
        raise TypeError(
            f"activation: expected a name, a Module or its class, got {type(made).__name__}"
        )
    return made


def _finite(owner: str, name: str, value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{owner}: {name} must be finite, got {value}")
    return float(value)
