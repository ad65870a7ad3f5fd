"""Dropout of activations and of weights."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..ops.activation import number
from ..tensor import Tensor
from .linear import Linear
from .module import Module


class Dropout(Module):
    """In training mode, zeroes each element with probability p and scales the rest by 1 / (1 - p).

    Raises
    ------
    ValueError
        If p is not in [0, 1].
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = _probability("Dropout", p)

    def forward(self, x: Any) -> Tensor:
        return ops.dropout(x, self.p, self.training)

    def config(self) -> dict[str, Any]:
        return {"p": self.p}


class DropConnect(Linear):
    """A Linear layer that, in training mode, computes with a random part of its weights.

    y = x (m weight / (1 - p))^T + bias; each m is 0 with probability p, 1 otherwise. One mask is
    drawn for a whole batch. In eval mode all weights are used as they are, which is the mean over
    the masks (Wan et al., "Regularization of neural networks using DropConnect", 2013, average a
    Gaussian approximation behind the activation instead).

    For convolutions: ``F.conv2d(x, F.dropout(weight, p, training), bias)``.

    Parameters
    ----------
    in_features, out_features : int
    p : float
        In [0, 1].
    bias : bool
    bias_init : float

    Raises
    ------
    ValueError
        If p is not in [0, 1].

    Examples
    --------
    >>> import fastnn as fnn
    >>> layer = fnn.nn.DropConnect(100, 2, p=0.3)
    >>> layer(fnn.ones(5, 100)).shape
    (5, 2)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        p: float = 0.5,
        bias: bool = True,
        *,
        bias_init: float = 0.0,
    ) -> None:
        super().__init__(in_features, out_features, bias, bias_init=bias_init)
        self.p = _probability("DropConnect", p)

    def forward(self, x: Any) -> Tensor:
        return self.forward_act(x, None)

    def forward_act(self, x: Any, act: tuple[str, float, float] | None) -> Tensor:
        weight = ops.dropout(self.weight, self.p, self.training)
        return ops.linear_act(x, weight, self.bias, act)

    def config(self) -> dict[str, Any]:
        return {**super().config(), "p": self.p}


def _probability(owner: str, p: Any) -> float:
    value = number(owner, "p", p)
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{owner}: p must be in [0, 1], got {p}")
    return value
