# SPDX-License-Identifier: BSD-3-Clause
"""The log of a search: a header and then one line of JSON for each trial that has ended.

A line is appended whole, synced, and taken back if it could not be written, so that nothing that
happens later costs an earlier result. A line that cannot be read is left out, with a warning. A log
without a single trial is as good as none.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import warnings
from pathlib import Path
from typing import Any

from ._space import Choice, Range, Space
from ._trial import STATES, Trial

_FORMAT = 1
_START = b'{"fastnn search"'


def header(method: str, settings: dict[str, Any], space: Space, maximize: bool) -> dict[str, Any]:
    """The first line."""
    return {
        "fastnn search": _FORMAT,
        "method": method,
        "settings": settings,
        "maximize": maximize,
        "space": {name: values.describe() for name, values in space.items()},
    }


class Log:
    """An open log, which no other search can write meanwhile.

    Raises
    ------
    FileExistsError
        If there is a log with trials and `resume` is False.
    ValueError
        If it is not a log, or of another search than `head` tells.
    OSError
        If it cannot be opened or written, or another process has it open.
    """

    def __init__(self, path: str | os.PathLike[str], head: dict[str, Any], resume: bool) -> None:
        self.path = Path(path)
        self._unwritten: list[bytes] = []
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"search: log: there is no directory {self.path.parent}")
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            self._lock()
            found, _, self.records, size = _read(self.path)
            if found is not None and not self.records and size == len(_line(found)):
                found, size = None, 0
            if found is not None and not resume:
                raise FileExistsError(
                    f"search: there is a log {self.path}; resume=True goes on with it"
                )
            if found is not None:
                _check_same(self.path, found, head)
            os.ftruncate(self._file, size)  # a line that was cut short
            self._size = size
            if found is None:
                self._write(_line(head))
            elif size and os.pread(self._file, 1, size - 1) != b"\n":
                self._write(b"\n")
        except BaseException:
            os.close(self._file)
            raise

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(f"search: another search is writing {self.path}") from None
        except OSError:  # a file system without locks
            pass

    def append(self, trial: Trial) -> None:
        """Write a trial. Where that fails the search goes on, and it is tried again each time."""
        self._unwritten.append(_line(trial.describe()))
        failed_before = len(self._unwritten) > 1
        try:
            while self._unwritten:
                self._write(self._unwritten[0])
                del self._unwritten[0]
        except OSError as error:
            if not failed_before:
                warnings.warn(
                    f"search: trial {trial.number} could not be written to {self.path} "
                    f"({error.strerror}); earlier ones are safe, the search goes on",
                    stacklevel=2,
                )

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise
        self._size += len(data)

    def close(self) -> None:
        """Close it; a warning tells what is missing from it."""
        os.close(self._file)
        if self._unwritten:
            warnings.warn(
                f"search: {len(self._unwritten)} trials are missing from {self.path}", stacklevel=2
            )


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Space, dict[int, Trial]]:
    """(header, space, trials by number) of a log.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is no log.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"search: no log {path}")
    head, space, trials, _ = _read(Path(path))
    if head is None:
        raise ValueError(f"search: {path} is empty")
    return head, space, trials


def _read(path: Path) -> tuple[dict[str, Any] | None, Space, dict[int, Trial], int]:
    """(header or None, space, trials by number, size without a last line that was cut short)."""
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    trials: dict[int, Trial] = {}
    space: Space = {}
    head = None
    for number, line in enumerate(lines, 1):
        last = number == len(lines) and not line.endswith(b"\n")
        try:
            content = json.loads(line)
            if number == 1:
                if content["fastnn search"] != _FORMAT or not isinstance(content["method"], str):
                    raise ValueError
                space, head = _space(content["space"]), content
            else:
                trial = _trial(content, space)
                trials[trial.number] = trial
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            if number == 1 and not (last and line.startswith(_START[: len(line)])):
                raise ValueError(f"search: {path} is not a log of fastnn.search") from None
            warnings.warn(f"search: line {number} of {path} is damaged, ignored", stacklevel=2)
            if last:
                return head, space, trials, len(data) - len(line)
    return head, space, trials, len(data)


def _space(content: dict[str, Any]) -> Space:
    """The space of a header."""
    return {
        name: Choice(tuple(about["options"])) if "options" in about else Range(**about)
        for name, about in content.items()
    }


def _trial(content: dict[str, Any], space: Space) -> Trial:
    """The trial of a line; an error of some kind if it is none."""
    trial = Trial(**content)
    if (
        type(trial.number) is not int
        or type(trial.round) is not int
        or trial.state not in STATES
        or not isinstance(trial.seconds, int | float)
        or not isinstance(trial.budget, int | float | None)
        or trial.config.keys() != space.keys()
        or (trial.state == "done") != isinstance(trial.value, int | float)
    ):
        raise ValueError
    for name, values in space.items():
        values.place(trial.config[name])
    trial.reports = [(float(step), loss) for step, loss in trial.reports]
    return trial


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content, allow_nan=False).encode() + b"\n"


def _check_same(path: Path, found: Any, wanted: Any, name: str = "") -> None:
    if isinstance(found, dict) and isinstance(wanted, dict) and list(found) == list(wanted):
        for key in wanted:
            _check_same(path, found[key], wanted[key], key)
    elif json.dumps(found) != json.dumps(wanted):
        raise ValueError(
            f"search: {path} is the log of another search: its {name} is {json.dumps(found)}, "
            f"this one's is {json.dumps(wanted)}"
        )
