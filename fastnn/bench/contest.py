# SPDX-License-Identifier: BSD-3-Clause
"""Compare the contenders' outputs, then time them by turns: A B A B …, one running at a time.

Each contender has its own process. While one is timed the others are stopped by a signal: a
thread pool that still spins after its work cannot take the cores from the next.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import queue
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .workloads import Array, Workload

ROUNDS = 7  # at least 5
IDLE_SECONDS = 0.002  # between two turns

# glibc then keeps large blocks and hands them out again, instead of mapping fresh pages.
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "8589934592", "MALLOC_TRIM_THRESHOLD_": "8589934592"}
_FORCED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # would hold NumPy's BLAS back
_THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "FASTNN_NUM_THREADS",
)  # fmt: skip

# Loads this package alone, so that a peer's process does not import fastnn and its thread pool.
_BOOT = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location(
    "fastnn_bench", sys.argv[1] + "/__init__.py", submodule_search_locations=[sys.argv[1]])
sys.modules["fastnn_bench"] = importlib.util.module_from_spec(spec)
from fastnn_bench.worker import main
sys.exit(main(sys.argv[2:]))
"""


class WorkerError(Exception):
    """A worker failed: it could not start, raised, died, or did not answer in time."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name


class AbsentError(Exception):
    """The contender's library is not installed."""


@dataclass(frozen=True)
class Contender:
    """A library in one of its forms.

    ``kinds`` limits what it takes part in. What it does in ``by_hand`` is compared and shown, but
    no competition: there the work is a program written for it, not something that it offers.
    """

    name: str
    lib: str
    options: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    kinds: tuple[str, ...] | None = None
    by_hand: tuple[str, ...] = ()


OURS = Contender("fastnn", ".lib_fastnn")
NUMPY = Contender("NumPy", ".lib_numpy", by_hand=("step",))
TORCH = Contender("PyTorch", ".lib_torch")
PEERS = (
    Contender("PyTorch tuned", ".lib_torch", {"tuned": True}, _KEEP_MEMORY),
    Contender(
        "PyTorch compiled", ".lib_torch", {"tuned": True, "compiled": True}, _KEEP_MEMORY, ("step",)
    ),
    Contender("JAX", ".lib_jax", {}, {"JAX_PLATFORMS": "cpu"}),
    Contender("scikit-learn", ".lib_sklearn", kinds=("step",)),
)


