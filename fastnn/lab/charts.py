# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of experiments, in the style of `fastnn.report`: each function returns one SVG.

Lines, points, level curves and steps share one pair of axes (`Plot`); besides, bars, rows of small
histograms, clouds of points side by side, and heat maps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..report import (
    _CHAR,
    _WIDTH,
    _bar_svg,
    _colour,
    _head,
    _line,
    _runs,
    _stroke,
    _svg,
    _text,
    _tick_label,
    log_ticks,
    nice_ticks,
)

__all__ = ["Plot", "bars", "clouds", "heat_map", "histograms", "lines"]

Point = tuple[float, float]


class Plot:
    """One pair of axes; what is added is drawn by `svg`.

    Points that are not finite (on a logarithmic axis also those that are not positive) leave gaps.
    """

    def __init__(
        self, title: str, xlabel: str, ylabel: str, log_x: bool = False, log_y: bool = False,
        x_range: Point | None = None, y_range: Point | None = None,
    ) -> None:  # fmt: skip
        self.title, self.xlabel, self.ylabel = title, xlabel, ylabel
        self.log_x, self.log_y = log_x, log_y
        self.x_range, self.y_range = x_range, y_range
        self._named: list[tuple[str, str, list[Point | None]]] = []  # kind, name, points
        self._plain: list[list[Point | None]] = []

    def line(self, name: str, xs: Iterable[float], ys: Iterable[float]) -> Plot:
        """A line with a name in the legend."""
        self._named.append(("line", name, self._points(xs, ys)))
        return self

    def path(self, name: str, xs: Iterable[float], ys: Iterable[float]) -> Plot:
        """A line with a dot at each step."""
        self._named.append(("path", name, self._points(xs, ys)))
        return self

    def points(self, name: str, xs: Iterable[float], ys: Iterable[float]) -> Plot:
        """Dots without a line."""
        self._named.append(("points", name, self._points(xs, ys)))
        return self

    def guide(self, xs: Iterable[float], ys: Iterable[float]) -> Plot:
        """A thin grey line without a name: a threshold, a level curve."""
        self._plain.append(self._points(xs, ys))
        return self

    def _points(self, xs: Iterable[float], ys: Iterable[float]) -> list[Point | None]:
        def inside(v: float, log: bool, ends: Point | None) -> bool:
            return math.isfinite(v) and (v > 0 or not log) and (not ends or ends[0] <= v <= ends[1])

        return [
            (x, y) if inside(x, self.log_x, self.x_range) and inside(y, self.log_y, self.y_range)
            else None
            for x, y in ((float(x), float(y)) for x, y in zip(xs, ys, strict=True))
        ]  # fmt: skip

    def svg(self) -> str:
        """The picture."""
        every = [p for _, _, points in self._named for p in points if p]
        names = [name for _, name, _ in self._named]
        body, top = _head(self.title, names, lines=all(k != "points" for k, _, _ in self._named))
        body.append(_text(4, top + 6, self.ylabel, cls="dim"))
        top += 20
        height = top + 200
        bottom = height - 38
        if not every:
            body.append(_text(_WIDTH / 2, (top + bottom) / 2, "no finite values", "middle", "dim"))
            return _svg(height, self.title, "no finite values", body)
        y_axis = _Axis([p[1] for p in every], self.log_y, self.y_range)
        left = 14 + _CHAR * max(len(_tick_label(t)) for t in y_axis.ticks)
        right = _WIDTH - 14
        x_axis = _Axis([p[0] for p in every], self.log_x, self.x_range, tight=True)
        x_axis.start, x_axis.end = left, right
        y_axis.start, y_axis.end = bottom, top
        for tick in y_axis.ticks:
            y = y_axis(tick)
            body.append(_line(left, y, right, y, "grid"))
            body.append(_text(left - 6, y + 4, _tick_label(tick), "end", "dim"))
        last = -math.inf
        for tick in x_axis.ticks:
            x, half = x_axis(tick), _CHAR * len(_tick_label(tick)) / 2
            body.append(_line(x, bottom, x, bottom + 4, "axis"))
            if x - half > last:
                body.append(_text(x, bottom + 16, _tick_label(tick), "middle", "dim"))
                last = x + half + 4
        body.append(_line(left, bottom, right, bottom, "axis"))
        body.append(_text((left + right) / 2, height - 6, self.xlabel, "middle", "dim"))

        def place(point: Point) -> Point:
            return x_axis(point[0]), y_axis(point[1])

        for points in self._plain:
            for run in _runs(points):
                corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(place, run))
                body.append(
                    f'<polyline points="{corners}" fill="none" stroke="var(--dim)" '
                    'stroke-opacity="0.6"/>'
                )
        for i, (kind, _, points) in enumerate(self._named):
            for run in _runs(points):
                spots = [place(p) for p in run]
                if kind != "points" and len(spots) > 1:
                    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
                    body.append(f'<polyline points="{corners}" {_stroke(i)}/>')
                if kind != "line" or len(spots) == 1:
                    radius = 2 if kind == "path" else 3
                    body += [_dot(x, y, radius, i) for x, y in spots]
        described = ", ".join(
            f"{name} ends at {ends[-1][1]:.4g}"
            for _, name, points in self._named
            if (ends := [p for p in points if p])
        )
        return _svg(height, self.title, f"{self.ylabel} against {self.xlabel}: {described}", body)


