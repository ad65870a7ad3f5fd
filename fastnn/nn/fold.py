"""Batch normalization folded into the layer before it, for inference."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from ..tensor import tensor
from .container import Residual, Sequential
from .conv import Conv2d
from .linear import Linear
from .module import Module, Parameter
from .norm import BatchNorm1d, BatchNorm2d


def fold_batch_norm(model: Module) -> Module:
    """A model that computes the same, up to rounding, without the passes of batch normalization.

    A BatchNorm layer in eval mode is an affine function of each channel, which the Conv2d or Linear
    layer before it can compute: weight' = weight s, bias' = (bias - mean) s + shift, where
    s = scale / sqrt(var + eps). This holds for neighbours in a Sequential, also inside of other
    Sequentials and Residuals. Layers with hooks stay as they are, and so does a BatchNorm behind a
    Linear layer at the end of a Residual's body: it adds the shortcut in its own pass.

    Parameters
    ----------
    model : Module
        In eval mode (layers in training mode are not folded). It is not changed.

    Returns
    -------
    Module
        For inference: new layers where something was folded, without gradients; all others, and
        `model` itself if there is nothing to fold, are shared. Later changes of a folded layer's
        weights are not seen.

    Examples
    --------
    >>> from fastnn import nn
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU())
    >>> nn.fold_batch_norm(model.eval())
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=True)
      (2): ReLU()
    )
    """
    return _fold(model, False)


def _fold(module: Module, keep_last: bool) -> Module:
    if type(module) not in (Sequential, Residual) or module.has_hooks():
        return module
    layers = dict(module.named_children())
    folded: dict[str, Module] = {}
    for number, (name, layer) in enumerate(layers.items(), 1):
        before = next(reversed(folded), "")
        host = folded.get(before)
        kept = keep_last and number == len(layers) and type(host) is Linear
        if type(module) is Sequential and not kept and _foldable(host, layer):
            folded[before] = _folded(host, layer)
        else:
            folded[name] = _fold(layer, type(module) is Residual and name == "body")
    if all(folded.get(name) is layer for name, layer in layers.items()):
        return module
    result = copy.copy(module)
    for name in layers:
        if name in folded:
            setattr(result, name, folded[name])
        else:
            delattr(result, name)
    return result


def _foldable(layer: Any, norm: Any) -> bool:
    pair = (type(layer), type(norm))
    if pair not in ((Conv2d, BatchNorm2d), (Linear, BatchNorm1d), (Linear, BatchNorm2d)):
        return False
    return (
        not layer.has_hooks()
        and not norm.has_hooks()
        and not norm.training
        and norm.running_mean is not None
        and norm.running_mean.dtype == layer.weight.dtype
        and norm.running_mean.shape == layer.weight.shape[:1]
    )


def _folded(layer: Any, norm: Any) -> Any:
    weight, mean, var = (
        t.numpy().astype(np.float64) for t in (layer.weight, norm.running_mean, norm.running_var)
    )
    scale = 1.0 / np.sqrt(var + norm.eps)
    bias = -mean if layer.bias is None else layer.bias.numpy() - mean
    if norm.affine:
        scale *= norm.weight.numpy()
    bias = bias * scale + (norm.bias.numpy() if norm.affine else 0.0)
    result = copy.copy(layer)
    dtype = layer.weight.dtype
    weight *= scale.reshape(-1, *[1] * (weight.ndim - 1))
    result.weight = Parameter(tensor(weight, dtype), requires_grad=False)
    result.bias = Parameter(tensor(bias, dtype), requires_grad=False)
    return result
