"""Random operations; element i of a draw depends on the seed and its position only."""

from __future__ import annotations

from typing import Any

from .. import _core
from ..random import reserve
from ..tensor import Tensor, as_tensor, record
from .activation import number

__all__ = ["dropout"]


def dropout(x: Any, p: float = 0.5, training: bool = True) -> Tensor:
    """Zeroes each element with probability p and scales the rest by 1 / (1 - p) while training.

    (Srivastava et al., 2014.)

    Raises
    ------
    ValueError
        If p is not in [0, 1].
    """
    p = number("dropout", "p", p)
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout: p must be in [0, 1], got {p}")
    x = as_tensor(x, "dropout")
    if not training or p == 0.0:
        return x
    seed, offset = reserve(x.numel())
    y, mask = _core.dropout_fwd(x._array, p, seed, offset)
    return record("dropout", y, (x,), lambda dy: (_core.dropout_bwd(dy, mask, p),))
