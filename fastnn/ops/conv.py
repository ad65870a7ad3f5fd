"""Convolution over channels-last images."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _core
from ..tensor import Tensor, as_tensor, record

__all__ = ["conv2d", "conv2d_act", "pair"]


def pair(value: Any, op: str, name: str) -> tuple[int, int]:
    """An int or two, as two."""
    items = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(items) != 2 or any(
        isinstance(v, bool) or not isinstance(v, int | np.integer) for v in items
    ):
        raise TypeError(f"{op}: {name} must be an int or a pair of ints, got {value!r}")
    return int(items[0]), int(items[1])


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Two-dimensional cross-correlation of channels-last images.

    y[n, i, j, k] = bias[k] + sum over r, s, c of
    weight[k, r, s, c] x[n, i stride + r dilation - padding, j stride + s dilation - padding, c]

    Parameters
    ----------
    x : (N, H, W, C)
    weight : (out_channels, kh, kw, C // groups)
    bias : (out_channels,), optional
    stride, padding, dilation : int or (int, int)
        For height and width; padding is with zeros.
    groups : int
        Divides the channels; group g of the outputs sees group g of the inputs. groups = C with as
        many outputs is a depthwise convolution.

    Returns
    -------
    Tensor (N, OH, OW, out_channels), OH = (H + 2 padding - dilation (kh - 1) - 1) // stride + 1

    Raises
    ------
    ValueError, TypeError
        If shapes or dtypes do not fit, or the kernel is larger than the padded input.
    """
    return conv2d_act(x, weight, bias, stride, padding, dilation, groups, None)


def conv2d_act(
    x: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    act: tuple[str, float, float] | None,
) -> Tensor:
    """`conv2d` with an element-wise function (row name, p0, p1) fused into it; the same bits."""
    x, weight = as_tensor(x, "conv2d"), as_tensor(weight, "conv2d", "weight")
    geometry = (
        pair(stride, "conv2d", "stride"),
        pair(padding, "conv2d", "padding"),
        pair(dilation, "conv2d", "dilation"),
        pair(groups, "conv2d", "groups")[0],
    )
    op, p0, p1 = (-1, 0.0, 0.0) if act is None else (_core.UNARY[act[0]][0], act[1], act[2])
    a, w = x._array, weight._array
    inputs: tuple[Tensor, ...] = (x, weight)
    b = None
    if bias is not None:
        bias = as_tensor(bias, "conv2d", "bias")
        b = bias._array
        inputs = (x, weight, bias)
    y = _core.conv2d_fwd(a, w, b, *geometry, op, p0, p1)
    needs = [t.requires_grad for t in inputs] + [False] * (3 - len(inputs))
    count = len(inputs)
    return record(
        "conv2d",
        y,
        inputs,
        lambda dy: _core.conv2d_bwd(dy, a, w, y, *geometry, op, p0, p1, *needs)[:count],
        op >= 0,
    )
