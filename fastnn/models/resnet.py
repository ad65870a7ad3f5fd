"""Residual networks (He et al., "Deep Residual Learning for Image Recognition", 2016).

Where a block changes the size or the number of channels, its shortcut is a 1x1 convolution with
batch norm (the paper's option B), also in resnet20, for which the paper pads with zeros (option A).
"""

from __future__ import annotations

from typing import Any

from .. import nn
from ._common import conv, finish, images


def _block(inputs: int, outputs: int, stride: int, activation: Any) -> nn.Residual:
    """Two 3x3 convolutions beside a shortcut."""
    body = nn.Sequential(
        *conv(inputs, outputs, 3, activation, stride), *conv(outputs, outputs, 3, None)
    )
    same = inputs == outputs and stride == 1
    shortcut = None if same else nn.Sequential(*conv(inputs, outputs, 1, None, stride))
    return nn.Residual(body, shortcut, activation)


def _resnet(
    stem: list[nn.Module],
    widths: tuple[int, ...],
    depth: int,
    num_classes: int,
    activation: Any,
) -> nn.Sequential:
    """`depth` blocks of each width; every width but the first halves the image."""
    layers, channels = list(stem), widths[0]
    for width in widths:
        for i in range(depth):
            stride = 2 if i == 0 and width != widths[0] else 1
            layers.append(_block(channels, width, stride, activation))
            channels = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return finish(activation, *layers, nn.Linear(channels, num_classes))


def resnet20(
    num_classes: int = 10, in_channels: int = 3, activation: Any = "relu"
) -> nn.Sequential:
    """Nine blocks with 16, 32 and 64 channels, for 32x32 images (section 4.2); any size works.

    Parameters
    ----------
    num_classes, in_channels : int
    activation : str, class or function
    """
    stem = [images(in_channels), *conv(in_channels, 16, 3, activation)]
    return _resnet(stem, (16, 32, 64), 3, num_classes, activation)


def resnet18(
    num_classes: int = 1000,
    in_channels: int = 3,
    activation: Any = "relu",
    small_input: bool = False,
) -> nn.Sequential:
    """Eight blocks with 64 to 512 channels, for 224x224 images (table 1); any size works.

    Parameters
    ----------
    num_classes, in_channels : int
    activation : str, class or function
    small_input : bool
        For images of about 32x32: starts with a 3x3 convolution in place of a 7x7 one with stride 2
        and max-pooling.
    """
    if small_input:
        stem = conv(in_channels, 64, 3, activation)
    else:
        stem = [*conv(in_channels, 64, 7, activation, 2), nn.MaxPool2d(3, 2, 1)]
    widths = (64, 128, 256, 512)
    return _resnet([images(in_channels), *stem], widths, 2, num_classes, activation)