class _Axis:
    """From values to places, linear or logarithmic."""

    def __init__(
        self, values: Sequence[float], log: bool, ends: Point | None, tight: bool = False
    ) -> None:
        low, high = ends or (min(values), max(values))
        self.log = log
        if log and low == high:
            low, high = low / 2, high * 2
        ticks = log_ticks(low, high) if log else nice_ticks(low, high)
        if tight and all(float(v).is_integer() for v in values) and not log:
            ticks = [t for t in ticks if float(t).is_integer()]
        if not tight:
            low, high = ticks[0], ticks[-1]
        elif low == high:
            low, high = low - 1, high + 1
        slack = 1e-9 * (high - low)
        self.ticks = [t for t in ticks if low - slack <= t <= high + slack]
        self.low, self.high = low, high
        self.start, self.end = 0.0, 1.0

    def __call__(self, value: float) -> float:
        if self.log:
            part = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return self.start + (self.end - self.start) * part


def _dot(x: float, y: float, radius: float, i: int) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{_colour(i)}"/>'


def lines(
    series: Mapping[str, tuple[Iterable[float], Iterable[float]]],
    title: str,
    xlabel: str,
    ylabel: str,
    log_x: bool = False,
    log_y: bool = False,
    **options: Any,
) -> str:
    """Lines ``{name: (xs, ys)}`` on one pair of axes."""
    plot = Plot(title, xlabel, ylabel, log_x, log_y, **options)
    for name, (xs, ys) in series.items():
        plot.line(name, xs, ys)
    return plot.svg()


def bars(
    values: Mapping[str, float] | Mapping[str, Mapping[str, float]],
    title: str,
    xlabel: str,
    fmt: str = "{:.3g}",
) -> str:
    """Horizontal bars ``{label: value}`` or ``{group: {label: value}}``, none negative."""
    groups: dict[str, Mapping[str, float]]
    if all(isinstance(v, Mapping) for v in values.values()):
        groups = dict(values)  # type: ignore[arg-type]
    else:
        groups = {xlabel: values}  # type: ignore[dict-item]
    labels = list(next(iter(groups.values())))
    data = {name: [float(group[label]) for label in labels] for name, group in groups.items()}
    return _bar_svg(labels, data, title, xlabel, fmt)


def histograms(rows: Mapping[str, ArrayLike], title: str, xlabel: str, bins: int = 31) -> str:
    """One flat histogram a row, all over the same values; each is as high as its highest bin.

    At the end of a row stands its standard deviation.
    """
    data = {name: np.asarray(a, float).ravel() for name, a in rows.items()}
    data = {name: a[np.isfinite(a)] for name, a in data.items()}
    parts = [a for a in data.values() if a.size]
    low, high = (min(a.min() for a in parts), max(a.max() for a in parts)) if parts else (0.0, 1.0)
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, bins + 1)
    body, top = _head(title, [], lines=False)
    left, right, row = 12 + _CHAR * max(map(len, data)), _WIDTH - 62.0, 26.0
    for k, (name, a) in enumerate(data.items()):
        base = top + (k + 1) * row
        body.append(_text(left - 6, base - 3, name, "end", "dim"))
        body.append(_line(left, base, right, base, "axis"))
        counts = np.histogram(a, edges)[0]
        tall = max(1, counts.max())
        width = (right - left) / bins
        boxes = "".join(
            f"M{left + i * width:.1f} {base:.1f}v{-h:.1f}h{width - 0.6:.1f}v{h:.1f}"
            for i, c in enumerate(counts)
            if (h := (row - 4) * float(c) / tall) > 0.05
        )
        body.append(f'<path d="{boxes}" fill="{_colour(0)}"/>')
        if a.size:
            spread = _tick_label(float(f"{a.std():.2g}"))
            body.append(_text(right + 6, base - 3, f"σ {spread}", cls="dim"))
    bottom = top + len(data) * row
    axis = _Axis([low, high], False, (low, high), tight=True)
    axis.start, axis.end = left, right
    for tick in axis.ticks:
        body.append(_text(axis(tick), bottom + 15, _tick_label(tick), "middle", "dim"))
    body.append(_text((left + right) / 2, bottom + 31, xlabel, "middle", "dim"))
    described = "; ".join(
        f"{name}: mean {a.mean():.3g}, standard deviation {a.std():.3g}" if a.size else name
        for name, a in data.items()
    )
    return _svg(bottom + 38, title, described, body)


