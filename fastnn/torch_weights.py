"""Weights from and to PyTorch, whose images are (N, C, H, W) where ours are (N, H, W, C).

Three things differ. In arrays with image axes, which are convolution weights, the channels stand
before those axes and not behind them. A layer behind a Flatten sees the elements of an image in
another order: PyTorch's index c H W + p (channel c, pixel p) is our p C + c, so that its columns
are permuted. Everything else is equal. PyTorch itself is not needed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from . import nn
from .tensor import Tensor

__all__ = ["from_torch_state", "to_torch_state"]

_COUNTER = "num_batches_tracked"  # older files do not have it


def to_torch_state(model: nn.Module, channels: int = 1) -> dict[str, np.ndarray[Any, Any]]:
    """A model's weights in PyTorch's layout, under our names, as new NumPy arrays.

    Parameters
    ----------
    model : Module
        Its sub-modules must have been set in the order in which they run.
    channels : int
        Of the images, for a model that flattens them before any convolution.

    Returns
    -------
    dict
        For a PyTorch module built alike: `{k: torch.from_numpy(v) for k, v in state.items()}`.

    Examples
    --------
    >>> from fastnn import io, nn
    >>> io.to_torch_state(nn.Conv2d(3, 8, (5, 4)))["weight"].shape
    (8, 3, 5, 4)
    """
    state = {}
    for name, tensor, flat in _layouts(model, channels):
        array = tensor.numpy()
        if flat:
            array = _swap(array, -1, flat)
        state[name] = (np.moveaxis(array, -1, -3) if array.ndim > 2 else array).copy()
    return state


def from_torch_state(model: nn.Module, state: Mapping[str, Any], channels: int = 1) -> None:
    """Copies the weights of a PyTorch module's `state_dict()` into a model of the same layers.

    They are matched by name where the names are the model's own, else by position: both must have
    their layers in the order in which these run. The weights of torchvision's AlexNet, ResNet-18
    and VGG without batch norm go into `models.alexnet()`, `resnet18()` and
    `vgg16(batch_norm=False)` like that.

    Parameters
    ----------
    model : Module
    state : mapping of str to array
        Tensors of PyTorch (on the CPU) or NumPy arrays, of the model's dtype.
    channels : int
        Of the images, for a model that flattens them before any convolution.

    Raises
    ------
    RuntimeError
        If the number of arrays, a shape or a dtype differs; nothing was changed.
    """
    arrays = {
        name: np.asarray(value.detach() if hasattr(value, "detach") else value)
        for name, value in state.items()
    }
    own = list(_layouts(model, channels))
    if not any(name.endswith(_COUNTER) for name in arrays):
        own = [row for row in own if not row[0].endswith(_COUNTER)]
    if len(own) != len(arrays):
        raise RuntimeError(
            f"from_torch_state: the model has {len(own)} arrays, state has {len(arrays)}"
        )
    if arrays.keys() != {name for name, _, _ in own}:
        arrays = dict(zip((name for name, _, _ in own), arrays.values(), strict=True))
    found = {}
    for name, tensor, flat in own:
        array = arrays[name]
        array = np.moveaxis(array, -3, -1) if array.ndim > 2 else array
        found[name] = _swap(array, flat, -1) if flat and array.shape == tensor.shape else array
    model.load_state_dict(found, strict=False)


def _swap(array: np.ndarray[Any, Any], rows: int, columns: int) -> np.ndarray[Any, Any]:
    """The last axis as a matrix of that size, transposed."""
    parts = array.reshape(*array.shape[:-1], rows, columns)
    return parts.swapaxes(-1, -2).reshape(array.shape)


def _layouts(model: nn.Module, channels: int) -> Iterator[tuple[str, Tensor, int]]:
    """(name, tensor, channels of the flattened images that its last axis counts, or 0)."""
    flat = 0
    for path, module in model._walk(""):
        linear = isinstance(module, nn.Linear | nn.Maxout)
        if isinstance(module, nn.Input) and len(module.shape) == 3:
            channels = module.shape[-1] or channels
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            channels, flat = module.out_channels, 0
        elif isinstance(module, nn.Flatten):
            flat = channels
        for name, value in module.state_dict().items():
            if "." not in name:
                counted = value.ndim and value.shape[-1] > 1 and not (linear and name == "bias")
                yield f"{path}.{name}" if path else name, value, flat if counted else 0
        if linear:
            channels = flat = 0
