"""Image transforms for DataLoader: callables on a batch (N, H, W, C), with or without an rng."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Compose", "Normalize", "RandomCrop", "RandomHorizontalFlip"]

CHUNK_VALUES = 1 << 20  # pixels that Normalize.fit holds in float64 at a time


def takes_rng(owner: str, transform: Callable[..., Any]) -> bool:
    """Whether `transform` is called as transform(x, rng) rather than transform(x).

    That is so if it has two required positional parameters, or says so in an attribute
    `takes_rng`. Raises TypeError if it can be called in neither way.
    """
    if not callable(transform):
        raise TypeError(f"{owner}: transform must be callable, got {type(transform).__name__}")
    declared = getattr(transform, "takes_rng", None)
    if isinstance(declared, bool):
        return declared
    try:
        signature = inspect.signature(transform)
    except ValueError:  # a built-in without a signature
        return False
    required = [
        p
        for p in signature.parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    arguments = ("x", "rng") if len(required) == 2 else ("x",)
    try:
        signature.bind(*arguments)
    except TypeError:
        raise TypeError(
            f"{owner}: transform must take (x) or (x, rng), got a callable {signature}"
        ) from None
    return len(required) == 2


class Compose:
    """Apply transforms one after the other; those that take an rng share one.

    ``Compose(f, g)(x, rng)`` is ``g(f(x, rng), rng)``; the rng can be left out if no transform
    takes one.
    """

    def __init__(self, *transforms: Callable[..., NDArray[Any]]) -> None:
        self.transforms = transforms
        self._with_rng = [takes_rng("Compose", transform) for transform in transforms]
        self.takes_rng = any(self._with_rng)

    def __call__(self, x: NDArray[Any], rng: np.random.Generator | None = None) -> NDArray[Any]:
        if self.takes_rng and rng is None:
            raise TypeError("Compose: needs an rng, since one of its transforms takes one")
        for transform, with_rng in zip(self.transforms, self._with_rng, strict=True):
            x = transform(x, rng) if with_rng else transform(x)
        return x

    def __repr__(self) -> str:
        return f"Compose({', '.join(map(repr, self.transforms))})"


class Normalize:
    r"""Shift and scale each channel: ``(x - mean) / std``, as float32.

    uint8 images are divided by 255 first; floating-point images are taken as they are. Computed in
    float64 if x is, otherwise in float32.

    Parameters
    ----------
    mean, std : float, or array of shape (C,)
        Finite, std positive. On the scale 0 ... 1 for uint8 images.

    Raises
    ------
    TypeError, ValueError
        On construction: mean or std is not a number or vector, not finite, std <= 0, or their
        lengths differ. On a call: x is neither uint8 nor floating point, not ``(N, H, W, C)``,
        or has another number of channels.

    Examples
    --------
    >>> Normalize(0.5, 0.25)(np.full((1, 1, 1, 1), 255, np.uint8)).item()
    2.0
    """

    def __init__(self, mean: ArrayLike, std: ArrayLike) -> None:
        self.mean = _statistic("mean", mean)
        self.std = _statistic("std", std)
        if not (self.std > 0).all():
            raise ValueError(f"Normalize: std must be positive, got {self.std.tolist()}")
        if self.mean.ndim and self.std.ndim and self.mean.shape != self.std.shape:
            raise ValueError(
                f"Normalize: mean has {len(self.mean)} channels, std has {len(self.std)}"
            )

    @classmethod
    def fit(cls, images: NDArray[Any]) -> Normalize:
        """Take mean and (population) standard deviation of each channel from training images.

        Computed in float64, in two passes over chunks of the images.

        Parameters
        ----------
        images : ndarray, shape (N, H, W, C), uint8 or floating point

        Raises
        ------
        TypeError, ValueError
            As on a call; also if there are no pixels, a value is NaN or infinite, or a channel
            is constant.
        """
        _check_images("Normalize.fit", images)
        if images.size == 0:
            raise ValueError(f"Normalize.fit: images is empty, got shape {images.shape}")
        channels = images.shape[-1]
        # Sums over images first, in long rows; then over the places of each channel.
        with np.errstate(over="ignore", invalid="ignore"):  # NaN and inf: an error below
            total = sum(rows.sum(axis=0) for rows in _rows(images))
            mean = np.reshape(total, (-1, channels)).mean(axis=0) / len(images)
            centre = np.tile(mean, images[0].size // channels)
            squares = sum(np.square(rows - centre).sum(axis=0) for rows in _rows(images))
            std = np.sqrt(np.reshape(squares, (-1, channels)).mean(axis=0) / len(images))
        if not np.isfinite(std).all():
            raise ValueError("Normalize.fit: images has values that are not finite")
        constant = np.flatnonzero(std <= 1e-12 * np.abs(mean))  # but for rounding
        if constant.size:
            raise ValueError(f"Normalize.fit: channel {constant[0]} of images is constant")
        unit = _unit(images)
        return cls(mean / unit, std / unit)

    def __call__(self, x: NDArray[Any]) -> NDArray[np.float32]:
        _check_images("Normalize", x)
        channels = x.shape[-1]
        for statistic in (self.mean, self.std):
            if statistic.ndim and len(statistic) != channels:
                raise ValueError(
                    f"Normalize: was made for {len(statistic)} channels, x has {channels}"
                )
        # x * scale + shift on whole images at a time: long rows suit NumPy's inner loop.
        repeat = x.shape[1] * x.shape[2]
        ones = np.ones(channels)
        kind = np.float64 if x.dtype == np.float64 else np.float32
        scale = np.tile(ones / (_unit(x) * self.std), repeat).astype(kind)
        shift = np.tile(-ones * self.mean / self.std, repeat).astype(kind)
        rows = x.reshape(len(x), repeat * channels)
        out = np.multiply(rows, scale, dtype=kind, casting="same_kind")
        out += shift
        return out.reshape(x.shape).astype(np.float32, copy=False)

    def __repr__(self) -> str:
        return f"Normalize(mean={self.mean.tolist()}, std={self.std.tolist()})"


class RandomCrop:
    """Pad each image with zeros and cut a window out of it at a random place of its own.

    Parameters
    ----------
    size : int or (height, width)
    padding : int
        Rows and columns of zeros on each side.

    Raises
    ------
    TypeError, ValueError
        On construction: not ints, size < 1, padding < 0. On a call: x is not ``(N, H, W, C)`` or
        the padded images are smaller than `size`.
    """

    def __init__(self, size: int | tuple[int, int], padding: int = 0) -> None:
        sizes = size if isinstance(size, tuple) else (size, size)
        if len(sizes) != 2:
            raise ValueError(f"RandomCrop: size must be an int or (height, width), got {size}")
        for argument, value, least in (
            ("size", sizes[0], 1),
            ("size", sizes[1], 1),
            ("padding", padding, 0),
        ):
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise TypeError(f"RandomCrop: {argument} must be int, got {value!r}")
            if value < least:
                raise ValueError(f"RandomCrop: {argument} must be at least {least}, got {value}")
        self.size = (int(sizes[0]), int(sizes[1]))
        self.padding = int(padding)

    def __call__(self, x: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        _check_rank("RandomCrop", x)
        n, height, width, channels = x.shape
        (h, w), pad = self.size, self.padding
        if h > height + 2 * pad or w > width + 2 * pad:
            raise ValueError(
                f"RandomCrop: size {self.size} is larger than the padded image "
                f"({height + 2 * pad}, {width + 2 * pad})"
            )
        padded = np.zeros((n, height + 2 * pad, width + 2 * pad, channels), x.dtype)
        padded[:, pad : pad + height, pad : pad + width] = x
        tops = rng.integers(0, height + 2 * pad - h + 1, n)
        lefts = rng.integers(0, width + 2 * pad - w + 1, n)
        out = np.empty((n, h, w, channels), x.dtype)
        for i, (top, left) in enumerate(zip(tops.tolist(), lefts.tolist(), strict=True)):
            out[i] = padded[i, top : top + h, left : left + w]
        return out

    def __repr__(self) -> str:
        return f"RandomCrop(size={self.size}, padding={self.padding})"


class RandomHorizontalFlip:
    """Mirror each image left to right with probability `p`, 0 <= p <= 1."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = _number("RandomHorizontalFlip", "p", p, 1.0)

    def __call__(self, x: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        _check_rank("RandomHorizontalFlip", x)
        chosen = rng.random(len(x)) < self.p
        out = x.copy()
        out[chosen] = x[chosen, :, ::-1]
        return out

    def __repr__(self) -> str:
        return f"RandomHorizontalFlip(p={self.p})"


def _statistic(argument: str, value: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"Normalize: {argument} must be a number or a vector, got {value!r}")
    if array.ndim > 1 or array.size == 0:
        raise ValueError(
            f"Normalize: {argument} must be a number or a vector, got shape {array.shape}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"Normalize: {argument} must be finite, got {array.tolist()}")
    return array.astype(np.float64)


def _check_rank(owner: str, x: object) -> None:
    if not isinstance(x, np.ndarray):
        raise TypeError(f"{owner}: expected a numpy array, got {type(x).__name__}")
    if x.ndim != 4:
        raise ValueError(f"{owner}: expected images (N, H, W, C), got shape {x.shape}")


def _check_images(owner: str, x: NDArray[Any]) -> None:
    _check_rank(owner, x)
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        raise TypeError(f"{owner}: expected uint8 or floating-point images, got {x.dtype}")


def _unit(images: NDArray[Any]) -> float:
    """The value that stands for full brightness."""
    return 255.0 if images.dtype == np.uint8 else 1.0


def _rows(images: NDArray[Any]) -> Iterator[NDArray[np.float64]]:
    """Some images at a time, each as a row of float64."""
    step = max(1, CHUNK_VALUES // images[0].size)
    for start in range(0, len(images), step):
        part = images[start : start + step]
        yield part.reshape(len(part), -1).astype(np.float64)


def _number(owner: str, argument: str, value: Any, most: float) -> float:
    """A number from 0 to `most`."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(f"{owner}: {argument} must be a number, got {value!r}")
    if not 0 <= value <= most or value == np.inf:
        bound = f"from 0 to {most:g}" if most < np.inf else "finite and not negative"
        raise ValueError(f"{owner}: {argument} must be {bound}, got {value}")
    return float(value)
