# SPDX-License-Identifier: BSD-3-Clause
"""Compare the contenders' outputs, then time them by turns: A B A B …, one running at a time."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .isa import NO_SWITCH
from .process import (
    OUR_NAMES,
    OURS,
    AbsentError,
    Contender,
    Seat,
    Worker,
    WorkerError,
    outputs,
)
from .workloads import BEST, COPY, Array, Workload

LEAST_ROUNDS, ROUNDS = 5, 7
FAR_BEHIND = 3.0  # times the fastest: no peer to beat, whatever the noise
IDLE_SECONDS = 0.002  # between two turns
LONGEST_TURN = 5  # times what it should last


# --- comparing ------------------------------------------------------------------------------------


def difference(ours: Mapping[str, Array], other: Mapping[str, Array], work: Workload) -> str:
    """Say in what the outputs differ, or return an empty string.

    The largest (or root mean square) difference, taken in float64, may be ``work.tolerance`` times
    the other's largest (rms) value plus ``work.floor``. Other names or shapes, and anything not
    finite, are differences.
    """
    size = _largest if work.metric == "max" else _rms
    if sorted(ours) != sorted(other):
        return f"outputs are {sorted(ours)} and {sorted(other)}"
    for name in ours:
        a, b = np.asarray(ours[name], np.float64), np.asarray(other[name], np.float64)
        if a.shape != b.shape:
            return f"{name} has shapes {a.shape} and {b.shape}"
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            return f"{name} is not finite everywhere"
        if a.size:
            error, scale = size(a - b), size(b)
            allowed = work.tolerance * scale + work.floor
            if error > allowed:
                return (
                    f"{name} differs by {error:.3g} where {allowed:.3g} is allowed "
                    f"({'largest' if size is _largest else 'rms'} value {scale:.3g})"
                )
    return ""


def _largest(a: Array) -> float:
    return float(np.abs(a).max())


def _rms(a: Array) -> float:
    return math.sqrt(float(np.square(a).mean()))


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
    workers: Mapping[str, Worker | Seat], rounds: int = ROUNDS, seconds: float = 0.15
) -> dict[str, Timing]:
    """Time what the workers have set up, by turns; a turn lasts about ``seconds``.

    Who is far behind stops after the least number of rounds.
    """
    one = {name: worker.ask("warm", seconds=seconds)["seconds"] for name, worker in workers.items()}
    calls = {n: max(1, min(1_000_000, math.ceil(seconds / max(t, 1e-9)))) for n, t in one.items()}
    untimed = {n: max(1, calls[n] // 10) if t < 0.5 else 0 for n, t in one.items()}
    behind = {n for n, t in one.items() if t > FAR_BEHIND * min(one.values())}
    times: dict[str, list[float]] = {name: [] for name in workers}
    for i in range(rounds):
        for name, worker in workers.items():
            if name in behind and i >= LEAST_ROUNDS:
                continue
            time.sleep(IDLE_SECONDS)
            reply = worker.ask(
                "time", calls=calls[name], untimed=untimed[name], limit=LONGEST_TURN * seconds
            )
            times[name].append(reply["seconds"])
    return {name: Timing(tuple(t)) for name, t in times.items()}


@dataclass
class Row:
    """The result of one workload."""

    work: Workload
    timings: dict[str, Timing] = field(default_factory=dict)
    failure: str = ""  # ours is wrong or broken; then nothing was timed
    unsupported: str = ""  # ours has no way to do it
    notes: list[str] = field(default_factory=list)  # peers that broke
    no_peers: set[str] = field(default_factory=lambda: {*OUR_NAMES, COPY})

    @property
    def ours(self) -> str:
        """The faster of our forms, or our name if none was timed."""
        names = [name for name in OUR_NAMES if name in self.timings]
        return min(names, key=lambda name: self.timings[name].median, default=OURS.name)

    @property
    def best_peer(self) -> str | None:
        peers = [name for name in self.timings if name not in self.no_peers]
        return min(peers, key=lambda name: self.timings[name].median, default=None)

    @property
    def ratio(self) -> float | None:
        """The best peer's time over ours: above 1, fastnn is faster."""
        return self.against(BEST)

    def against(self, opponent: str) -> float | None:
        """Return the opponent's time over ours, or None if one of them was not timed."""
        name = self.best_peer if opponent == BEST else opponent
        if name not in self.timings or self.ours not in self.timings:
            return None
        return self.timings[name].median / self.timings[self.ours].median

    def judge(self, targets: Mapping[str, float]) -> str:
        """Return "ok" or "short", or nothing if no opponent of these targets was timed."""
        found = [(self.against(name), least) for name, least in targets.items()]
        judged = [ratio >= least for ratio, least in found if ratio is not None]
        if not judged:
            return ""
        return "ok" if all(judged) else "short"

    @property
    def verdict(self) -> str:
        if self.failure:
            return "FAILED"
        return "unsupported" if self.unsupported else self.judge(self.work.targets)


