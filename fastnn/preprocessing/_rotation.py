# SPDX-License-Identifier: BSD-3-Clause
"""Transformers that rotate: principal components and whitening."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..ops import linear, matmul
from ..tensor import from_numpy
from ._base import Float, Moments, Statistic, number


class _Rotation(Statistic):
    """(x - mean) times a matrix that the eigenvectors of the covariances make."""

    _order = 2
    _matrices: dict[tuple[Any, ...], Float] | None = None  # by direction and parameters

    def _compute(self, moments: Moments, mean: Float) -> dict[str, Float]:
        self._matrices = None
        values, vectors = np.linalg.eigh(moments.squares / max(moments.count - 1, 1))
        variance, components = values[::-1].copy(), np.ascontiguousarray(vectors.T[::-1])
        # What is left of a direction without variance is rounding.
        variance[variance <= variance[0] * variance.size * np.finfo(np.float64).eps] = 0.0
        largest = np.abs(components).argmax(axis=1)
        components *= np.sign(components[np.arange(len(components)), largest])[:, None]
        return {"mean": mean, "components": components, "explained_variance": variance}

    def _matrix(self, inverse: bool) -> Float:
        """(k, D), or the inverse (D, k)."""
        raise NotImplementedError

    def _cached(self, inverse: bool) -> Float:
        self._matrices = self._matrices or {}
        key = (inverse, *self.get_params().values())
        if key not in self._matrices:
            self._matrices[key] = np.ascontiguousarray(self._matrix(inverse))
        return self._matrices[key]

    def _forward(self, rows: Float) -> Float:
        rows -= self._statistics("transform")["mean"]
        return linear(from_numpy(rows), from_numpy(self._cached(False))).numpy()

    def _backward(self, rows: Float) -> Float:
        y = linear(from_numpy(rows), from_numpy(self._cached(True))).numpy()
        return np.asarray(y + self._statistics("inverse_transform")["mean"])


class PCA(_Rotation):
    """Principal components: (x - mean) projected on the directions of the largest variance.

    Holds the covariances of all features (D^2 numbers) while it is fitted. The sign of a component
    is such that its largest weight is positive.

    Parameters
    ----------
    n_components : int, float or None
        How many; or the smallest number that explains more than this share (0 to 1) of the
        variance; or all, which are min(N, D).

    Attributes
    ----------
    mean_ : (D,)
    components_ : (k, D)
    explained_variance_, explained_variance_ratio_ : (k,)
        With N - 1 as the divisor.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[-2.0, -2.0], [0.0, 0.0], [2.0, 2.0]])
    >>> PCA(1).fit_transform(x).round(3).tolist()
    [[-2.828], [0.0], [2.828]]
    """

    _arrays = {  # noqa: RUF012
        "mean": "D", "components": "kD", "explained_variance": "k",
        "explained_variance_ratio": "k",
    }  # fmt: skip

    def __init__(self, n_components: int | float | None = None) -> None:
        self.n_components = n_components

    def _check_params(self) -> None:
        k = self.n_components
        if k is None:
            return
        value = number("PCA", "n_components", k)
        whole = isinstance(k, int | np.integer)
        if not (value >= 1 if whole else 0 < value < 1):
            raise ValueError(
                f"PCA: n_components must be an int of at least 1, or between 0 and 1, got {k}"
            )

    def _compute(self, moments: Moments, mean: Float) -> dict[str, Float]:
        fitted = super()._compute(moments, mean)
        variance = fitted["explained_variance"]
        ratio = variance / (variance.sum() or 1.0)
        most = min(moments.count, mean.size)
        k: Any = self.n_components
        if k is None:
            k = most
        elif k < 1:
            k = min(most, int(np.searchsorted(np.cumsum(ratio), k, side="right")) + 1)
        if k > most:
            raise ValueError(
                f"PCA: n_components is {k}, but {moments.count} samples of {mean.size} features "
                f"have {most}"
            )
        return {
            "mean": mean, "components": fitted["components"][:k].copy(),
            "explained_variance": variance[:k].copy(), "explained_variance_ratio": ratio[:k].copy(),
        }  # fmt: skip

    @property
    def n_components_(self) -> int:
        """How many components there are."""
        return len(self.components_)

    def _shape_after(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.n_components_,)

    def _matrix(self, inverse: bool) -> Float:
        components = self._statistics("transform")["components"]
        return np.asarray(components.T if inverse else components)


class Whiten(_Rotation):
    """Uncorrelated features of variance 1: (x - mean) V^T / sqrt(variance + eps), V the components.

    "zca" turns back, ... V, so that the result is the nearest white one and images stay images.
    Directions without variance in the training data (as all are beyond N - 1) become 0: nothing is
    known of their scale, and dividing by sqrt(eps) would blow up their noise.

    Source: Bell and Sejnowski, "The independent components of natural scenes are edge filters",
    1997; Krizhevsky, "Learning multiple layers of features from tiny images", 2009, appendix A.

    Parameters
    ----------
    kind : {"pca", "zca"}
    eps : float
        Added to the variances, in their unit: larger values amplify weak directions (noise) less.
        Not negative.

    Attributes
    ----------
    mean_ : (D,)
    components_ : (D, D)
    explained_variance_ : (D,)
        With N - 1 as the divisor.
    """

    _arrays = {"mean": "D", "components": "DD", "explained_variance": "D"}  # noqa: RUF012

    def __init__(self, kind: str = "pca", eps: float = 1e-5) -> None:
        self.kind, self.eps = kind, eps

    def _check_params(self) -> None:
        if self.kind not in ("pca", "zca"):
            raise ValueError(f"Whiten: kind must be 'pca' or 'zca', got {self.kind!r}")
        if not 0 <= number("Whiten", "eps", self.eps) < math.inf:
            raise ValueError(f"Whiten: eps must be finite and not negative, got {self.eps}")

    def _shape_after(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape if self.kind == "zca" else (math.prod(shape),)

    def _matrix(self, inverse: bool) -> Float:
        fitted = self._statistics("transform")
        variance, v = fitted["explained_variance"], fitted["components"]
        size = np.sqrt(variance + self.eps)
        factor = size if inverse else np.divide(1.0, size, where=size > 0, out=np.zeros_like(size))
        scaled = np.where(variance > 0, factor, 0.0)[:, None] * v
        if self.kind == "zca":
            scaled = matmul(from_numpy(np.ascontiguousarray(v.T)), from_numpy(scaled)).numpy()
        return np.asarray(scaled.T if inverse else scaled)
