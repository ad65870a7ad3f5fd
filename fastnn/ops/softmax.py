"""Softmax and its logarithm, shifted by the largest value so that nothing overflows."""

from __future__ import annotations

from typing import Any

from .. import _core
from ..tensor import Tensor, as_tensor, record
from .reduction import move_last
from .shape import axis_of

__all__ = ["log_softmax", "softmax"]


def _softmax(x: Any, dim: int, log: bool) -> Tensor:
    name = "log_softmax" if log else "softmax"
    x = as_tensor(x, name)
    if x.ndim == 0:
        raise ValueError(f"{name}: x must have at least one dimension")
    axis = axis_of(dim, x.ndim, name)
    if axis != x.ndim - 1:
        return move_last(_softmax(move_last(x, axis), -1, log), axis)
    y = _core.softmax_fwd(x._array, log)
    return record(name, y, (x,), lambda dy: (_core.softmax_bwd(dy, y, log),), True)


def softmax(x: Any, dim: int = -1) -> Tensor:
    """exp(x) / sum exp(x) along `dim`."""
    return _softmax(x, dim, False)


def log_softmax(x: Any, dim: int = -1) -> Tensor:
    """x - log sum exp(x) along `dim`."""
    return _softmax(x, dim, True)
