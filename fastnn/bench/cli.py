# SPDX-License-Identifier: BSD-3-Clause
"""``fastnn bench``: measure, show, save."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from fastnn.config import usable_cores
from fastnn.report import write_text

from . import machine, results
from .contest import (
    NUMPY,
    OURS,
    PEERS,
    ROUNDS,
    TORCH,
    Contender,
    Field,
    Row,
    WorkerError,
    take_turns,
)
from .workloads import Workload, question, suite

EPILOG = """examples:
  fastnn bench                             against NumPy and, where installed, PyTorch
  fastnn bench --peers --html bench.html   against every installed peer, tuned too
  fastnn bench --only 'relu|sigmoid'       the cost of an activation
  fastnn bench --quick --json bench.json   smaller shapes, shorter rounds
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``fastnn bench``."""
    parser.description = "Compare outputs with other libraries, then time them by turns."
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--peers", action="store_true",
        help="add tuned and compiled PyTorch, JAX and scikit-learn, where installed",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="smaller shapes, shorter rounds")
    parser.add_argument("--json", metavar="FILE", help="save all figures")
    parser.add_argument("--html", metavar="FILE", help="save a page with charts")
    parser.add_argument("--markdown", metavar="FILE", help="save the tables as Markdown")
    parser.add_argument("--only", metavar="REGEX", help="only workloads whose name matches")
    parser.add_argument(
        "--threads", metavar="N", type=int, help="threads of every library (default: usable cores)"
    )


def run(args: argparse.Namespace) -> int:
    """Run the suite and return the exit code.

    0; 1 if ours is wrong or broken, or if the run was interrupted (what was measured until then
    is shown and saved); 2 for a usage error.
    """
    try:
        works, asked = _select(args.only, args.quick)
        threads = _threads(args.threads)
        _check_folders(args.json, args.html, args.markdown)
    except (ValueError, FileNotFoundError) as error:
        print(f"fastnn bench: error: {error}", file=sys.stderr)
        return 2
    peers: tuple[Contender, ...] = (NUMPY, TORCH)
    if args.peers:
        # Compiling takes longer than all of a quick run.
        peers += tuple(p for p in PEERS if not (args.quick and p.options.get("compiled")))
    rounds, seconds = (5, 0.05) if args.quick else (ROUNDS, 0.15)
    try:
        found = bench(works, asked, OURS, peers, threads, rounds, seconds)
    except WorkerError as error:
        print(f"fastnn bench: {error}", file=sys.stderr)
        return 1
    show(found)
    save(found, args)
    return 1 if found.failures or "interrupted" in found.info else 0


def bench(
    works: list[Workload],
    asked: list[Workload],
    ours: Contender,
    peers: tuple[Contender, ...],
    threads: int,
    rounds: int = ROUNDS,
    seconds: float = 0.15,
) -> results.Run:
    """Measure ``works`` against the peers, and ``asked`` against each other."""
    with Field(ours, peers, threads) as field:
        info: dict[str, object] = {**machine.describe(threads), "rounds": rounds}
        info |= field.workers[ours.name].config
        info["versions"] = ", ".join(f"{k} {v}" for k, v in field.versions.items())
        peak = field.workers[ours.name].ask("peak", seconds=0.3)["flops"]
        if peak:
            info["FMA peak, GFLOP/s"] = round(peak * 1e-9, 1)
        for name, rate in machine.copy_bandwidth(threads).items():
            info[f"memory {name}, GB/s"] = round(rate * 1e-9, 1)
        found = results.Run(info, absent=field.absent, broken=field.broken)
        if results.busy(found):
            _progress(results.BUSY + "\n")
        total = len(works) + len(asked)
        try:
            for i, work in enumerate(works, 1):
                _progress(f"[{i}/{total}] {work.name} …")
                row = field.measure(work, rounds, seconds)
                found.rows.append(row)
                _progress(f"[{i}/{total}] {results.one_line(row)}\n")
            if asked:
                _progress(f"[{total}/{total}] ReLU against sigmoid in a training step …")
                found.question = among_ourselves(asked, field, rounds, seconds)
        except KeyboardInterrupt:
            info["interrupted"] = f"after {len(found.rows)} of {total} workloads"
        _progress("")
    return found


def among_ourselves(works: list[Workload], field: Field, rounds: int, seconds: float) -> list[Row]:
    """Check variants of a workload against the peers, then time ours by turns with each other."""
    rows = [field.check(work)[0] for work in works]
    good = [row for row in rows if not row.failure]
    ours = field.workers[field.ours].contender
    copies = tuple(replace(ours, name=f"{ours.name} {i}") for i in range(1, len(good)))
    if not good:
        return rows
    with Field(replace(ours, name=f"{ours.name} 0"), copies, field.threads) as rivals:
        if rivals.broken:
            raise WorkerError(ours.name, "; ".join(rivals.broken.values()))
        workers = dict(zip((row.work.name for row in good), rivals.workers.values(), strict=True))
        for row in good:
            workers[row.work.name].ask("setup", workload=row.work.as_json())
        timings = take_turns(workers, rounds, seconds)
    for row in good:
        row.timings = {ours.name: timings[row.work.name]}
    return rows


def show(found: results.Run) -> None:
    """Print the tables."""
    for title, table in results.sections(found):
        print(f"{title}\n{results.text_table(table)}\n")
    for key, value in results.info_table(found)[1]:
        print(f"{key}: {value}")
    for line in results.remarks(found):
        print(line)


def save(found: results.Run, args: argparse.Namespace) -> None:
    """Write the files that were asked for."""
    command = "fastnn bench"
    for flag in ("peers", "quick"):
        command += f" --{flag}" if getattr(args, flag) else ""
    for option in ("only", "threads"):
        value = getattr(args, option)
        command += f" --{option} {shlex.quote(str(value))}" if value is not None else ""
    if args.json:
        write_text(args.json, results.as_json(found) + "\n")
    if args.markdown:
        write_text(args.markdown, results.as_markdown(found, command))
    if args.html:
        write_text(args.html, results.as_html(found, command))


def _select(only: str | None, quick: bool) -> tuple[list[Workload], list[Workload]]:
    works, asked = suite(quick), question(quick)
    if only is not None:
        try:
            pattern = re.compile(only)
        except re.error as error:
            message = f"--only must be a regular expression, got {only!r} ({error})"
            raise ValueError(message) from None
        works = [w for w in works if pattern.search(w.name)]
        if not any(pattern.search(w.name) for w in asked):
            asked = []
        if not works and not asked:
            names = "\n  ".join(w.name for w in suite(quick))
            raise ValueError(f"--only {only!r} matches none of\n  {names}")
    return works, asked


def _threads(asked: int | None) -> int:
    cores = usable_cores()
    if asked is None:
        return cores
    if not 1 <= asked <= cores:
        raise ValueError(f"--threads must be between 1 and {cores}, the usable cores, got {asked}")
    return asked


def _check_folders(*paths: str | None) -> None:
    for path in paths:
        if path is not None and not Path(path).parent.is_dir():
            raise FileNotFoundError(f"{path}: there is no directory {Path(path).parent}")


def _progress(text: str) -> None:
    """Rewrite the terminal's last line; where there is no terminal, only whole lines are shown."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    elif text.endswith("\n"):
        print(text, end="", file=sys.stderr, flush=True)


def main() -> int:
    """Enter from ``python -m fastnn.bench.cli``."""
    parser = argparse.ArgumentParser(prog="fastnn bench")
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
