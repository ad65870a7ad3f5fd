# SPDX-License-Identifier: BSD-3-Clause
"""What a library offers to be measured: jobs, made from workloads.

A ``lib_*`` module has a function ``open_library(threads, **options)`` that returns a `Library`.
The library does a workload of kind ``k`` if it has a method ``k(args, data)`` that returns a Job.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from .inputs import inputs
from .workloads import Array, Workload


class UnsupportedError(Exception):
    """The library cannot do this workload; the row goes on without it."""


@dataclass
class Job:
    """A workload in the hands of a library.

    ``run()`` is what is timed, and it is over when it returns. ``prepare()`` comes before each
    run, untimed: the forward pass before a backward one. ``outputs()`` does the work once and
    returns canonical arrays, for the comparison.
    """

    run: Callable[[], object]
    outputs: Callable[[], dict[str, Array]]
    prepare: Callable[[], object] | None = None

    def seconds_per_call(self, calls: int) -> float:
        """Time ``calls`` runs."""
        clock, run = time.perf_counter, self.run
        if self.prepare is None:
            start = clock()
            for _ in range(calls):
                run()
            return (clock() - start) / calls
        total = 0.0
        for _ in range(calls):
            self.prepare()
            start = clock()
            run()
            total += clock() - start
        return total / calls


class Library:
    """One library, in one process, with a fixed number of threads."""

    versions: dict[str, str]
    config: dict[str, str] = {}  # noqa: RUF012 - replaced, never changed
    uses = ""  # the instructions that it says it uses

    def job(self, work: Workload) -> Job:
        """Set the workload up. Raises `UnsupportedError` if the library has no way to do it."""
        make = getattr(self, work.kind, None)
        if make is None:
            raise UnsupportedError(f"no {work.kind}")
        job: Job = make(work.args, inputs(work))
        return job
