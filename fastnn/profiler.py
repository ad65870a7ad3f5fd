# SPDX-License-Identifier: BSD-3-Clause
"""profile: where a step's time goes, by operation and by layer."""

from __future__ import annotations

import functools
import json
import os
import time
from dataclasses import dataclass

from . import _core
from .io import replace_file

__all__ = ["Profile", "ProfileRow", "profile"]

_OUTSIDE = "(no layer)"
_SORTS = {
    "time": lambda row: -row.seconds,
    "calls": lambda row: -row.calls,
    "flops": lambda row: -row.flops,
    "name": lambda row: row.name,
    "order": lambda row: 0,  # as they first ran
}


@dataclass
class ProfileRow:
    """The calls of one operation, or in one layer.

    flops counts products only, 2 for each multiply-add; nbytes all arrays that a call reads or
    writes, once each. peak_seconds is what the flops take at the peak of one thread.
    """

    name: str
    calls: int = 0
    seconds: float = 0.0
    flops: float = 0.0
    nbytes: int = 0
    peak_seconds: float = 0.0


class Profile(_core.Profile):
    """What `profile` returns: the calls of one thread between entering and leaving it.

    It can be entered again and then goes on; while it is entered, neither it nor another can be on
    the same thread. Other threads have their own.

    Attributes
    ----------
    seconds : float
        Time spent inside, of which the calls take a part.
    events : list of tuple
        For each call (operation, backward, layer, double, start, nanoseconds, flops, bytes).
    """

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> Profile:
        _core.attach(self)
        self._start = time.perf_counter()
        return self

    def __exit__(self, *exc: object) -> None:
        self.seconds += time.perf_counter() - self._start
        _core.detach(self)

    def rows(self, by: str = "op", sort: str = "time") -> list[ProfileRow]:
        """The calls summed up by operation (forward and backward apart) or by layer.

        Parameters
        ----------
        by : {"op", "layer"}
            A layer's calls include those of its backward, not those of layers inside it.
        sort : {"time", "calls", "flops", "name", "order"}
        """
        if by not in ("op", "layer"):
            raise ValueError(f"profile: by must be 'op' or 'layer', got {by!r}")
        if sort not in _SORTS:
            raise ValueError(f"profile: sort must be one of {', '.join(_SORTS)}, got {sort!r}")
        rows: dict[str, ProfileRow] = {}
        for op, backward, layer, double, _, nanoseconds, flops, nbytes in self.events:
            name = (layer or _OUTSIDE) if by == "layer" else op + " backward" * backward
            row = rows.setdefault(name, ProfileRow(name))
            row.calls += 1
            row.seconds += 1e-9 * nanoseconds
            row.flops += flops
            row.nbytes += nbytes
            if flops:
                row.peak_seconds += flops / _peak("float64" if double else "float32")
        return sorted(rows.values(), key=_SORTS[sort])

    def table(self, sort: str = "time", by: str = "op") -> str:
        """The rows as text: calls, time, share of all calls' time, rates and percentage of peak.

        Peak is what all threads reach that are in use now, each multiplying and adding in registers
        (measured on one thread when first asked for).
        """
        rows = self.rows(by, sort)
        total = ProfileRow("all", *map(sum, zip(*map(_figures, rows), strict=True)))
        threads = _core.get_num_threads()
        head = [by, "calls", "ms", "share", "GFLOP/s", "GB/s", "peak"]
        body = [
            [
                row.name, f"{row.calls:,}", f"{1e3 * row.seconds:.3f}",
                f"{row.seconds / total.seconds:.1%}" if total.seconds else "-",
                f"{1e-9 * row.flops / row.seconds:.1f}" if row.flops else "-",
                f"{1e-9 * row.nbytes / row.seconds:.1f}" if row.seconds else "-",
                f"{row.peak_seconds / threads / row.seconds:.0%}" if row.flops else "-",
            ]
            for row in [*rows, total]
        ]  # fmt: skip
        widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in [head, *body]
        ]
        rule = "-" * len(lines[0])
        share = f"{total.seconds / self.seconds:.0%}" if self.seconds else "-"
        lines = [lines[0], rule, *lines[1:-1], rule, lines[-1]]
        return "\n".join([*lines, f"calls take {share} of {1e3 * self.seconds:.3f} ms"])

    def chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Writes all calls as a trace that Perfetto and chrome://tracing open."""
        found = self.events
        first = found[0][4] if found else 0
        events = [
            {
                "name": op + " backward" * backward, "cat": layer or _OUTSIDE, "ph": "X",
                "pid": 0, "tid": 0, "ts": 1e-3 * (start - first), "dur": 1e-3 * nanoseconds,
                "args": {"layer": layer, "flops": flops, "bytes": nbytes},
            }
            for op, backward, layer, _, start, nanoseconds, flops, nbytes in found
        ]  # fmt: skip
        with replace_file(path) as temporary:
            temporary.write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ns"}))

    def __repr__(self) -> str:
        return f"<Profile: {len(self.events)} calls>"


def profile() -> Profile:
    """Measures what runs inside a `with` block, on this thread.

    Returns
    -------
    Profile
        With `table`, `rows` and `chrome_trace`.

    Raises
    ------
    RuntimeError
        On entering, if this thread is being profiled already.

    Examples
    --------
    >>> import fastnn as fnn
    >>> model, x = fnn.models.mlp(64, (32,), 10), fnn.ones(8, 64)
    >>> with fnn.profile() as p:
    ...     model(x).sum().backward()
    >>> p.rows(by="layer", sort="order")[0].name
    '1 (Linear)'
    """
    return Profile()


def _figures(row: ProfileRow) -> tuple[float, ...]:
    return row.calls, row.seconds, row.flops, row.nbytes, row.peak_seconds


@functools.cache
def _peak(dtype: str) -> float:
    """Operations a second of one thread."""
    iterations, best = 1000, 0.0
    for _ in range(20):
        start = time.perf_counter()
        flops = _core.run_peak(iterations, dtype)
        seconds = time.perf_counter() - start
        best = max(best, flops / seconds)
        if seconds < 1e-3:
            iterations *= 2
    return best
