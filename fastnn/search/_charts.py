# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of a search for report.Page: parallel coordinates; what a grid and random trials try.

The parallel axes lie one below the other, so that any number of them can be read on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..report import _CHAR, _WIDTH, _line, _svg, _text, _tick_label, _wrap
from ._space import Choice, Config, Range, Space

if TYPE_CHECKING:
    from ._results import Results

_ROW = 52.0
_LEFT, _RIGHT = 24.0, _WIDTH - 24.0


def parallel_svg(results: Results, title: str, value_name: str) -> str:
    """Each trial a line from axis to axis; the best quarter strong, without a value dashed."""
    body = [_text(4, 19, title, cls="title")]
    top = 34.0
    for label, stroke in (
        ("best quarter", _STRONG), ("other trials", _WEAK), ("abandoned or failed", _DASHED)
    ):  # fmt: skip
        body.append(f'<line x1="4" y1="{top - 4:.1f}" x2="22" y2="{top - 4:.1f}" {stroke}/>')
        body.append(_text(28, top, label, cls="dim"))
        top += 15
    names = list(results.space)
    rows = {name: top + 22 + i * _ROW for i, name in enumerate([*names, value_name])}
    ends = _value_ends(results)
    for name, values in results.space.items():
        body += _axis(name, rows[name], values)
    if ends:
        body += _axis(value_name, rows[value_name], ends)
    ranking = results.ranking()
    strong = {trial.number for trial in ranking[: math.ceil(len(ranking) / 4)]}
    # The best last, on top of the others.
    without = [trial for trial in results.trials if trial.value is None]
    lines = []
    for trial in without + ranking[::-1]:
        points = [(_x(results.space[name].place(trial.config[name])), rows[name]) for name in names]
        if trial.value is not None and ends:
            points.append((_x(ends.place(trial.value)), rows[value_name]))
        stroke = _DASHED if trial.value is None else _STRONG if trial.number in strong else _WEAK
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        settings = ", ".join(f"{name} {_show(trial.config[name])}" for name in names)
        what = trial.state if trial.value is None else f"{value_name} {_show(trial.value)}"
        lines.append(
            f'<polyline points="{path}" {stroke}>'
            f"<title>{escape(f'trial {trial.number}: {settings}: {what}')}</title></polyline>"
        )
    height = max(rows.values()) + 30
    described = f"Parallel coordinates of {len(results.trials)} trials"
    return _svg(height, title, described, lines + body)


_STRONG = 'stroke="var(--s1)" stroke-width="2" fill="none"'
_WEAK = 'stroke="var(--s0)" stroke-width="1" stroke-opacity="0.5" fill="none"'
_DASHED = 'stroke="var(--dim)" stroke-width="1" stroke-dasharray="3 3" fill="none"'


def _x(place: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * place


def _show(value: object) -> str:
    return _tick_label(float(f"{value:.3g}")) if isinstance(value, float) else str(value)


def _value_ends(results: Results) -> Range | None:
    found = [trial.value for trial in results.trials if trial.value is not None]
    return Range(min(found), max(found)) if found else None


def _axis(name: str, y: float, values: Range | Choice) -> list[str]:
    body = [_text(4, y - 8, name), _line(_LEFT, y, _RIGHT, y, "axis")]
    used = -math.inf
    for value in _ticks(values):
        label, x = _show(value), _x(values.place(value))
        half = len(label) * _CHAR / 2
        body.append(_line(x, y - 3, x, y + 3, "axis"))
        if x - half > used:  # labels do not overlap
            middle = min(max(x, half + 2), _WIDTH - half - 2)
            body.append(_text(middle, y + 15, label, "middle", "dim"))
            used = middle + half + 4
    return body


def _ticks(values: Range | Choice) -> list[Any]:
    """Options, or ends and some round numbers between."""
    if isinstance(values, Choice):
        return list(values.options)
    if values.low == values.high:
        return [values.low]
    inner: list[float] = []
    if values.log:
        first, last = math.ceil(math.log10(values.low)), math.floor(math.log10(values.high))
        inner = [10.0**e for e in range(first, last + 1)]
    elif not values.whole:
        inner = [(values.low + values.high) / 2]
    inner = [v for v in inner if 0.1 < values.place(v) < 0.9]
    return [values.low, *inner, values.high]


def coverage_svg(
    plane: Space, panels: Mapping[str, Sequence[Config]], mark: str, best: Sequence[Config],
    title: str,
) -> str:  # fmt: skip
    """Panels side by side, each with points on two axes and their projections onto both.

    In the panel `mark` the points `best` are ringed.
    """
    (x, xs), (y, ys) = plane.items()
    body = []
    top = 4.0
    for part in _wrap(title, _WIDTH - 8, 7.4):
        top += 15
        body.append(_text(4, top, part, cls="title"))
    gap, size = 22.0, (_WIDTH - 62.0) / 2
    heads = [_wrap(name, size, _CHAR) for name in panels]
    top += 14 * max(map(len, heads)) + 18
    bottom = top + size
    counts = []
    for i, (name, configs) in enumerate(panels.items()):
        left = 26.0 + i * (size + gap)
        for j, part in enumerate(heads[i]):
            body.append(_text(left, top - 12 - 14 * (len(heads[i]) - 1 - j), part))
        corners = [(left, top), (left + size, top), (left + size, bottom), (left, bottom)]
        for (x1, y1), (x2, y2) in pairwise([*corners, corners[0]]):
            body.append(_line(x1, y1, x2, y2, "axis"))
        places = [(xs.place(c[x]), ys.place(c[y])) for c in configs]
        inner = size - 16  # so that points at the ends stay inside

        def at(place: float, start: float, inner: float = inner) -> float:
            return start + 8 + inner * place

        for px in sorted({round(p[0], 6) for p in places}):
            body.append(_line(at(px, left), bottom, at(px, left), bottom + 7, "axis"))
        for py in sorted({round(p[1], 6) for p in places}):
            height = bottom - at(py, 0.0)
            body.append(_line(left - 7, height, left, height, "axis"))
        for px, py in places:
            body.append(
                f'<circle cx="{at(px, left):.1f}" cy="{bottom - at(py, 0.0):.1f}" r="3" '
                f'fill="var(--s{i})" fill-opacity="0.8"/>'
            )
        for c in best if name == mark else ():
            cx, cy = at(xs.place(c[x]), left), bottom - at(ys.place(c[y]), 0.0)
            body.append(
                f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="7" fill="none" stroke="var(--fg)" '
                'stroke-width="2"><title>best trial</title></circle>'
            )
        count = len({c[x] for c in configs}), len({c[y] for c in configs})
        counts.append(f"{name}: {count[0]} values of {x}, {count[1]} of {y}")
        for j, (values, axis) in enumerate(zip(count, (x, y), strict=True)):
            text = f"{values} different values of {axis}"
            text = text if len(text) * _CHAR <= size + gap else f"{values} of {axis}"
            body.append(_text(left, bottom + 22 + 15 * j, text, cls="dim"))
    for j, (axis, tried) in enumerate(plane.items()):
        way = "left to right" if j == 0 else "bottom to top"
        low, *_, high = _ticks(tried) * 2
        text = f"{axis}: {way}, {_show(low)} to {_show(high)}"
        body.append(_text(4, bottom + 58 + 15 * j, text, cls="dim"))
    return _svg(bottom + 82, title, "; ".join(counts), body)
