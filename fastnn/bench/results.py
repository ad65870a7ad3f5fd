# SPDX-License-Identifier: BSD-3-Clause
"""Show and save a run: as a table in the terminal, as JSON, Markdown and HTML."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from fastnn.report import Page

from .contest import OURS, Row
from .workloads import IN_CACHE

BUSY = "the machine was busy with other work, so the figures mean little: repeat on a quiet one"

Table = tuple[list[str], list[list[str]]]

HOW = (
    "Ratios are the best peer's time over fastnn's: above 1, fastnn is faster. Each library runs "
    "in its own process, one at a time, by turns, with equal threads and the same data; outputs "
    "were compared before anything was timed. Times are medians of {rounds} rounds, ± half the "
    "interquartile range. Backward kernels are timed through the autograd API after an untimed "
    "forward pass (fastnn, PyTorch), as a compiled vector-Jacobian product (JAX) or as array "
    "expressions (NumPy). Marked *: NumPy's training steps are written out by hand, without "
    "autograd; they are a check and no competitor. GFLOP/s count a direct algorithm's "
    "operations, GB/s what must be read and written once."
)


@dataclass
class Run:
    """All that a run found."""

    info: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    question: list[Row] = field(default_factory=list)  # whole steps with relu, sigmoid, identity
    absent: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)

    @property
    def failures(self) -> list[Row]:
        return [row for row in self.rows + self.question if row.failure]

    @property
    def peers(self) -> list[str]:
        """Names of the peers that were timed, in order of appearance."""
        names = [name for row in self.rows for name in row.timings if name != OURS.name]
        return list(dict.fromkeys(names))


# --- tables ---------------------------------------------------------------------------------------


def milliseconds(seconds: float) -> str:
    """Format with three digits: 0.0123, 1.23, 123."""
    value = seconds * 1e3
    digits = 4 if value < 0.1 else 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f}"


def row_cells(row: Row, peers: list[str]) -> list[str]:
    """Return a row's cells: name, ours, speed, each peer, ratio, target, verdict."""
    ours = row.timings.get(OURS.name)
    cells = [row.work.name]
    if ours is None:
        cells += ["–", "–"]
    else:
        speed, unit = row.work.rate(ours.median)
        cells += [f"{milliseconds(ours.median)} ±{ours.spread:.0%}", f"{speed:.3g} {unit}"]
    for name in peers:
        timing = row.timings.get(name)
        mark = "*" if name in row.no_peers else ""
        cells.append(f"{milliseconds(timing.median)} ±{timing.spread:.0%}{mark}" if timing else "–")
    cells.append("–" if row.ratio is None else f"{row.ratio:.2f}× {row.best_peer}")
    cells.append("–" if row.work.target is None else f"≥ {row.work.target:g}")
    cells.append(row.verdict)
    return cells


def one_line(row: Row) -> str:
    """Return a row's result for the progress display."""
    if row.failure:
        return f"{row.work.name}: FAILED: {row.failure}"
    ours = f"{row.work.name}: {milliseconds(row.timings[OURS.name].median)} ms"
    if row.ratio is None:
        return ours
    return f"{ours}, {row.ratio:.2f}× {row.best_peer} {row.verdict}".rstrip()


def headers(peers: list[str]) -> list[str]:
    return ["workload", "fastnn, ms", "speed", *(f"{p}, ms" for p in peers),
            "best peer / ours", "target", ""]  # fmt: skip


def cost_table(run: Run) -> Table:
    """ReLU against sigmoid, element by element."""
    head = ["function", "where", "pass", "ns per element", "GB/s", "sigmoid / relu"]
    body, base = [], {}
    for row in run.rows:
        a = row.work.args
        if row.work.kind != "activation" or a["fn"] not in ("relu", "sigmoid"):
            continue
        if OURS.name not in row.timings:
            continue
        seconds = row.timings[OURS.name].median
        key = (a["size"], a["direction"])
        ratio = ""
        if a["fn"] == "relu":
            base[key] = seconds
        elif key in base:
            ratio = f"{seconds / base[key]:.2f}×"
        where = "in cache" if a["size"] == IN_CACHE else "in memory"
        body.append([
            a["fn"], f"{where} ({a['size'] >> 10} K floats)", a["direction"],
            f"{seconds / a['size'] * 1e9:.3f}", f"{row.work.rate(seconds)[0]:.1f}", ratio,
        ])  # fmt: skip
    return head, body


def share_table(run: Run) -> Table:
    """ReLU against sigmoid in a whole training step."""
    head = ["step", "ms", "against relu", "share of the activations"]
    medians = {
        row.work.args["fn"]: row.timings[OURS.name].median
        for row in run.question
        if OURS.name in row.timings
    }
    body = []
    for row in run.question:
        fn = row.work.args["fn"]
        if fn in medians:
            plain = medians.get("identity")
            share = "–" if plain is None else f"{max(0.0, 1 - plain / medians[fn]):.1%}"
            against = f"{medians[fn] / medians['relu'] - 1:+.1%}" if "relu" in medians else "–"
            spread = row.timings[OURS.name].spread
            body.append(
                [row.work.name, f"{milliseconds(medians[fn])} ±{spread:.0%}", against, share]
            )
    return head, body


