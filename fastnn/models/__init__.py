"""Models by name: functions that return an `nn.Sequential`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..nn import Sequential
from .mobilenet import mobilenet_v1
from .resnet import resnet18, resnet20
from .small import cifar_quick, demo_convnet, lenet5, mlp
from .vgg import alexnet, vgg, vgg11, vgg16

__all__ = [
    "alexnet", "cifar_quick", "demo_convnet", "get", "lenet5", "mlp", "mobilenet_v1", "names",
    "resnet18", "resnet20", "vgg", "vgg11", "vgg16",
]  # fmt: skip

_MODELS: dict[str, Callable[..., Sequential]] = {
    "alexnet": alexnet,
    "cifar_quick": cifar_quick,
    "demo_convnet": demo_convnet,
    "lenet5": lenet5,
    "mlp": mlp,
    "mobilenet_v1": mobilenet_v1,
    "resnet18": resnet18,
    "resnet20": resnet20,
    "vgg11": vgg11,
    "vgg16": vgg16,
}


def names() -> list[str]:
    """Names that `get` knows."""
    return sorted(_MODELS)


def get(name: str, **kwargs: Any) -> Sequential:
    """The model of this name, made with these arguments.

    Raises
    ------
    ValueError
        If the name is unknown; the message lists the known ones.
    TypeError
        If the model does not take an argument.
    """
    if name not in _MODELS:
        raise ValueError(f"models: expected one of {', '.join(names())}, got {name!r}")
    known = inspect.signature(_MODELS[name]).parameters
    for argument in kwargs:
        if argument not in known:
            raise TypeError(
                f"models: {name} takes {', '.join(known)}, it does not take {argument!r}"
            )
    return _MODELS[name](**kwargs)