def clouds(panels: Mapping[str, ArrayLike], title: str) -> str:
    """Points (N, 2) in square panels, two beside each other; same scale on both axes of each."""
    body, top = _head(title, [], lines=False)
    side, gap = (_WIDTH - 18) / 2, 10.0
    for k, (name, array) in enumerate(panels.items()):
        a = np.asarray(array, float)
        x0, y0 = 4 + (k % 2) * (side + gap), top + (k // 2) * (side + 26)
        reach = 1.1 * max(1e-12, float(np.abs(a).max()))
        width = f"± {_tick_label(float(f'{reach:.2g}'))}"
        body.append(_text(x0 + 2, y0 + 12, name))
        body.append(_text(x0 + side - 2, y0 + 12, width, "end", "dim"))
        y0 += 18
        body.append(
            f'<rect x="{x0:.1f}" y="{y0:.1f}" width="{side:.1f}" height="{side:.1f}" '
            'fill="none" class="axis"/>'
        )
        cx, cy, unit = x0 + side / 2, y0 + side / 2, side / 2 / reach
        body.append(_line(x0, cy, x0 + side, cy, "grid"))
        body.append(_line(cx, y0, cx, y0 + side, "grid"))
        dots = "".join(f"M{cx + unit * x:.1f} {cy - unit * y:.1f}h0" for x, y in a)
        body.append(
            f'<path d="{dots}" stroke="{_colour(0)}" stroke-width="3" stroke-linecap="round"/>'
        )
    rows = (len(panels) + 1) // 2
    return _svg(top + rows * (side + 26) + 4, title, ", ".join(panels), body)


def heat_map(
    values: ArrayLike,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    xlabel: str,
    ylabel: str,
    fmt: str = "{:.0%}",
) -> str:
    """A table of cells, stronger where the value is larger; not finite: "–"."""
    a = np.asarray(values, float)
    finite = a[np.isfinite(a)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    body, top = _head(title, [], lines=False)
    body.append(_text(4, top + 6, f"{ylabel} (down)  ×  {xlabel} (across)", cls="dim"))
    top += 16
    left = 10 + _CHAR * max(map(len, rows))
    width, height = (_WIDTH - left - 4) / len(columns), 26.0
    for j, name in enumerate(columns):
        body.append(_text(left + (j + 0.5) * width, top + 12, name, "middle", "dim"))
    top += 18
    for i, name in enumerate(rows):
        y = top + i * height
        body.append(_text(left - 6, y + 17, name, "end", "dim"))
        for j in range(len(columns)):
            value = a[i, j]
            part = (value - low) / (high - low or 1.0) if math.isfinite(value) else 0.0
            body.append(
                f'<rect x="{left + j * width:.1f}" y="{y:.1f}" width="{width - 1:.1f}" '
                f'height="{height - 1:.1f}" fill="{_colour(0)}" '
                f'fill-opacity="{0.06 + 0.6 * part:.2f}"/>'
            )
            shown = fmt.format(value) if math.isfinite(value) else "–"
            body.append(_text(left + (j + 0.5) * width, y + 17, shown, "middle"))
    described = "; ".join(
        f"{name}: " + ", ".join(fmt.format(v) if math.isfinite(v) else "–" for v in a[i])
        for i, name in enumerate(rows)
    )
    return _svg(top + len(rows) * height + 8, title, described, body)
