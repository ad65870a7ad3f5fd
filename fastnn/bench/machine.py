# SPDX-License-Identifier: BSD-3-Clause
"""The machine that a run was made on."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from pathlib import Path

from fastnn.config import usable_cores


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
