# SPDX-License-Identifier: BSD-3-Clause
"""What all transformers share: the protocol, and statistics that come in blocks.

Statistics are summed in float64, relative to the first sample, in blocks of rows whose means and
squares are merged in order (Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm
for computing sample variances", 1979): a large mean costs no digits, a constant feature has a
variance of exactly 0, and data can come in parts that fit into memory.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..ops import matmul
from ..tensor import from_numpy

_BLOCK = 1 << 21  # values that are held in float64 at a time

Array = NDArray[Any]
Float = NDArray[np.float64]


class NotFittedError(ValueError, AttributeError):
    """A transformer is used before `fit`; of the types that scikit-learn's error has."""


class Transformer:
    """What scikit-learn expects of every transformer."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """What the constructor was given, by name."""
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        return {name: getattr(self, name) for name in names}

    def set_params(self, **params: Any) -> Self:
        """Changes what the constructor was given; the statistics stay until the next `fit`."""
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise ValueError(
                    f"{type(self).__name__}: no parameter {name!r}, known: {', '.join(known)}"
                )
            setattr(self, name, value)
        return self

    def fit(self, X: Any, y: Any = None) -> Self:
        raise NotImplementedError

    def transform(self, X: Any) -> Array:
        raise NotImplementedError

    def fit_transform(self, X: Any, y: Any = None) -> Array:
        """`fit`, then `transform` of the same data."""
        return self.fit(X).transform(X)

    def __call__(self, x: Any) -> Array:
        return self.transform(x)

    def __repr__(self) -> str:
        params = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"{type(self).__name__}({params})"

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type=None, target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(),
        )  # fmt: skip


class Moments:
    """Count, mean, and sums of squares (or products) of deviations, of rows that come in blocks."""

    def __init__(self, order: int, channels: int | None) -> None:
        self.order, self.channels = order, channels  # order 0: mean, 1: squares, 2: products
        self.count = 0
        self.origin: Any = None
        self.mean: Any = 0.0
        self.squares: Any = 0.0

    def add(self, x: Array) -> None:
        with np.errstate(over="ignore", invalid="ignore"):  # an error when they are used
            for _, rows in blocks(x):
                self._merge(rows)

    def _merge(self, rows: Float) -> None:
        n, width = rows.shape
        size = self.channels or width
        if self.origin is None:
            self.origin = rows[0, :size].copy()
        rows -= np.tile(self.origin, width // size)
        mean = rows.mean(axis=0)
        if self.order:
            rows -= mean
        squares: Any = 0.0
        if self.order == 1:
            squares = np.square(rows).sum(axis=0)
        elif self.order == 2:
            centred = from_numpy(rows)
            squares = matmul(centred.transpose(0, 1), centred).numpy()
        if self.channels:  # of the places of an image, those of a channel
            means = mean.reshape(-1, size)
            mean = means.mean(axis=0)
            if self.order:
                squares = squares.reshape(-1, size).sum(axis=0)
                squares += n * np.square(means - mean).sum(axis=0)
            n *= len(means)
        total = self.count + n
        step = mean - self.mean
        if self.order:
            product = np.square(step) if self.order == 1 else np.outer(step, step)
            self.squares = self.squares + (squares + product * (self.count * n / total))
        self.mean = self.mean + step * (n / total)
        self.count = total


class Statistic(Transformer):
    """A transformer with statistics of the data: a mean at least.

    `_arrays` says which, with their shapes: "D" features of a sample, "C" as many or one for each
    channel, "k" components.
    """

    _order = 0
    _arrays: dict[str, str] = {"mean": "C"}  # noqa: RUF012
    _moments: Moments | None = None
    _fitted: dict[str, Float] | None = None  # None: to be computed from the moments
    _shape: tuple[int, ...] | None = None

    def _check_params(self) -> None:
        """Raises TypeError or ValueError if the constructor's arguments are wrong."""

    def _by_channel(self) -> bool:
        return False

    def _compute(self, moments: Moments, mean: Float) -> dict[str, Float]:
        """The statistics from the moments."""
        return {"mean": mean}

    def _forward(self, rows: Float) -> Float:
        raise NotImplementedError

    def _backward(self, rows: Float) -> Float:
        raise NotImplementedError

    def fit(self, X: Any, y: Any = None) -> Self:
        """Takes the statistics of X, which forgets what was fitted before.

        Raises
        ------
        TypeError, ValueError
            If X is not an array of numbers (N, ...) with N > 0, or has NaN or infinite values, or
            the constructor's arguments are wrong.
        """
        self._check_params()
        x = self._read("fit", X)
        moments = self._start(x)
        moments.add(x)
        self._moments, self._shape, self._fitted = moments, x.shape[1:], None
        self._statistics("fit")
        return self

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Adds a part of the data to the statistics; the first call begins.

        The parts may be of any size. The same parts in the same order give the same bits, and other
        parts the same figures up to rounding.

        Raises
        ------
        TypeError, ValueError
            As `fit`; also if the samples have another shape than those before.
        RuntimeError
            If the transformer comes from a file, which has the statistics but not the sums.
        """
        self._check_params()
        x = self._read("partial_fit", X)
        if self._shape is None:
            self._moments, self._shape = self._start(x), x.shape[1:]
        elif self._moments is None:
            raise RuntimeError(
                f"{self._op('partial_fit')} cannot go on from a file, which has no sums; use fit"
            )
        self._check_shape("partial_fit", x.shape[1:])
        self._moments.add(x)
        self._fitted = None
        return self

    def transform(self, X: Any) -> Array:
        """The transformed samples, as a new array.

        Raises
        ------
        NotFittedError
            If nothing was fitted.
        TypeError, ValueError
            If X is not an array of numbers (N, ...) of the shape that was fitted, or has NaN or
            infinite values.
        """
        self._statistics("transform")
        x = self._read("transform", X)
        self._check_shape("transform", x.shape[1:])
        return self._map(x, self._forward, self._shape_after(x.shape[1:]))

    def inverse_transform(self, X: Any) -> Array:
        """Samples that `transform` would make X of; where it lost something, the nearest ones."""
        self._statistics("inverse_transform")
        x = self._read("inverse_transform", X)
        assert self._shape is not None
        before = x.shape[1:] if self._by_channel() else self._shape
        if self._by_channel():
            self._check_shape("inverse_transform", x.shape[1:])
        elif x.shape[1:] != self._shape_after(self._shape):
            raise ValueError(
                f"{self._op('inverse_transform')}: expected samples of shape "
                f"{self._shape_after(self._shape)}, got {x.shape[1:]}"
            )
        return self._map(x, self._backward, before)

    @property
    def n_samples_seen_(self) -> int:
        """Samples that the statistics come from; by channel, their pixels."""
        return int(self._statistics("n_samples_seen_")["count"])

    @property
    def n_features_in_(self) -> int:
        """Values of a sample."""
        self._statistics("n_features_in_")
        return math.prod(self._shape or ())

    def __sklearn_is_fitted__(self) -> bool:
        return self._shape is not None

    def __getattr__(self, name: str) -> Any:
        """`mean_` and the other statistics."""
        if not name.startswith("_") and name.endswith("_") and name[:-1] in self._arrays:
            value = self._statistics(name)[name[:-1]]
            return self._shaped(value)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def _shaped(self, value: Float) -> Float:
        """A statistic as users see it: one of each feature in the shape of a sample."""
        return value

    def _op(self, method: str) -> str:
        return f"{type(self).__name__}.{method}"

    def _statistics(self, method: str) -> dict[str, Any]:
        self._check_params()  # what was set since the fit, too
        if self._fitted is None:
            if self._moments is None or not self._moments.count:
                raise NotFittedError(f"{self._op(method)}: fit it to training data first")
            moments = self._moments
            mean = moments.origin + moments.mean
            if not (np.isfinite(mean).all() and np.isfinite(moments.squares).all()):
                raise ValueError(f"{self._op(method)}: the data are too large to be squared")
            fitted = self._compute(moments, mean)
            self._fitted = {**fitted, "count": np.array(float(moments.count))}
        shape = self._shape or ()
        if self._fitted["mean"].size != (shape[-1] if self._by_channel() else math.prod(shape)):
            raise ValueError(f"{self._op(method)}: `per` was changed since the fit; fit it again")
        return self._fitted

    def _start(self, x: Array) -> Moments:
        return Moments(self._order, x.shape[-1] if self._by_channel() else None)

    def _read(self, method: str, X: Any) -> Array:
        if hasattr(X, "toarray"):
            raise TypeError(f"{self._op(method)}: sparse data are not supported; use toarray()")
        x = np.asarray(X)
        if x.dtype.kind not in "biuf":
            raise TypeError(f"{self._op(method)}: expected an array of numbers, got {x.dtype}")
        if x.ndim < 2:
            raise ValueError(
                f"{self._op(method)}: expected samples (N, ...) of one or more dimensions, got "
                f"shape {x.shape}"
            )
        if 0 in (x.shape if "fit" in method else x.shape[1:]):
            raise ValueError(f"{self._op(method)}: there are no values in shape {x.shape}")
        if x.dtype.kind == "f":
            step = max(1, _BLOCK // math.prod(x.shape[1:]))
            for start in range(0, len(x), step):
                finite = np.isfinite(x[start : start + step])
                if not finite.all():
                    where = np.argwhere(~finite)[0]
                    where[0] += start
                    place = tuple(where.tolist())
                    raise ValueError(f"{self._op(method)}: the value at {place} is {x[place]}")
        return x

    def _check_shape(self, method: str, shape: tuple[int, ...]) -> None:
        assert self._shape is not None
        if self._by_channel():
            if shape[-1] != self._shape[-1]:
                raise ValueError(
                    f"{self._op(method)}: was fitted to {self._shape[-1]} channels, X has "
                    f"{shape[-1]} (shape {shape} of a sample)"
                )
        elif shape != self._shape:
            raise ValueError(
                f"{self._op(method)}: was fitted to samples of shape {self._shape}, those of X "
                f"have {shape}"
            )

    def _shape_after(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def _map(self, x: Array, function: Any, shape: tuple[int, ...]) -> Array:
        out = np.empty((len(x), *shape), np.float64 if x.dtype == np.float64 else np.float32)
        for start, rows in blocks(x):
            out[start : start + len(rows)] = function(rows).reshape(-1, *shape)
        return out


def blocks(x: Array) -> Iterator[tuple[int, Float]]:
    """(first sample, a copy of some samples as rows of float64), in order, of fixed size."""
    width = math.prod(x.shape[1:])
    step = max(1, _BLOCK // width)
    for start in range(0, len(x), step):
        part = x[start : start + step]
        yield start, part.reshape(len(part), width).astype(np.float64, order="C")


def number(owner: str, name: str, value: Any) -> float:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        raise TypeError(f"{owner}: {name} must be a number, got {value!r}")
    return float(value)
