# SPDX-License-Identifier: BSD-3-Clause
"""The machine that a run was made on: what it is and how fast memory is copied."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from fastnn.config import usable_cores

from .workloads import IN_MEMORY


def cpu_model() -> str:
    """Return the CPU's name as the system gives it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    clean = {k.strip(): v.strip() for k, v in fields.items()}
    name = clean.get("model name", platform.machine())
    if "cpu family" in clean:
        name += f" (family {clean['cpu family']}, model {clean.get('model', '?')})"
    return name


def commit() -> str | None:
    """Return the commit of the checkout that holds this file, marked if it was changed."""
    here = Path(__file__).parent

    def git(*args: str) -> str:
        return subprocess.run(
            ["git", "-C", str(here), *args], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        if not git("ls-files", Path(__file__).name):  # some other project's checkout
            return None
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def describe(threads: int) -> dict[str, str | int | None]:
    """Return what a reader needs to judge the figures."""
    return {
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "threads": threads,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "commit": commit(),
        "load at start": f"{os.getloadavg()[0]:.1f}",
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def copy_bandwidth(threads: int, rounds: int = 9) -> dict[str, float]:
    """Return bytes read and written per second by vector passes over 4 M floats.

    ``copy`` is y = x out of place, ``in place`` is x = −x; each thread does its part (NumPy
    drops the interpreter's lock), and the median of the rounds counts.
    """
    x, y = np.ones(IN_MEMORY, np.float32), np.zeros(IN_MEMORY, np.float32)
    parts = list(zip(np.array_split(x, threads), np.array_split(y, threads), strict=True))

    with ThreadPoolExecutor(threads) as pool:

        def rate(work: Callable[[int], object]) -> float:
            times = []
            for _ in range(rounds + 2):
                start = time.perf_counter()
                list(pool.map(work, range(threads)))
                times.append(time.perf_counter() - start)
            return 2 * x.nbytes / statistics.median(times[2:])

        return {
            "copy": rate(lambda i: np.copyto(parts[i][1], parts[i][0])),
            "in place": rate(lambda i: np.negative(parts[i][0], out=parts[i][0])),
        }
