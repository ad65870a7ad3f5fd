"""What all data set readers share: types, the default root, the not-found message."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Split = tuple[NDArray[np.uint8], NDArray[np.int64]]
Splits = tuple[Split, Split]


def data_root(name: str, root: str | os.PathLike[str] | None) -> Path:
    """`root`, else the directory that FASTNN_DATA names, else ~/.cache/fastnn."""
    if root is None:
        return Path(os.environ.get("FASTNN_DATA") or "~/.cache/fastnn").expanduser()
    if not isinstance(root, str | os.PathLike):
        raise TypeError(f"{name}: root must be a path or None, got {type(root).__name__}")
    return Path(root).expanduser()


def check_flag(name: str, argument: str, value: object) -> None:
    """Raise TypeError unless `value` is a bool, so that a swapped argument is noticed."""
    if not isinstance(value, bool):
        raise TypeError(f"{name}: {argument} must be True or False, got {value!r}")


def not_found(
    name: str, missing: Iterable[str], directories: Sequence[Path], site: str
) -> FileNotFoundError:
    """The error for missing files: which, where they were looked for, how to get them."""
    files = "".join(f"\n  {file}" for file in missing)
    places = "".join(f"\n  {directory}" for directory in directories)
    return FileNotFoundError(
        f"{name}: missing data files:{files}\nlooked for in:{places}\n"
        f"Call {name}(root, download=True), or get the official files from {site} and pass "
        "their directory as root (the environment variable FASTNN_DATA names the default one)."
    )


def check_labels(source: object, labels: NDArray[np.uint8], classes: int = 10) -> None:
    """Raise ValueError for the first label that is not in 0 ... classes - 1."""
    bad = np.flatnonzero(labels >= classes)
    if bad.size:
        raise ValueError(
            f"{source}: expected labels 0 to {classes - 1}, "
            f"got {labels[bad[0]]} at position {bad[0]}"
        )
