# SPDX-License-Identifier: BSD-3-Clause
"""Several transformers as one, and transformers as JSON and arrays, for files."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np

from ..data import Normalize
from ._base import Array, Float, Statistic, Transformer
from ._rotation import PCA, Whiten
from ._scale import ChannelMean, MeanImage, Standardize


class Compose(Transformer):
    """Apply transformers one after the other; each is fitted to what those before it make.

    It has no `partial_fit`: with data in parts, fit the first step to all parts, then the second to
    all parts as the first transforms them, and so on.

    Parameters
    ----------
    steps : list of transformers

    Examples
    --------
    >>> import numpy as np
    >>> both = Compose([Standardize(), PCA(1)])
    >>> both.fit_transform(np.array([[1.0, 5.0], [3.0, 7.0]])).round(3).tolist()
    [[-1.414], [1.414]]
    """

    def __init__(self, steps: list[Any]) -> None:
        self.steps = steps

    def _checked(self) -> list[Any]:
        if not isinstance(self.steps, list | tuple) or not self.steps:
            raise TypeError(f"Compose: steps must be a list of transformers, got {self.steps!r}")
        for i, step in enumerate(self.steps):
            if isinstance(step, type) or not callable(getattr(step, "transform", None)):
                raise TypeError(
                    f"Compose: steps[{i}] must be an instance with a transform, got {step!r}"
                )
            if any(step is other for other in self.steps[:i]):  # a fit would undo the first
                raise ValueError(f"Compose: steps[{i}] is the same object as one before it")
        return list(self.steps)

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fits every step to what those before it make of X."""
        steps = self._checked()
        for step in steps[:-1]:
            X = step.fit_transform(X)
        steps[-1].fit(X)
        return self

    def transform(self, X: Any) -> Array:
        """What all steps make of X."""
        for step in self._checked():
            X = step.transform(X)
        return np.asarray(X)

    def inverse_transform(self, X: Any) -> Array:
        """The inverse of all steps, the last one first."""
        for step in reversed(self._checked()):
            X = step.inverse_transform(X)
        return np.asarray(X)

    def __sklearn_is_fitted__(self) -> bool:
        return all(step.__sklearn_is_fitted__() for step in self.steps)


KINDS: dict[str, type[Statistic]] = {
    kind.__name__: kind for kind in (MeanImage, ChannelMean, Standardize, PCA, Whiten)
}


def describe(op: str, value: Any) -> tuple[dict[str, Any], dict[str, Float]]:
    """(JSON, arrays) of a fitted transformer or a `data.Normalize`, for `rebuild`.

    Raises
    ------
    TypeError
        If it is another thing.
    NotFittedError
    """
    kind = type(value).__name__
    if type(value) is Compose:
        steps = [describe(op, step) for step in value._checked()]
        arrays = {f"{i}.{k}": a for i, (_, found) in enumerate(steps) for k, a in found.items()}
        return {"class": kind, "steps": [step for step, _ in steps]}, arrays
    if type(value) is Normalize:
        return {"class": kind}, {"mean": value.mean, "std": value.std}
    if KINDS.get(kind) is not type(value):
        known = ", ".join([*KINDS, "Compose", "data.Normalize"])
        raise TypeError(f"{op}: preprocessing must be one of {known}, got {kind}")
    params = {
        name: param.item() if isinstance(param, np.generic) else param
        for name, param in value.get_params().items()
    }
    arrays = {name: np.asarray(a) for name, a in value._statistics(op).items()}
    return {"class": kind, "params": params, "shape": list(value._shape or ())}, arrays


def rebuild(description: Any, arrays: dict[str, Array]) -> Any:
    """The transformer that `describe` described.

    Raises
    ------
    ValueError, TypeError, KeyError
        If it describes none.
    """
    kind = description["class"]
    if kind == "Compose":
        parts: list[dict[str, Array]] = [{} for _ in description["steps"]]
        for key, array in arrays.items():
            number, name = key.split(".", 1)
            parts[int(number)][name] = array
        return Compose([rebuild(d, a) for d, a in zip(description["steps"], parts, strict=True)])
    if kind == "Normalize":
        return Normalize(arrays["mean"], arrays["std"])
    if kind not in KINDS:
        known = ", ".join([*KINDS, "Compose", "Normalize"])
        raise ValueError(f"unknown preprocessing {kind!r}, known: {known}")
    value = KINDS[kind](**description["params"])
    value._check_params()
    shape = tuple(int(n) for n in description["shape"])
    sizes = {"D": math.prod(shape), "C": math.prod(shape)}
    if value._by_channel():
        sizes["C"] = shape[-1]
    if "components" in arrays:
        sizes["k"] = len(arrays["components"])
    for name, letters in {**value._arrays, "count": ""}.items():
        wanted = tuple(sizes[letter] for letter in letters)
        array = arrays[name]
        if array.dtype != np.float64 or array.shape != wanted or not np.isfinite(array).all():
            raise ValueError(
                f"{kind}: {name} must be finite float64 of shape {wanted}, got {array.dtype} of "
                f"shape {array.shape}"
            )
    value._shape = shape
    value._fitted = {name: arrays[name] for name in (*value._arrays, "count")}
    return value
