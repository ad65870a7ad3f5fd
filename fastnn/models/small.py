"""Models for small images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import nn
from ._common import finish


def mlp(
    in_features: int = 784,
    hidden: Sequence[int] = (512, 256),
    num_classes: int = 10,
    activation: Any = "relu",
) -> nn.Sequential:
    """Fully connected network for vectors or images (which it flattens).

    Parameters
    ----------
    in_features : int
        Elements of one sample: height * width * channels.
    hidden : sequence of int
        Sizes of the hidden layers.
    num_classes : int
    activation : str, class or function
    """
    layers: list[nn.Module] = [nn.Flatten()]
    size = in_features
    for width in hidden:
        layers += [nn.Linear(size, width), nn.activation.make(activation)]
        size = width
    return finish(activation, *layers, nn.Linear(size, num_classes))


def lenet5(num_classes: int = 10, in_channels: int = 1, activation: Any = "relu") -> nn.Sequential:
    """Two 5x5 convolutions and three linear layers for 28x28 images, after LeCun et al. (1998).

    The layers are LeNet-5's, with padding 2 in the first one for its 32x32 input, max-pooling and a
    plain output layer. The convolutions have 16 and 32 channels instead of 6 and 16: as fast here,
    and reliably above 98.7% on MNIST's test images after three epochs (98.8% to 98.9% with SGD,
    lr 0.01, momentum 0.9, batches of 64).

    Parameters
    ----------
    num_classes, in_channels : int
    activation : str, class or function
    """

    def act() -> nn.Module:
        return nn.activation.make(activation)

    return finish(
        activation,
        nn.Input((28, 28, in_channels)),
        *(nn.Conv2d(in_channels, 16, 5, padding=2), act(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 5), act(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(800, 120), act(), nn.Linear(120, 84), act(), nn.Linear(84, num_classes)),
    )


def cifar_quick(
    num_classes: int = 10, in_channels: int = 3, activation: Any = "relu"
) -> nn.Sequential:
    """Three 5x5 convolutions (32, 32, 64) with 2x2 max-pooling, for 32x32 images.

    After the "quick" CIFAR-10 network of cuda-convnet (Krizhevsky, 2012).

    Parameters
    ----------
    num_classes, in_channels : int
    activation : str, class or function
    """

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        conv = nn.Conv2d(inputs, outputs, 5, padding=2)
        return [conv, nn.activation.make(activation), nn.MaxPool2d(2)]

    return finish(
        activation,
        nn.Input((32, 32, in_channels)),
        *(*block(in_channels, 32), *block(32, 32), *block(32, 64), nn.Flatten()),
        *(nn.Linear(1024, 64), nn.activation.make(activation), nn.Linear(64, num_classes)),
    )


def demo_convnet(
    num_classes: int = 10, in_channels: int = 1, activation: Any = "relu"
) -> nn.Sequential:
    """Two 3x3 convolutions (16, 32) with 2x2 max-pooling, for 28x28 digits: what the demo trains.

    Parameters
    ----------
    num_classes, in_channels : int
    activation : str, class or function
    """

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        return [conv, nn.activation.make(activation), nn.MaxPool2d(2)]

    return finish(
        activation,
        nn.Input((28, 28, in_channels)),
        *(*block(in_channels, 16), *block(16, 32), nn.Flatten()),
        *(nn.Linear(1568, 64), nn.activation.make(activation), nn.Linear(64, num_classes)),
    )
