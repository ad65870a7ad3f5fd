# SPDX-License-Identifier: BSD-3-Clause
"""What is measured of one array, and which activations can die or saturate."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .. import _core, nn

BINS = 32
_INF = math.inf


class Limits(NamedTuple):
    """Outputs at or beyond low and high have (next to) no gradient."""

    low: float
    high: float
    dies: bool  # a unit that is never between them learns nothing
    saturates: bool


def limits_of(module: nn.Module) -> Limits | None:
    """Where an activation is flat; None for others, and where its output does not tell.

    For the smooth ones: where the slope is below 4% of its maximum.
    """
    if isinstance(module, nn.ReLU):
        return Limits(0.0, _INF, True, False)
    if isinstance(module, nn.ReLU6):
        return Limits(0.0, 6.0, True, False)
    if isinstance(module, nn.Threshold) and module.value <= module.threshold:
        return Limits(module.threshold, _INF, True, False)
    if isinstance(module, nn.Hardtanh):
        return Limits(module.min_val, module.max_val, True, True)
    if isinstance(module, nn.Hardsigmoid):
        return Limits(0.0, 1.0, True, True)
    if isinstance(module, nn.Sigmoid):
        return Limits(0.01, 0.99, False, True)
    if isinstance(module, nn.Tanh):
        return Limits(-0.98, 0.98, False, True)
    if isinstance(module, nn.Softsign):
        return Limits(-0.8, 0.8, False, True)
    return None


class Figures:
    """Statistics of an array: count, mean, std, min, max, shares, histogram, units that fired.

    Those of arrays of the same place can be joined. The histogram reaches from 0 or -r to r, where
    r is a power of 2 of about four standard deviations about 0: it is looked for where `range`,
    that of an earlier array, does not fit.
    """

    def __init__(
        self,
        array: _core.Array,
        limits: Limits | None = None,
        range: tuple[float, float] | None = None,
        bins: int = BINS,
    ) -> None:
        low, high = (limits.low, limits.high) if limits else (math.nan, math.nan)
        dies = limits is not None and limits.dies
        if bins and range is None:
            range = _range(np.asarray(_core.stats(array)[0]))
        while True:
            out, fired = _core.stats(array, bins, *(range or (0.0, 1.0)), low, high, dies)
            self.values = np.asarray(out)
            if not bins or _fits(self.values, range):
                break
            range = _range(self.values)
        self.range = range
        self.fired = None if fired is None else np.asarray(fired)
        self.size = array.size

    def join(self, other: Figures) -> None:
        """Takes in another array's; its histogram only if it has the same range."""
        a, b = self.values, other.values
        count, delta = a[0] + b[0], b[1] - a[1]
        low, high = min(a[3], b[3]), max(a[4], b[4])
        if count:
            a[2] += b[2] + delta * delta * a[0] * b[0] / count
            a[1] += delta * b[0] / count
        end = None if self.range == other.range else 9
        a[5:end] += b[5:end]
        a[0], a[3], a[4] = count, low, high
        self.size += other.size
        if self.fired is not None and other.fired is not None:
            self.fired = self.fired | other.fired

    @property
    def std(self) -> float:
        """Standard deviation, of the finite values."""
        return math.sqrt(self.values[2] / self.values[0]) if self.values[0] else 0.0

    @property
    def norm(self) -> float:
        """Root of the sum of squares."""
        count, mean, m2 = self.values[:3]
        return math.sqrt(m2 + count * mean * mean)

    def entry(self, saturates: bool = False) -> dict[str, Any]:
        """For the log."""
        _, mean, _, low, high, zeros, positive, limit, bad = map(float, self.values[:9])
        size = max(self.size, 1)
        out = {
            "mean": mean, "std": self.std, "min": low + 0.0, "max": high + 0.0,  # no -0
            "norm": self.norm, "zero": zeros / size, "positive": positive / size,
        }  # fmt: skip
        if saturates:
            out["saturated"] = limit / size
        if bad:
            out["nonfinite"] = int(bad)
        if self.range is not None:
            start, end = self.range
            counts = [int(n) for n in self.values[9:]]
            out["hist"] = {"from": start, "to": end, "counts": counts}  # type: ignore[assignment]
        return out


def _reach(values: Any) -> float:
    """About four standard deviations about 0, or all of the values if they are nearer."""
    count, mean, m2, low, high = (float(v) for v in values[:5])
    if not count or not math.isfinite(m2):
        return 0.0
    return min(4.0 * math.sqrt(m2 / count + mean * mean), max(abs(low), abs(high)))


def _range(values: Any) -> tuple[float, float]:
    reach = _reach(values)
    end = 2.0 ** min(max(math.ceil(math.log2(reach)), -120), 120) if reach > 0.0 else 1.0
    return (0.0 if values[3] >= 0.0 else -end), end


def _fits(values: Any, range: tuple[float, float] | None) -> bool:
    """Whether another range would be better by much."""
    if range is None:
        return False
    start, end = _range(values)
    return (start < 0.0) == (range[0] < 0.0) and (
        0.25 <= end / range[1] <= 1.0 or _reach(values) == 0.0
    )
