# SPDX-License-Identifier: BSD-3-Clause
"""The log of a Monitor: lines of JSON, of which one that is broken costs nothing but itself.

A run begins with a header {"fastnn_monitor": 1, ...}; then one line for each observation and, with
"epoch_end", each epoch. Another run may follow in the same file.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

__all__ = ["Log", "read_log"]

FORMAT = 1
Entry = dict[str, Any]


@dataclass
class Log:
    """One run, as a Monitor wrote it.

    Attributes
    ----------
    header : dict
        The model, its layers and how it was watched.
    records : list of dict
        The observations.
    epochs : list of dict
        What was measured at the ends of epochs.
    skipped : int
        Lines of the file that could not be read.
    runs : int
        How many runs the file has.
    """

    header: Entry
    records: list[Entry] = field(default_factory=list)
    epochs: list[Entry] = field(default_factory=list)
    skipped: int = 0
    runs: int = 1

    @property
    def advice(self) -> list[Entry]:
        """The advice of the last observation."""
        return self.records[-1].get("advice", []) if self.records else []


def read_log(path: str | os.PathLike[str], run: int = -1) -> Log:
    """Reads what a Monitor wrote, also while it still writes.

    Parameters
    ----------
    path : str or path
    run : int
        Which of the runs in the file, the last one by default.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it holds no run, or not so many. Broken lines are skipped and counted.
    """
    runs: list[Log] = []
    skipped = 0
    with open(path, "rb") as file:
        for line in file:
            if not line.strip():
                continue
            entry = parse_line(line)
            if entry is None or not (runs or "fastnn_monitor" in entry):
                skipped += 1
            elif "fastnn_monitor" in entry:
                runs.append(Log(entry))
            elif "epoch_end" in entry:
                runs[-1].epochs.append(entry)
            else:
                runs[-1].records.append(entry)
    if not runs:
        raise ValueError(f"read_log: {os.fspath(path)} is not a log of fastnn.diagnostics.Monitor")
    if not -len(runs) <= run < len(runs):
        raise ValueError(f"read_log: run must be below {len(runs)}, the number of runs, got {run}")
    log = runs[run]
    log.skipped, log.runs = skipped, len(runs)
    return log


def parse_line(line: bytes) -> Entry | None:
    """A header, an observation or the end of an epoch; None if the line is none of them."""
    try:
        entry = json.loads(line.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict):
        return None
    if "fastnn_monitor" in entry:
        layers = entry.get("layers", [])
        return entry if isinstance(layers, list) and all(map(_is_dict, layers)) else None
    if not isinstance(entry.get("step"), int):
        return None
    layers, advice = entry.get("layers"), entry.get("advice", [])
    observed = isinstance(layers, dict) and all(map(_is_dict, layers.values()))
    said = isinstance(advice, list) and all(map(_is_dict, advice))
    return entry if "epoch_end" in entry or (observed and said) else None


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class LogWriter:
    """Appends lines; a disk that is full stops the log with a warning, not the training."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._failed = False
        with open(self.path, "ab+") as file:  # raises now what would fail later
            self.start = file.seek(0, os.SEEK_END)  # where the run begins
            self._broken = False
            if self.start:
                file.seek(-1, os.SEEK_END)
                self._broken = file.read(1) != b"\n"  # a line that a killed process left

    def write(self, entry: Entry) -> None:
        """One line of what `plain` gave, at once in the file."""
        line = json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
        try:
            with open(self.path, "ab", buffering=0) as file:
                whole = b"\n" + line if self._broken else line
                self._broken = True  # until all of it is there
                if file.write(whole) == len(whole):
                    self._broken = False
        except OSError as error:
            if not self._failed:
                self._failed = True
                warnings.warn(
                    f"Monitor: cannot write to {self.path}: {error}; training goes on",
                    RuntimeWarning,
                    stacklevel=2,
                )


def plain(value: Any) -> Any:
    """The same for JSON: floats with five digits, None for NaN and infinity."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list) and value and type(value[0]) is int:
        return value  # counts
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value
