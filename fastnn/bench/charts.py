# SPDX-License-Identifier: BSD-3-Clause
"""A run as one self-contained HTML page with charts and tables."""

from __future__ import annotations

from fastnn.report import Page

from . import results
from .contest import Row
from .results import Run, median
from .suites import ACTIVATIONS, SIGMOID_LOSS
from .workloads import BACKWARD, BEST

_NAN = float("nan")
_STEPS = ("step", "infer")


def as_html(run: Run, command: str) -> str:
    """Return the page."""
    page = Page("fastnn bench")
    page.text(f"Made by: {command}")
    for line in results.remarks(run):
        page.text(line)
    page.heading("What does exp cost?")
    page.text(results.lecture_answer(run) or "ReLU and sigmoid were not measured.")
    _costs(run, page)
    _shares(run, page)
    _relu_and_sigmoid(run, page)
    page.heading("Against the peers")
    _steps(run, page)
    _ratios(run, page)
    page.heading("Against the machine")
    _roofline(run, page)
    for title, (head, body) in results.sections(run):
        page.heading(title)
        page.table(head, body)
    page.heading("How it was measured")
    page.text(results.HOW.format(rounds=run.info["rounds"]))
    page.table(*results.info_table(run))
    return page.html()


def _costs(run: Run, page: Page) -> None:
    found = results.costs(run)
    for where in ("in cache", "in memory"):
        places = {p.split(",")[0]: costs for p, costs in found.items() if p.endswith(where)}
        fns = [fn for fn in ACTIVATIONS if any(fn in costs for costs in places.values())]
        if fns:
            groups = {p: [costs.get(fn, _NAN) for fn in fns] for p, costs in places.items()}
            title = f"What an activation costs, {where}"
            page.bar_chart(fns, groups, title, "ns per element", "{:.3f}")


def _shares(run: Run, page: Page) -> None:
    steps = results.steps_by_function(run)
    plain = steps.pop("identity", None)
    if plain and steps:
        shares = [100 * max(0.0, 1 - plain / t) for t in steps.values()]
        name = run.shares[0][0].work.name
        page.bar_chart(
            list(steps), {"share": shares}, f"Share of the activations in a {name}",
            "% of the step", "{:.1f}",
        )  # fmt: skip


def _relu_and_sigmoid(run: Run, page: Page) -> None:
    losses = results.network_losses(run)
    if losses:
        page.bar_chart(
            list(losses),
            {"sigmoid / relu": [sigmoid / relu for relu, sigmoid in losses.values()],
             "may be at most": [1 + SIGMOID_LOSS] * len(losses)},
            "ReLU against sigmoid: time of a training step", "times that with ReLU", "{:.2f}",
        )  # fmt: skip
    layers = results.layer_times(run)
    if layers:
        names, alone, relu, sigmoid = zip(*layers, strict=True)
        times = {"the layer": alone, "relu after it": relu, "sigmoid after it": sigmoid}
        page.bar_chart(
            names, {kind: [1e3 * t for t in seconds] for kind, seconds in times.items()},
            "ReLU against sigmoid: layers, forward and backward", "ms", "{:.3g}",
        )  # fmt: skip


def _steps(run: Run, page: Page) -> None:
    """Whole steps: how many times ours each peer takes."""
    rows = [r for r in run.rows if r.work.kind in _STEPS and median(r)]
    peers = [p for p in run.peers if any(p in r.timings and p not in r.no_peers for r in rows)]
    if peers:
        page.bar_chart(
            [r.work.name for r in rows],
            {p: [r.against(p) or _NAN if p not in r.no_peers else _NAN for r in rows]
             for p in peers},
            "Steps and inference: time of the peers", "times fastnn's", "{:.2f}",
        )  # fmt: skip


def _ratios(run: Run, page: Page) -> None:
    groups: dict[str, list[Row]] = {}
    for row in run.rows:
        if row.ratio is not None and row.work.kind not in _STEPS:
            groups.setdefault(row.work.group, []).append(row)
    for group, rows in groups.items():
        page.bar_chart(
            [f"{r.work.name} ({r.best_peer})" for r in rows],
            {"best peer / fastnn": [r.ratio or _NAN for r in rows],
             "target": [r.work.targets.get(BEST, _NAN) for r in rows]},
            f"Against the best peer: {group}", "time of the best peer / time of fastnn", "{:.2f}",
        )  # fmt: skip


def _roofline(run: Run, page: Page) -> None:
    """Speed against arithmetic intensity, under the peak and the bandwidths of this run."""
    groups: dict[str, list[tuple[str, float, float]]] = {}
    for row in run.rows:
        seconds = median(row)
        if seconds is None or row.work.kind in _STEPS:
            continue
        operations = row.work.flops or row.work.bytes / 8
        point = (row.work.name, operations / row.work.bytes, operations / seconds * 1e-9)
        groups.setdefault(_kind(row), []).append(point)
    if not groups:
        return
    low = min(x for points in groups.values() for _, x, _ in points) / 2
    high = max(x for points in groups.values() for _, x, _ in points) * 2
    lines = {}
    peak = run.peak * 1e-9
    for where in ("memory", "cache"):
        rate = run.bandwidth(where) * 1e-9
        if rate and peak:
            corner = max(low * 1.01, min(high, peak / rate))
            lines[f"{where}, {rate:.0f} GB/s"] = [(low, low * rate), (corner, corner * rate)]
    if peak:
        lines[f"FMA peak, {peak:.0f} GFLOP/s"] = [(low, peak), (high, peak)]
    page.scatter_chart(
        groups, lines, "Roofline", "operations per byte that must be moved", "GFLOP/s"
    )
    page.text(
        "Point at a kernel for its name; the tables below have all of them. Convolutions count a "
        "direct algorithm's operations, so that Winograd's rise above the peak. Kernels without "
        "arithmetic to speak of count one operation for 8 bytes, and so stand in one column."
    )


def _kind(row: Row) -> str:
    if row.work.group == "conv":
        return "conv backward" if row.work.args["direction"] == BACKWARD else "conv forward"
    return row.work.group if row.work.group in ("matmul", "activations") else "others"
