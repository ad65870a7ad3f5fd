# SPDX-License-Identifier: BSD-3-Clause
"""The methods: which configurations are tried, and for how long."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Unpack

from ._results import Results, best_first
from ._session import Options, Session, check_int
from ._space import Config, Range, Space, check_space, sample
from ._trial import Objective, Trial

__all__ = ["METHODS", "coarse_to_fine", "grid", "halving", "optuna", "random", "run"]

_MOST = 1_000_000  # points of a grid
_MARGIN = 0.05  # of a range's width, which coarse_to_fine leaves on both sides of the good values


def random(
    objective: Objective, space: Any, trials: int = 20, **options: Unpack[Options]
) -> Results:
    """Tries configurations that are drawn at random, each on its own.

    Where few of many hyperparameters matter, a grid repeats the same few values of these; random
    trials never do.

    Source: Bergstra and Bengio, "Random search for hyper-parameter optimization", JMLR 2012.

    Parameters
    ----------
    objective : callable
        ``objective(config, report) -> float``: trains with the dictionary `config`, returns what is
        to be minimized. It may call ``report(step, loss)`` as it goes (best once an epoch), which
        ends hopeless runs, and read ``report.seed``, ``report.trial`` and ``report.budget``. A
        trial that raises or returns NaN has failed: it is shown, and the search goes on.
    space : mapping
        Names to `log_uniform`, `uniform`, `integer`, `choice`, or a list to choose from.
    trials : int
    seed : int
        Default 0. Trial i of a seed has always the same configuration and seed of its own, whatever
        the number of workers or trials.
    workers : int
        Default 1. More: so many processes, which share the threads. The objective is sent to them,
        and must be a function at the top of a module; a script must start its search below
        ``if __name__ == "__main__":``.
    log : path, optional
        Each trial is appended when it has ended.
    resume : bool
        Go on with the log of a search that was stopped: trials that it has are not run again. False
        (default): a log that exists is an error.
    maximize : bool
        Default False.
    abandon : callable or None
        ``abandon([(step, loss), ...])`` returns a reason to end a run, or None. Default:
        `Abandon()`; None: all runs go on to their ends.
    progress : bool
        Show a bar, on stderr. Default True.
    about : mapping, optional
        JSON values that the log keeps, and that a resumed search must agree in: data, epochs.

    Returns
    -------
    Results

    Raises
    ------
    TypeError, ValueError
        Arguments of the wrong kind, an empty space, a log of another search.
    RuntimeError
        If the worker processes cannot start.

    Examples
    --------
    >>> from fastnn import search
    >>> space = {"x": search.uniform(-1, 1), "scale": search.log_uniform(1e-3, 1)}
    >>> def objective(config, report):
    ...     return config["x"] ** 2 + config["scale"]
    >>> found = search.random(objective, space, trials=50, progress=False)
    >>> found.best.value < 0.1
    True
    """
    trials = check_int("search.random", "trials", trials, 1)
    with Session("random", objective, space, trials, **options) as session:
        session.run([session.trial(i, draw(session, i)) for i in range(trials)])
        return session.results()


def grid(
    objective: Objective,
    space: Any,
    trials: int | None = None,
    *,
    points: int | Mapping[str, int] | None = None,
    **options: Unpack[Options],
) -> Results:
    """Tries all combinations of evenly spaced values.

    Parameters
    ----------
    objective, space
        As `random`.
    trials : int, optional
        At most so many: each range gets the same number of points, as many as fit. Every option of
        a choice is taken.
    points : int or mapping, optional
        Points of each range, or by name; instead of `trials`.
    **options
        As `random`.

    Raises
    ------
    ValueError
        If not even one point of each range fits into `trials`. Otherwise as `random`.
    """
    configs = grid_configs(space, trials, points)
    with Session("grid", objective, space, len(configs), **options) as session:
        session.run([session.trial(i, config) for i, config in enumerate(configs)])
        return session.results()


def grid_configs(
    space: Any, trials: int | None, points: int | Mapping[str, int] | None = None
) -> list[Config]:
    """The configurations of `grid`, in order."""
    owner = "search.grid"
    space = check_space(owner, space)
    if (trials is None) == (points is None):
        raise ValueError(f"{owner}: give either trials or points")
    ranges = [name for name, values in space.items() if isinstance(values, Range)]
    counts = dict.fromkeys(ranges, 1)
    if points is not None:
        given = points if isinstance(points, Mapping) else dict.fromkeys(ranges, points)
        if set(given) != set(ranges):
            raise ValueError(f"{owner}: points must name {ranges}, got {sorted(given)}")
        counts = {name: check_int(owner, f"points[{name!r}]", given[name], 1) for name in ranges}
        size = math.prod(counts.values())
        if size > _MOST:
            raise ValueError(f"{owner}: {size} combinations, {_MOST} are the most")
        return _product(space, counts)
    trials = check_int(owner, "trials", trials, 1)
    size = _size(space, counts)
    if size > trials:
        raise ValueError(f"{owner}: the choices alone make {size} combinations, trials is {trials}")
    while True:
        more = {name: count + 1 for name, count in counts.items()}
        grown = _size(space, more)
        if grown > trials or grown <= size:  # whole numbers come to an end
            return _product(space, counts)
        counts, size = more, grown


def _size(space: Space, counts: Mapping[str, int]) -> int:
    return math.prod(len(values.grid(counts.get(name, 1))) for name, values in space.items())


def _product(space: Space, counts: Mapping[str, int]) -> list[Config]:
    axes = [values.grid(counts.get(name, 1)) for name, values in space.items()]
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*axes)]


def coarse_to_fine(
    objective: Objective,
    space: Any,
    trials: int = 30,
    *,
    rounds: int = 3,
    keep: float = 0.25,
    **options: Unpack[Options],
) -> Results:
    """Random search in rounds, each in the part of the space where the best trials so far lie.

    After a round a range shrinks to what the best trials span and a twentieth of its width on both
    sides, a choice to the options that they have. What does not matter stays wide.

    Parameters
    ----------
    objective, space
        As `random`.
    trials : int
        Of all rounds together.
    rounds : int
    keep : float
        The share of the trials so far that counts as the best, above 0 and at most 1; at least two.
    **options
        As `random`.
    """
    owner = "search.coarse_to_fine"
    trials = check_int(owner, "trials", trials, 1)
    rounds = check_int(owner, "rounds", rounds, 1)
    if not 0 < keep <= 1:
        raise ValueError(f"{owner}: keep must be above 0 and at most 1, got {keep}")
    if rounds > trials:
        raise ValueError(f"{owner}: {rounds} rounds need at least {rounds} trials, got {trials}")
    settings = {"trials": trials, "rounds": rounds, "keep": keep}
    with Session("coarse_to_fine", objective, space, trials, settings, **options) as session:
        here, found = session.space, list[Trial]()
        for i in range(rounds):
            numbers = range(trials * i // rounds, trials * (i + 1) // rounds)
            found += session.run(
                [session.trial(n, sample(here, session.seed, n), round=i) for n in numbers]
            )
            best = best_first(found, session.maximize)[: max(2, round(keep * len(found)))]
            if best:
                here = {
                    name: values.narrowed([trial.config[name] for trial in best], _MARGIN)
                    for name, values in here.items()
                }
        return session.results()


def halving(
    objective: Objective,
    space: Any,
    trials: int = 27,
    *,
    budget: int = 9,
    factor: int = 3,
    **options: Unpack[Options],
) -> Results:
    """Successive halving: many short runs, of which the best go on as longer ones.

    The first round has `trials` random configurations, and each further round the best
    1/`factor` of the round before with `factor` times the budget, until that is `budget`. The
    objective trains as long as ``report.budget`` says, from the start each time.

    Source: Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter
    optimization", AISTATS 2016.

    Parameters
    ----------
    objective, space
        As `random`.
    trials : int
        Of the first round.
    budget : int
        Of the last round: epochs, for example. The first one's is at least 1.
    factor : int
        At least 2.
    **options
        As `random`.

    Returns
    -------
    Results
        Its best trial is the best of the longest runs. A trial of a later round has a number of its
        own, and configuration and seed of the one that it repeats.
    """
    owner = "search.halving"
    trials = check_int(owner, "trials", trials, 1)
    budget = check_int(owner, "budget", budget, 1)
    factor = check_int(owner, "factor", factor, 2)
    rounds = halving_rounds(trials, budget, factor)
    settings = {"trials": trials, "budget": budget, "factor": factor}
    total = sum(count for count, _ in rounds)
    with Session("halving", objective, space, total, settings, **options) as session:
        best = [session.trial(i, draw(session, i)) for i in range(trials)]
        number = 0
        for i, (count, length) in enumerate(rounds):
            chosen = [
                Trial(number + k, trial.seed, trial.config, i, length)
                for k, trial in enumerate(best[:count])
            ]
            number += count
            best = best_first(session.run(chosen), session.maximize)
        return session.results()


def halving_rounds(trials: int, budget: int, factor: int) -> list[tuple[int, int]]:
    """(trials, budget) of each round."""
    rounds = [(trials, budget)]
    while rounds[-1][0] >= factor and budget // factor ** len(rounds) >= 1:
        rounds.append((rounds[-1][0] // factor, budget))
    last = len(rounds) - 1
    return [(count, budget // factor ** (last - i)) for i, (count, _) in enumerate(rounds)]


def optuna(
    objective: Objective,
    space: Any,
    trials: int = 20,
    *,
    sampler: Any = None,
    batch: int = 4,
    **options: Unpack[Options],
) -> Results:
    """Lets Optuna propose the configurations, through its ask and tell.

    Parameters
    ----------
    objective, space
        As `random`.
    trials : int
    sampler : optuna.samplers.BaseSampler, optional
        Default: its tree-structured Parzen estimator, with this search's seed. A search that is to
        be resumed needs one that is made with a seed.
    batch : int
        So many are proposed at a time, before their results are told, so that the proposals do not
        depend on the number of workers.
    **options
        As `random`.

    Raises
    ------
    ImportError
        If Optuna is not installed. Otherwise as `random`.
    """
    try:
        import optuna as library
    except ImportError:
        raise ImportError("search.optuna needs Optuna: pip install 'fastnn-cpu[search]'") from None
    owner = "search.optuna"
    trials = check_int(owner, "trials", trials, 1)
    batch = check_int(owner, "batch", batch, 1)
    distributions = _distributions(library, check_space(owner, space))
    states = {
        "done": library.trial.TrialState.COMPLETE,
        "abandoned": library.trial.TrialState.PRUNED,
        "failed": library.trial.TrialState.FAIL,
    }
    level = library.logging.get_verbosity()
    with Session("optuna", objective, space, trials, {"batch": batch}, **options) as session:
        if sampler is None:
            sampler = library.samplers.TPESampler(seed=session.seed % (1 << 32))
        library.logging.set_verbosity(library.logging.WARNING)
        try:
            study = library.create_study(
                sampler=sampler, direction="maximize" if session.maximize else "minimize"
            )
            for start in range(0, trials, batch):
                asked = [study.ask(distributions) for _ in range(min(batch, trials - start))]
                ended = session.run([session.trial(start + i, dict(t.params))
                                     for i, t in enumerate(asked)])  # fmt: skip
                for trial, result in zip(asked, ended, strict=True):
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        study.tell(trial, result.value, states[result.state])
        finally:
            library.logging.set_verbosity(level)
        return session.results()


def _distributions(library: Any, space: Space) -> dict[str, Any]:
    kinds = library.distributions
    found: dict[str, Any] = {}
    for name, values in space.items():
        if isinstance(values, Range):
            kind = kinds.IntDistribution if values.whole else kinds.FloatDistribution
            found[name] = kind(values.low, values.high, log=values.log)
        else:
            found[name] = kinds.CategoricalDistribution(values.options)
    return found


def draw(session: Session, number: int) -> Config:
    """The configuration of trial `number` in the whole space."""
    return sample(session.space, session.seed, number)


METHODS: dict[str, Callable[..., Results]] = {
    "random": random,
    "grid": grid,
    "coarse_to_fine": coarse_to_fine,
    "halving": halving,
    "optuna": optuna,
}


def run(
    objective: Objective, space: Any, method: str = "random", trials: int = 20, **options: Any
) -> Results:
    """A search by the name of its method: random, grid, coarse_to_fine, halving or optuna.

    Raises
    ------
    ValueError
        If there is no such method. Otherwise as the method.
    """
    if method not in METHODS:
        raise ValueError(f"search.run: method must be one of {', '.join(METHODS)}, got {method!r}")
    return METHODS[method](objective, space, trials, **options)
