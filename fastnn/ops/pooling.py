"""Pooling over channels-last images."""

from __future__ import annotations

from typing import Any

from .. import _core
from ..tensor import Tensor, as_tensor, record
from .conv import pair

__all__ = ["adaptive_avg_pool2d", "avg_pool2d", "max_pool2d"]


def _window(op: str, kernel_size: Any, stride: Any, padding: Any) -> Any:
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
    """
    x = as_tensor(x, "max_pool2d")
    window = _window("max_pool2d", kernel_size, stride, padding)
    a = x._array
    y, index = _core.max_pool2d_fwd(a, *window)
    return record(
        "max_pool2d", y, (x,), lambda dy: (_core.max_pool2d_bwd(dy, index, a, *window),)
    )


def avg_pool2d(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, count_include_pad: bool = True
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
