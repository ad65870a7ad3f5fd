# SPDX-License-Identifier: BSD-3-Clause
"""Lab: what an experiment is given: size, data, random numbers, progress."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .. import datasets

Array = NDArray[Any]
T = TypeVar("T")

SIZES = ("tiny", "quick", "full")
DATA = ("mnist_small", "cifar10")


@dataclass(frozen=True)
class Images:
    """Training and test images with their labels."""

    x: Array
    y: Array
    x_test: Array
    y_test: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image: (H, W, C)."""
        return tuple(self.x.shape[1:])


class Lab:
    """What an experiment is given.

    Parameters
    ----------
    data : "mnist_small" or "cifar10"
    root : path, optional
        Where the files of cifar10 are.
    size : "full", "quick" or "tiny"
        quick: a few seconds for each experiment; tiny: for tests of the code.
    seed : int
    progress : callable, optional
        Called with a few words at each stage.
    """

    def __init__(
        self, data: str = "mnist_small", root: Any = None, size: str = "full", seed: int = 0,
        progress: Callable[[str], object] = lambda words: None,
    ) -> None:  # fmt: skip
        if data not in DATA:
            raise ValueError(f"Lab: data must be one of {', '.join(DATA)}, got {data!r}")
        if size not in SIZES:
            raise ValueError(f"Lab: size must be one of {', '.join(SIZES)}, got {size!r}")
        self.data, self.root, self.size, self.seed = data, root, size, seed
        self.progress = progress

    def pick(self, tiny: T, quick: T, full: T) -> T:
        """The value that fits the size of this run."""
        return (tiny, quick, full)[SIZES.index(self.size)]

    def rng(self, number: int = 0) -> np.random.Generator:
        """A generator; another one for another number."""
        return np.random.default_rng([self.seed, number])

    @cached_property
    def _raw(self) -> Images:
        with warnings.catch_warnings():  # some of the batches are enough
            warnings.simplefilter("ignore", UserWarning)
            if self.data == "cifar10":
                (x, y), (x_test, y_test) = datasets.cifar10(self.root)
            else:
                (x, y), (x_test, y_test) = datasets.mnist_small()
        order = np.random.default_rng(0).permutation(len(x))
        return Images(x[order], y[order], x_test, y_test)

    def raw(self, train: int | None = None, test: int | None = None) -> Images:
        """The first so many images of each kind, uint8, in an order mixed once and for all."""
        all_ = self._raw
        return Images(all_.x[:train], all_.y[:train], all_.x_test[:test], all_.y_test[:test])

    def images(self, train: int | None = None, test: int | None = None) -> Images:
        """The same as float32, with mean 0 and standard deviation 1 on the training images."""
        raw = self.raw(train, test)
        x = raw.x.astype(np.float32)
        mean, std = x.mean(dtype=np.float64), x.std(dtype=np.float64)
        scale = lambda a: ((a - np.float32(mean)) / np.float32(std)).astype(np.float32)  # noqa: E731
        return Images(scale(x), raw.y, scale(raw.x_test.astype(np.float32)), raw.y_test)
