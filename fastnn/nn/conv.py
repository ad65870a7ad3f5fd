"""Convolution layers."""

from __future__ import annotations

import math
from typing import Any

from .. import init
from ..creation import empty
from ..ops import conv2d_act, conv2d_algo, conv_transpose2d, pad, pair
from ..ops.activation import number
from ..tensor import Tensor
from .linear import count, start_bias
from .module import Module, Parameter


def _sizes(owner: str, name: str, value: Any, least: int) -> tuple[int, int]:
    sizes = pair(value, owner, name)
    if min(sizes) < least:
        raise ValueError(f"{owner}: {name} must be at least {least}, got {value}")
    return sizes


class Conv2d(Module):
    """Cross-correlation of channels-last images with learned kernels: see `functional.conv2d`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, dilation : int or (int, int)
    padding : int, (int, int), "same" or "valid"
        "same" keeps height and width (for stride 1; an odd rest goes below and to the right).
    groups : int
        Must divide both numbers of channels; groups = in_channels is a depthwise convolution.
    bias : bool
    bias_init : float
        What the bias starts with.
    algo : {"auto", "direct", "winograd"}
        See `functional.conv2d`.

    Attributes
    ----------
    weight : (out_channels, kh, kw, in_channels // groups)
        Starts with He et al.'s uniform distribution for ReLU (`init.kaiming_uniform_`).
    bias : (out_channels,) or None
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        bias_init: float = 0.0,
        algo: str = "auto",
    ) -> None:
        self.in_channels = count("Conv2d", "in_channels", in_channels)
        self.out_channels = count("Conv2d", "out_channels", out_channels)
        self.groups = count("Conv2d", "groups", groups)
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(
                f"Conv2d: groups must divide in_channels and out_channels, "
                f"got {groups}, {in_channels}, {out_channels}"
            )
        self.kernel_size = _sizes("Conv2d", "kernel_size", kernel_size, 1)
        self.stride = _sizes("Conv2d", "stride", stride, 1)
        self.dilation = _sizes("Conv2d", "dilation", dilation, 1)
        self.padding = (
            padding if isinstance(padding, str) else _sizes("Conv2d", "padding", padding, 0)
        )
        self._amount, self._rest = self._resolve_padding()
        self.bias_init = number("Conv2d", "bias_init", bias_init)
        self.algo = algo
        shape = (self.out_channels, *self.kernel_size, self.in_channels // self.groups)
        self.weight = Parameter(init.kaiming_uniform_(empty(shape)))
        self.bias = start_bias("Conv2d", self.out_channels, bias, self.bias_init)
        h, w = (d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel_size, strict=True))
        self.algorithms((1, h, w, self.in_channels))  # refuses what is unknown or impossible

    def _resolve_padding(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Padding on both sides, and what "same" needs in addition below and to the right."""
        if not isinstance(self.padding, str):
            return self.padding, (0, 0)
        if self.padding == "valid":
            return (0, 0), (0, 0)
        if self.padding != "same":
            raise ValueError(
                f"Conv2d: padding must be a number, a pair, 'same' or 'valid', got {self.padding!r}"
            )
        if self.stride != (1, 1):
            raise ValueError(f"Conv2d: padding='same' needs stride 1, got {self.stride}")
        h, w = (d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True))
        return (h // 2, w // 2), (h % 2, w % 2)

    def forward(self, x: Any) -> Tensor:
        return self.forward_act(x, None)

    def forward_act(
        self, x: Any, act: tuple[str, float, float] | None, residual: Any = None
    ) -> Tensor:
        """activation(forward(x) + residual) in one pass over memory; the same bits."""
        if self._rest != (0, 0):
            x = pad(x, (0, 0, 0, self._rest[1], 0, self._rest[0]))
        return conv2d_act(
            x, self.weight, self.bias, self.stride, self._amount, self.dilation, self.groups, act,
            self.algo, residual,
        )  # fmt: skip

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of forward(x) for an x of this one."""
        sizes = zip(
            shape[1:3], self._amount, self._rest, self.dilation, self.kernel_size, self.stride,
            strict=True,
        )  # fmt: skip
        image = ((n + 2 * p + rest - d * (k - 1) - 1) // s + 1 for n, p, rest, d, k, s in sizes)
        return (*shape[:1], *image, self.out_channels)

    def algorithms(self, input_shape: tuple[int, ...]) -> dict[str, str]:
        """What `functional.conv2d_algo` says about an input (N, H, W, C)."""
        n, h, w, c = input_shape
        return conv2d_algo(
            (n, h + self._rest[0], w + self._rest[1], c),
            (self.out_channels, *self.kernel_size, self.in_channels // self.groups),
            self.stride, self._amount, self.dilation, self.groups,
            dtype=str(self.weight.dtype), algo=self.algo,
        )  # fmt: skip

    def flops(self, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> int:
        return 2 * math.prod(output_shape) * math.prod(self.weight.shape[1:])

    def algorithm(self, input_shape: tuple[int, ...]) -> str:
        found = tuple(self.algorithms(input_shape).values())
        return found[0] if len(set(found)) == 1 else "/".join(found)

    def config(self) -> dict[str, Any]:
        padding = self.padding
        return {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "kernel_size": list(self.kernel_size),
            "stride": list(self.stride),
            "padding": padding if isinstance(padding, str) else list(padding),
            "dilation": list(self.dilation),
            "groups": self.groups,
            "bias": self.bias is not None,
            "bias_init": self.bias_init,
            "algo": self.algo,
        }

    def extra_repr(self) -> str:
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}",
            f"stride={self.stride}",
        ]
        defaults = {"padding": (0, 0), "dilation": (1, 1), "groups": 1, "bias_init": 0.0,
                    "algo": "auto"}  # fmt: skip
        for name, default in defaults.items():
            if (value := getattr(self, name)) != default:
                parts.append(f"{name}={value!r}")
        if self.bias is None:
            parts.append("bias=False")
        return ", ".join(parts)


class ConvTranspose2d(Module):
    """Enlarges channels-last images with learned kernels: see `functional.conv_transpose2d`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding, output_padding : int or (int, int)
    groups : int
        Must divide both numbers of channels.
    bias : bool
    dilation : int or (int, int)

    Attributes
    ----------
    weight : (in_channels, kh, kw, out_channels // groups)
        Starts with He et al.'s uniform distribution for ReLU; an output has
        in_channels / groups * kh kw / stride^2 inputs, on average.
    bias : (out_channels,) or None
        Starts with 0.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
    ) -> None:
        name = "ConvTranspose2d"
        self.in_channels = count(name, "in_channels", in_channels)
        self.out_channels = count(name, "out_channels", out_channels)
        self.kernel_size = _sizes(name, "kernel_size", kernel_size, 1)
        self.stride = _sizes(name, "stride", stride, 1)
        self.padding = _sizes(name, "padding", padding, 0)
        self.output_padding = _sizes(name, "output_padding", output_padding, 0)
        self.groups = count(name, "groups", groups)
        self.dilation = _sizes(name, "dilation", dilation, 1)
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(
                f"{name}: groups must divide in_channels and out_channels, "
                f"got {groups}, {in_channels}, {out_channels}"
            )
        if any(
            m >= max(s, d)
            for m, s, d in zip(self.output_padding, self.stride, self.dilation, strict=True)
        ):
            raise ValueError(
                f"{name}: output_padding must be less than stride or dilation, "
                f"got {output_padding}, {stride}, {dilation}"
            )
        shape = (self.in_channels, *self.kernel_size, self.out_channels // self.groups)
        self.weight = Parameter(empty(shape))
        bound = math.sqrt(6.0 / self.fan_in)
        init.uniform_(self.weight, -bound, bound)
        self.bias = start_bias(name, self.out_channels, bias, 0.0)

    @property
    def fan_in(self) -> float:
        """Inputs of an output, on average."""
        return math.prod(self.weight.shape[:3]) / self.groups / math.prod(self.stride)

    def forward(self, x: Any) -> Tensor:
        return conv_transpose2d(
            x, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups,
            self.dilation,
        )  # fmt: skip

    def flops(self, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> int:
        return 2 * math.prod(input_shape) * math.prod(self.weight.shape[1:])

    def config(self) -> dict[str, Any]:
        return {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "kernel_size": list(self.kernel_size),
            "stride": list(self.stride),
            "padding": list(self.padding),
            "output_padding": list(self.output_padding),
            "groups": self.groups,
            "bias": self.bias is not None,
            "dilation": list(self.dilation),
        }