class Field:
    """The contenders' workers. Use as a context: it ends their processes.

    A contender that is not installed is named in ``absent``; one that cannot start, or a peer
    that breaks, is named in ``broken``.
    """

    def __init__(
        self, ours: Contender, peers: tuple[Contender, ...], threads: int, isa: str = "native"
    ) -> None:
        self.ours, self.threads, self.isa = ours.name, threads, isa
        self.absent: dict[str, str] = {}
        self.broken: dict[str, str] = {}
        self.workers: dict[str, Worker] = {}
        try:
            self.workers[ours.name] = Worker(ours, threads, isa=isa)
            started = [Worker(peer, threads, isa=isa, wait=False) for peer in peers]
            self.workers |= {worker.contender.name: worker for worker in started}
            for worker in started:  # all import at the same time
                self._greet(worker)
        except BaseException:
            self.close()
            raise

    def _greet(self, worker: Worker) -> None:
        name = worker.contender.name
        try:
            worker.greet()
            return
        except AbsentError as error:
            self.absent[name] = str(error)
        except WorkerError as error:
            self.broken[name] = str(error)
        del self.workers[name]

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
                again = Worker(worker.contender, self.threads, isa=self.isa, wait=False)
                self.workers[name] = again
                self._greet(again)

    def check(
        self, work: Workload, slot: int = 0, only: tuple[str, ...] | None = None
    ) -> tuple[Row, dict[str, Worker]]:
        """Set the workload up everywhere and compare; return who may be timed.

        ``only`` names the peers that are asked, ``slot`` is where ours keeps the job.
        """
        row = Row(work)
        self._revive()
        ours = self.workers.get(self.ours)
        if ours is None:
            row.failure = self.broken[self.ours]
            return row, {}
        ready = {self.ours: ours}
        seat = Seat(ours, slot)
        try:
            reply = seat.ask("setup", workload=work.as_json())
            if "unsupported" in reply:
                row.unsupported = reply["unsupported"]
                return row, {}
            mine = outputs(seat)
        except WorkerError as error:
            row.failure = str(error)
            return row, {}
        wrong = []
        for name, worker in self.workers.items():
            peer = worker.contender
            if worker is ours or not peer.takes_part(work) or (only and name not in only):
                continue
            if work.kind in peer.by_hand:
                row.no_peers.add(name)
            try:
                if "unsupported" in worker.ask("setup", workload=work.as_json()):
                    continue
                found = "" if peer.yardstick else difference(mine, outputs(worker), work)
            except WorkerError as error:
                row.notes.append(str(error))
                continue
            if found:
                wrong.append(f"against {name}: {found}")
                continue
            ready[name] = worker
            if self.isa != "native" and peer.lib in NO_SWITCH:
                row.notes.append(NO_SWITCH[peer.lib])
        if wrong:
            row.failure = "; ".join(wrong)
            return row, {}
        if all(name in OUR_NAMES or w.contender.yardstick for name, w in ready.items()):
            row.notes.append("no other library that could check the result")
        return row, ready

    def measure(self, work: Workload, rounds: int = ROUNDS, seconds: float = 0.15) -> Row:
        """Compare, then time. A peer that breaks meanwhile is left out, ours is a failure."""
        row, ready = self.check(work)
        while ready and not row.failure and not row.timings:
            try:
                row.timings = take_turns(ready, rounds, seconds)
            except WorkerError as error:
                if error.name == self.ours:
                    row.failure = str(error)
                else:
                    row.notes.append(str(error))
                    del ready[error.name]
        return row

    def among_ourselves(
        self, works: list[Workload], only: tuple[str, ...], rounds: int, seconds: float
    ) -> list[Row]:
        """Check workloads against the peers that ``only`` names, then time ours by turns."""
        rows = [self.check(work, slot, only)[0] for slot, work in enumerate(works)]
        ours = self.workers.get(self.ours)
        seats: dict[str, Worker | Seat] = {
            str(slot): Seat(ours, slot)
            for slot, row in enumerate(rows)
            if ours and not row.failure and not row.unsupported
        }
        try:
            timings = take_turns(seats, rounds, seconds) if seats else {}
        except WorkerError as error:
            for slot in seats:
                rows[int(slot)].failure = str(error)
            return rows
        for slot, timing in timings.items():
            rows[int(slot)].timings = {self.ours: timing}
        return rows
