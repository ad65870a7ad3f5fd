# SPDX-License-Identifier: BSD-3-Clause
"""What all methods share: options, the log, the workers, progress."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Self, TypedDict

import numpy as np

from ._log import Log, header
from ._pool import Pool, Serial
from ._results import Results
from ._space import Config, check_space, trial_seed
from ._trial import Abandon, Objective, Rule, Trial


class Options(TypedDict, total=False):
    """Options of every method: see `fastnn.search.random`."""

    seed: int
    workers: int
    log: str | os.PathLike[str] | None
    resume: bool
    maximize: bool
    abandon: Rule | None
    progress: bool
    about: Mapping[str, Any] | None


class Session:
    """A search while it goes on: `run` runs trials, or takes from the log what came of them."""

    def __init__(
        self,
        method: str,
        objective: Objective,
        space: Any,
        total: int,
        settings: dict[str, Any] | None = None,
        *,
        seed: int = 0,
        workers: int = 1,
        log: str | os.PathLike[str] | None = None,
        resume: bool = False,
        maximize: bool = False,
        abandon: Rule | None = Abandon(),  # noqa: B008 - it is frozen
        progress: bool = True,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        owner = f"search.{method}"
        if not callable(objective):
            raise TypeError(f"{owner}: objective must be callable, got {type(objective).__name__}")
        if abandon is not None and not callable(abandon):
            raise TypeError(f"{owner}: abandon must be callable, got {type(abandon).__name__}")
        self.space = check_space(owner, space)
        self.seed = check_int(owner, "seed", seed, 0)
        workers = check_int(owner, "workers", workers, 1)
        self.maximize = bool(maximize)
        self._found: dict[int, Trial] = {}
        self._method = method
        self._log: Log | None = None
        if log is not None:
            fixed = {"seed": self.seed, **(settings or {}), "about": dict(about or {})}
            self._log = Log(log, header(method, fixed, self.space, self.maximize), bool(resume))
        try:
            self._pool: Serial | Pool = (
                Serial(objective, abandon)
                if workers == 1
                else Pool(objective, abandon, min(workers, total))
            )
        except BaseException:
            if self._log is not None:
                self._log.close()
            raise
        self._bar = _Bar(total, self) if progress else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.close()
        self._pool.close()
        if self._log is not None:
            self._log.close()

    def trial(self, number: int, config: Config, **about: Any) -> Trial:
        """A trial that is to be run."""
        return Trial(number, trial_seed(self.seed, number), config, **about)

    def run(self, trials: Sequence[Trial]) -> list[Trial]:
        """Run these trials (those that the log has are taken from it); in the order given."""
        known = self._log.records if self._log is not None else {}
        waiting = []
        for trial in trials:
            record = known.get(trial.number)
            if record is None:
                waiting.append(trial)
                continue
            if (record.config, record.budget) != (trial.config, trial.budget):
                raise ValueError(
                    f"search.{self._method}: the log has trial {trial.number} with "
                    f"{record.config}, this search draws {trial.config}; was it another version?"
                )
            self._ended(record)
        for trial in self._pool.run(waiting):
            if self._log is not None:
                self._log.append(trial)
            self._ended(trial)
        return [self._found[trial.number] for trial in trials]

    def _ended(self, trial: Trial) -> None:
        self._found[trial.number] = trial
        if self._bar is not None:
            self._bar.update()

    def results(self) -> Results:
        """What was found so far."""
        trials = [self._found[number] for number in sorted(self._found)]
        return Results(self._method, self.space, self.maximize, trials)


class _Bar:
    """A progress bar in trials, which shows the best value."""

    def __init__(self, total: int, session: Session) -> None:
        from tqdm import tqdm

        lively = sys.stderr is not None and sys.stderr.isatty()
        self._session = session
        self._bar = tqdm(
            total=total, desc="search", unit=" trials", dynamic_ncols=True,
            mininterval=0.1 if lively else 10.0,
        )  # fmt: skip

    def update(self) -> None:
        results = self._session.results()
        done = results.ranking()
        if done:
            self._bar.set_postfix_str(f"best {done[0].value:.4g}", refresh=False)
        self._bar.update()

    def close(self) -> None:
        self._bar.close()


def check_int(owner: str, name: str, value: Any, least: int) -> int:
    """`value` as an int of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{owner}: {name} must be an int, got {value!r}")
    if value < least:
        raise ValueError(f"{owner}: {name} must be at least {least}, got {value}")
    return int(value)
