"""Threads, CPU target, and what this build is."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from . import _core


def usable_cores() -> int:
    """Cores that this process may use: affinity, then the cgroup's quota; at least 1."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        cores = os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, cores if quota is None else min(cores, int(quota)))


def _cgroup_quota(
    root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> float | None:
    """CPUs that the cgroup (v2 or v1) of this process, or one above it, allows; None: no limit."""
    limits = []
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            base, name = root, "cpu.max"
        elif "cpu" in controllers.split(","):
            base, name = root / "cpu", "cpu.cfs_quota_us"
        else:
            continue
        folder = base / group.strip("/")
        for place in (folder, *folder.parents):
            if place == base.parent:
                break
            limit = _read_quota(place / name)
            if limit is not None:
                limits.append(limit)
    return min(limits, default=None)


def _read_quota(path: Path) -> float | None:
    try:
        fields = path.read_text().split()
        if path.name == "cpu.max":
            quota, period = fields
        else:
            quota, period = fields[0], (path.parent / "cpu.cfs_period_us").read_text()
        value = float(quota) / float(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
    return value if value > 0 else None


def set_num_threads(n: int) -> None:
    """Limits every kernel to n threads (results do not depend on it)."""
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"set_num_threads: n must be an int, got {type(n).__name__}")
    if not 1 <= n.__index__() <= 1024:
        raise ValueError(f"set_num_threads: n must be in 1..1024, got {n}")
    _core.set_num_threads(n.__index__())


def get_num_threads() -> int:
    """The number of threads that a large kernel uses."""
    return _core.get_num_threads()


def empty_cache() -> None:
    """Returns the memory that the pool keeps for reuse to the system."""
    _core.empty_cache()


def config() -> dict[str, object]:
    """What `show_config` prints, as a dictionary."""
    from . import __version__

    return {
        "fastnn": __version__,
        "target": _core.current_target(),
        "runnable targets": _core.runnable_targets(),
        "threads": get_num_threads(),
        "OpenMP": _core.has_openmp(),
        "compiler": _core.compiler(),
        "CPU": cpu_name(),
        "Python": platform.python_version(),
    }


def show_config() -> None:
    """Prints version, CPU target, threads and build."""
    for name, value in config().items():
        text = ", ".join(value) if isinstance(value, list) else str(value)
        print(f"{name:16} {text}")
    if not _core.has_openmp():
        print("built without OpenMP: kernels use one thread")


def cpu_name() -> str:
    """The CPU's name, as far as the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _start() -> None:
    """At import: FASTNN_CPU and FASTNN_CONV_ALGO, then the threads: FASTNN_NUM_THREADS,
    OMP_NUM_THREADS or the usable cores."""
    wanted = os.environ.get("FASTNN_CPU")
    _core.set_target(wanted if wanted is not None else _core.runnable_targets()[0])
    _core.set_conv_algo(os.environ.get("FASTNN_CONV_ALGO", "auto"))
    for name in ("FASTNN_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(name, "").split(",")[0].strip()
        if not text:
            continue
        if text.isdecimal() and 1 <= int(text) <= 1024:
            set_num_threads(int(text))
            return
        if name == "FASTNN_NUM_THREADS":
            raise ValueError(f"FASTNN_NUM_THREADS: expected an integer in 1..1024, got {text!r}")
    set_num_threads(usable_cores())


_start()