def environment(threads: int, extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a worker: equal threads, nothing that holds a BLAS back."""
    env = {k: v for k, v in os.environ.items() if k not in _FORCED}
    env.update(dict.fromkeys(_THREADS, str(threads)))
    env.update(extra)
    return env


class Worker:
    """A contender in its process. It is stopped except while it answers.

    Raises `AbsentError` if the library is not installed, `WorkerError` if it fails otherwise.
    """

    def __init__(self, contender: Contender, threads: int, timeout: float = 300.0) -> None:
        self.contender, self.timeout = contender, timeout
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - see close
        command = [
            sys.executable, "-P", "-c", _BOOT, str(Path(__file__).parent), "--lib", contender.lib,
            "--threads", str(threads), "--options", json.dumps(dict(contender.options)),
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
            encoding="utf-8", env=environment(threads, contender.env),
        )  # fmt: skip
        self._replies: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        try:
            hello = self._reply(timeout)
            if "absent" in hello:
                raise AbsentError(hello["absent"])
        except BaseException:
            self.close()
            raise
        self.versions: dict[str, str] = hello["versions"]
        self.config: dict[str, str] = hello["config"]
        self._pause()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._replies.put(line)
        self._replies.put("")  # the process ended

    def _reply(self, timeout: float) -> dict[str, Any]:
        name = self.contender.name
        try:
            line = self._replies.get(timeout=timeout)
        except queue.Empty:
            self.close()
            raise WorkerError(name, f"no answer within {timeout:g} s") from None
        if not line:
            self._log.seek(0)
            tail = self._log.read().strip().splitlines()[-3:]
            code = self._process.wait()
            raise WorkerError(name, f"its process ended (exit code {code}): {' | '.join(tail)}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise WorkerError(name, reply["error"])
        return reply

    def _signal(self, name: str) -> None:
        if hasattr(signal, name) and self._process.poll() is None:
            self._process.send_signal(getattr(signal, name))

    def _pause(self) -> None:
        self._signal("SIGSTOP")

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Send a request and return the reply; the process runs only meanwhile."""
        if not self.alive:
            raise WorkerError(self.contender.name, "its process has ended")
        assert self._process.stdin
        self._signal("SIGCONT")
        try:
            print(json.dumps({"do": do, **request}), file=self._process.stdin, flush=True)
            return self._reply(self.timeout)
        except BrokenPipeError:
            return self._reply(self.timeout)  # tells what it died of
        finally:
            self._pause()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.kill()  # reaches a stopped process too
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        self._log.close()


# --- comparing ------------------------------------------------------------------------------------


def difference(ours: Mapping[str, Array], other: Mapping[str, Array], work: Workload) -> str:
    """Say in what the outputs differ, or return an empty string.

    The largest difference, taken in float64, may be ``work.tolerance`` times the other's largest
    value plus ``work.floor``. Other names or shapes, and anything not finite, are differences.
    """
    if sorted(ours) != sorted(other):
        return f"outputs are {sorted(ours)} and {sorted(other)}"
    for name in ours:
        a, b = np.asarray(ours[name], np.float64), np.asarray(other[name], np.float64)
        if a.shape != b.shape:
            return f"{name} has shapes {a.shape} and {b.shape}"
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            return f"{name} is not finite everywhere"
        if a.size:
            error, scale = float(np.abs(a - b).max()), float(np.abs(b).max())
            allowed = work.tolerance * scale + work.floor
            if error > allowed:
                return (
                    f"{name} differs by {error:.3g} where {allowed:.3g} is allowed "
                    f"(largest value {scale:.3g})"
                )
    return ""


def outputs(worker: Worker) -> dict[str, Array]:
    """Fetch the outputs of the workload that was set up."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "outputs.npz")
        worker.ask("check", path=path)
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}


# --- timing ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Timing:
    """Seconds per call: each round's mean."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def spread(self) -> float:
        """Half the interquartile range, relative to the median."""
        low, _, high = statistics.quantiles(self.rounds, n=4, method="inclusive")
        return (high - low) / 2 / self.median


def take_turns(
    workers: Mapping[str, Worker], rounds: int = ROUNDS, seconds: float = 0.15
) -> dict[str, Timing]:
    """Time what the workers have set up, by turns; a turn lasts about ``seconds``."""
    calls, untimed = {}, {}
    for name, worker in workers.items():
        one = worker.ask("warm", seconds=seconds)["seconds"]
        calls[name] = max(1, min(1_000_000, math.ceil(seconds / max(one, 1e-9))))
        untimed[name] = max(1, calls[name] // 10) if one < 0.5 else 0
    times: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(rounds):
        for name, worker in workers.items():
            time.sleep(IDLE_SECONDS)
            reply = worker.ask("time", calls=calls[name], untimed=untimed[name])
            times[name].append(reply["seconds"])
    return {name: Timing(tuple(t)) for name, t in times.items()}


@dataclass
class Row:
    """The result of one workload."""

    work: Workload
    timings: dict[str, Timing] = field(default_factory=dict)
    failure: str = ""  # ours is wrong or broken; then nothing was timed
    notes: list[str] = field(default_factory=list)  # peers that broke
    no_peers: set[str] = field(default_factory=lambda: {OURS.name})

    @property
    def best_peer(self) -> str | None:
        peers = [name for name in self.timings if name not in self.no_peers]
        return min(peers, key=lambda name: self.timings[name].median, default=None)

    @property
    def ratio(self) -> float | None:
        """The best peer's time over ours: above 1, fastnn is faster."""
        best = self.best_peer
        if best is None or OURS.name not in self.timings:
            return None
        return self.timings[best].median / self.timings[OURS.name].median

    @property
    def verdict(self) -> str:
        if self.failure:
            return "FAILED"
        if self.ratio is None or self.work.target is None:
            return ""
        return "ok" if self.ratio >= self.work.target else "short"


class Field:
    """The contenders' workers. Use as a context: it ends their processes.

    A contender that is not installed is named in ``absent``; one that cannot start, or a peer
    that breaks, is named in ``broken``.
    """

    def __init__(self, ours: Contender, peers: tuple[Contender, ...], threads: int) -> None:
        self.ours, self.threads = ours.name, threads
        self.absent: dict[str, str] = {}
        self.broken: dict[str, str] = {}
        self.workers: dict[str, Worker] = {}
        try:
            self.workers[ours.name] = Worker(ours, threads)
            for peer in peers:
                self._start(peer)
        except BaseException:
            self.close()
            raise

    def _start(self, peer: Contender) -> None:
        try:
            self.workers[peer.name] = Worker(peer, self.threads)
        except AbsentError as error:
            self.absent[peer.name] = str(error)
        except WorkerError as error:
            self.broken[peer.name] = str(error)

    def __enter__(self) -> Field:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all processes."""
        for worker in self.workers.values():
            worker.close()

    @property
    def versions(self) -> dict[str, str]:
        merged: dict[str, str] = {}
        for worker in self.workers.values():
            merged.update(worker.versions)
        return merged

    def _revive(self) -> None:
        """Start those anew that died over an earlier workload."""
        for name, worker in list(self.workers.items()):
            if not worker.alive:
                worker.close()
                del self.workers[name]
                self._start(worker.contender)

    def check(self, work: Workload) -> tuple[Row, dict[str, Worker]]:
        """Set the workload up everywhere and compare; return who may be timed."""
        row = Row(work)
        self._revive()
        ours = self.workers.get(self.ours)
        if ours is None:
            row.failure = self.broken[self.ours]
            return row, {}
        ready = {self.ours: ours}
        try:
            reply = ours.ask("setup", workload=work.as_json())
            if "unsupported" in reply:
                raise WorkerError(self.ours, reply["unsupported"])
            mine = outputs(ours)
        except WorkerError as error:
            row.failure = str(error)
            return row, {}
        wrong = []
        row.no_peers |= {
            w.contender.name for w in self.workers.values() if work.kind in w.contender.by_hand
        }
        for name, worker in self.workers.items():
            kinds = worker.contender.kinds
            if worker is ours or (kinds and work.kind not in kinds):
                continue
            try:
                if "unsupported" in worker.ask("setup", workload=work.as_json()):
                    continue
                found = difference(mine, outputs(worker), work)
            except WorkerError as error:
                row.notes.append(str(error))
                continue
            if found:
                wrong.append(f"against {name}: {found}")
            else:
                ready[name] = worker
        if wrong:
            row.failure = "; ".join(wrong)
            return row, {}
        return row, ready

    def measure(self, work: Workload, rounds: int = ROUNDS, seconds: float = 0.15) -> Row:
        """Compare, then time. A peer that breaks meanwhile is left out, ours is a failure."""
        row, ready = self.check(work)
        while not row.failure and not row.timings:
            try:
                row.timings = take_turns(ready, rounds, seconds)
            except WorkerError as error:
                if error.name == self.ours:
                    row.failure = str(error)
                else:
                    row.notes.append(str(error))
                    del ready[error.name]
        return row
