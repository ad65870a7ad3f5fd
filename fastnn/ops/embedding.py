"""Rows of a table by their number."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _core
from ..tensor import Tensor, as_tensor, record
from .loss import _labels

__all__ = ["embedding", "row_number"]


def row_number(op: str, padding_idx: Any, rows: int) -> int:
    """padding_idx counted from the front, -1 for None."""
    if padding_idx is None:
        return -1
    if isinstance(padding_idx, bool) or not isinstance(padding_idx, int | np.integer):
        raise TypeError(f"{op}: padding_idx must be an int, got {type(padding_idx).__name__}")
    if not -rows <= padding_idx < rows:
        raise ValueError(
            f"{op}: padding_idx must be in [-{rows}, {rows}) for {rows} rows, got {padding_idx}"
        )
    return int(padding_idx) % rows


def embedding(x: Any, weight: Any, padding_idx: int | None = None) -> Tensor:
    """y[...] = weight[x[...]]: a row of a table for each integer.

    Parameters
    ----------
    x : integers of any shape, each in [0, rows)
    weight : (rows, features)
    padding_idx : int, optional
        A row that gets no gradient; negative numbers count from the end.

    Returns
    -------
    Tensor (*x.shape, features)

    Raises
    ------
    IndexError
        If an index is out of range.
    TypeError, ValueError
        If x does not hold integers, or weight is no matrix of floats.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import functional as F
    >>> F.embedding(np.array([2, 0]), np.array([[1.0, 2], [3, 4], [5, 6]])).tolist()
    [[5.0, 6.0], [1.0, 2.0]]
    """
    index = _labels("embedding", x, "x must be an array of integers")
    weight = as_tensor(weight, "embedding", "weight")
    w = weight._array
    y = _core.embedding_fwd(index, w)
    padding = row_number("embedding", padding_idx, w.shape[0])
    if weight.requires_grad:
        index = index.copy()  # what backward reads must not change with the caller's array
    return record(
        "embedding", y, (weight,), lambda dy: (_core.embedding_bwd(dy, index, w, padding),)
    )
