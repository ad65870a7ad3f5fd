# SPDX-License-Identifier: BSD-3-Clause
"""Reads bench/shapes/*.txt: the layers of real networks, as workloads.

A line is a layer, ``name kind key=value …``; ``batch N`` holds for the lines below it; ``#``
starts a comment. Kinds: conv (size channels out kernel [stride pad]), depthwise (size channels
kernel [stride]), linear (features out), maxpool (size channels; 2×2), act (fn floats).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastnn.bench import workloads
from fastnn.bench.workloads import BACKWARD, FORWARD, Workload

SHAPES = Path(__file__).parent / "shapes"


def _conv(
    batch: int, size: int, channels: int, out: int, kernel: int, **rest: int
) -> list[Workload]:
    return [
        workloads.conv(batch, size, channels, out, kernel, direction=d, **rest)
        for d in (FORWARD, BACKWARD)
    ]


def _depthwise(
    batch: int, size: int, channels: int, kernel: int, stride: int = 1
) -> list[Workload]:
    return _conv(batch, size, channels, channels, kernel, stride=stride, groups=channels)


def _linear(batch: int, features: int, out: int) -> list[Workload]:
    return [workloads.linear(batch, out, features)]


def _maxpool(batch: int, size: int, channels: int) -> list[Workload]:
    return [workloads.max_pool(batch, size, channels, d) for d in (FORWARD, BACKWARD)]


def _act(batch: int, fn: str, floats: int) -> list[Workload]:
    return [workloads.activation(fn, batch * floats, d) for d in (FORWARD, BACKWARD)]


KINDS: dict[str, Callable[..., list[Workload]]] = {
    "conv": _conv, "depthwise": _depthwise, "linear": _linear, "maxpool": _maxpool, "act": _act,
}  # fmt: skip


def read(path: Path) -> list[Workload]:
    """Return the workloads of one file, named after network and layer, grouped by network.

    Raises ``ValueError`` that names file and line if a line cannot be understood.
    """
    found, batch = [], 0
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        try:
            if words[0] == "batch":
                batch = int(words[1])
                continue
            name, kind, *pairs = words
            values = dict(pair.split("=", 1) for pair in pairs)
            args: dict[str, Any] = {k: v if k == "fn" else int(v) for k, v in values.items()}
            layer = KINDS[kind](batch, **args)
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path.name}, line {number}: {line!r}: {error!r}") from None
        found += [replace(w, name=f"{path.stem} {name}: {w.name}", group=path.stem) for w in layer]
    return found


def all_nets() -> dict[str, list[Workload]]:
    """Return the workloads of all files by network."""
    return {path.stem: read(path) for path in sorted(SHAPES.glob("*.txt"))}


def plain(name: str) -> str:
    """Return a name that can be typed."""
    return name.translate(str.maketrans({"×": "x", "→": "-", "²": None}))
