"""Dropout layer."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..ops.activation import number
from ..tensor import Tensor
from .module import Module


class Dropout(Module):
    """In training mode, zeroes each element with probability p and scales the rest by 1 / (1 - p).

    Raises
    ------
    ValueError
        If p is not in [0, 1].
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = number("Dropout", "p", p)
        if not 0.0 <= self.p <= 1.0:
            raise ValueError(f"Dropout: p must be in [0, 1], got {p}")

    def forward(self, x: Any) -> Tensor:
        return ops.dropout(x, self.p, self.training)

    def config(self) -> dict[str, Any]:
        return {"p": self.p}
