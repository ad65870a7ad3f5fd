# SPDX-License-Identifier: BSD-3-Clause
"""Write one self-contained HTML page: text, tables and SVG charts; no script, no dependency.

Charts are drawn in a 350-wide coordinate system, so that their text stays readable when a phone
scales them to its width. Colours are Okabe and Ito's palette, told apart with any colour vision;
lines differ in dash pattern too.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import pairwise

from .io import replace_file

__all__ = ["Page"]

Numbers = Iterable[float]

# Okabe & Ito, "Color Universal Design" (2008), without black and yellow, which vanish on a page.
# Its two blues change places in the dark.
_COLOURS = 6
_DASHES = ("", "6 3", "2 3", "8 3 2 3", "10 4", "4 2")

_WIDTH = 350.0
_CHAR = 6.0  # mean width of a character of the 11-unit chart font

_CSS = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1c1e21;--dim:#5b626b;--line:#d9dde2;--card:#f7f8fa;
--s0:#0072b2;--s1:#d55e00;--s2:#009e73;--s3:#cc79a7;--s4:#e69f00;--s5:#56b4e9}
@media(prefers-color-scheme:dark){:root{--bg:#15171a;--fg:#e8eaed;--dim:#a3abb5;--line:#363b42;
--card:#1d2024;--s0:#56b4e9;--s5:#0072b2}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:76rem;background:var(--bg);color:var(--fg);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
h1{font-size:1.6rem;line-height:1.2;margin:.5rem 0 1rem}h2{font-size:1.2rem;margin:2rem 0 .5rem}
p{max-width:46rem;margin:.5rem 0}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:1rem;
align-items:start}
figure{margin:0;padding:.5rem;background:var(--card);border:1px solid var(--line);
border-radius:.5rem;max-width:42rem}
svg{display:block;width:100%;height:auto}
svg text{font:11px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;
fill:var(--fg);paint-order:stroke;stroke:var(--card);stroke-width:3px;stroke-linejoin:round}
svg .title{font-size:13px;font-weight:600}svg .dim{fill:var(--dim)}
svg .grid{stroke:var(--line);stroke-width:1}svg .axis{stroke:var(--dim);stroke-width:1}
.scroll{overflow-x:auto;margin:.75rem 0}
table{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .75rem .3rem 0;text-align:left;border-bottom:1px solid var(--line);
white-space:nowrap;vertical-align:bottom}
th{color:var(--dim);font-weight:600}.num{text-align:right}
"""


