# SPDX-License-Identifier: BSD-3-Clause
"""Reads a log that grows: only what is new, only whole lines, only the last run."""

from __future__ import annotations

import os
from pathlib import Path

from ..diagnostics.log import parse_line

__all__ = ["Follower"]

# Observations that are kept: of more, every second one, every fourth one, ...
_MOST, _MOST_BYTES = 800, 24_000_000


class Follower:
    """The last run of a log of `fastnn.diagnostics.Monitor`, while it is being written.

    A line counts once its end is there; one that is broken is skipped. When the file becomes
    shorter or another one takes its place, it is read from its beginning. Of very many
    observations an even selection is kept.

    Parameters
    ----------
    path : str or path
    start : int
        Where in the file to begin, in bytes: what stands before belongs to earlier runs.

    Attributes
    ----------
    run : int
        Grows when `lines` are no longer those of before with new ones behind them.
    lines : list of bytes
        The run: its header, observations and ends of epochs, each a line of valid JSON.
    last : bytes or None
        The newest observation, if it is not among `lines`.
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
    ...     _ = file.write(b'{"fastnn_monitor": 1}\\n{"step": 0, "layers": {}}\\n{"st')
    ...     file.flush()
    ...     follower.update()
    ...     follower.lines
    [b'{"fastnn_monitor": 1}', b'{"step": 0, "layers": {}}']
    """

    def __init__(self, path: str | os.PathLike[str], start: int = 0) -> None:
        self.path = Path(path)
        with open(self.path, "rb") as file:  # raises now what would fail later
            self._inode = os.fstat(file.fileno()).st_ino
        self.run, self.skipped, self._offset = 1, 0, start
        self._begin()

    def update(self) -> None:
        """Reads what is new. A file that is gone, or cannot be read, leaves everything as it is."""
        try:
            with open(self.path, "rb") as file:
                state = os.fstat(file.fileno())
                if state.st_ino != self._inode or state.st_size < self._offset:
                    self._offset, self._inode, self.skipped = 0, state.st_ino, 0
                    self._begin()
                    self.run += 1
                file.seek(self._offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._offset += len(line)
                    self._take(line.strip())
        except OSError:
            return

    def _begin(self) -> None:
        """Forgets a run."""
        self.lines: list[bytes] = []
        self.last: bytes | None = None
        self._observed: list[bool] = []  # which lines are observations
        self._count, self._every, self._size = 0, 1, 0

    def _take(self, line: bytes) -> None:
        if not line:
            return
        entry = parse_line(line)
        if entry is None or not (self.lines or "fastnn_monitor" in entry):
            self.skipped += 1
        elif "fastnn_monitor" in entry:
            if self.lines:
                self.run += 1
            self._begin()
            self._keep(line, False)
        elif "epoch_end" in entry:
            self._keep(line, False)
        else:
            self._count += 1
            if (self._count - 1) % self._every:
                self.last = line
            else:
                self.last = None
                self._keep(line, True)

    def _keep(self, line: bytes, observed: bool) -> None:
        self.lines.append(line)
        self._observed.append(observed)
        self._size += observed * len(line)
        if observed and (self._count > _MOST * self._every or self._size > _MOST_BYTES):
            self._thin()

    def _thin(self) -> None:
        """Drops every other observation; the lines are other ones now, as if of another run."""
        newest, drop, kept = self.lines[-1], True, []
        for line, observed in zip(self.lines, self._observed, strict=True):
            drop = drop != observed  # changes at each observation
            if not (observed and drop):
                kept.append((line, observed))
        self.lines, self._observed = [line for line, _ in kept], [flag for _, flag in kept]
        self._size = sum(len(line) for line, observed in kept if observed)
        self._every *= 2
        self.run += 1
        self.last = None if self.lines[-1] is newest else newest
