# SPDX-License-Identifier: BSD-3-Clause
"""``fastnn bench``: measure, show, save, compare."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from fastnn.config import usable_cores
from fastnn.report import write_text

from . import charts, compare, display, isa, results
from .process import NUMPY, OURS, PEERS, REPLAYED, TORCH, YARDSTICK, Contender, WorkerError
from .session import QUICK, Plan, bench
from .suites import Suite, suite
from .workloads import Workload

FIGURES = "figures"  # what --only matches to measure the single figures

EPILOG = """examples:
  fastnn bench                                    against NumPy and, where installed, PyTorch
  fastnn bench --peers --html bench.html          against every installed peer, tuned too
  fastnn bench --peers --isa avx2 --json new.json with AVX2 alone, for ours and the peers
  fastnn bench --quick --only 'relu|sigmoid'      the cost of an activation, in a minute
  fastnn bench --peers --compare old.json         exit code 1 if a ratio got worse
  fastnn bench --load new.json --html bench.html  show a saved run again

extras: pip install 'fastnn-cpu[bench]' (tables in colour), 'fastnn-cpu[peers]' (other libraries)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``fastnn bench``."""
    parser.description = "Compare outputs with other libraries, then time them by turns."
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add(
        "--peers", action="store_true",
        help="add tuned and compiled PyTorch, JAX, scikit-learn and ONNX Runtime, where installed",
    )  # fmt: skip
    add("--quick", action="store_true", help="a choice of rows, in less than a minute")
    add(
        "--isa", choices=isa.ISAS, default="native",
        help="hold ours and the peers to these instructions (default: native, all the CPU has)",
    )  # fmt: skip
    add("--json", metavar="FILE", help="save all figures")
    add("--html", metavar="FILE", help="save a page with charts")
    add("--markdown", metavar="FILE", help="save the tables as Markdown")
    add(
        "--compare", metavar="FILE",
        help="compare ratios with those of a saved run; worse ones mean exit code 1",
    )  # fmt: skip
    add(
        "--threshold", metavar="SHARE", type=float, default=compare.THRESHOLD,
        help="smallest change of a ratio that --compare reports (default: %(default)s)",
    )  # fmt: skip
    add("--load", metavar="FILE", help="measure nothing: take a saved run")
    add("--only", metavar="REGEX", help=f"only workloads whose name matches, or {FIGURES!r}")
    add("--threads", metavar="N", type=int, help="threads of every library (default: usable cores)")


def run(args: argparse.Namespace) -> int:
    """Run the suite and return the exit code.

    0; 1 if ours is wrong or broken, if a ratio got worse than that of ``--compare``, or if the run
    was interrupted (what was measured until then is shown and saved); 2 for a usage error.
    """
    try:
        chosen, wants_figures = _select(args.only, args.quick)
        threads = _threads(args.threads)
        if not 0 < args.threshold < 1:
            raise ValueError(f"--threshold must be between 0 and 1, got {args.threshold:g}")
        _check_folders(args.json, args.html, args.markdown)
        old = _load(args.compare) if args.compare else None
        found = _load(args.load) if args.load else None
    except (ValueError, OSError) as error:
        print(f"fastnn bench: error: {error}", file=sys.stderr)
        return 2
    if found is None:
        plan = Plan(OURS, _opponents(args), threads, args.isa, wants_figures)
        if args.quick:
            plan = replace(plan, **QUICK)
        try:
            found = bench(chosen, plan)
        except WorkerError as error:
            print(f"fastnn bench: {error}", file=sys.stderr)
            return 1
    display.show(found)
    save(found, args)
    worse = _compare(old, found, args.threshold) if old else False
    return 1 if worse or found.failures or "interrupted" in found.info else 0


def save(found: results.Run, args: argparse.Namespace) -> None:
    """Write the files that were asked for."""
    command = "fastnn bench"
    for flag in ("peers", "quick"):
        command += f" --{flag}" if getattr(args, flag) else ""
    for option, default in (("isa", "native"), ("only", None), ("threads", None)):
        value = getattr(args, option)
        command += f" --{option} {shlex.quote(str(value))}" if value != default else ""
    command = str(found.info.setdefault("command", command))
    if args.json:
        write_text(args.json, results.as_json(found) + "\n")
    if args.markdown:
        write_text(args.markdown, results.as_markdown(found, command))
    if args.html:
        write_text(args.html, charts.as_html(found, command))


def _opponents(args: argparse.Namespace) -> tuple[Contender, ...]:
    peers: tuple[Contender, ...] = (REPLAYED, NUMPY, TORCH, YARDSTICK)
    if args.peers:
        # Compiling takes longer than all of a quick run.
        peers += tuple(p for p in PEERS if not (args.quick and p.options.get("compiled")))
    return peers


def _compare(old: results.Run, new: results.Run, threshold: float) -> bool:
    """Show what changed and return whether something got worse."""
    for line in compare.differences(old, new):
        print(f"note: {line}")
    found = compare.changes(old, new, threshold)
    lost = compare.broken(old, new)
    told = [change for change in found if change.verdict]
    if told:
        display.table("Ratios that changed", compare.table(told))
    for name in lost:
        print(f"worse: {name} was measured then, and fails now")
    worse = sum(change.verdict == "worse" for change in found) + len(lost)
    print(f"compared {len(found)} ratios: {worse} worse, {len(told) - worse + len(lost)} better")
    return worse > 0


def _load(path: str) -> results.Run:
    try:
        return results.from_json(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _select(only: str | None, quick: bool) -> tuple[Suite, bool]:
    """Return what is measured, and whether the single figures are."""
    chosen = suite(quick)
    if only is None:
        return chosen, True
    try:
        pattern = re.compile(only)
    except re.error as error:
        message = f"--only must be a regular expression, got {only!r} ({error})"
        raise ValueError(message) from None

    def matches(work: Workload) -> bool:
        return bool(pattern.search(work.name))

    groups = {
        name: [g for g in group if any(map(matches, g))] for name, group in chosen.groups.items()
    }
    picked = Suite(rows=[w for w in chosen.rows if matches(w)], **groups)
    figures = bool(pattern.search(FIGURES))
    if not picked.names and not figures:
        names = "\n  ".join([*chosen.names, FIGURES])
        raise ValueError(f"--only {only!r} matches none of\n  {names}")
    return picked, figures


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


def main() -> int:
    """Enter from ``python -m fastnn.bench.cli``."""
    parser = argparse.ArgumentParser(prog="fastnn bench")
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
