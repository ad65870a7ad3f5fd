"""Convolution over channels-last images."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _core
from .._core import Array
from ..tensor import Tensor, as_tensor, record
from .arithmetic import add
from .shape import pad

__all__ = ["conv2d", "conv2d_act", "conv2d_algo", "conv_transpose2d", "pair"]


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
    *,
    algo: str = "auto",
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
    algo : {"auto", "direct", "winograd"}
        How forward and backward are computed. "winograd" is for float32, dilation 1, one group, and
        kernels whose size divided by the stride, rounded up, is 3x3 or 5x5 (such as 11x11 with
        stride 4): up to 4 (5x5: 6.3) times fewer multiplications, rounding errors mostly 3 to 5
        (10) times those of "direct", of up to 3e-6 of the output's root mean square, and a NaN or
        infinity reaches all pixels of the tiles, of up to 8x8 outputs, that see it.
        "auto" is what FASTNN_CONV_ALGO names, or the one that a cost table expects to be faster:
        `conv2d_algo` tells which.

    Returns
    -------
    Tensor (N, OH, OW, out_channels), OH = (H + 2 padding - dilation (kh - 1) - 1) // stride + 1

    Raises
    ------
    ValueError, TypeError
        If shapes or dtypes do not fit, the kernel is larger than the padded input, or `algo` is
        unknown or impossible.
    """
    return conv2d_act(x, weight, bias, stride, padding, dilation, groups, None, algo)


def conv2d_algo(
    x_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    dtype: str = "float32",
    algo: str = "auto",
) -> dict[str, str]:
    """Which algorithms `conv2d` uses for these shapes on this CPU target.

    Returns
    -------
    dict
        "direct" or "winograd" for "forward", "data" and "weights", the gradients of x and weight.

    Raises
    ------
    ValueError, TypeError
        As `conv2d` does.

    Examples
    --------
    >>> conv2d_algo((32, 16, 16, 64), (64, 3, 3, 64), stride=2)
    {'forward': 'direct', 'data': 'direct', 'weights': 'direct'}
    """
    for name, shape in (("x_shape", x_shape), ("weight_shape", weight_shape)):
        if len(shape) != 4 or any(not isinstance(n, int | np.integer) or n < 0 for n in shape):
            raise ValueError(f"conv2d_algo: {name} must be four sizes, got {shape!r}")
    if dtype not in ("float32", "float64"):
        raise TypeError(f"conv2d_algo: dtype must be float32 or float64, got {dtype!r}")
    found = _core.conv2d_algo(
        tuple(x_shape),
        tuple(weight_shape),
        dtype == "float64",
        pair(stride, "conv2d", "stride"),
        pair(padding, "conv2d", "padding"),
        pair(dilation, "conv2d", "dilation"),
        pair(groups, "conv2d", "groups")[0],
        algo,
    )
    return dict(zip(("forward", "data", "weights"), found, strict=True))


def conv2d_act(
    x: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    act: tuple[str, float, float] | None,
    algo: str = "auto",
    residual: Any = None,
) -> Tensor:
    """act(conv2d(...) + residual) in one pass, act being (row name, p0, p1); the same bits."""
    x, weight = as_tensor(x, "conv2d"), as_tensor(weight, "conv2d", "weight")
    geometry = (
        pair(stride, "conv2d", "stride"),
        pair(padding, "conv2d", "padding"),
        pair(dilation, "conv2d", "dilation"),
        pair(groups, "conv2d", "groups")[0],
        algo,
    )
    op, p0, p1 = (-1, 0.0, 0.0) if act is None else (_core.UNARY[act[0]][0], act[1], act[2])
    a, w = x._array, weight._array
    inputs: tuple[Tensor, ...] = (x, weight)
    b = skip = None
    if bias is not None:
        bias = as_tensor(bias, "conv2d", "bias")
        b = bias._array
        inputs = (x, weight, bias)
    if residual is not None:
        residual = as_tensor(residual, "conv2d", "residual")
        skip = residual._array
        inputs = (*inputs, residual)
    y = _core.conv2d_fwd(a, w, b, *geometry, op, p0, p1, skip)
    need_b = bias is not None and bias.requires_grad
    needs, count = (x.requires_grad, weight.requires_grad, need_b), 2 + (bias is not None)

    def backward(dy: Array, add: Array | None = None) -> tuple[Array | None, ...]:
        if skip is None:
            return _core.conv2d_bwd(dy, a, w, y, *geometry, op, p0, p1, *needs, add)[:count]
        if op >= 0:
            dy = _core.unary_bwd(op, dy, y, p0, p1)
        grads = _core.conv2d_bwd(dy, a, w, None, *geometry, -1, p0, p1, *needs, add)
        return (*grads[:count], dy)

    return record("conv2d", y, inputs, backward, op >= 0, needs[0])


