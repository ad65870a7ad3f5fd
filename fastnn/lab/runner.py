# SPDX-License-Identifier: BSD-3-Clause
"""Run experiments one after the other; results, pictures and page are written after each one."""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..random import get_rng_state, manual_seed, set_rng_state
from ..report import write_text
from .page import build, standalone
from .registry import FAILED, Experiment, Result, all_experiments
from .setting import Lab

__all__ = ["choose", "run"]

Entry = dict[str, Any]


def choose(names: Iterable[str] | None) -> list[Experiment]:
    """The experiments of these names, in the order of the list, slow ones last; None: all.

    Raises
    ------
    ValueError
        If a name is unknown; the message lists the known ones.
    """
    known = all_experiments()
    wanted = list(known) if names is None else list(names)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(
            f"lab: there is no experiment {', '.join(map(repr, unknown))}; "
            f"there are {', '.join(known)}"
        )
    return sorted((e for name, e in known.items() if name in wanted), key=lambda e: e.slow)


def run(
    names: Iterable[str] | None = None,
    *,
    out: str | os.PathLike[str] = "fastnn-lab",
    data: str = "mnist_small",
    root: Any = None,
    size: str = "full",
    seed: int = 0,
    resume: bool = False,
    progress: bool = True,
    report: Callable[[Entry], object] | None = None,
) -> list[Entry]:
    """Runs experiments, and writes `results.json`, `figures/*.svg` and `index.html` into `out`.

    Results of other experiments in `out` stay, also those that another run adds meanwhile. An
    experiment that fails is recorded with its error, and the next one runs; a result that it had
    before stays, too.

    Parameters
    ----------
    names : sequence of str, optional
        Default: all.
    out : path
        Made if it is not there.
    data, root, size, seed
        See `Lab`.
    resume : bool
        Leave out experiments of which `out` has results with the same settings.
    progress : bool
        Show a bar, on stderr.
    report : callable, optional
        Called with each entry when it is ready.

    Returns
    -------
    list of dict
        The entries of the experiments that ran, as they stand in `results.json`.

    Raises
    ------
    ValueError
        An unknown name, data set or size, or `out` holds a damaged `results.json`.
    OSError
        Data that cannot be read, results that cannot be written.
    """
    chosen = choose(names)
    lab = Lab(data, root, size, seed)
    lab.raw(1, 1)  # data that are not there are missed now, not in each experiment
    directory = Path(out)
    (directory / "figures").mkdir(parents=True, exist_ok=True)
    read_results(directory)
    for folder in (directory, directory / "figures"):  # not only after the first experiment
        with tempfile.TemporaryFile(dir=folder):
            pass
    ready = []
    with _Bar(len(chosen), progress) as bar:
        for experiment in chosen:
            bar.stage(experiment.name)
            lab.progress = partial(bar.stage, experiment.name)
            before = _entries(directory).get(experiment.name)
            if not (resume and _done(before, lab)):
                entry = _run_one(experiment, lab, directory, before)
                _write(directory, entry)
                ready.append(entry)
                if report is not None:
                    report(entry)
            bar.advance()
    return ready


def read_results(directory: Path) -> list[Entry]:
    """The entries that a directory holds, none if there is no `results.json`."""
    path = directory / "results.json"
    if not path.exists():
        return []
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        if not all([isinstance(entries, list), *(isinstance(e["name"], str) for e in entries)]):
            raise TypeError
        build(entries, directory)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"lab: {path} is not a list of results; move it away, or use another --out"
        ) from error
    return entries


def _entries(directory: Path) -> dict[str, Entry]:
    return {entry["name"]: entry for entry in read_results(directory)}


def _run_one(experiment: Experiment, lab: Lab, directory: Path, before: Entry | None) -> Entry:
    settings = _settings(lab)
    entry: Entry = {
        "name": experiment.name, "title": experiment.title, "section": experiment.section,
        "claim": experiment.claim, "method": experiment.method, "rule": experiment.rule,
    }  # fmt: skip
    stream, start = get_rng_state(), time.perf_counter()
    try:
        manual_seed(lab.seed)
        # A network that explodes is an answer here, not an accident.
        with np.errstate(all="ignore"):
            result = experiment.run(lab)
        found = _found(result)
    except Exception as error:
        print(f"fastnn lab: {experiment.name} failed", file=sys.stderr)
        traceback.print_exc()
        failure = f"{type(error).__name__}: {error}"
        if before is not None and before.get("verdict") != FAILED:
            return {**before, "error": failure}
        found = {"measured": {}, "verdict": FAILED, "on": "", "finding": "", "tables": []}
        return entry | found | {"figures": [], "error": failure, "settings": settings}
    finally:
        set_rng_state(stream)
    figures = []
    for i, figure in enumerate(result.figures, 1):
        file = f"figures/{experiment.name}-{i}.svg"
        write_text(directory / file, standalone(figure.svg))
        figures.append({"file": file, "caption": figure.caption})
    seconds = round(time.perf_counter() - start, 1)
    return entry | found | {"figures": figures, "seconds": seconds, "settings": settings}


def _settings(lab: Lab) -> dict[str, Any]:
    return {"data": lab.data, "size": lab.size, "seed": lab.seed, "version": __version__}


def _done(entry: Entry | None, lab: Lab) -> bool:
    return entry is not None and "error" not in entry and entry.get("settings") == _settings(lab)


def _found(result: Result) -> Entry:
    if not isinstance(result, Result):
        raise TypeError(f"an experiment must return a Result, got {type(result).__name__}")
    return {
        "measured": plain(result.measured), "verdict": result.verdict, "on": result.on,
        "finding": result.finding,
        "tables": [
            {"title": title, "headers": list(headers), "rows": plain([list(r) for r in rows])}
            for title, headers, rows in result.tables
        ],
    }  # fmt: skip


def plain(value: Any) -> Any:
    """The same as JSON has it: figures with six digits, NaN and infinity as None."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def _write(directory: Path, entry: Entry) -> None:
    """Adds a result to those there, which may be another run's. The page can be made again."""
    entries = _entries(directory) | {entry["name"]: entry}
    order = list(all_experiments())
    ranked = sorted(
        entries.values(),
        key=lambda e: order.index(e["name"]) if e["name"] in order else len(order),
    )
    text = json.dumps(ranked, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(directory / "results.json", text + "\n")
    write_text(directory / "index.html", build(ranked, directory))


class _Bar:
    """Experiments done, and what is happening."""

    def __init__(self, total: int, shown: bool) -> None:
        from tqdm import tqdm

        live = sys.stderr is not None and sys.stderr.isatty()
        self._bar = tqdm(
            total=total, unit=" experiments", disable=not shown, dynamic_ncols=True,
            mininterval=0.1 if live else 10.0, bar_format="{l_bar}{bar}| {n}/{total} {elapsed}",
        )  # fmt: skip

    def stage(self, name: str, words: str = "") -> None:
        """Say what is happening."""
        self._bar.set_description_str(f"{name}: {words}" if words else name, refresh=False)
        self._bar.update(0)

    def advance(self) -> None:
        """One more is done."""
        self._bar.update(1)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.close()
