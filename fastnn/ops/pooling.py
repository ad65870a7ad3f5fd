"""Pooling over channels-last images."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _core
from ..tensor import Tensor, as_tensor, record
from .conv import pair
from .shape import pad

__all__ = ["adaptive_avg_pool2d", "avg_pool2d", "max_pool2d"]


Pair = tuple[int, int]


def _window(op: str, kernel_size: Any, stride: Any, padding: Any) -> tuple[Pair, Pair, Pair]:
    kernel = pair(kernel_size, op, "kernel_size")
    step = kernel if stride is None else pair(stride, op, "stride")
    return kernel, step, pair(padding, op, "padding")


def max_pool2d(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Tensor:
    """The largest value of each window.

    Parameters
    ----------
    x : (N, H, W, C)
    kernel_size, stride, padding : int or (int, int)
        stride is kernel_size unless given; padding (at most half of kernel_size) never wins.

    Returns
    -------
    Tensor (N, (H + 2 padding - kernel) // stride + 1, ..., C)
        NaN wins; of equal values the first one in row order gets the gradient.

    Raises
    ------
    ValueError, TypeError
        If x has no four dimensions, or the window is larger than the padded input.
    """
    x = as_tensor(x, "max_pool2d")
    window = _window("max_pool2d", kernel_size, stride, padding)
    (kh, kw), (sh, sw), (ph, pw) = window
    if kh * kw > 255 and _fits(x, window):  # the kernel's index of the winner is one byte
        if kh == 1 or kw == 1:
            return _long_max_pool(
                x, kh + kw - 1, 1 if kw == 1 else 2, sh if kw == 1 else sw, ph + pw
            )
        # The maximum over rows of the maxima has the same first winner.
        return max_pool2d(max_pool2d(x, (1, kw), (1, sw), (0, pw)), (kh, 1), (sh, 1), (ph, 0))
    a = x._array
    y, index = _core.max_pool2d_fwd(a, *window)
    return record("max_pool2d", y, (x,), lambda dy: (_core.max_pool2d_bwd(dy, index, a, *window),))


def _fits(x: Tensor, window: tuple[Pair, Pair, Pair]) -> bool:
    """Whether the window is legal for x; if not, the bridge says what is wrong."""
    kernel, stride, padding = window
    return x.ndim == 4 and all(
        s >= 1 and 0 <= 2 * p <= k <= n + 2 * p
        for k, s, p, n in zip(kernel, stride, padding, x.shape[1:3], strict=True)
    )


def _long_max_pool(x: Tensor, size: int, axis: int, stride: int, padding: int) -> Tensor:
    """Maxima of windows of more than 255 elements along one axis, from a copy of each window."""
    pads = (0, 0, padding, padding) if axis == 2 else (0, 0, 0, 0, padding, padding)
    padded = pad(x, pads, float("-inf"))
    starts = np.arange(0, padded.shape[axis] - size + 1, stride)
    windows = padded[(slice(None),) * axis + (starts[:, None] + np.arange(size),)]
    values: Tensor = windows.max(axis + 1)[0]
    return values


def avg_pool2d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    *,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window.

    Parameters
    ----------
    x : (N, H, W, C)
    kernel_size, stride, padding : int or (int, int)
        As for `max_pool2d`; padding counts as zeros, or not at all without count_include_pad.
    """
    x = as_tensor(x, "avg_pool2d")
    window = _window("avg_pool2d", kernel_size, stride, padding)
    a = x._array
    y = _core.avg_pool2d_fwd(a, *window, count_include_pad)
    return record(
        "avg_pool2d",
        y,
        (x,),
        lambda dy: (_core.avg_pool2d_bwd(dy, a, *window, count_include_pad),),
    )


def adaptive_avg_pool2d(x: Any, output_size: Any) -> Tensor:
    """Means of windows that divide the image into output_size rows and columns.

    Window i of OH covers rows floor(i H / OH) to ceil((i + 1) H / OH) - 1.

    Parameters
    ----------
    x : (N, H, W, C)
    output_size : int or (int, int)
    """
    x = as_tensor(x, "adaptive_avg_pool2d")
    size = pair(output_size, "adaptive_avg_pool2d", "output_size")
    a = x._array
    y = _core.adaptive_avg_pool2d_fwd(a, size)
    return record(
        "adaptive_avg_pool2d", y, (x,), lambda dy: (_core.adaptive_avg_pool2d_bwd(dy, a, size),)
    )
