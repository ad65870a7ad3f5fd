# SPDX-License-Identifier: BSD-3-Clause
"""One run: the questions among ourselves, the rows against peers, the single figures."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

from . import figures, isa, machine, results
from .contest import LEAST_ROUNDS, ROUNDS, Field
from .process import NUMPY, TORCH, YARDSTICK, Contender
from .suites import Suite
from .workloads import Workload

CHECKERS = (TORCH.name, NUMPY.name)  # who checks what is timed among ourselves
QUESTIONS_SHARE = 0.45  # of the limit: what they do not reach is left out, the rows are not
QUICK: dict[str, Any] = {"rounds": LEAST_ROUNDS, "seconds": 0.02, "limit": 50.0, "quick": True}


@dataclass(frozen=True)
class Plan:
    """Who takes part, and how long it may take.

    ``seconds`` is the length of a turn. When it has measured for ``limit`` seconds, no further row
    is started.
    """

    ours: Contender
    peers: tuple[Contender, ...]
    threads: int
    isa: str = "native"
    figures: bool = True
    quick: bool = False
    rounds: int = ROUNDS
    seconds: float = 0.1
    limit: float = float("inf")


def bench(chosen: Suite, plan: Plan) -> results.Run:
    """Measure what was chosen. An interrupt ends the run; what it has so far is returned."""
    host = machine.describe(plan.threads)  # its load, before the workers' imports add to it
    with Field(plan.ours, plan.peers, plan.threads, plan.isa) as field:
        info = {**host, **_describe(field, plan)}
        found = results.Run(info, absent=field.absent, broken=field.broken)
        if results.busy(found):
            progress(results.BUSY + "\n")

        start = time.perf_counter()

        def late(names: list[str], share: float = 1.0) -> bool:
            if time.perf_counter() - start < share * plan.limit:
                return False
            found.skipped += [name for name in names if name not in found.skipped]
            return True

        try:
            _among_ourselves(chosen, field, found, plan, late)
            for i, work in enumerate(chosen.rows, 1):
                if not late([work.name]):
                    progress(f"[{i}/{len(chosen.rows)}] {work.name} …")
                    row = field.measure(work, plan.rounds, plan.seconds)
                    found.rows.append(row)
                    progress(f"[{i}/{len(chosen.rows)}] {results.one_line(row)}\n")
            if plan.figures and not late(["figures"]):
                field.close()  # their processes are their own
                found.figures = figures.measure(
                    plan.threads, plan.isa, plan.quick, lambda name: progress(f"{name} …")
                )
        except KeyboardInterrupt:
            found.info["interrupted"] = f"after {len(found.rows)} of {len(chosen.rows)} workloads"
        progress("")
        found.info["seconds"] = round(time.perf_counter() - start)
    return found


def _among_ourselves(
    chosen: Suite, field: Field, found: results.Run, plan: Plan, late: Any
) -> None:
    for name, groups in chosen.groups.items():
        for group in groups:
            if not late([work.name for work in group], QUESTIONS_SHARE):
                progress(f"{name}: {_title(group)} …")
                seconds = plan.seconds / 3  # there are many, and no other process disturbs them
                rows = field.among_ourselves(group, CHECKERS, LEAST_ROUNDS, seconds)
                getattr(found, name).append(rows)


def _title(group: list[Workload]) -> str:
    return group[0].name + (f" and {len(group) - 1} more" if len(group) > 1 else "")


def _describe(field: Field, plan: Plan) -> dict[str, Any]:
    ours = field.workers[field.ours]
    info: dict[str, Any] = {"rounds": plan.rounds, **ours.config}
    info["versions"] = ", ".join(f"{k} {v}" for k, v in field.versions.items())
    info["isa"] = plan.isa
    if plan.isa != "native":
        info["capped by"] = "; ".join(
            f"{name}: {_switches(worker.contender.lib, plan.isa)}"
            for name, worker in field.workers.items()
        )
    info["libraries say that they use"] = "; ".join(
        f"{name}: {worker.uses}" for name, worker in field.workers.items() if worker.uses
    )
    peak = ours.ask("peak", seconds=0.3)["flops"]
    if peak:
        info["FMA peak, GFLOP/s"] = round(peak * 1e-9, 1)
    yardstick = field.workers.get(YARDSTICK.name)
    if yardstick:
        for where, rate in yardstick.ask("bandwidth")["rates"].items():
            info[f"{where} copy, GB/s"] = round(rate * 1e-9, 1)
    return info


def _switches(lib: str, asked: str) -> str:
    switches = " ".join(f"{k}={v}" for k, v in isa.caps(lib, asked).items())
    return switches or isa.NO_SWITCH.get(lib, "no switch known on this CPU")


def progress(text: str) -> None:
    """Rewrite the terminal's last line; where there is no terminal, only whole lines are shown."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    elif text.endswith("\n"):
        print(text, end="", file=sys.stderr, flush=True)