def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The transpose of `conv2d`, which enlarges channels-last images: its gradient by its input.

    y[n, i stride + r dilation - padding, j stride + s dilation - padding, k] = bias[k] +
    sum over r, s, c of weight[c, r, s, k] x[n, i, j, c]

    Parameters
    ----------
    x : (N, H, W, C)
    weight : (C, kh, kw, out_channels // groups)
    bias : (out_channels,), optional
    stride, padding, dilation : int or (int, int)
        Those of the convolution; padding takes rows and columns away from the result's border.
    output_padding : int or (int, int)
        Rows and columns more, below and to the right; less than stride or dilation.
    groups : int
        Divides the channels.

    Returns
    -------
    Tensor (N, OH, OW, out_channels),
        OH = (H - 1) stride - 2 padding + dilation (kh - 1) + output_padding + 1

    Raises
    ------
    ValueError, TypeError
        If shapes or dtypes do not fit, or nothing is left of the result.
    """
    op = "conv_transpose2d"
    x, weight = as_tensor(x, op), as_tensor(weight, op, "weight")
    steps, cut = pair(stride, op, "stride"), pair(padding, op, "padding")
    spread, more = pair(dilation, op, "dilation"), pair(output_padding, op, "output_padding")
    groups = pair(groups, op, "groups")[0]
    _check_transpose(op, x, weight, steps, cut, spread, more, groups)
    if bias is not None:
        bias = as_tensor(bias, op, "bias")
        if bias.shape != (weight.shape[3] * groups,) or bias.dtype != x.dtype:
            raise (ValueError if bias.dtype == x.dtype else TypeError)(
                f"{op}: bias must have shape ({weight.shape[3] * groups},) and dtype {x.dtype}, "
                f"got {bias.shape} and {bias.dtype}"
            )
    h, w = (
        (n - 1) * s - 2 * p + d * (k - 1) + m + 1
        for n, s, p, d, k, m in zip(
            x.shape[1:3], steps, cut, spread, weight.shape[1:3], more, strict=True
        )
    )
    if h < 1 or w < 1:
        raise ValueError(f"{op}: the result would be {h}x{w}")
    # A convolution of stride s cannot tell apart images that differ by less than s rows; what
    # output_padding adds beyond that, it takes for rows of x.
    extra = [m // s for m, s in zip(more, steps, strict=True)]
    if any(extra):
        x = pad(x, (0, 0, 0, extra[1], 0, extra[0]))
    a, filters, geometry = x._array, weight._array, (steps, cut, spread, groups)
    need_x, need_w = x.requires_grad, weight.requires_grad

    def backward(dy: Array) -> tuple[Array | None, Array | None]:
        dx = _core.conv2d_fwd(dy, filters, None, *geometry, "auto") if need_x else None
        if not need_w:
            return dx, None
        return dx, _core.conv2d_bwd(
            a, dy, filters, None, *geometry, "auto", -1, 0.0, 0.0, False, True, False
        )[1]

    y = record(op, _core.conv_transpose2d_fwd(a, filters, (h, w), *geometry), (x, weight), backward)
    return y if bias is None else add(y, bias)


def _check_transpose(
    op: str,
    x: Tensor,
    weight: Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    output_padding: tuple[int, int],
    groups: int,
) -> None:
    if x.dtype.kind != "f" or weight.dtype != x.dtype:
        raise TypeError(
            f"{op}: x and weight must be float32 or both float64, got {x.dtype}, {weight.dtype}"
        )
    if x.ndim != 4 or 0 in x.shape[1:]:
        raise ValueError(f"{op}: x must be (N, H, W, C), none but N 0, got shape {x.shape}")
    if weight.ndim != 4 or 0 in weight.shape:
        raise ValueError(
            f"{op}: weight must be (in_channels, kh, kw, out_channels // groups), "
            f"got shape {weight.shape}"
        )
    if weight.shape[0] != x.shape[3]:
        raise ValueError(f"{op}: weight has {weight.shape[0]} input channels, x has {x.shape[3]}")
    if groups < 1 or x.shape[3] % groups:
        raise ValueError(f"{op}: groups must divide {x.shape[3]} input channels, got {groups}")
    least = {"stride": (stride, 1), "padding": (padding, 0), "dilation": (dilation, 1),
             "output_padding": (output_padding, 0)}  # fmt: skip
    for name, (value, smallest) in least.items():
        if min(value) < smallest:
            raise ValueError(f"{op}: {name} must be at least {smallest}, got {value}")
        if max(value) > 1 << 30:
            raise ValueError(f"{op}: {name} is too large: {value}")
    for m, s, d in zip(output_padding, stride, dilation, strict=True):
        if m >= max(s, d):
            raise ValueError(
                f"{op}: output_padding must be less than stride or dilation, got "
                f"{output_padding}, {stride}, {dilation}"
            )
