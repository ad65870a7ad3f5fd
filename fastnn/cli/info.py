# SPDX-License-Identifier: BSD-3-Clause
"""``fastnn info``: what this installation is."""

from __future__ import annotations

import argparse
import json
from importlib.metadata import PackageNotFoundError, version

from ..config import config, show_config

_EPILOG = """examples:
  fastnn info
  fastnn info --json                the same for programs
  FASTNN_CPU=portable fastnn info   with another CPU target
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``fastnn info``."""
    parser.description = "Print version, CPU target, threads, build, and versions of packages."
    parser.epilog = _EPILOG
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print it."""
    packages = {name: _version(name) for name in ("numpy", "safetensors", "tqdm")}
    if args.json:
        print(json.dumps({**config(), **packages}, indent=1, ensure_ascii=False))
        return 0
    show_config()
    for name, number in packages.items():
        print(f"{name:16} {number}")
    return 0


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
