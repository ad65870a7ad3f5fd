# SPDX-License-Identifier: BSD-3-Clause
"""What is searched: ranges and choices, by name.

A value of either kind has a place from 0 to 1: samples, grids, narrower ranges and pictures are all
made there, so that a logarithmic range is logarithmic in each of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Choice", "Config", "Range", "Space", "choice", "integer", "log_uniform", "uniform"]

Config = dict[str, Any]


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, even or logarithmic, real or whole."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def value(self, place: float) -> Any:
        """The number at a place from 0 to 1."""
        if place in (0.0, 1.0):
            return self.high if place else self.low
        low, high = self._ends()
        number = low + (high - low) * place
        number = math.exp(number) if self.log else number
        number = round(number) if self.whole else number
        return min(max(number, self.low), self.high)  # not an ulp outside

    def place(self, value: float) -> float:
        """Where from 0 to 1 a number is."""
        low, high = self._ends()
        if high == low:
            return 0.5
        return ((math.log(value) if self.log else value) - low) / (high - low)

    def _ends(self) -> tuple[float, float]:
        return (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)

    def sample(self, rng: np.random.Generator) -> Any:
        """A number at random; every whole number of an even range is equally likely."""
        if self.whole and not self.log:
            return int(rng.integers(int(self.low), int(self.high) + 1))
        return self.value(float(rng.random()))

    def grid(self, points: int) -> list[Any]:
        """So many numbers at equal distances, both ends among them; whole ones without repeats."""
        places = [0.5] if points == 1 else [i / (points - 1) for i in range(points)]
        return list(dict.fromkeys(self.value(place) for place in places))

    def narrowed(self, values: Sequence[Any], margin: float) -> Range:
        """The part of the range that the values span, and `margin` of its width on both sides."""
        places = [self.place(value) for value in values]
        low, high = max(0.0, min(places) - margin), min(1.0, max(places) + margin)
        return Range(self.value(low), self.value(high), self.log, self.whole)

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        return {"low": self.low, "high": self.high, "log": self.log, "whole": self.whole}


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    options: tuple[Any, ...]

    def place(self, value: Any) -> float:
        """Where from 0 to 1 an option is."""
        return self.options.index(value) / max(1, len(self.options) - 1)

    def sample(self, rng: np.random.Generator) -> Any:
        """An option at random."""
        return self.options[int(rng.integers(len(self.options)))]

    def grid(self, points: int) -> list[Any]:
        """All of them, whatever the number of points."""
        return list(self.options)

    def narrowed(self, values: Sequence[Any], margin: float) -> Choice:
        """The options that are among the values."""
        return Choice(tuple(option for option in self.options if option in values))

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        return {"options": list(self.options)}


Space = dict[str, Range | Choice]


def log_uniform(low: float, high: float) -> Range:
    """Real numbers whose logarithm is uniform: for learning rates, penalties, scales.

    Raises
    ------
    TypeError, ValueError
        If a bound is not a finite, positive number, or low > high.
    """
    return _range("log_uniform", low, high, log=True)


def uniform(low: float, high: float) -> Range:
    """Real numbers, all equally likely. Raises as `log_uniform`, but takes any sign."""
    return _range("uniform", low, high)


def integer(low: int, high: int, log: bool = False) -> Range:
    """Whole numbers, both bounds included, even or with `log` logarithmic. Raises as the others."""
    for bound, value in (("low", low), ("high", high)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise TypeError(f"integer: {bound} must be an int, got {value!r}")
    return _range("integer", low, high, log, whole=True)


def choice(options: Iterable[Any]) -> Choice:
    """One of the options, which are text, numbers, booleans or None, as they go into a log.

    Raises
    ------
    TypeError, ValueError
        If an option is something else (choose among its names, then), or there is none, or one
        stands there twice.
    """
    if isinstance(options, str) or not isinstance(options, Iterable):
        raise TypeError(f"choice: options must be a list, got {options!r}")
    found = tuple(o.item() if isinstance(o, np.generic) else o for o in options)
    if not found:
        raise ValueError("choice: options must not be empty")
    for i, option in enumerate(found):
        if option is not None and not isinstance(option, str | int | float):
            raise TypeError(
                f"choice: an option must be text, a number, a bool or None, got {option!r}; "
                "choose among names and look the name up in the objective"
            )
        if isinstance(option, float) and not math.isfinite(option):
            raise ValueError(f"choice: an option must be finite, got {option}")
        if option in found[:i]:
            raise ValueError(f"choice: {option!r} stands there twice")
    return Choice(found)


def _range(owner: str, low: Any, high: Any, log: bool = False, whole: bool = False) -> Range:
    for bound, value in (("low", low), ("high", high)):
        if isinstance(value, bool) or not isinstance(value, int | float | np.number):
            raise TypeError(f"{owner}: {bound} must be a number, got {value!r}")
        if not math.isfinite(value):
            raise ValueError(f"{owner}: {bound} must be finite, got {value}")
        if log and value <= 0:
            raise ValueError(
                f"{owner}: {bound} must be positive on a logarithmic scale, got {value}"
            )
    if low > high:
        raise ValueError(f"{owner}: low must not be above high, got {low} and {high}")
    kind = int if whole else float
    return Range(kind(low), kind(high), log, whole)


def check_space(owner: str, space: Any) -> Space:
    """The space as a dictionary of its own; lists in it become choices."""
    if not isinstance(space, Mapping):
        raise TypeError(f"{owner}: space must map names to ranges and choices, got {space!r}")
    if not space:
        raise ValueError(f"{owner}: the search space is empty")
    found: Space = {}
    for name, values in space.items():
        if not isinstance(name, str):
            raise TypeError(f"{owner}: a name in space must be text, got {name!r}")
        if isinstance(values, list | tuple):
            values = choice(values)
        if not isinstance(values, Range | Choice):
            raise TypeError(
                f"{owner}: space[{name!r}] must be log_uniform, uniform, integer, choice or a "
                f"list, got {values!r}"
            )
        found[name] = values
    return found


def sample(space: Space, seed: int, number: int) -> Config:
    """The configuration that trial `number` of a search with this seed draws."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
    return {name: values.sample(rng) for name, values in space.items()}


def trial_seed(seed: int, number: int) -> int:
    """The seed of what trial `number` itself draws, unlike that of its configuration."""
    return int(np.random.SeedSequence(seed, spawn_key=(number, 1)).generate_state(1)[0])
