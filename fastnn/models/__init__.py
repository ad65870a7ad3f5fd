"""Models by name: functions that return an `nn.Sequential`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..nn import Sequential
from .small import cifar_quick, demo_convnet, lenet5, mlp

__all__ = ["cifar_quick", "demo_convnet", "get", "lenet5", "mlp", "names"]

_MODELS: dict[str, Callable[..., Sequential]] = {
    "cifar_quick": cifar_quick,
    "demo_convnet": demo_convnet,
    "lenet5": lenet5,
    "mlp": mlp,
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
