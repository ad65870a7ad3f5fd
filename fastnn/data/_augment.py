"""Augmentation beyond geometry: colours, cut-out squares, mixtures of images and labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._transforms import _check_images, _check_rank, _number, _unit

__all__ = ["ColorJitter", "Cutout", "Mixup"]


class ColorJitter:
    """Change brightness, contrast and saturation of each image by random factors of its own.

    Each factor f is uniform on [max(0, 1 - strength), 1 + strength]. In this order: brightness
    multiplies by f; contrast is f x + (1 - f) m with the image's mean grey m; saturation is
    f x + (1 - f) grey. Results are clipped to the range, and rounded in uint8. Grey is
    0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), or of an image with another number of channels
    their mean.

    Parameters
    ----------
    brightness, contrast, saturation : float
        Strengths, from 0.

    Raises
    ------
    TypeError, ValueError
        On construction: not finite numbers of at least 0. On a call: x is not
        ``(N, H, W, C)``, neither uint8 nor floating point, or has values outside of 0 ... 1 in
        floating point (augment before you normalize).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> ColorJitter(brightness=0.5)(np.full((1, 1, 1, 1), 100, np.uint8), rng).item()
    114
    """

    def __init__(
        self, brightness: float = 0.0, contrast: float = 0.0, saturation: float = 0.0
    ) -> None:
        self.brightness = _number("ColorJitter", "brightness", brightness, np.inf)
        self.contrast = _number("ColorJitter", "contrast", contrast, np.inf)
        self.saturation = _number("ColorJitter", "saturation", saturation, np.inf)

    def __call__(self, x: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        _check_images("ColorJitter", x)
        top = _unit(x)
        if x.dtype.kind == "f" and x.size and not (x.min() >= 0 and x.max() <= 1):
            raise ValueError(
                f"ColorJitter: floating-point images must be in 0 ... 1, got {x.min()} ... "
                f"{x.max()}; augment before you normalize"
            )
        y = x.astype(np.float64 if x.dtype == np.float64 else np.float32)
        strengths = (self.brightness, self.contrast, self.saturation)
        lows = [max(0.0, 1.0 - s) for s in strengths]
        highs = [1.0 + s for s in strengths]
        factors = rng.uniform(lows, highs, (len(x), 3)).astype(y.dtype)
        brightness, contrast, saturation = factors.T[:, :, None, None, None]
        if self.brightness:
            y = np.clip(y * brightness, 0, top)
        if self.contrast:
            mean = _grey(y).mean(axis=(1, 2, 3), keepdims=True)
            y = np.clip(contrast * y + (1 - contrast) * mean, 0, top)
        if self.saturation and x.shape[3] > 1:
            y = np.clip(saturation * y + (1 - saturation) * _grey(y), 0, top)
        return (np.rint(y) if x.dtype == np.uint8 else y).astype(x.dtype)

    def __repr__(self) -> str:
        return (
            f"ColorJitter(brightness={self.brightness}, contrast={self.contrast}, "
            f"saturation={self.saturation})"
        )


class Cutout:
    """Fill a square at a random place of each image; it may hang over the edges.

    Source: DeVries and Taylor, "Improved regularization of convolutional neural networks with
    Cutout", 2017.

    Parameters
    ----------
    size : int
        Length of the square's sides.
    fill : float
        Must fit the images' dtype. After preprocessing, 0 is the mean.

    Raises
    ------
    TypeError, ValueError
        On construction: size is not an int of at least 1, fill not a finite number. On a call: x
        is not ``(N, H, W, C)``, or fill does not fit its whole numbers.
    """

    def __init__(self, size: int, fill: float = 0.0) -> None:
        if isinstance(size, bool) or not isinstance(size, int | np.integer):
            raise TypeError(f"Cutout: size must be int, got {size!r}")
        if size < 1:
            raise ValueError(f"Cutout: size must be at least 1, got {size}")
        if isinstance(fill, bool) or not isinstance(fill, int | float | np.number):
            raise TypeError(f"Cutout: fill must be a number, got {fill!r}")
        if not np.isfinite(fill):
            raise ValueError(f"Cutout: fill must be finite, got {fill}")
        self.size, self.fill = int(size), float(fill)

    def __call__(self, x: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        _check_rank("Cutout", x)
        if x.dtype.kind in "iu":
            limits = np.iinfo(x.dtype)
            if not (limits.min <= self.fill <= limits.max and self.fill.is_integer()):
                raise ValueError(f"Cutout: fill is {self.fill:g}, images are {x.dtype}")
        n, height, width, _ = x.shape
        out = x.copy()
        if not x.size:
            return out
        tops = rng.integers(0, height, (n,)) - self.size // 2
        lefts = rng.integers(0, width, (n,)) - self.size // 2
        for i, (top, left) in enumerate(zip(tops.tolist(), lefts.tolist(), strict=True)):
            out[i, max(top, 0) : top + self.size, max(left, 0) : left + self.size] = self.fill
        return out

    def __repr__(self) -> str:
        return f"Cutout(size={self.size}, fill={self.fill:g})"


class Mixup:
    """Mix each sample, and its label, with another one of the batch: for ``DataLoader(mix=...)``.

    x'[i] = f[i] x[i] + (1 - f[i]) x[j], and the targets, as probabilities of the classes,
    likewise; f[i] is drawn from Beta(alpha, alpha), j is a random order of the batch.
    `functional.cross_entropy` takes these targets.

    Source: Zhang, Cisse, Dauphin and Lopez-Paz, "mixup: Beyond empirical risk minimization", 2018.

    Parameters
    ----------
    num_classes : int
    alpha : float
        Positive; 0.1 to 0.4 mix little, 1 evenly.

    Raises
    ------
    TypeError, ValueError
        On construction: arguments of the wrong kind or size. On a call: x is not floating point
        (mix after preprocessing), or y does not hold labels from 0 to num_classes - 1.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, y = Mixup(2)(np.array([[0.0], [1.0]]), np.array([0, 1]), rng)
    >>> bool((x[:, 0] == y[:, 1]).all())
    True
    """

    def __init__(self, num_classes: int, alpha: float = 0.2) -> None:
        if isinstance(num_classes, bool) or not isinstance(num_classes, int | np.integer):
            raise TypeError(f"Mixup: num_classes must be int, got {num_classes!r}")
        if num_classes < 1:
            raise ValueError(f"Mixup: num_classes must be at least 1, got {num_classes}")
        self.num_classes = int(num_classes)
        self.alpha = _number("Mixup", "alpha", alpha, np.inf)
        if not self.alpha:
            raise ValueError("Mixup: alpha must be positive, got 0")

    def __call__(
        self, x: NDArray[Any], y: NDArray[Any], rng: np.random.Generator
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        x, y = np.asarray(x), np.asarray(y)
        if x.dtype not in (np.float32, np.float64):
            raise TypeError(f"Mixup: expected preprocessed, floating-point inputs, got {x.dtype}")
        if y.dtype.kind not in "iu" or y.shape != x.shape[:1]:
            raise TypeError(
                f"Mixup: expected a label for each of {len(x)} inputs, got {y.dtype} of shape "
                f"{y.shape}"
            )
        if y.size and not (y.min() >= 0 and y.max() < self.num_classes):
            raise ValueError(
                f"Mixup: labels must be from 0 to {self.num_classes - 1}, got {y.min()} to "
                f"{y.max()}"
            )
        share = rng.beta(self.alpha, self.alpha, len(x)).astype(x.dtype)
        other = rng.permutation(len(x))
        targets = np.zeros((len(y), self.num_classes), x.dtype)
        targets[np.arange(len(y)), y] = 1
        return _mixed(x, other, share), _mixed(targets, other, share)

    def __repr__(self) -> str:
        return f"Mixup(num_classes={self.num_classes}, alpha={self.alpha:g})"


def _mixed(x: NDArray[Any], other: NDArray[Any], share: NDArray[Any]) -> NDArray[Any]:
    f = share.reshape(-1, *[1] * (x.ndim - 1))
    return np.asarray(f * x + (1 - f) * x[other])


def _grey(x: NDArray[Any]) -> NDArray[Any]:
    """(N, H, W, 1)."""
    weights = np.full(x.shape[3], 1 / max(x.shape[3], 1), x.dtype)
    if x.shape[3] == 3:
        weights = np.array([0.299, 0.587, 0.114], x.dtype)
    return np.asarray((x * weights).sum(axis=3, keepdims=True))
