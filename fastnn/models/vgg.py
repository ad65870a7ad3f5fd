"""AlexNet and VGG: stacks of convolutions with large linear layers behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import nn
from ._common import conv, finish, images

VGG11 = (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")
VGG16 = (
    64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"
)  # fmt: skip


def alexnet(
    num_classes: int = 1000,
    in_channels: int = 3,
    activation: Any = "relu",
    dropout: float = 0.5,
    hidden: Sequence[int] = (4096, 4096),
) -> nn.Sequential:
    """Five convolutions, the first 11x11 with stride 4, for 224x224 images (at least 63x63).

    The form of Krizhevsky, "One weird trick for parallelizing convolutional neural networks"
    (2014), with 64, 192, 384, 256, 256 channels: torchvision's, too.

    Parameters
    ----------
    num_classes, in_channels : int
    activation : str, class or function
    dropout : float
        Before every linear layer but the last.
    hidden : sequence of int
        Sizes of the linear layers.
    """

    def act() -> nn.Module:
        return nn.activation.make(activation)

    layers = [
        images(in_channels, 63),
        *(nn.Conv2d(in_channels, 64, 11, 4, 2), act(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), act(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), act()),
        *(nn.Conv2d(384, 256, 3, padding=1), act()),
        *(nn.Conv2d(256, 256, 3, padding=1), act(), nn.MaxPool2d(3, 2)),
        *(nn.AdaptiveAvgPool2d(6), nn.Flatten()),
    ]
    size = 256 * 6 * 6
    for width in hidden:
        layers += [nn.Dropout(dropout), nn.Linear(size, width), act()]
        size = width
    return finish(activation, *layers, nn.Linear(size, num_classes))


def vgg(
    cfg: Sequence[int | str],
    num_classes: int = 1000,
    in_channels: int = 3,
    activation: Any = "relu",
    batch_norm: bool = True,
    dropout: float = 0.5,
    hidden: Sequence[int] = (4096, 4096),
    pool: int = 7,
) -> nn.Sequential:
    """3x3 convolutions and 2x2 max-pooling as `cfg` lists them (Simonyan and Zisserman, 2015).

    Parameters
    ----------
    cfg : sequence
        A number is a convolution with so many channels, "M" is a max-pooling.
    num_classes, in_channels : int
    activation : str, class or function
    batch_norm : bool
        Batch norm behind every convolution, which then has no bias.
    dropout : float
        Behind the hidden linear layers.
    hidden : sequence of int
        Sizes of the linear layers before the last.
    pool : int
        What is left of the images is averaged to pool x pool pixels.

    Raises
    ------
    ValueError
        If `cfg` has anything but numbers and "M".

    Examples
    --------
    >>> from fastnn import models
    >>> model = models.vgg((64, 64, "M", 128, 128, "M"), 10, hidden=(), pool=1)
    >>> model.summary((32, 32, 3)).parameters
    261834
    """
    layers: list[nn.Module] = [images(in_channels, 2 ** list(cfg).count("M"))]
    channels = in_channels
    for item in cfg:
        if item == "M":
            layers.append(nn.MaxPool2d(2))
            continue
        if isinstance(item, bool) or not isinstance(item, int):
            raise ValueError(f"vgg: cfg must hold numbers of channels and 'M', got {item!r}")
        if batch_norm:
            layers += conv(channels, item, 3, activation)
        else:
            layers.append(nn.Conv2d(channels, item, 3, padding=1))
            layers.append(nn.activation.make(activation))
        channels = item
    layers += [nn.AdaptiveAvgPool2d(pool), nn.Flatten()]
    size = channels * pool * pool
    for width in hidden:
        layers += [nn.Linear(size, width), nn.activation.make(activation), nn.Dropout(dropout)]
        size = width
    return finish(activation, *layers, nn.Linear(size, num_classes))


def vgg11(
    num_classes: int = 1000,
    in_channels: int = 3,
    activation: Any = "relu",
    batch_norm: bool = True,
    dropout: float = 0.5,
    hidden: Sequence[int] = (4096, 4096),
) -> nn.Sequential:
    """VGG with 8 convolutions, configuration A, for 224x224 images (at least 32x32): see `vgg`."""
    return vgg(VGG11, num_classes, in_channels, activation, batch_norm, dropout, hidden)


def vgg16(
    num_classes: int = 1000,
    in_channels: int = 3,
    activation: Any = "relu",
    batch_norm: bool = True,
    dropout: float = 0.5,
    hidden: Sequence[int] = (4096, 4096),
) -> nn.Sequential:
    """VGG with 13 convolutions, configuration D, for 224x224 images (at least 32x32): see `vgg`."""
    return vgg(VGG16, num_classes, in_channels, activation, batch_norm, dropout, hidden)
