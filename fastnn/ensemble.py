# SPDX-License-Identifier: BSD-3-Clause
"""Averages: of several models' predictions, of their weights, of views of the same images."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .autograd import no_grad
from .nn.container import ModuleList
from .nn.module import Module
from .ops import stack
from .ops.softmax import log_softmax, softmax
from .random import get_rng_state, set_rng_state
from .tensor import Tensor, from_numpy

__all__ = ["Ensemble", "average_weights", "test_time_augmentation"]

Array = NDArray[Any]
Path = str | os.PathLike[str]
_AVERAGES = ("probabilities", "logits")


class Ensemble(Module):
    """Several models that answer together: the mean of their probabilities, or of their logits.

    It is a model itself: called, it gives the logarithm of the mean probabilities (or the mean
    logits), from which `cross_entropy`, `Trainer.evaluate` and argmax get what they want.
    `fastnn.save` and `fastnn.load` store it as one file, if its members are of fastnn's layers.

    Source: Dietterich, "Ensemble methods in machine learning", 2000; Lakshminarayanan et al.,
    "Simple and scalable predictive uncertainty estimation using deep ensembles", NeurIPS 2017.

    Parameters
    ----------
    models : sequence of Module
        At least one; each gives logits (N, C).
    average : "probabilities" or "logits"

    Raises
    ------
    TypeError, ValueError
        If there is no model, or something else among them.

    Examples
    --------
    >>> import fastnn as fnn
    >>> from fastnn import nn
    >>> ensemble = fnn.Ensemble([nn.Linear(2, 3) for _ in range(4)])
    >>> ensemble.predict(fnn.zeros(5, 2)).shape
    (5, 3)
    """

    def __init__(self, models: Iterable[Module], average: str = "probabilities") -> None:
        found = _models("Ensemble", models)
        if average not in _AVERAGES:
            raise ValueError(f"Ensemble: average must be one of {_AVERAGES}, got {average!r}")
        self.models = ModuleList(found)
        self.average = average

    @classmethod
    def from_checkpoints(
        cls, paths: Iterable[Path], model: Module | None = None, average: str = "probabilities"
    ) -> Ensemble:
        """Of files that `save` or `save_checkpoint` wrote: several models, or one at several times.

        Source of the latter: Huang et al., "Snapshot ensembles", ICLR 2017.

        Parameters
        ----------
        paths : sequence of paths
        model : Module, optional
            Of which each member becomes a copy with the weights of a checkpoint: for models with
            layers of their own. Default: what the file describes.
        average : "probabilities" or "logits"

        Raises
        ------
        FileNotFoundError, ValueError, RuntimeError
            As `load` and `load_checkpoint`; if there are no paths.
        """
        from .io import load, load_checkpoint

        if isinstance(paths, str | os.PathLike):
            raise TypeError(f"Ensemble.from_checkpoints: paths must be a list, got {paths!r}")
        stream = get_rng_state()  # which a checkpoint brings along
        try:
            members = [
                load(path) if model is None
                else load_checkpoint(path, copy.deepcopy(model))["model"]
                for path in paths
            ]  # fmt: skip
        finally:
            set_rng_state(stream)
        return cls(members, average)

    def forward(self, x: Any) -> Tensor:
        logits = [model(x) for model in self.models]
        shapes = {tuple(out.shape) for out in logits}
        if len(shapes) > 1 or len(logits[0].shape) != 2:
            raise ValueError(
                f"Ensemble: its models must all give (N, C), got {', '.join(map(str, shapes))}"
            )
        if self.average == "logits":
            return stack(logits).mean(0)
        return _log_mean(logits)

    def predict(
        self, x: Any, batch_size: int = 256, preprocess: Callable[[Array], Array] | None = None
    ) -> Array:
        """Probabilities (N, C) of inputs x (N, ...), as a NumPy array.

        Parameters
        ----------
        x : array or Tensor
        batch_size : int
        preprocess : callable, optional
            Applied to each batch: for example ``data.Normalize``.
        """
        return _predict("Ensemble.predict", self, [_array(x)], batch_size, preprocess)

    def __len__(self) -> int:
        return len(self.models)

    def config(self) -> dict[str, Any]:
        return {"models": dict(self.models.named_children()), "average": self.average}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Ensemble:
        return cls(config["models"].values(), config["average"])


def _log_mean(logits: list[Any]) -> Tensor:
    """log of the mean of the probabilities, shifted by the highest of each element."""
    logs = stack([log_softmax(out, 1) for out in logits])
    highest, _ = logs.detach().max(0)
    return (logs - highest).exp().mean(0).log() + highest


def average_weights(models: Iterable[Module]) -> Module:
    """A new model whose weights and float buffers are the means of those of equal models.

    For checkpoints of one run, or runs from one start: far apart, means are no good. Statistics of
    batch normalization belong to weights, and are better taken anew
    (`optim.swa_utils.update_bn`).

    Source: Izmailov et al., "Averaging weights leads to wider optima and better generalization",
    UAI 2018; Wortsman et al., "Model soups", ICML 2022.

    Parameters
    ----------
    models : sequence of Module
        At least one. They are not changed.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        If there is no model, or their weights differ in name, shape or dtype.

    Examples
    --------
    >>> import fastnn as fnn
    >>> models = [fnn.nn.Linear(1, 1, bias=False) for _ in range(2)]
    >>> for model, value in zip(models, (1.0, 4.0)):
    ...     _ = fnn.init.constant_(model.weight, value)
    >>> average_weights(models).weight.item()
    2.5
    """
    from .optim.swa_utils import AveragedModel

    found = _models("average_weights", models)
    average = AveragedModel(found[0], use_buffers=True)
    for model in found:
        average.update_parameters(model)
    return average.module


def test_time_augmentation(
    model: Module,
    x: Any,
    crops: int = 1,
    size: int | tuple[int, int] | None = None,
    padding: int = 0,
    flip: bool = True,
    batch_size: int = 256,
    preprocess: Callable[[Array], Array] | None = None,
) -> Array:
    """Probabilities (N, C): the mean over crops of each image and over their mirror images.

    Source: Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional
    neural networks", NeurIPS 2012, section 4.1 (crops=5, flip=True: its ten patches).

    Parameters
    ----------
    model : Module
        Gives logits (N, C); an `Ensemble`, too.
    x : array, (N, H, W, C)
    crops : 1, 5 or 9
        The middle; and the four corners; and the middles of the edges.
    size : int or (height, width), optional
        Of a crop. Default: that of the images.
    padding : int
        Rows and columns of zeros on each side, before cropping.
    flip : bool
        Mirror images from left to right, too.
    batch_size : int
    preprocess : callable, optional
        Applied to each batch of crops: for example ``data.Normalize``.

    Raises
    ------
    TypeError, ValueError
        If x are no images, crops is another number, a crop is larger than the padded image, or as
        large although there should be several.
    """
    op = "test_time_augmentation"
    images = _array(x)
    if images.ndim != 4:
        raise ValueError(f"{op}: x must be images (N, H, W, C), got shape {images.shape}")
    if crops not in (1, 5, 9):
        raise ValueError(f"{op}: crops must be 1, 5 or 9, got {crops!r}")
    padding = _whole(op, "padding", padding, 0)
    height, width = images.shape[1:3]
    sizes = (height, width) if size is None else size if isinstance(size, tuple) else (size, size)
    if len(sizes) != 2:
        raise ValueError(f"{op}: size must be an int or (height, width), got {size}")
    h, w = (_whole(op, "size", side, 1) for side in sizes)
    rows, columns = height + 2 * padding - h, width + 2 * padding - w
    if rows < 0 or columns < 0:
        raise ValueError(
            f"{op}: crops of {(h, w)} do not fit into padded images of "
            f"{(height + 2 * padding, width + 2 * padding)}"
        )
    if crops > 1 and rows == columns == 0:
        raise ValueError(f"{op}: {crops} crops of the whole image are equal; give size or padding")
    padded = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    views = []
    for top, left in _corners(crops, rows, columns):
        view = padded[:, top : top + h, left : left + w]
        views += [view, view[:, :, ::-1]] if flip else [view]
    return _predict(op, model, views, batch_size, preprocess)


test_time_augmentation.__test__ = False  # type: ignore[attr-defined]  # it is no test of pytest's


def _models(op: str, models: Any) -> list[Module]:
    """At least one model; a Sequential is one, and not the list of its layers."""
    alone = isinstance(models, Module) and not isinstance(models, ModuleList)
    if alone or not isinstance(models, Iterable):
        raise TypeError(f"{op}: models must be a list of models, got {type(models).__name__}")
    found = list(models)
    if not found:
        raise ValueError(f"{op}: models must be one or more models, got none")
    for i, model in enumerate(found):
        if not isinstance(model, Module):
            raise TypeError(f"{op}: models[{i}] must be a Module, got {type(model).__name__}")
    return found


def _whole(op: str, name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{op}: {name} must be an int, got {value!r}")
    if value < least:
        raise ValueError(f"{op}: {name} must be at least {least}, got {value}")
    return int(value)


def _corners(crops: int, rows: int, columns: int) -> list[tuple[int, int]]:
    """Upper left corners: the middle one first."""
    tops, lefts = (0, rows // 2, rows), (0, columns // 2, columns)
    places = [(tops[i], lefts[j]) for i in range(3) for j in range(3)]
    chosen = {1: [4], 5: [4, 0, 2, 6, 8], 9: [4, 0, 1, 2, 3, 5, 6, 7, 8]}[crops]
    return [places[i] for i in chosen]


def _predict(
    op: str,
    model: Module,
    views: list[Array],
    batch_size: int,
    preprocess: Callable[[Array], Array] | None,
) -> Array:
    """The mean over views of softmax of the model's outputs, in eval mode, batch by batch."""
    batch_size = _whole(op, "batch_size", batch_size, 1)
    if preprocess is None and views[0].dtype.kind != "f":
        raise TypeError(
            f"{op}: x is {views[0].dtype}; give a preprocess that makes floats of it, such as "
            "data.Normalize.fit(images)"
        )
    if not len(views[0]):
        raise ValueError(f"{op}: x has no samples")
    parts = []
    with _inference(model):
        for start in range(0, len(views[0]), batch_size):
            total: Any = 0.0
            for view in views:
                batch = np.ascontiguousarray(view[start : start + batch_size])
                batch = batch if preprocess is None else preprocess(batch)
                total = total + softmax(model(from_numpy(batch)), 1).numpy()
            parts.append(total / len(views))
    return np.concatenate(parts)


@contextlib.contextmanager
def _inference(model: Module) -> Iterator[None]:
    """Eval mode, without gradients; each layer's mode is as before afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def _array(x: Any) -> Array:
    return np.asarray(x.detach() if isinstance(x, Tensor) else x)
