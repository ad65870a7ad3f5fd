# SPDX-License-Identifier: BSD-3-Clause
"""Compare two runs: which ratios against the peers got worse, beyond the noise of both."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .contest import Row
from .results import Run, Table, network_losses

THRESHOLD = 0.1  # a change below this is none, however small the noise
NOISE = 2.0  # spreads that a change must exceed


@dataclass(frozen=True)
class Change:
    """A workload's ratio in both runs."""

    name: str
    opponent: str
    old: float
    new: float
    allowed: float  # relative change that may be noise

    @property
    def relative(self) -> float:
        return self.new / self.old - 1

    @property
    def verdict(self) -> str:
        if self.relative < -self.allowed:
            return "worse"
        return "better" if self.relative > self.allowed else ""


def changes(old: Run, new: Run, threshold: float = THRESHOLD) -> list[Change]:
    """Return a change for each workload that both runs measured against a common peer.

    The ratio is that of the peer that is fastest, among those in both runs, in the new one.
    """
    found = []
    before = {row.work.name: row for row in old.rows}
    for row in new.rows:
        was = before.get(row.work.name)
        change = _change(was, row, threshold) if was else None
        if change:
            found.append(change)
    lost = network_losses(old)
    for name, (relu, sigmoid) in network_losses(new).items():
        if name in lost:
            was_relu, was_sigmoid = lost[name]
            found.append(Change(name, "sigmoid", was_relu / was_sigmoid, relu / sigmoid, threshold))
    return found


def _change(old: Row, new: Row, threshold: float) -> Change | None:
    peers = [p for p in new.timings if p in old.timings and p not in new.no_peers | old.no_peers]
    if not peers or old.ours not in old.timings or new.ours not in new.timings:
        return None
    peer = min(peers, key=lambda name: new.timings[name].median)
    timings = [row.timings[name] for row in (old, new) for name in (row.ours, peer)]
    noise = NOISE * math.hypot(*(timing.spread for timing in timings))
    ratios = [row.timings[peer].median / row.timings[row.ours].median for row in (old, new)]
    return Change(new.work.name, peer, ratios[0], ratios[1], max(threshold, noise))


def broken(old: Run, new: Run) -> list[str]:
    """Return the workloads that were measured in the old run and fail in the new one."""
    good = {row.work.name for row in old.all_rows() if row.timings}
    bad = [row.work.name for row in new.all_rows() if row.failure or row.unsupported]
    return [name for name in dict.fromkeys(bad) if name in good]


def differences(old: Run, new: Run) -> list[str]:
    """Return warnings: what was different about machine and settings."""
    keys = ("cpu", "cores", "threads", "target", "isa")
    return [
        f"{key} differs: {old.info.get(key)} then, {new.info.get(key)} now"
        for key in keys
        if old.info.get(key) != new.info.get(key)
    ]


def table(found: list[Change]) -> Table:
    """Return the changes, the worst first."""
    ordered = sorted(found, key=lambda change: change.relative)
    body = [
        [c.name, c.opponent, f"{c.old:.2f}", f"{c.new:.2f}", f"{c.relative:+.0%}",
         f"±{c.allowed:.0%}", c.verdict]
        for c in ordered
    ]  # fmt: skip
    return ["workload", "against", "ratio then", "now", "change", "noise", ""], body
