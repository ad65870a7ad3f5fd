# SPDX-License-Identifier: BSD-3-Clause
"""Single figures: speed-up by threads, overhead of a call, memory, page faults, import, size."""

from __future__ import annotations

import io
import statistics
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .contest import LEAST_ROUNDS, take_turns
from .nets import NETS, train_step
from .process import OURS, TORCH, AbsentError, Contender, Worker, WorkerError, environment
from .workloads import Workload, activation

WARM_STEPS = 3  # after these a step must cause no page fault
SPEED_UP_THREADS = 2  # what the target is about


@dataclass(frozen=True)
class Figure:
    """A figure with its target: at least that, or at most (``at_most``)."""

    name: str
    value: float | None  # None: it could not be measured, and ``note`` says why
    unit: str = ""
    target: float | None = None
    at_most: bool = True
    note: str = ""

    @property
    def verdict(self) -> str:
        if self.value is None or self.target is None:
            return ""
        good = self.value <= self.target if self.at_most else self.value >= self.target
        return "ok" if good else "short"


class UnknownError(Exception):
    """Ours has no way to do the workload."""


@contextmanager
def _at_work(contender: Contender, threads: int, isa: str, work: Workload) -> Iterator[Worker]:
    """Start a fresh process with a workload set up."""
    worker = Worker(contender, threads, isa=isa)
    try:
        reply = worker.ask("setup", workload=work.as_json())
        if "unsupported" in reply:
            raise UnknownError(reply["unsupported"])
        yield worker
    finally:
        worker.close()


def measure(threads: int, isa: str, quick: bool, progress: Callable[[str], None]) -> list[Figure]:
    """Measure all figures; ``quick`` leaves out those that take long."""
    nets = {"cifar_quick": 32} if quick else {"cifar_quick": 128, "resnet20": 128}
    asked: list[tuple[str, Callable[[], Figure]]] = [
        ("eager call", partial(eager_call, threads, isa)),
        *(
            (f"page faults, {net}", partial(page_faults, net, n, threads, isa))
            for net, n in nets.items()
        ),
        ("import", import_time),
        ("package size", package_size),
    ]
    if not quick:
        asked.append(("peak memory", partial(peak_memory, "resnet20", 128, threads, isa)))
        asked += [
            (f"threads, {net}", partial(speed_up, net, n, threads, isa))
            for net, n in nets.items()
            if threads > 1
        ]
    found = []
    for name, take in asked:
        progress(name)
        try:
            found.append(take())
        except (UnknownError, AbsentError, WorkerError) as error:
            found.append(Figure(name, None, note=str(error)))
    return found


def eager_call(threads: int, isa: str) -> Figure:
    """Time an element-wise call from Python on an array so small that only overhead counts."""
    with _at_work(OURS, threads, isa, activation("relu", 32 * 64)) as worker:
        timing = take_turns({"call": worker}, LEAST_ROUNDS, 0.02)["call"]
    return Figure("relu of a 32×64 array, called from Python", timing.median * 1e6, "µs", 2.0)


def speed_up(net: str, batch: int, threads: int, isa: str) -> Figure:
    """Compare a training step with one thread and with all, by turns."""
    work = train_step(net, batch)
    with _at_work(OURS, 1, isa, work) as one, _at_work(OURS, threads, isa, work) as all_:
        timings = take_turns({"one": one, "all": all_}, LEAST_ROUNDS, 0.15)
    return Figure(
        f"{NETS[net].title} step, speed-up from 1 to {threads} threads",
        timings["one"].median / timings["all"].median, "×",
        1.8 if threads == SPEED_UP_THREADS else None, at_most=False,
    )  # fmt: skip


def peak_memory(net: str, batch: int, threads: int, isa: str) -> Figure:
    """Compare the largest resident sets of two processes that do nothing but train."""
    sizes = []
    for contender in (OURS, TORCH):
        with _at_work(contender, threads, isa, train_step(net, batch)) as worker:
            sizes.append(worker.ask("usage", calls=WARM_STEPS + 2)["resident"])
    return Figure(
        f"{NETS[net].title} training, batch {batch}: peak memory against {TORCH.name}'s",
        sizes[0] / sizes[1], "×", 0.7,
        note=f"{sizes[0] / 2**20:.0f} and {sizes[1] / 2**20:.0f} MiB",
    )  # fmt: skip


def page_faults(net: str, batch: int, threads: int, isa: str) -> Figure:
    """Count the page faults of a training step that is warm."""
    with _at_work(OURS, threads, isa, train_step(net, batch)) as worker:
        faults = worker.ask("usage", calls=10, warm=WARM_STEPS)["faults"]
    title = f"{NETS[net].title} step: page faults after the third"
    return Figure(title, faults, "a step", 0.0)


def import_time(rounds: int = 5) -> Figure:
    """Time an import of fastnn beyond NumPy's, each in a fresh interpreter, by turns."""
    times: dict[str, list[float]] = {"numpy": [], "fastnn": []}
    env = environment(1, {})
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has bytecode
    for _ in range(rounds + 1):
        for name, taken in times.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-P", "-c", f"import {name}"], check=True, env=env)
            taken.append(time.perf_counter() - start)
    ours, numpy = (statistics.median(times[name][1:]) for name in ("fastnn", "numpy"))
    return Figure(
        "import, beyond NumPy's", (ours - numpy) * 1e3, "ms", 60.0,
        note=f"{ours * 1e3:.0f} and {numpy * 1e3:.0f} ms",
    )  # fmt: skip


def package_size() -> Figure:
    """Compress the package's files as a wheel would; metadata add some kilobytes."""
    root = Path(__file__).parents[1]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.suffix not in (".pyc", ".c", ".pyx", ".pxi"):
                archive.write(path, path.relative_to(root.parent))
    size = packed.getbuffer().nbytes / 1e6
    return Figure("the package, compressed as in a wheel", size, "MB", 4.0)
