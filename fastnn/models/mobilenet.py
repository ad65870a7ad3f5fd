"""MobileNet: depthwise separable convolutions."""

from __future__ import annotations

import math
from typing import Any

from .. import nn
from ._common import conv, finish, images

# (channels, stride) of each separable convolution
_LAYERS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2),
    (1024, 1),
)  # fmt: skip


def mobilenet_v1(
    num_classes: int = 1000,
    in_channels: int = 3,
    activation: Any = "relu",
    width_multiplier: float = 1.0,
) -> nn.Sequential:
    """A convolution and 13 pairs of a depthwise 3x3 and a 1x1 one, for 224x224 images.

    Any size works. Source: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for
    Mobile Vision Applications", 2017, table 1; the second stride of 2 with 1024 channels there is 1
    here, as the sizes in the table say.

    Parameters
    ----------
    num_classes, in_channels : int
    activation : str, class or function
    width_multiplier : float
        Scales the number of channels of every layer (rounded down, at least 1).

    Raises
    ------
    ValueError
        If width_multiplier is not positive.
    """
    if not (math.isfinite(width_multiplier) and width_multiplier > 0):
        raise ValueError(f"mobilenet_v1: width_multiplier must be positive, got {width_multiplier}")

    def scaled(channels: int) -> int:
        return max(1, int(channels * width_multiplier))

    size = scaled(32)
    layers = [images(in_channels), *conv(in_channels, size, 3, activation, 2)]
    for channels, stride in _LAYERS:
        layers += conv(size, size, 3, activation, stride, groups=size)
        layers += conv(size, scaled(channels), 1, activation)
        size = scaled(channels)
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return finish(activation, *layers, nn.Linear(size, num_classes))