def info_table(run: Run) -> Table:
    """What was measured on what."""
    return ["", ""], [[str(k), str(v)] for k, v in run.info.items() if v is not None]


def busy(run: Run) -> bool:
    """Say whether other work kept the cores busy when the run began."""
    return float(run.info.get("load at start", 0)) > 0.5 * run.info.get("cores", 1)


def remarks(run: Run) -> list[str]:
    """Say what is missing, broken or wrong."""
    lines = [BUSY] if busy(run) else []
    lines += [f"FAILED {row.work.name}: {row.failure}" for row in run.failures]
    lines += [f"{row.work.name}: left out {note}" for row in run.rows for note in row.notes]
    lines += [f"broken, left out: {name}: {why}" for name, why in run.broken.items()]
    lines += [f"not installed, skipped: {name} ({why})" for name, why in run.absent.items()]
    return lines


# --- formats --------------------------------------------------------------------------------------


def text_table(table: Table) -> str:
    """Align columns for a terminal: the first to the left, the others to the right."""
    head, body = table
    widths = [max(len(r[i]) for r in [head, *body]) for i in range(len(head))]
    lines = [
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w)
                  for i, (c, w) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in [head, *body]
    ]  # fmt: skip
    return "\n".join(lines)


def as_json(run: Run) -> str:
    """Return everything, times in seconds."""

    def row(r: Row) -> dict[str, Any]:
        return {
            **r.work.as_json(),
            "times": {
                name: {"median": t.median, "spread": t.spread, "rounds": list(t.rounds)}
                for name, t in r.timings.items()
            },
            "best_peer": r.best_peer,
            "ratio": r.ratio,
            "verdict": r.verdict,
            "failure": r.failure,
            "notes": r.notes,
        }

    return json.dumps(
        {
            "info": run.info,
            "rows": [row(r) for r in run.rows],
            "question": [row(r) for r in run.question],
            "absent": run.absent,
            "broken": run.broken,
        },
        indent=1,
        ensure_ascii=False,
    )


def as_markdown(run: Run, command: str) -> str:
    """Return a fragment for the documentation."""

    def table(t: Table) -> str:
        head, body = t
        rule = ["---", *["---:"] * (len(head) - 1)]
        rows = [head, rule, *body]
        return "\n".join("| " + " | ".join(c.replace("|", "\\|") for c in r) + " |" for r in rows)

    parts = [f"Made by `{command}`.", HOW.format(rounds=run.info["rounds"]).replace("*", "\\*")]
    parts.append("\n".join(f"- {k}: {v}" for k, v in info_table(run)[1]))
    for title, body in sections(run):
        parts += [f"## {title}", table(body)]
    if remarks(run):
        parts.append("\n".join(f"- {line}" for line in remarks(run)))
    return "\n\n".join(parts) + "\n"


def sections(run: Run) -> list[tuple[str, Table]]:
    """Return the titled tables that have rows."""
    tables = [
        ("ReLU against sigmoid: the function", cost_table(run)),
        ("ReLU against sigmoid: a training step", share_table(run)),
        ("Training steps", _rows_table(run, steps=True)),
        ("Kernels", _rows_table(run, steps=False)),
    ]
    return [(title, table) for title, table in tables if table[1]]


def _rows_table(run: Run, steps: bool) -> Table:
    rows = [r for r in run.rows if (r.work.kind == "step") == steps]
    peers = [p for p in run.peers if any(p in r.timings for r in rows)]
    return headers(peers), [row_cells(r, peers) for r in rows]


def as_html(run: Run, command: str) -> str:
    """Return a self-contained page with tables and charts."""
    page = Page("fastnn bench")
    page.text(f"Made by: {command}")
    page.text(HOW.format(rounds=run.info["rounds"]))
    for line in remarks(run):
        page.text(line)
    _cost_chart(run, page)
    for group in dict.fromkeys(r.work.group for r in run.rows):
        timed = [r for r in run.rows if r.work.group == group and r.ratio is not None]
        if not timed:
            continue
        page.bar_chart(
            [f"{r.work.name} ({r.best_peer})" for r in timed],
            {"best peer / fastnn": [r.ratio or 0.0 for r in timed],
             "target": [r.work.target if r.work.target else float("nan") for r in timed]},
            f"Against the best peer: {group}", "time of the best peer / time of fastnn", "{:.2f}",
        )  # fmt: skip
    for title, (head, body) in sections(run):
        page.heading(title)
        page.table(head, body)
    page.heading("Machine")
    page.table(*info_table(run))
    return page.html()


def _cost_chart(run: Run, page: Page) -> None:
    rows: dict[str, dict[str, float]] = {"relu": {}, "sigmoid": {}}
    for row in run.rows:
        a = row.work.args
        if row.work.kind == "activation" and a["fn"] in rows and OURS.name in row.timings:
            where = "in cache" if a["size"] == IN_CACHE else "in memory"
            seconds = row.timings[OURS.name].median
            rows[a["fn"]][f"{a['direction']}, {where}"] = seconds / a["size"] * 1e9
    labels = list(dict.fromkeys(label for costs in rows.values() for label in costs))
    if labels:
        groups = {fn: [c.get(label, float("nan")) for label in labels] for fn, c in rows.items()}
        page.bar_chart(labels, groups, "What an activation costs", "ns per element", "{:.3f}")
