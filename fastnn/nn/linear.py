"""Fully connected layers, and the layers that only change or check shapes."""

from __future__ import annotations

import math
from typing import Any

from .. import init
from ..creation import empty
from ..ops import flatten, linear_act
from ..ops import maxout as maxout_op
from ..ops.activation import number
from ..tensor import Tensor, as_tensor
from .module import Module, Parameter


def count(owner: str, name: str, value: Any) -> int:
    """A size: an int of at least 1."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{owner}: {name} must be an int, got {type(value).__name__}")
    if value.__index__() < 1:
        raise ValueError(f"{owner}: {name} must be at least 1, got {value}")
    return int(value.__index__())


def start_bias(owner: str, size: int, bias: bool, bias_init: float) -> Parameter | None:
    """A bias filled with `bias_init`, or None."""
    if not math.isfinite(bias_init):
        raise ValueError(f"{owner}: bias_init must be finite, got {bias_init}")
    return Parameter(init.constant_(empty(size), bias_init)) if bias else None


class Linear(Module):
    """y = x weight^T + bias.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    bias_init : float
        What the bias starts with. A small positive one keeps ReLU units alive at the start.

    Attributes
    ----------
    weight : (out_features, in_features)
        Starts with He et al.'s uniform distribution for ReLU (`init.kaiming_uniform_`); PyTorch's
        default is smaller. `init.init_model` redraws it for other activations.
    bias : (out_features,) or None
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, bias_init: float = 0.0
    ) -> None:
        self.in_features = count("Linear", "in_features", in_features)
        self.out_features = count("Linear", "out_features", out_features)
        self.bias_init = number("Linear", "bias_init", bias_init)
        self.weight = Parameter(init.kaiming_uniform_(empty(self.out_features, self.in_features)))
        self.bias = start_bias("Linear", self.out_features, bias, self.bias_init)

    def forward(self, x: Any) -> Tensor:
        return linear_act(x, self.weight, self.bias, None)

    def forward_act(self, x: Any, act: tuple[str, float, float]) -> Tensor:
        """`forward` and an element-wise activation in one pass over memory; the same bits."""
        return linear_act(x, self.weight, self.bias, act)

    def flops(self, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> int:
        return 2 * math.prod(output_shape) * self.in_features

    def config(self) -> dict[str, Any]:
        return {
            "in_features": self.in_features,
            "out_features": self.out_features,
            "bias": self.bias is not None,
            "bias_init": self.bias_init,
        }

    def extra_repr(self) -> str:
        return _without_zero_bias_init(self)


class Maxout(Module):
    """The largest of `pieces` linear functions for each output (Goodfellow et al., 2013).

    y[j] = max over i < pieces of (x weight^T + bias)[j pieces + i]

    Parameters
    ----------
    in_features, out_features : int
    pieces : int
    bias : bool
    bias_init : float

    Attributes
    ----------
    weight : (out_features * pieces, in_features)
    bias : (out_features * pieces,) or None
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        pieces: int = 2,
        bias: bool = True,
        *,
        bias_init: float = 0.0,
    ) -> None:
        self.in_features = count("Maxout", "in_features", in_features)
        self.out_features = count("Maxout", "out_features", out_features)
        self.pieces = count("Maxout", "pieces", pieces)
        self.bias_init = number("Maxout", "bias_init", bias_init)
        rows = self.out_features * self.pieces
        gain = init.calculate_gain("maxout")
        self.weight = Parameter(init.xavier_uniform_(empty(rows, self.in_features), gain))
        self.bias = start_bias("Maxout", rows, bias, self.bias_init)

    def forward(self, x: Any) -> Tensor:
        return maxout_op(linear_act(x, self.weight, self.bias, None), self.pieces)

    def flops(self, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> int:
        return 2 * math.prod(output_shape) * self.pieces * self.in_features

    def config(self) -> dict[str, Any]:
        return {
            "in_features": self.in_features,
            "out_features": self.out_features,
            "pieces": self.pieces,
            "bias": self.bias is not None,
            "bias_init": self.bias_init,
        }

    def extra_repr(self) -> str:
        return _without_zero_bias_init(self)


class Identity(Module):
    """Returns its input."""

    def forward(self, x: Any) -> Tensor:
        return as_tensor(x, "Identity")


class Flatten(Module):
    """The dimensions start_dim..end_dim as one; by default all but the batch."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = int(start_dim), int(end_dim)

    def forward(self, x: Any) -> Tensor:
        return flatten(x, self.start_dim, self.end_dim)

    def config(self) -> dict[str, Any]:
        return {"start_dim": self.start_dim, "end_dim": self.end_dim}


class Input(Module):
    """Returns its input if every sample has the given shape: a clear error at a model's door.

    Parameters
    ----------
    shape : tuple of int or None
        Shape of one sample, without the batch; None stands for any size from `least` on.
    least : int

    Raises
    ------
    ValueError
        If a batch has another shape.
    """

    def __init__(self, shape: Any, least: int = 1) -> None:
        self.shape = tuple(None if n is None else count("Input", "shape", n) for n in shape)
        self.least = count("Input", "least", least)

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x, "Input")
        sizes = x.shape[1:]
        fits = x.ndim == len(self.shape) + 1 and all(
            size >= self.least if wanted is None else size == wanted
            for size, wanted in zip(sizes, self.shape, strict=True)
        )
        if not fits:
            shape = ", ".join(f">={self.least}" if n is None else str(n) for n in self.shape)
            raise ValueError(f"this model takes batches of shape (N, {shape}), got {x.shape}")
        return x

    def config(self) -> dict[str, Any]:
        return {"shape": list(self.shape), "least": self.least}


def _without_zero_bias_init(layer: Linear | Maxout) -> str:
    shown = layer.config()
    if not layer.bias_init:
        del shown["bias_init"]
    return ", ".join(f"{name}={value!r}" for name, value in shown.items())
