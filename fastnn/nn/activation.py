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

__all__ = [
    "CELU", "ELU", "GELU", "SELU", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU",
    "LogSigmoid", "LogSoftmax", "Mish", "PReLU", "ReLU", "ReLU6", "SiLU", "Sigmoid", "Softmax",
    "Softplus", "Softsign", "Tanh", "Threshold",
]  # fmt: skip


class Elementwise(Module):
    """An activation that is a row of the kernel table; `row` is its name and two parameters.

    `kernel` is the row's name for the class as a whole; layers with parameters define `row`, too.
    """

    kernel: str

    @property
    def row(self) -> tuple[str, float, float]:
        """The kernel's name and parameters."""
        return (self.kernel, 0.0, 0.0)

    def forward(self, x: Any) -> Tensor:
        name, p0, p1 = self.row
        return ops.unary(name, x, p0, p1)


class Sigmoid(Elementwise):
    """1 / (1 + exp(-x)): see `functional.sigmoid`."""

    kernel = "sigmoid"


class Tanh(Elementwise):
    """Hyperbolic tangent: see `functional.tanh`."""

    kernel = "tanh"


class ReLU(Elementwise):
    """max(0, x): see `functional.relu`."""

    kernel = "relu"


class LeakyReLU(Elementwise):
    """x where x > 0, else negative_slope x: see `functional.leaky_relu`."""

    kernel = "leaky_relu"

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = _finite("LeakyReLU", "negative_slope", negative_slope)

    @property
    def row(self) -> tuple[str, float, float]:
        """The kernel's name and parameters."""
        return ("leaky_relu", self.negative_slope, 0.0)

    def config(self) -> dict[str, Any]:
        return {"negative_slope": self.negative_slope}


class ELU(Elementwise):
    """x where x > 0, else alpha (exp(x) - 1): see `functional.elu`."""

    kernel = "elu"

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = _finite("ELU", "alpha", alpha)

    @property
    def row(self) -> tuple[str, float, float]:
        """The kernel's name and parameters."""
        return ("elu", self.alpha, 0.0)

    def config(self) -> dict[str, Any]:
        return {"alpha": self.alpha}


class SELU(Elementwise):
    """1.0507 elu(x, 1.6733): see `functional.selu`."""

    kernel = "selu"


class CELU(Elementwise):
    """x where x > 0, else alpha (exp(x / alpha) - 1): see `functional.celu`."""

    kernel = "celu"

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = _finite("CELU", "alpha", alpha)
        if self.alpha <= 0:
            raise ValueError(f"CELU: alpha must be positive, got {alpha}")

    @property
    def row(self) -> tuple[str, float, float]:
        """The kernel's name and parameters."""
        return ("celu", self.alpha, 0.0)

    def config(self) -> dict[str, Any]:
        return {"alpha": self.alpha}


class SiLU(Elementwise):
    """x sigmoid(x): see `functional.silu`."""

    kernel = "silu"


class GELU(Elementwise):
    """x Phi(x), or its approximation by tanh: see `functional.gelu`."""

    kernel = "gelu"

    def __init__(self, approximate: str = "none") -> None:
        if approximate not in ("none", "tanh"):
            raise ValueError(f"GELU: approximate must be 'none' or 'tanh', got {approximate!r}")
        self.approximate = approximate

    @property
    def row(self) -> tuple[str, float, float]:
        """The kernel's name and parameters."""
        return ("gelu" if self.approximate == "none" else "gelu_tanh", 0.0, 0.0)

    def config(self) -> dict[str, Any]:
        return {"approximate": self.approximate}


class Mish(Elementwise):
    """x tanh(softplus(x)): see `functional.mish`."""

    kernel = "mish"


class Softplus(Elementwise):
    """log(1 + exp(beta x)) / beta: see `functional.softplus`."""

    kernel = "softplus"

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta, self.threshold = _finite("Softplus", "beta", beta), float(threshold)
        if self.beta == 0:
            raise ValueError("Softplus: beta must not be 0")

    @property
    def row(self) -> tuple[str, float, float]:
        """The kernel's name and parameters."""
        return ("softplus", self.beta, self.threshold)

    def config(self) -> dict[str, Any]:
        return {"beta": self.beta, "threshold": self.threshold}


class Softsign(Elementwise):
    """x / (1 + |x|): see `functional.softsign`."""

    kernel = "softsign"


class LogSigmoid(Elementwise):
    """log(1 / (1 + exp(-x))): see `functional.logsigmoid`."""

    kernel = "logsigmoid"


class Hardtanh(Elementwise):
    """min(max(x, min_val), max_val): see `functional.hardtanh`."""

    kernel = "hardtanh"

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        if not min_val <= max_val:
            raise ValueError(
                f"Hardtanh: min_val must be at most max_val, got {min_val} and {max_val}"
            )
        self.min_val, self.max_val = float(min_val), float(max_val)

    @property
    def row(self) -> tuple[str, float, float]:
        """The kernel's name and parameters."""
        return ("hardtanh", self.min_val, self.max_val)

    def config(self) -> dict[str, Any]:
        return {"min_val": self.min_val, "max_val": self.max_val}


class ReLU6(Elementwise):
    """min(max(x, 0), 6): see `functional.relu6`."""

    kernel = "hardtanh"

    @property
    def row(self) -> tuple[str, float, float]:
        """The kernel's name and parameters."""
        return ("hardtanh", 0.0, 6.0)


class Hardsigmoid(Elementwise):
    """min(max(x + 3, 0), 6) / 6: see `functional.hardsigmoid`."""

    kernel = "hardsigmoid"


class Hardswish(Elementwise):
    """x hardsigmoid(x): see `functional.hardswish`."""

    kernel = "hardswish"


class Threshold(Elementwise):
    """x where x > threshold, else value: see `functional.threshold`."""

    kernel = "threshold"

    def __init__(self, threshold: float, value: float) -> None:
        self.threshold, self.value = float(threshold), float(value)

    @property
    def row(self) -> tuple[str, float, float]:
        """The kernel's name and parameters."""
        return ("threshold", self.threshold, self.value)

    def config(self) -> dict[str, Any]:
        return {"threshold": self.threshold, "value": self.value}


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
    "celu": CELU,
    "elu": ELU,
    "gelu": GELU,
    "hardsigmoid": Hardsigmoid,
    "hardswish": Hardswish,
    "hardtanh": Hardtanh,
    "identity": Identity,
    "leaky_relu": LeakyReLU,
    "logsigmoid": LogSigmoid,
    "mish": Mish,
    "prelu": PReLU,
    "relu": ReLU,
    "relu6": ReLU6,
    "selu": SELU,
    "sigmoid": Sigmoid,
    "silu": SiLU,
    "softplus": Softplus,
    "softsign": Softsign,
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
