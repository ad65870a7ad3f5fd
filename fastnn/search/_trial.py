# SPDX-License-Identifier: BSD-3-Clause
"""One trial: what the objective reports, when it is abandoned, and what comes of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from ..random import get_rng_state, manual_seed, set_rng_state
from ._space import Config

Reports = Sequence[tuple[float, float]]
Rule = Callable[[Reports], str | None]
STATES = ("done", "abandoned", "failed")


class Objective(Protocol):
    """What is searched for: ``objective(config, report) -> float``."""

    def __call__(self, config: Config, report: Report, /) -> float: ...


class Abandoned(Exception):
    """Ends a trial that is not worth going on; raised by `report`, caught by the search."""


@dataclass(frozen=True)
class Abandon:
    """The rule by which hopeless runs end early: called with all reports, it returns a reason.

    It looks at one run alone, never at others, so that it decides alike at any number of workers.

    Parameters
    ----------
    explode : float
        A loss of more than so many times the first one ends the run; so do NaN and infinity.
    patience : int
        After so many reports the loss must once have been below (1 - improvement) times the first:
        a run that does not get off the ground has stalled.
    improvement : float
        From 0 to 1.

    Raises
    ------
    ValueError
        If explode <= 1, patience < 1, or improvement is outside of 0 ... 1.
    """

    explode: float = 3.0
    patience: int = 20
    improvement: float = 0.01

    def __post_init__(self) -> None:
        if not self.explode > 1:
            raise ValueError(f"Abandon: explode must be above 1, got {self.explode}")
        if self.patience < 1:
            raise ValueError(f"Abandon: patience must be at least 1, got {self.patience}")
        if not 0 <= self.improvement <= 1:
            raise ValueError(f"Abandon: improvement must be from 0 to 1, got {self.improvement}")

    def __call__(self, reports: Reports) -> str | None:
        step, loss = reports[-1]
        first = reports[0][1]
        if not math.isfinite(loss):
            return f"the loss is {loss} at step {step:g}"
        size = abs(first)
        if size and loss > first + (self.explode - 1) * size:
            return f"the loss exploded: {loss:.4g} at step {step:g}, {first:.4g} at first"
        lowest = min(value for _, value in reports)
        if len(reports) > self.patience and lowest > first - self.improvement * size:
            return f"the loss stalled: {first:.4g} at first, never below {lowest:.4g}"
        return None


class Report:
    """What an objective is given besides its configuration: `report(step, loss)` watches the run.

    Attributes
    ----------
    trial : int
        The number of the trial.
    seed : int
        Its seed: for shuffling, and whatever else the objective draws. fastnn's own random stream
        has it already.
    budget : float or None
        How long to train, with successive halving: in epochs, steps, or whatever the objective
        makes of it.
    """

    def __init__(self, trial: int, seed: int, budget: float | None, rule: Rule | None) -> None:
        self.trial, self.seed, self.budget = trial, seed, budget
        self.reports: list[tuple[float, float]] = []
        self._rule = rule

    def __call__(self, step: float, loss: float) -> None:
        """Tell how the run goes; ends it, by the exception `Abandoned`, if it is hopeless."""
        self.reports.append((float(step), float(loss)))
        reason = self._rule(self.reports) if self._rule is not None else None
        if reason:
            raise Abandoned(reason)


@dataclass
class Trial:
    """A trial, before and after it was run.

    Attributes
    ----------
    number, seed : int
    config : dict
    round : int
        Of the methods that go by rounds, from 0.
    budget : float or None
        As `Report.budget`.
    state : "waiting", "done", "abandoned" or "failed"
    value : float or None
        What the objective returned; None unless done.
    reason : str
        Why it was abandoned or failed.
    reports : list of (step, loss)
    seconds : float
    """

    number: int
    seed: int
    config: Config
    round: int = 0
    budget: float | None = None
    state: str = "waiting"
    value: float | None = None
    reason: str = ""
    reports: list[tuple[float, float | None]] = field(default_factory=list)
    seconds: float = 0.0

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    def failed(self, reason: str) -> Trial:
        """The trial as one that failed."""
        self.state, self.value, self.reason = "failed", None, reason
        return self


def run_trial(objective: Objective, trial: Trial, rule: Rule | None) -> Trial:
    """Run a trial: its value, or why there is none. Only KeyboardInterrupt and the like pass."""
    report = Report(trial.number, trial.seed, trial.budget, rule)
    stream, start = get_rng_state(), time.perf_counter()
    manual_seed(trial.seed)
    try:
        value = objective(dict(trial.config), report)
        if isinstance(value, bool) or not hasattr(value, "__float__"):
            raise TypeError(f"the objective must return a number, got {value!r}")
        trial.value, trial.state = float(value), "done"
        if not math.isfinite(trial.value):
            trial.failed(f"the objective returned {trial.value}")
    except Abandoned as abandoned:
        trial.state, trial.reason = "abandoned", str(abandoned)
    except FloatingPointError as error:  # as Trainer raises it: the run blew up
        trial.state, trial.reason = "abandoned", " ".join(str(error).split())
    except Exception as error:
        trial.failed(f"{type(error).__name__}: {' '.join(str(error).split())}")
    finally:
        set_rng_state(stream)
    trial.seconds = time.perf_counter() - start
    trial.reports = [(step, loss if math.isfinite(loss) else None) for step, loss in report.reports]
    return trial
