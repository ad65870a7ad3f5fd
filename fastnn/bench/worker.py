# SPDX-License-Identifier: BSD-3-Clause
"""The process in which one library runs: one JSON request a line in, one JSON reply a line out.

Requests: ``setup`` (a workload in a slot; slot 0 empties the others), ``check`` (save the outputs
as .npz), ``warm`` (run for some time, report the time of a call), ``time`` (one round of calls),
``usage`` (page faults of some calls, and the largest resident set so far), ``peak``, ``bandwidth``.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import json
import math
import os
import resource
import signal
import sys
import time
import traceback
from typing import IO, Any

import numpy as np

from .job import Job, Library, UnsupportedError
from .workloads import Workload

Reply = dict[str, Any]


def limit_cores(threads: int) -> None:
    """Keep the process on as many cores as it may have threads: some libraries know no other way.

    All contenders get the same cores; only one of them runs at any time.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def end_with_parent() -> None:
    """Have Linux kill this process when its parent ends: it may be stopped, and would stay."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def warm(job: Job, seconds: float) -> float:
    """Run for ``seconds``, at least twice, and return the shortest time of a call."""
    best, end, calls = float("inf"), time.perf_counter() + seconds, 0
    while calls < 2 or time.perf_counter() < end:
        best = min(best, job.seconds_per_call(1))
        calls += 1
    return best


def timed(job: Job, calls: int, limit: float) -> float:
    """Return the mean time of a call; stop after ``limit`` seconds, if other work slows it down."""
    end, done, total = time.perf_counter() + limit, 0, 0.0
    while done < calls and (not done or time.perf_counter() < end):
        some = min(math.ceil(calls / 8), calls - done)
        total += job.seconds_per_call(some) * some
        done += some
    return total / done


def usage(job: Job, calls: int, warm: int) -> Reply:
    """Return the page faults of a call after ``warm`` others, and the largest resident set."""
    for _ in range(warm):
        job.seconds_per_call(1)
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(calls):
        job.seconds_per_call(1)
    after = resource.getrusage(resource.RUSAGE_SELF)
    faults = after.ru_minflt + after.ru_majflt - before.ru_minflt - before.ru_majflt
    return {"faults": faults / calls, "resident": largest_resident(after.ru_maxrss)}


def largest_resident(maxrss: int) -> int:
    """Return it in bytes. On Linux ru_maxrss may be that of the process that started this one."""
    if sys.platform == "darwin":
        return maxrss
    if sys.platform == "linux":
        with open("/proc/self/status") as status:
            maxrss = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    return maxrss * 1024


class Server:
    """Answers requests with one library and a job in each slot."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.jobs: dict[int, Job] = {}

    def answer(self, request: dict[str, Any]) -> Reply:
        """Do what ``request["do"]`` says."""
        do, slot = request["do"], request.get("slot", 0)
        if do == "setup":
            if slot == 0:
                self.jobs.clear()  # free them first
            try:
                self.jobs[slot] = self.library.job(Workload(**request["workload"]))
            except UnsupportedError as error:
                return {"unsupported": str(error)}
            return {}
        if do == "peak":
            measure = getattr(self.library, "peak", None)
            return {"flops": measure(request["seconds"]) if measure else None}
        if do == "bandwidth":
            return {"rates": self.library.bandwidth()}  # type: ignore[attr-defined]
        job = self.jobs.get(slot)
        if job is None:
            raise RuntimeError(f"{do}: no workload was set up")
        if do == "check":
            outputs = {name: np.asarray(a) for name, a in job.outputs().items()}
            np.savez(request["path"], **outputs)  # type: ignore[arg-type]
            return {}
        if do == "warm":
            return {"seconds": warm(job, request["seconds"])}
        if do == "time":
            limit = request.get("limit", math.inf)
            if request["untimed"]:
                timed(job, request["untimed"], limit)
            return {"seconds": timed(job, request["calls"], limit)}
        if do == "usage":
            return usage(job, request["calls"], request.get("warm", 0))
        raise ValueError(f"unknown request {do!r}")


def serve(library: Library, requests: IO[str], replies: IO[str]) -> None:
    """Answer until the requests end; an exception is an answer too."""
    server = Server(library)
    for line in requests:
        try:
            reply = server.answer(json.loads(line))
        except Exception as error:
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)


def main(argv: list[str] | None = None) -> int:
    """Open the library that the arguments name, say its versions, and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lib", required=True, help="module with open_library, e.g. .lib_numpy")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--options", type=json.loads, default={}, help="JSON for open_library")
    args = parser.parse_args(argv)
    # Replies own the real stdout; whatever a library prints goes to stderr.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    end_with_parent()
    limit_cores(args.threads)
    hello: Reply
    try:
        module = importlib.import_module(args.lib, __package__)
        library = module.open_library(args.threads, **args.options)
        hello = {"versions": library.versions, "config": library.config, "uses": library.uses}
    except ModuleNotFoundError as error:
        hello = {"absent": str(error)}
    except Exception as error:
        traceback.print_exc()
        hello = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(hello), file=replies, flush=True)
    if "versions" in hello:
        serve(library, sys.stdin, replies)
    return 0


if __name__ == "__main__":
    sys.exit(main())
