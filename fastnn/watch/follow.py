# SPDX-License-Identifier: BSD-3-Clause
"""Reads a log that grows: only what is new, only whole lines, only the last run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["Follower"]


class Follower:
    """The last run of a log of `fastnn.diagnostics.Monitor`, while it is being written.

    A line counts once its end is there; one that is broken is skipped. When the file becomes
    shorter or another one takes its place, it is read from its beginning.

    Parameters
    ----------
    path : str or path
    start : int
        Where in the file to begin, in bytes: what stands before belongs to earlier runs.

    Attributes
    ----------
    run : int
        Grows with each header that is met.
    lines : list of bytes
        The run: its header, observations and ends of epochs, each a line of valid JSON.
    skipped : int
        Lines that could not be read.

    Raises
    ------
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     follower = Follower(file.name)
    ...     _ = file.write(b'{"fastnn_monitor": 1}\\n{"step": 0}\\n{"st')
    ...     file.flush()
    ...     follower.update()
    ...     follower.lines
    [b'{"fastnn_monitor": 1}', b'{"step": 0}']
    """

    def __init__(self, path: str | os.PathLike[str], start: int = 0) -> None:
        self.path = Path(path)
        with open(self.path, "rb") as file:  # raises now what would fail later
            self._inode = os.fstat(file.fileno()).st_ino
        self.run, self.skipped, self._offset = 1, 0, start
        self.lines: list[bytes] = []

    def update(self) -> None:
        """Reads what is new. A file that is gone, or cannot be read, leaves everything as it is."""
        try:
            with open(self.path, "rb") as file:
                state = os.fstat(file.fileno())
                if state.st_ino != self._inode or state.st_size < self._offset:
                    self._offset, self._inode, self.skipped, self.lines = 0, state.st_ino, 0, []
                    self.run += 1
                file.seek(self._offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._offset += len(line)
                    self._take(line.strip())
        except OSError:
            return

    def _take(self, line: bytes) -> None:
        if not line:
            return
        try:
            entry = json.loads(line.decode(), parse_constant=_refuse)
        except (ValueError, RecursionError):
            entry = None
        if isinstance(entry, dict) and "fastnn_monitor" in entry:
            if self.lines:
                self.run += 1
            self.lines = [line]
        elif self.lines and isinstance(entry, dict) and _is_entry(entry):
            self.lines.append(line)
        else:
            self.skipped += 1


def _is_entry(entry: dict[str, Any]) -> bool:
    return "epoch_end" in entry or isinstance(entry.get("layers"), dict)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