class Page:
    """A report that is collected in memory and written as one HTML file.

    >>> page = Page("Run 1")
    >>> page.text("Two epochs.")
    >>> page.line_chart({"loss": ([1, 2], [0.9, 0.4])}, "Loss", "epoch", "cross-entropy")
    >>> "<svg" in page.html()
    True
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self._blocks: list[tuple[str, str]] = []  # (kind, html); runs of charts share a grid

    def heading(self, text: str) -> None:
        """Start a section."""
        self._blocks.append(("html", f"<h2>{escape(text)}</h2>"))

    def text(self, text: str) -> None:
        """Add plain text; an empty line starts a new paragraph."""
        for paragraph in text.split("\n\n"):
            if paragraph.strip():
                self._blocks.append(("html", f"<p>{escape(paragraph.strip())}</p>"))

    def table(self, headers: Sequence[object], rows: Iterable[Sequence[object]]) -> None:
        """Add a table; columns that hold only numbers are aligned to the right.

        Raises ``ValueError`` if a row is not as long as the headers.
        """
        head = [str(h) for h in headers]
        body = [[_cell(value) for value in row] for row in rows]
        for i, row in enumerate(body):
            if len(row) != len(head):
                raise ValueError(
                    f"table: row {i} must have {len(head)} cells as the headers have, "
                    f"got {len(row)}"
                )
        numeric = [_all_numeric(row[j] for row in body) for j in range(len(head))]

        def line(tag: str, cells: Sequence[str]) -> str:
            marks = (' class="num"' if n else "" for n in numeric)
            items = zip(cells, marks, strict=True)
            return "<tr>" + "".join(f"<{tag}{m}>{escape(c)}</{tag}>" for c, m in items) + "</tr>"

        rows_html = "\n".join(line("td", row) for row in body)
        self._blocks.append(
            (
                "html",
                f'<div class="scroll"><table><thead>{line("th", head)}</thead>\n'
                f"<tbody>{rows_html}</tbody></table></div>",
            )
        )

    def line_chart(
        self,
        series: Mapping[str, tuple[Numbers, Numbers]],
        title: str,
        xlabel: str,
        ylabel: str,
        log_y: bool = False,
    ) -> None:
        """Add a line chart of ``{name: (xs, ys)}``.

        A NaN or infinite value (on a logarithmic axis also one that is not positive) leaves a gap.
        Raises ``ValueError`` if there is no series, or if one has more x than y values.
        """
        if not series:
            raise ValueError("line_chart: series must name at least one line, got none")
        data: dict[str, list[tuple[float, float] | None]] = {}
        for name, (xs, ys) in series.items():
            x_list, y_list = [float(x) for x in xs], [float(y) for y in ys]
            if len(x_list) != len(y_list):
                raise ValueError(
                    f"line_chart: series {name!r} must have as many y as x values, "
                    f"got {len(x_list)} x and {len(y_list)} y"
                )
            data[name] = [
                (x, y) if math.isfinite(x) and math.isfinite(y) and (y > 0 or not log_y) else None
                for x, y in zip(x_list, y_list, strict=True)
            ]
        self._blocks.append(("figure", _line_svg(data, title, xlabel, ylabel, log_y)))

    def bar_chart(
        self,
        labels: Sequence[str],
        groups: Mapping[str, Numbers],
        title: str = "",
        xlabel: str = "",
        fmt: str = "{:.3g}",
    ) -> None:
        """Add horizontal bars: for each label one bar of each group, ``{series: values}``.

        A value that is not finite is left out and marked "–". Raises ``ValueError`` if there is
        no label or no group, if a group has another number of values than there are labels, or if
        a value is negative.
        """
        if not labels or not groups:
            raise ValueError(
                f"bar_chart: needs at least one label and one group, "
                f"got {len(labels)} and {len(groups)}"
            )
        data = {name: [float(v) for v in values] for name, values in groups.items()}
        for name, values in data.items():
            if len(values) != len(labels):
                raise ValueError(
                    f"bar_chart: group {name!r} must have {len(labels)} values, one for each "
                    f"label, got {len(values)}"
                )
            if any(v < 0 for v in values):
                raise ValueError(
                    f"bar_chart: group {name!r} must not be negative, got {min(values)}"
                )
        self._blocks.append(("figure", _bar_svg(list(labels), data, title, xlabel, fmt)))

    def scatter_chart(
        self,
        groups: Mapping[str, Sequence[tuple[str, float, float]]],
        lines: Mapping[str, Sequence[tuple[float, float]]],
        title: str,
        xlabel: str,
        ylabel: str,
    ) -> None:
        """Add named points ``{group: [(name, x, y)]}`` and lines on two logarithmic axes.

        A point tells its name when pointed at; the legend names the lines. Raises ``ValueError``
        if there is no point, or if a coordinate is not finite and positive.
        """
        points = [(x, y) for group in groups.values() for _, x, y in group]
        corners = [corner for line in lines.values() for corner in line]
        if not points:
            raise ValueError("scatter_chart: groups must have at least one point, got none")
        for value in (v for pair in points + corners for v in pair):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(
                    f"scatter_chart: coordinates must be finite and positive, got {value}"
                )
        self._blocks.append(("figure", _scatter_svg(groups, lines, title, xlabel, ylabel)))

    def figure(self, svg: str) -> None:
        """Add a drawing of your own: an SVG element, whose text must be escaped."""
        self._blocks.append(("figure", svg))

    def html(self) -> str:
        """Return the whole page."""
        parts: list[str] = []
        previous = ""
        for kind, block in self._blocks:
            if kind == "figure" and previous != "figure":
                parts.append('<div class="figures">')
            if kind != "figure" and previous == "figure":
                parts.append("</div>")
            parts.append(f"<figure>{block}</figure>" if kind == "figure" else block)
            previous = kind
        if previous == "figure":
            parts.append("</div>")
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
            f"<title>{escape(self.title)}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n"
            f"<h1>{escape(self.title)}</h1>\n" + "\n".join(parts) + "\n</body>\n</html>\n"
        )

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the page: to a temporary file beside ``path``, synced, which then replaces it."""
        write_text(path, self.html())


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` as UTF-8 so that ``path`` holds either the old or the new content, whole."""
    with replace_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _all_numeric(cells: Iterable[str]) -> bool:
    found = False
    for cell in cells:
        if cell in ("", "–", "-"):
            continue
        try:
            float(cell.rstrip("%×x ").replace(",", ""))
        except ValueError:
            return False
        found = True
    return found


# --- scales ---------------------------------------------------------------------------------------


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about ``count`` round numbers (steps of 1, 2 or 5 × 10^n) that enclose the range."""
    if not (math.isfinite(low) and math.isfinite(high)) or low > high:
        raise ValueError(f"nice_ticks: low must be finite and ≤ high, got {low} and {high}")
    if low == high:
        half = abs(low) / 2 or 0.5
        low, high = low - half, high + half
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(m for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return powers of ten that enclose the range; with 2 and 5 between them if they are few."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    last = max(last, first + 1)
    if last - first > 8:
        every = math.ceil((last - first) / 8)
        return [10.0**e for e in range(first, last + every, every)]
    mantissas = (1, 2, 5) if last - first <= 2 else (1,)
    ticks = [m * 10.0**e for e in range(first, last) for m in mantissas] + [10.0**last]
    # Half-empty decades at either end are cut where a 2 or 5 encloses the data.
    while len(ticks) > 2 and ticks[1] <= low:
        ticks.pop(0)
    while len(ticks) > 2 and ticks[-2] >= high:
        ticks.pop()
    return ticks


def _tick_label(value: float) -> str:
    if value and not 1e-4 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.3e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{round(value, 10):.6g}".replace("-", "−")


# --- SVG ------------------------------------------------------------------------------------------


def _text(x: float, y: float, text: str, anchor: str = "start", cls: str = "") -> str:
    mark = f' class="{cls}"' if cls else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{mark}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, cls: str, dash: str = "") -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    extra = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<line {ends} class="{cls}"{extra}/>'


def _wrap(text: str, width: float, char: float) -> list[str]:
    """Break ``text`` at spaces into lines of at most ``width`` units."""
    lines = [""]
    for word in text.split():
        if lines[-1] and (len(lines[-1]) + 1 + len(word)) * char > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _svg(height: float, title: str, description: str, body: list[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:.0f} {height:.0f}" '
        f'role="img"><title>{escape(title)}</title><desc>{escape(description)}</desc>'
        + "".join(body)
        + "</svg>"
    )


def _head(title: str, names: Sequence[str], lines: bool) -> tuple[list[str], float]:
    """Return title and legend, and the height that they take."""
    body: list[str] = []
    y = 4.0
    for part in _wrap(title, _WIDTH - 8, 7.4) if title else []:
        y += 15
        body.append(_text(4, y, part, cls="title"))
    if len(names) > 1 or lines:
        x = 4.0
        y += 18
        for i, name in enumerate(names):
            width = 30 + len(name) * _CHAR + 4 * sum(name.lower().count(c) for c in "mw@%")
            if x + width > _WIDTH and x > 4:
                x, y = 4.0, y + 16
            if lines:
                body.append(
                    f'<line x1="{x:.1f}" y1="{y - 4:.1f}" x2="{x + 18:.1f}" y2="{y - 4:.1f}" '
                    f"{_stroke(i)}/>"
                )
            else:
                body.append(
                    f'<rect x="{x + 4:.1f}" y="{y - 9:.1f}" width="10" height="10" rx="2" '
                    f'fill="{_colour(i)}"/>'
                )
            body.append(_text(x + 22, y, name))
            x += width + 8
    return body, y + 10


def _colour(i: int) -> str:
    return f"var(--s{i % _COLOURS})"


def _stroke(i: int) -> str:
    dash = _DASHES[(i + i // _COLOURS) % len(_DASHES)]  # the seventh is unlike the first
    extra = f' stroke-dasharray="{dash}"' if dash else ""
    return f'stroke="{_colour(i)}" stroke-width="2" fill="none" stroke-linejoin="round"{extra}'


def _line_svg(
    data: Mapping[str, list[tuple[float, float] | None]],
    title: str,
    xlabel: str,
    ylabel: str,
    log_y: bool,
) -> str:
    points = [p for line in data.values() for p in line if p]
    body, top = _head(title, list(data), lines=True)
    body.append(_text(4, top + 6, ylabel, cls="dim"))
    top += 20
    height = top + 180
    bottom = height - 38
    if not points:
        body.append(_text(_WIDTH / 2, (top + bottom) / 2, "no finite values", "middle", "dim"))
        return _svg(height, title, f"{ylabel} against {xlabel}: no finite values", body)

    x_low, x_high = min(p[0] for p in points), max(p[0] for p in points)
    y_low, y_high = min(p[1] for p in points), max(p[1] for p in points)
    x_ticks = nice_ticks(x_low, x_high)
    if all(p[0].is_integer() for p in points):  # half an epoch is no place for a tick
        x_ticks = [t for t in x_ticks if float(t).is_integer()]
    y_ticks = log_ticks(y_low, y_high) if log_y else nice_ticks(y_low, y_high)
    if x_low == x_high:
        x_low, x_high = x_low - 1, x_high + 1
    left = 14 + _CHAR * max(len(_tick_label(t)) for t in y_ticks)
    right = _WIDTH - 14

    def sx(x: float) -> float:  # the data spans the width; ticks outside of it are dropped
        return left + (right - left) * (x - x_low) / (x_high - x_low)

    def sy(y: float) -> float:
        low, high = y_ticks[0], y_ticks[-1]
        part = math.log(y / low) / math.log(high / low) if log_y else (y - low) / (high - low)
        return bottom - (bottom - top) * part

    for tick in y_ticks:
        body.append(_line(left, sy(tick), right, sy(tick), "grid"))
        body.append(_text(left - 6, sy(tick) + 4, _tick_label(tick), "end", "dim"))
    slack = (x_high - x_low) * 1e-9
    for tick in x_ticks:
        if x_low - slack <= tick <= x_high + slack:
            body.append(_line(sx(tick), bottom, sx(tick), bottom + 4, "axis"))
            body.append(_text(sx(tick), bottom + 16, _tick_label(tick), "middle", "dim"))
    body.append(_line(left, bottom, right, bottom, "axis"))
    body.append(_text((left + right) / 2, height - 6, xlabel, "middle", "dim"))

    for i, line in enumerate(data.values()):
        for run in _runs(line):
            if len(run) == 1:
                x, y = run[0]
                body.append(
                    f'<circle cx="{sx(x):.1f}" cy="{sy(y):.1f}" r="3" fill="{_colour(i)}"/>'
                )
            else:
                path = " ".join(f"{sx(x):.1f},{sy(y):.1f}" for x, y in run)
                body.append(f'<polyline points="{path}" {_stroke(i)}/>')
    last = ", ".join(
        f"{name} ends at {ends[-1][1]:.4g}"
        for name, line in data.items()
        if (ends := [p for p in line if p])
    )
    return _svg(height, title, f"Line chart of {ylabel} against {xlabel}: {last}", body)


def _runs(line: Iterable[tuple[float, float] | None]) -> list[list[tuple[float, float]]]:
    """Split a line at its gaps."""
    runs: list[list[tuple[float, float]]] = [[]]
    for point in line:
        if point:
            runs[-1].append(point)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _scatter_svg(
    groups: Mapping[str, Sequence[tuple[str, float, float]]],
    lines: Mapping[str, Sequence[tuple[float, float]]],
    title: str,
    xlabel: str,
    ylabel: str,
) -> str:
    body, top = _head(title, list(groups), lines=False)
    for i, name in enumerate(lines):
        body.append(_line(4, top + 2, 22, top + 2, "axis", _DASHES[i % len(_DASHES)]))
        body.append(_text(26, top + 6, name, cls="dim"))
        top += 16
    body.append(_text(4, top + 10, ylabel, cls="dim"))
    top += 24
    height = top + 240
    bottom = height - 38
    every = [p[1:] for group in groups.values() for p in group]
    every += [corner for line in lines.values() for corner in line]
    x_ticks, y_ticks = (
        log_ticks(min(p[axis] for p in every), max(p[axis] for p in every)) for axis in (0, 1)
    )
    left = 14 + _CHAR * max(len(_tick_label(t)) for t in y_ticks)
    right = _WIDTH - 14

    def place(value: float, ticks: list[float], low: float, high: float) -> float:
        return low + (high - low) * math.log(value / ticks[0]) / math.log(ticks[-1] / ticks[0])

    def sx(x: float) -> float:
        return place(x, x_ticks, left, right)

    def sy(y: float) -> float:
        return place(y, y_ticks, bottom, top)

    for tick in y_ticks:
        body.append(_line(left, sy(tick), right, sy(tick), "grid"))
        body.append(_text(left - 6, sy(tick) + 4, _tick_label(tick), "end", "dim"))
    for tick in x_ticks:
        body.append(_line(sx(tick), bottom, sx(tick), bottom + 4, "axis"))
        body.append(_text(sx(tick), bottom + 16, _tick_label(tick), "middle", "dim"))
    body.append(_line(left, bottom, right, bottom, "axis"))
    body.append(_text((left + right) / 2, height - 6, xlabel, "middle", "dim"))
    for i, corners in enumerate(lines.values()):
        dash = _DASHES[i % len(_DASHES)]
        for (x1, y1), (x2, y2) in pairwise(corners):
            body.append(_line(sx(x1), sy(y1), sx(x2), sy(y2), "axis", dash))
    for i, points in enumerate(groups.values()):
        for name, x, y in points:
            body.append(
                f'<circle cx="{sx(x):.1f}" cy="{sy(y):.1f}" r="3.5" fill="{_colour(i)}" '
                f'fill-opacity="0.8"><title>{escape(name)}: {_tick_label(float(f"{y:.3g}"))}'
                "</title></circle>"
            )
    described = "; ".join(
        f"{name}: {', '.join(f'{p[0]} {p[2]:.3g}' for p in points)}"
        for name, points in groups.items()
    )
    return _svg(height, title, f"{ylabel} against {xlabel}: {described}", body)


def _bar_svg(
    labels: list[str], data: Mapping[str, list[float]], title: str, xlabel: str, fmt: str
) -> str:
    body, top = _head(title, list(data), lines=False)
    finite = [v for values in data.values() for v in values if math.isfinite(v)]
    ticks = nice_ticks(0.0, max(finite, default=1.0) or 1.0, 4)
    left = 4.0
    room = _CHAR * max((len(fmt.format(v)) for v in finite), default=1) + 10
    right = _WIDTH - room
    bar, gap = 12.0, 3.0
    names = [_wrap(label, _WIDTH - 8, _CHAR) for label in labels]
    block = [14.0 * len(n) + 4 + len(data) * (bar + gap) + 6 for n in names]
    bottom = top + sum(block)
    height = bottom + (38 if xlabel else 22)

    def sx(value: float) -> float:
        return left + (right - left) * value / ticks[-1]

    for tick in ticks:
        body.append(_line(sx(tick), top, sx(tick), bottom, "grid"))
        anchor = "start" if tick == 0 else "middle"
        body.append(_text(sx(tick), bottom + 14, _tick_label(tick), anchor, "dim"))
    body.append(_line(left, top, left, bottom, "axis"))
    if xlabel:
        body.append(_text((left + right) / 2, height - 6, xlabel, "middle", "dim"))

    y = top
    for row, (name, size) in enumerate(zip(names, block, strict=True)):
        line_y = y
        for part in name:
            line_y += 14
            body.append(_text(left + 4, line_y, part))
        for i, values in enumerate(data.values()):
            bar_y = line_y + 5 + i * (bar + gap)
            value = values[row]
            if not math.isfinite(value):
                body.append(_text(left + 4, bar_y + bar - 2, "–", cls="dim"))
                continue
            body.append(
                f'<rect x="{left:.1f}" y="{bar_y:.1f}" width="{sx(value) - left:.1f}" '
                f'height="{bar:.0f}" fill="{_colour(i)}"/>'
            )
            body.append(_text(sx(value) + 4, bar_y + bar - 2, fmt.format(value), cls="dim"))
        y += size
    described = "; ".join(
        f"{label}: "
        + ", ".join(f"{name} {fmt.format(values[row])}" for name, values in data.items())
        for row, label in enumerate(labels)
    )
    return _svg(height, title, f"Bar chart of {xlabel or title}: {described}", body)
