# SPDX-License-Identifier: BSD-3-Clause
"""Results of a search: the best trial, a table, a page with pictures."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..report import Page
from ._charts import coverage_svg, parallel_svg
from ._log import read
from ._space import Choice, Config, Range, Space, sample
from ._trial import STATES, Trial

_EDGE = 0.03  # of a range's width


def best_first(trials: Iterable[Trial], maximize: bool) -> list[Trial]:
    """Those that are done, the best first; of equals the one with the lower number."""
    sign = -1.0 if maximize else 1.0
    done = [trial for trial in trials if trial.value is not None]
    return sorted(done, key=lambda trial: (sign * (trial.value or 0.0), trial.number))


@dataclass
class Results:
    """What a search found.

    Attributes
    ----------
    method : str
    space : dict
    maximize : bool
    trials : list of Trial
        By number.
    """

    method: str
    space: Space
    maximize: bool
    trials: list[Trial]

    @property
    def best(self) -> Trial:
        """The best trial: of the longest runs, where they differ in budget.

        Raises
        ------
        ValueError
            If no trial is done.
        """
        ranking = self.ranking()
        if not ranking:
            why = f"; trial {self.trials[0].number}: {self.trials[0].reason}" if self.trials else ""
            raise ValueError(f"search: none of {len(self.trials)} trials is done{why}")
        return ranking[0]

    def ranking(self) -> list[Trial]:
        """The trials that are done: longest budget first, then best first."""
        ranked = best_first(self.trials, self.maximize)
        return sorted(ranked, key=lambda trial: -(trial.budget or 0))

    def counts(self) -> dict[str, int]:
        """How many trials are done, abandoned, failed."""
        return {state: sum(trial.state == state for trial in self.trials) for state in STATES}

    def at_an_edge(self) -> list[str]:
        """Names whose best value lies at an end of its range, where better ones may be outside."""
        best = self.best.config
        return [
            name
            for name, values in self.space.items()
            if isinstance(values, Range) and values.low < values.high
            and not _EDGE <= values.place(best[name]) <= 1 - _EDGE
        ]  # fmt: skip

    def rows(self, top: int | None = None) -> tuple[list[str], list[list[str]]]:
        """(headers, rows) of the table: the best first, then what was abandoned, what failed."""
        ordered = self.ranking()[:top]
        for state in STATES[1:] if top is None else ():
            ordered += [trial for trial in self.trials if trial.state == state]
        budgets = any(trial.budget is not None for trial in self.trials)
        headers = ["trial", "value", *self.space, *(["budget"] if budgets else []), "seconds", ""]
        rows = [
            [
                str(trial.number),
                "–" if trial.value is None else f"{trial.value:.5g}",
                *(show(trial.config[name]) for name in self.space),
                *([show(trial.budget)] if budgets else []),
                f"{trial.seconds:.1f}",
                trial.state if not trial.reason else f"{trial.state}: {trial.reason}",
            ]
            for trial in ordered
        ]
        return headers, rows

    def table(self, top: int | None = None) -> str:
        """The trials as text, the best first; with `top` only so many of those that are done."""
        headers, rows = self.rows(top)
        columns = list(zip(headers, *rows, strict=True))
        widths = [max(map(len, column)) for column in columns]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if i == len(widths) - 1 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in (headers, *rows)
        )

    def parallel_coordinates(self, title: str = "Trials", value_name: str = "value") -> str:
        """SVG for `report.Page.figure`: each trial a line through its values to its result."""
        return parallel_svg(self, title, value_name)

    def coverage(self, x: str, y: str, title: str = "") -> str:
        """SVG of the values tried of two hyperparameters, beside those of a grid of equal size.

        Of a grid search: beside random trials of equal number. The marks at the axes show the
        different values of each.

        Raises
        ------
        ValueError
            If the space has no such names.
        """
        for name in (x, y):
            if name not in self.space:
                raise ValueError(f"coverage: expected one of {list(self.space)}, got {name!r}")
        tried = [trial.config for trial in self.trials if trial.round == 0]
        ours, other = f"{self.method}, {len(tried)} trials".replace("_", " "), len(tried)
        plane = {name: self.space[name] for name in (x, y)}
        panels: dict[str, list[Config]] = {ours: tried}
        if self.method == "grid":
            panels[f"random, {other} trials"] = [sample(plane, 0, i) for i in range(other)]
        else:
            grid = _grid_plane(self.space, plane, other)
            panels = {f"grid, at most {other} trials": grid, **panels}
        best = [t.config for t in self.ranking()[:1]]
        heading = title or f"Values of {x} and {y}"
        return coverage_svg(plane, panels, ours, best, heading)

    def page(self, title: str = "Hyperparameter search", value_name: str = "value") -> Page:
        """A report of the whole search."""
        page = Page(title)
        counts = self.counts()
        page.text(
            f"{self.method.replace('_', ' ')} search, {len(self.trials)} trials: "
            + ", ".join(f"{count} {state}" for state, count in counts.items() if count)
            + f". The {'highest' if self.maximize else 'lowest'} {value_name} is best."
        )
        if counts["done"]:
            page.text(self.conclusion(value_name))
        page.figure(self.parallel_coordinates("All trials", value_name))
        ranges = [n for n, v in self.space.items() if isinstance(v, Range) and v.low < v.high]
        if len(ranges) >= 2:
            page.figure(self.coverage(*ranges[:2]))
        curves = {
            f"trial {t.number}": ([s for s, _ in t.reports], [_or_nan(v) for _, v in t.reports])
            for t in [*self.ranking()[:3], *[t for t in self.trials if t.state == "abandoned"][:3]]
            if t.reports
        }
        if curves:
            page.line_chart(
                curves, "Reported loss: best trials, abandoned ones", "step", "loss", log_y=True
            )
        page.heading("Trials")
        page.table(*self.rows())
        page.heading("Search space")
        page.table(["", "values"], [[name, describe(v)] for name, v in self.space.items()])
        return page

    def conclusion(self, value_name: str = "value") -> str:
        """What was best, in a sentence; and where the space should be wider."""
        best = self.best
        text = f"Best {value_name}: {best.value:.5g}, trial {best.number}, with " + ", ".join(
            f"{name} {show(value)}" for name, value in best.config.items()
        )
        edges = self.at_an_edge()
        if edges:
            text += f". At an end of its range, which could be wider: {', '.join(edges)}"
        return text + "."

    def save(
        self,
        path: str | os.PathLike[str],
        title: str = "Hyperparameter search",
        value_name: str = "value",
    ) -> None:
        """Write the page, atomically."""
        self.page(title, value_name).write(path)


def load(path: str | os.PathLike[str]) -> Results:
    """The results that the log of a search holds, also of one that was stopped.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is no log.
    """
    head, space, found = read(path)
    trials = [found[number] for number in sorted(found)]
    return Results(head["method"], space, head["maximize"], trials)


def _grid_plane(space: Space, plane: Space, trials: int) -> list[Config]:
    """What a grid shows of two axes: one over the whole space, or if too big over these."""
    from ._methods import grid_configs

    try:
        configs = grid_configs(space, trials)
    except ValueError:
        configs = grid_configs(plane, max(trials, _least(plane)))
    return [{name: config[name] for name in plane} for config in configs]


def _least(plane: Space) -> int:
    return math.prod(len(v.options) for v in plane.values() if isinstance(v, Choice))


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def show(value: Any) -> str:
    """A value for tables."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def describe(values: Range | Choice) -> str:
    """A range or choice in words."""
    if isinstance(values, Choice):
        return ", ".join(map(show, values.options))
    kind = "whole, " * values.whole + ("logarithmic" if values.log else "even")
    return f"{show(values.low)} to {show(values.high)}, {kind}"
