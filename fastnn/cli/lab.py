# SPDX-License-Identifier: BSD-3-Clause
"""``fastnn lab``: list and run the experiments."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ._common import whole

_EPILOG = """examples:
  fastnn lab list
  fastnn lab run saturation zero_init
  fastnn lab run --all --quick
  fastnn lab run --all --data cifar10 --root data/cifar-10-batches-bin --out lab-cifar10

Results go to DIR/results.json and DIR/index.html, anew after each experiment; what else DIR holds
stays. Exit codes: 0 all ran, whatever their verdicts; 1 one or more failed; 2 wrong usage.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``fastnn lab``."""
    from ..lab.setting import DATA

    parser.description = "Repeat what is taught about training networks, as experiments."
    parser.epilog = _EPILOG
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    commands.add_parser("list", help="name and claim of each experiment")
    run_parser = commands.add_parser(
        "run", help="run experiments and write their results",
        formatter_class=argparse.RawDescriptionHelpFormatter, epilog=_EPILOG,
    )  # fmt: skip
    run_parser.add_argument("names", nargs="*", metavar="NAME", help="see fastnn lab list")
    run_parser.add_argument("--all", action="store_true", help="all experiments")
    run_parser.add_argument("--quick", action="store_true", help="small sizes: minutes for all")
    run_parser.add_argument(
        "--data", choices=DATA, default="mnist_small", help="images (default: the bundled digits)"
    )
    run_parser.add_argument(
        "--root", metavar="DIR", help="where they are (default: FASTNN_DATA, ~/.cache/fastnn)"
    )
    run_parser.add_argument(
        "--out", type=Path, metavar="DIR", default=Path("fastnn-lab"), help="default: fastnn-lab"
    )
    run_parser.add_argument(
        "--resume", action="store_true", help="leave out those that DIR has with the same settings"
    )
    run_parser.add_argument("--seed", type=whole(0), metavar="N", default=0)
    run_parser.add_argument("--no-progress", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """List, or run and report."""
    from .. import lab
    from ..lab.runner import choose

    if args.action == "list":
        return _list(lab.all_experiments())
    if args.all == bool(args.names):
        print("fastnn lab run: error: give names of experiments, or --all", file=sys.stderr)
        return 2
    names = None if args.all else args.names
    try:
        choose(names)
    except ValueError as error:
        print(f"fastnn lab run: error: {error}", file=sys.stderr)
        return 2
    if args.out.exists() and not args.out.is_dir():
        print(f"fastnn lab run: error: --out: {args.out} is no directory", file=sys.stderr)
        return 2

    def report(entry: dict[str, Any]) -> None:
        text = entry.get("error") or entry["finding"]
        text += f" Depends on {entry['on']}" if entry["verdict"] == "depends" else ""
        print(f"{entry['name']}: {entry['verdict']}. {text}", flush=True)

    entries = lab.run(
        names, out=args.out, data=args.data, root=args.root, size="quick" if args.quick else "full",
        seed=args.seed, resume=args.resume, progress=not args.no_progress, report=report,
    )  # fmt: skip
    print(f"wrote {args.out / 'index.html'} and {args.out / 'results.json'}")
    return 1 if any("error" in entry for entry in entries) else 0


def _list(found: dict[str, Any]) -> int:
    section = ""
    width = max(map(len, found))
    for name, experiment in found.items():
        if experiment.section != section:
            print(f"{'' if not section else chr(10)}{experiment.section}")
            section = experiment.section
        print(f"  {name:{width}}  {experiment.claim}")
    return 0
