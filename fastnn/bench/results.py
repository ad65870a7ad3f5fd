# SPDX-License-Identifier: BSD-3-Clause
"""What a run found, saved and loaded as JSON, and its tables for terminal and Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from .contest import Row, Timing
from .figures import Figure
from .nets import NETS
from .process import OUR_NAMES, OURS
from .suites import ACTIVATIONS, SIGMOID_LOSS
from .workloads import BACKWARD, BEST, COPY, FORWARD, IN_CACHE, IN_MEMORY, Workload

BUSY = "the machine was busy with other work, so the figures mean little: repeat on a quiet one"
GROUPS = ("costs", "shares", "networks", "layers")

Table = tuple[list[str], list[list[str]]]

HOW = (
    "Ratios are the best peer's time over fastnn's: above 1, fastnn is faster. Each library runs "
    "in its own process, one at a time, by turns, with equal threads and the same data; outputs "
    "were compared before anything was timed. Times are medians of {rounds} rounds (5 for a peer "
    "far behind), ± half the interquartile range. Backward kernels are timed through the autograd "
    "API after an untimed forward pass (fastnn, PyTorch), as a compiled vector-Jacobian product "
    "(JAX) or as array expressions (NumPy). Marked *: NumPy's training steps are written out by "
    "hand, without autograd; they are a check and no competitor. The copy is a yardstick: as many "
    "arrays moved by plain vector loops. GFLOP/s count a direct algorithm's operations, so that "
    "Winograd's may exceed the peak; GB/s what must be read and written once."
)


@dataclass
class Run:
    """All that a run found. Groups hold rows that were timed against each other."""

    info: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    networks: list[list[Row]] = field(default_factory=list)
    shares: list[list[Row]] = field(default_factory=list)
    costs: list[list[Row]] = field(default_factory=list)
    layers: list[list[Row]] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)  # no time was left for them

    def all_rows(self) -> Iterator[Row]:
        yield from self.rows
        for name in GROUPS:
            for group in getattr(self, name):
                yield from group

    @property
    def failures(self) -> list[Row]:
        return [row for row in self.all_rows() if row.failure]

    @property
    def peers(self) -> list[str]:
        """Names of those timed beside ours, in order of appearance."""
        names = [name for row in self.rows for name in row.timings if name != OURS.name]
        return list(dict.fromkeys(names))

    @property
    def peak(self) -> float:
        """FMA flops per second in registers, or 0."""
        return float(self.info.get("FMA peak, GFLOP/s") or 0) * 1e9

    def bandwidth(self, where: str) -> float:
        """Bytes per second of a copy in "memory" or "cache", or 0."""
        return float(self.info.get(f"{where} copy, GB/s") or 0) * 1e9


def median(row: Row) -> float | None:
    """Return the seconds of ours, if they were measured."""
    return row.timings[row.ours].median if row.ours in row.timings else None


# --- tables ---------------------------------------------------------------------------------------


def milliseconds(seconds: float) -> str:
    """Format with three digits: 0.0123, 1.23, 123."""
    value = seconds * 1e3
    digits = 4 if value < 0.1 else 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f}"


def share_of_peak(row: Row, run: Run) -> str:
    """Return how much of the peak (or of the copy's bandwidth) ours reaches."""
    seconds = median(row)
    if seconds is None:
        return "–"
    if row.work.flops:
        return f"{row.work.flops / seconds / run.peak:.0%}" if run.peak else "–"
    ratio = row.against(COPY)
    return f"{ratio:.0%} of copy" if ratio else "–"


def goal(targets: dict[str, float]) -> str:
    """Return targets as text: "≥ 1.7, ≥ 2.3 PyTorch"."""
    parts = (f"≥ {v:g}" + ("" if k == BEST else f" {k}") for k, v in targets.items())
    return ", ".join(parts) or "–"


def reached(row: Row) -> str:
    """Return the ratios against the best peer and against all that have targets."""
    best = row.ratio
    parts = [] if best is None else [f"{best:.2f}× {row.best_peer}"]
    for name in dict.fromkeys([*row.work.targets, *row.work.foundation]):
        ratio = row.against(name)
        if name not in (BEST, row.best_peer) and ratio is not None:
            parts.append(f"{ratio:.2f}× {name}")
    return ", ".join(parts) or "–"


def _timing(row: Row, name: str) -> str:
    timing = row.timings.get(name)
    mark = "*" if name in row.no_peers and name not in (*OUR_NAMES, COPY) else ""
    return f"{milliseconds(timing.median)} ±{timing.spread:.0%}{mark}" if timing else "–"


def _speed(row: Row) -> str:
    seconds = median(row)
    if seconds is None:
        return "–"
    speed, unit = row.work.rate(seconds)
    return f"{speed:.3g} {unit}"


def rows_table(run: Run, kinds: tuple[str, ...], wide: bool) -> Table:
    """Rows of these kinds (none: all others); ``wide`` has a column for each peer."""
    every = ("step", "infer")
    rows = [r for r in run.rows if (r.work.kind in kinds if kinds else r.work.kind not in every)]
    peers = [p for p in run.peers if any(p in r.timings for r in rows)] if wide else []
    head = [
        "workload", "fastnn, ms", "speed", "of peak", *(f"{p}, ms" for p in peers),
        "best peer / ours", "foundation", "target", "",
    ]  # fmt: skip
    body = []
    for r in rows:
        first = r.work.foundation and f"{goal(r.work.foundation)} {r.judge(r.work.foundation)}"
        body.append([
            r.work.name, _timing(r, OURS.name if wide else r.ours), _speed(r),
            share_of_peak(r, run), *(_timing(r, p) for p in peers), reached(r),
            (first or "–").strip(), goal(r.work.targets), r.verdict,
        ])  # fmt: skip
    return head, body


def one_line(row: Row) -> str:
    """Return a row's result for the progress display."""
    if row.failure or row.unsupported:
        return f"{row.work.name}: {row.verdict}: {row.failure or row.unsupported}"
    ours = f"{row.work.name}: {milliseconds(median(row) or 0.0)} ms"
    return ours if row.ratio is None else f"{ours}, {reached(row)} {row.verdict}".rstrip()


COST_PLACES = {
    f"{direction}, {where}": (size, direction)
    for where, size in (("in cache", IN_CACHE), ("in memory", IN_MEMORY))
    for direction in (FORWARD, BACKWARD)
}


def costs(run: Run) -> dict[str, dict[str, float]]:
    """Return nanoseconds per element by place (a key of `COST_PLACES`) and function."""
    found: dict[str, dict[str, float]] = {}
    for place, key in COST_PLACES.items():
        for group in run.costs:
            for row in group:
                a, seconds = row.work.args, median(row)
                if (a["size"], a["direction"]) == key and seconds is not None:
                    found.setdefault(place, {})[a["fn"]] = seconds / a["size"] * 1e9
    return found


def steps_by_function(run: Run) -> dict[str, float]:
    """Return seconds of the training step with each activation in it."""
    rows = [row for group in run.shares for row in group]
    return {r.work.args["fn"]: t for r in rows if (t := median(r)) is not None}


def cost_table(run: Run) -> Table:
    """What each activation costs: an element, and of a network's training step."""
    found, steps = costs(run), steps_by_function(run)
    known = {fn for place in found.values() for fn in place} | set(steps) - {"identity"}
    net = next((NETS[g[0].work.args["net"]].title for g in run.shares if g), "")
    head = ["function", *(f"{place}, ns" for place in found)]
    head += [f"{net} step, ms", "against relu", "its share"] if steps else []
    body = []
    for fn in (fn for fn in ACTIVATIONS if fn in known):
        cells = [fn, *(f"{p[fn]:.3f}" if fn in p else "–" for p in found.values())]
        if steps:
            t, relu, plain = steps.get(fn), steps.get("relu"), steps.get("identity")
            cells.append(milliseconds(t) if t else "–")
            cells.append(f"{t / relu - 1:+.1%}" if t and relu else "–")
            cells.append(f"{max(0.0, 1 - plain / t):.1%}" if t and plain else "–")
        body.append(cells)
    return head, body


def lecture_answer(run: Run) -> str:
    """Say in a sentence what exp costs: sigmoid's time beyond that of ReLU, which has none."""
    parts = [
        f"{p['sigmoid'] - p['relu']:+.3f} ns an element {place} ({p['sigmoid'] / p['relu']:.2f}×)"
        for place, p in costs(run).items()
        if "sigmoid" in p and "relu" in p
    ]
    steps = steps_by_function(run)
    if parts and {"relu", "sigmoid", "identity"} <= set(steps):
        relu, sigmoid, plain = (steps[fn] for fn in ("relu", "sigmoid", "identity"))
        parts.append(
            f"and {sigmoid / relu - 1:+.1%} of a convolutional network's training step, of which "
            f"activations are {max(0.0, 1 - plain / relu):.1%} with ReLU and "
            f"{max(0.0, 1 - plain / sigmoid):.1%} with sigmoid"
        )
    return "What exp costs, as sigmoid against ReLU: " + "; ".join(parts) + "." if parts else ""


def network_losses(run: Run) -> dict[str, tuple[float, float]]:
    """Return seconds of each network's training step with ReLU and with sigmoid."""
    found = {}
    for group in run.shares + run.networks:
        times = {row.work.args["fn"]: median(row) for row in group}
        relu, sigmoid = times.get("relu"), times.get("sigmoid")
        if relu is not None and sigmoid is not None:
            found[group[0].work.name] = (relu, sigmoid)
    return found


def network_table(run: Run) -> Table:
    """ReLU against sigmoid, network by network."""
    body = []
    for name, (relu, sigmoid) in network_losses(run).items():
        loss = sigmoid / relu - 1
        verdict = "ok" if loss <= SIGMOID_LOSS else "short"
        times = [milliseconds(relu), milliseconds(sigmoid), f"{loss:+.1%}"]
        body.append([name, *times, f"≤ {SIGMOID_LOSS:.0%}", verdict])
    return ["network", "relu, ms", "sigmoid, ms", "loss", "target", ""], body


def layer_times(run: Run) -> list[tuple[str, float, float, float]]:
    """Return name, and seconds forward and backward of each layer, ReLU and sigmoid after it."""
    found = []
    for group in run.layers:
        times: dict[str, float] = {}
        for row in group:
            key = row.work.args.get("fn", "layer")
            times[key] = times.get(key, 0.0) + (median(row) or 0.0)
        if all(times.get(key) for key in ("layer", "relu", "sigmoid")):
            name = group[0].work.name.removesuffix(f", {FORWARD}")
            found.append((name, times["layer"], times["relu"], times["sigmoid"]))
    return found


def layer_table(run: Run) -> Table:
    """ReLU against sigmoid, layer by layer."""
    body = [
        [name, *(milliseconds(t) for t in (layer, relu, sigmoid)),
         f"{relu / (layer + relu):.1%}", f"{sigmoid / (layer + sigmoid):.1%}"]
        for name, layer, relu, sigmoid in layer_times(run)
    ]  # fmt: skip
    head = ["layer", "layer, ms", "relu, ms", "sigmoid, ms", "share of relu", "share of sigmoid"]
    return head, body


def figure_table(run: Run) -> Table:
    """Single figures."""
    body = []
    for f in run.figures:
        value = "–" if f.value is None else f"{f.value:.3g} {f.unit}".strip()
        target = "–" if f.target is None else f"{'≤' if f.at_most else '≥'} {f.target:g}"
        body.append([f.name, value, target, f.verdict, f.note])
    return ["figure", "value", "target", "", "note"], body


def short_table(run: Run) -> Table:
    """Rows, networks and figures that fall short of their targets."""
    body = [
        [r.work.name, reached(r), goal(r.work.targets)] for r in run.rows if r.verdict == "short"
    ]
    losses, figures = network_table(run)[1], figure_table(run)[1]
    body += [[f"{c[0]}: sigmoid", c[3], c[4]] for c in losses if c[5] == "short"]
    body += [[c[0], c[1], c[2]] for c in figures if c[3] == "short"]
    return ["short of its target", "reached", "target"], body


def info_table(run: Run) -> Table:
    """What was measured on what."""
    return ["", ""], [[str(k), str(v)] for k, v in run.info.items() if v is not None]


def sections(run: Run, wide: bool = True) -> list[tuple[str, Table]]:
    """Return the titled tables that have rows."""
    tables = [
        ("What an activation costs", cost_table(run)),
        ("ReLU against sigmoid: training steps", network_table(run)),
        ("ReLU against sigmoid: layers, forward and backward", layer_table(run)),
        ("Training steps", rows_table(run, ("step",), wide)),
        ("Inference", rows_table(run, ("infer",), wide)),
        ("Kernels", rows_table(run, (), wide)),
        ("Other figures", figure_table(run)),
        ("Short of their targets", short_table(run)),
    ]
    return [(title, table) for title, table in tables if table[1]]


def busy(run: Run) -> bool:
    """Say whether other work kept the cores busy when the run began."""
    return float(run.info.get("load at start", 0)) > 0.5 * run.info.get("cores", 1)


def remarks(run: Run) -> list[str]:
    """Say what is missing, broken or wrong."""
    lines = [BUSY] if busy(run) else []
    lines += [f"FAILED {row.work.name}: {row.failure}" for row in run.failures]
    missing: dict[str, list[str]] = {}
    for row in run.all_rows():
        if row.unsupported:
            missing.setdefault(row.unsupported, []).append(row.work.name)
    lines += [f"{why}: {', '.join(dict.fromkeys(names))}" for why, names in missing.items()]
    lines += [f"{row.work.name}: {note}" for row in run.all_rows() for note in row.notes]
    lines += [f"broken, left out: {name}: {why}" for name, why in run.broken.items()]
    lines += [f"not installed, skipped: {name} ({why})" for name, why in run.absent.items()]
    if run.skipped:
        lines.append(f"no time was left for: {', '.join(run.skipped)}")
    judged = [row.verdict for row in run.rows if row.verdict in ("ok", "short")]
    if judged:
        lines.append(f"{judged.count('ok')} of {len(judged)} rows reach their targets")
    first = {row.work.name: row.judge(row.work.foundation) for row in run.rows}
    judged = [verdict for verdict in first.values() if verdict]
    if judged:
        short = ", ".join(name for name, verdict in first.items() if verdict == "short")
        lines.append(f"{judged.count('ok')} of {len(judged)} rows reach the foundation's targets"
                     + (f"; short: {short}" if short else ""))  # fmt: skip
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


def as_markdown(run: Run, command: str) -> str:
    """Return a fragment for the documentation."""

    def table(t: Table) -> str:
        head, body = t
        rule = ["---", *["---:"] * (len(head) - 1)]
        rows = [head, rule, *body]
        return "\n".join("| " + " | ".join(c.replace("|", "\\|") for c in r) + " |" for r in rows)

    parts = [f"Made by `{command}`.", HOW.format(rounds=run.info["rounds"]).replace("*", "\\*")]
    parts.append("\n".join(f"- {k}: {v}" for k, v in info_table(run)[1]))
    parts += [lecture_answer(run)] if lecture_answer(run) else []
    for title, body in sections(run):
        parts += [f"## {title}", table(body)]
    if remarks(run):
        parts.append("\n".join(f"- {line}" for line in remarks(run)))
    return "\n\n".join(parts) + "\n"


def as_json(run: Run) -> str:
    """Return everything, times in seconds."""

    def row(r: Row) -> dict[str, Any]:
        times = {
            name: {"median": t.median, "spread": t.spread, "rounds": list(t.rounds)}
            for name, t in r.timings.items()
        }
        return {
            **r.work.as_json(), "times": times, "best_peer": r.best_peer, "ratio": r.ratio,
            "verdict": r.verdict, "failure": r.failure, "unsupported": r.unsupported,
            "notes": r.notes, "no_peers": sorted(r.no_peers),
        }  # fmt: skip

    groups = {name: [[row(r) for r in g] for g in getattr(run, name)] for name in GROUPS}
    figures = [{**asdict(f), "verdict": f.verdict} for f in run.figures]
    rest = {"absent": run.absent, "broken": run.broken, "skipped": run.skipped}
    whole = {
        "info": run.info, "rows": [row(r) for r in run.rows], **groups, "figures": figures, **rest
    }  # fmt: skip
    return json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False)


def from_json(text: str) -> Run:
    """Return the run that `as_json` saved. Raises ``ValueError`` if it is none."""

    def known(kind: Any, values: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in values.items() if k in {f.name for f in fields(kind)}}

    def row(saved: dict[str, Any]) -> Row:
        timings = {name: Timing(tuple(t["rounds"])) for name, t in saved["times"].items()}
        return Row(
            Workload(**known(Workload, saved)), timings, saved["failure"], saved["unsupported"],
            list(saved["notes"]), set(saved["no_peers"]),
        )  # fmt: skip

    try:
        saved = json.loads(text)
        run = Run(
            saved["info"], [row(r) for r in saved["rows"]], absent=saved["absent"],
            broken=saved["broken"], skipped=saved["skipped"],
            figures=[Figure(**known(Figure, f)) for f in saved["figures"]],
        )  # fmt: skip
        for name in GROUPS:
            setattr(run, name, [[row(r) for r in group] for group in saved[name]])
        return run
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise ValueError(f"not a file that fastnn bench saved ({problem})") from None
