"""Pooling layers."""

from __future__ import annotations

from typing import Any

from ..ops import adaptive_avg_pool2d, avg_pool2d, max_pool2d, pair
from ..tensor import Tensor
from .module import Module


class _Pool(Module):
    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        name = type(self).__name__
        self.kernel_size = pair(kernel_size, name, "kernel_size")
        self.stride = self.kernel_size if stride is None else pair(stride, name, "stride")
        self.padding = pair(padding, name, "padding")
        if min(self.kernel_size) < 1 or min(self.stride) < 1 or min(self.padding) < 0:
            raise ValueError(
                f"{name}: kernel_size and stride must be at least 1 and padding at least 0, got "
                f"{kernel_size}, {stride}, {padding}"
            )
        if any(2 * p > k for p, k in zip(self.padding, self.kernel_size, strict=True)):
            raise ValueError(
                f"{name}: padding must be at most half of kernel_size, got {padding}, {kernel_size}"
            )

    def config(self) -> dict[str, Any]:
        return {
            "kernel_size": list(self.kernel_size),
            "stride": list(self.stride),
            "padding": list(self.padding),
        }

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPool2d(_Pool):
    """The largest value of each window: see `functional.max_pool2d`.

    Parameters
    ----------
    kernel_size, stride, padding : int or (int, int)
        stride is kernel_size unless given.
    """

    def forward(self, x: Any) -> Tensor:
        return max_pool2d(x, self.kernel_size, self.stride, self.padding)


class AvgPool2d(_Pool):
    """The mean of each window: see `functional.avg_pool2d`.

    Parameters
    ----------
    kernel_size, stride, padding : int or (int, int)
        stride is kernel_size unless given.
    count_include_pad : bool
        Whether padding counts as zeros.
    """

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        *,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding)
        self.count_include_pad = bool(count_include_pad)

    def forward(self, x: Any) -> Tensor:
        return avg_pool2d(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            count_include_pad=self.count_include_pad,
        )

    def config(self) -> dict[str, Any]:
        return {**super().config(), "count_include_pad": self.count_include_pad}


class AdaptiveAvgPool2d(Module):
    """Means of windows that divide the image into output_size: `functional.adaptive_avg_pool2d`.

    Parameters
    ----------
    output_size : int or (int, int)
    """

    def __init__(self, output_size: Any) -> None:
        self.output_size = pair(output_size, "AdaptiveAvgPool2d", "output_size")
        if min(self.output_size) < 1:
            raise ValueError(
                f"AdaptiveAvgPool2d: output_size must be at least 1, got {output_size}"
            )

    def forward(self, x: Any) -> Tensor:
        return adaptive_avg_pool2d(x, self.output_size)

    def config(self) -> dict[str, Any]:
        return {"output_size": list(self.output_size)}

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"
