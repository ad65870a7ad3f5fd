"""Every model at a size that tests can afford: short linear layers, small images, no dropout."""

from __future__ import annotations

from typing import Any

from fastnn import models, nn

_SHORT = {"hidden": (32,), "dropout": 0, "num_classes": 10}
OPTIONS: dict[str, dict[str, Any]] = {
    "alexnet": _SHORT,
    "mobilenet_v1": {"width_multiplier": 0.125, "num_classes": 10},
    "resnet18": {"num_classes": 10},
    "vgg11": _SHORT,
    "vgg16": _SHORT,
}
SHAPES = {
    "alexnet": (63, 63, 3),
    "cifar_quick": (32, 32, 3),
    "demo_convnet": (28, 28, 1),
    "lenet5": (28, 28, 1),
    "mlp": (28, 28, 1),
    "mobilenet_v1": (33, 32, 3),
    "resnet18": (32, 33, 3),
    "resnet20": (16, 15, 3),
    "vgg11": (32, 32, 3),
    "vgg16": (32, 32, 3),
}


def small(name: str, **options: Any) -> nn.Sequential:
    """The model of this name for images of SHAPES[name] and ten classes."""
    return models.get(name, **OPTIONS.get(name, {}), **options)
