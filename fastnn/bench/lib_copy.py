# SPDX-License-Identifier: BSD-3-Clause
"""No library but a yardstick: memory moved by plain vector loops, as fast as all threads can.

It stands in the row of an element-wise function and moves as many arrays as that must: y = x or
y = −x, whichever is faster (a copy may bypass the caches), for one that reads one array;
dx = y + dy for a backward pass, with y = −x before it, untimed, as each library's forward pass is:
what it leaves in the caches counts. Threads run freely, without meeting after each pass.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from .isa import numpy_in_use
from .job import Job, Library, UnsupportedError
from .workloads import BACKWARD, IN_CACHE, IN_MEMORY, Array

Part = tuple[Array, ...]


def open_library(threads: int) -> Library:
    """Use as many Python threads; NumPy drops the interpreter's lock."""
    return Copy(threads)


class _Loops(Job):
    """Passes over parts of arrays, each thread over its own; ``before`` each of them, untimed."""

    def __init__(
        self, moves: list[Callable[[Part], object]], arrays: tuple[Array, ...], threads: int,
        before: Callable[[Part], object] | None = None,
    ) -> None:  # fmt: skip
        self.parts = list(zip(*(np.array_split(x, threads) for x in arrays), strict=True))
        self.pool = ThreadPoolExecutor(threads)
        self.move, self.before = moves[0], before
        super().__init__(lambda: self.seconds_per_call(1), dict)
        self.move = min(moves, key=self._seconds)

    def _seconds(self, move: Callable[[Part], object]) -> float:
        self.move = move
        return min(self.seconds_per_call(10) for _ in range(5))

    def seconds_per_call(self, calls: int) -> float:
        def loop(part: Part) -> float:
            start, untimed = time.perf_counter(), 0.0
            for _ in range(calls):
                if self.before is not None:
                    begin = time.perf_counter()
                    self.before(part)
                    untimed += time.perf_counter() - begin
                self.move(part)
            return time.perf_counter() - start - untimed

        return max(self.pool.map(loop, self.parts)) / calls


class Copy(Library):
    """Moves memory."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.versions = {}
        self.uses = numpy_in_use()

    def bandwidth(self) -> dict[str, float]:
        """Return bytes per second, read and written, of a copy in memory and in the caches."""
        rates = {}
        for where, size in (("memory", IN_MEMORY), ("cache", IN_CACHE * self.threads)):
            x, y = np.ones(size, np.float32), np.zeros(size, np.float32)
            job = self._copy(x, y)
            calls = 20 if where == "memory" else 2000
            job.seconds_per_call(calls // 10)
            seconds = statistics.median(job.seconds_per_call(calls) for _ in range(5))
            rates[where] = 2 * x.nbytes / seconds
        return rates

    def activation(self, a: dict[str, Any], d: dict[str, Array]) -> Job:
        if a["size"] < IN_MEMORY:
            raise UnsupportedError("in cache it is no measure")
        x = d["x"]
        if a["direction"] == BACKWARD:
            arrays = (d["dy"], np.zeros_like(x), x, np.zeros_like(x))
            return _Loops(
                [lambda p: np.add(p[3], p[0], out=p[1])], arrays, self.threads,
                before=lambda p: np.negative(p[2], out=p[3]),
            )  # fmt: skip
        return self._copy(x, np.zeros_like(x))

    def _copy(self, x: Array, y: Array) -> _Loops:
        moves = [lambda p: np.copyto(p[1], p[0]), lambda p: np.negative(p[0], out=p[1])]
        return _Loops(moves, (x, y), self.threads)
