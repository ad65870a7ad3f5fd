"""CIFAR-10, from its binary batches or its pickled "python" batches."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ._common import Splits, check_flag, check_labels, data_root, not_found

__all__ = ["cifar10"]

SITE = "https://www.cs.toronto.edu/~kriz/cifar.html"
MIRRORS = ("https://www.cs.toronto.edu/~kriz/",)
ARCHIVE = "cifar-10-binary.tar.gz"
ARCHIVE_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
MAX_BYTES = 256 << 20
BINARY, PYTHON = "cifar-10-batches-bin", "cifar-10-batches-py"
TRAIN = tuple(f"data_batch_{i}" for i in range(1, 6))
TEST = "test_batch"
IMAGES = 10_000  # in each batch; the binary format has no header that says so
PIXELS = 3 * 32 * 32


def cifar10(
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
    *,
    mirrors: Sequence[str] | None = None,
) -> Splits:
    """CIFAR-10: 50,000 training and 10,000 test colour images of 10 kinds of objects.

    Reads the binary version (``data_batch_1.bin`` ...) and the python version
    (``data_batch_1`` ...; unpickled by a reader that knows arrays of bytes and nothing else).
    If training batches are missing, a UserWarning names them and the others are returned.

    Parameters
    ----------
    root : path, optional
        Directory that holds the batches, or has them in a folder `cifar-10-batches-bin` or
        `cifar-10-batches-py`. Default: the environment variable FASTNN_DATA, else
        ``~/.cache/fastnn``.
    download : bool
        Fetch the binary version into ``<root>/cifar-10-batches-bin``, with its MD5 checked,
        unless all six batches are there.
    mirrors : sequence of str, optional
        Base URLs to download from, tried in order, instead of the built-in ones.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        Images uint8 ``(N, 32, 32, 3)``, labels int64 ``(N,)`` in 0 ... 9.

    Raises
    ------
    FileNotFoundError
        The test batch or all training batches are missing and `download` is False.
    ValueError
        A batch is damaged or is a pickle of something else.
    OSError
        The download failed from every mirror.

    References
    ----------
    A. Krizhevsky, "Learning multiple layers of features from tiny images", technical report,
    University of Toronto, 2009.
    """
    check_flag("cifar10", "download", download)
    base = data_root("cifar10", root)
    train, test = _find(base)
    if download and (test is None or len(train) < len(TRAIN)):
        from ._download import fetch_archive  # urllib is slow to import and seldom needed

        target = base if base.name == BINARY else base / BINARY
        # The test batch last: the readers need it, so a half-copied set is not taken for whole.
        sizes = {f"{BINARY}/{batch}.bin": IMAGES * (1 + PIXELS) for batch in (*TRAIN, TEST)}
        urls = mirrors or MIRRORS
        fetch_archive("cifar10", urls, ARCHIVE, target, ARCHIVE_MD5, MAX_BYTES, sizes)
        train, test = _find(base)
    if test is None or not train:
        present = {path.stem for path in train}
        missing = [batch for batch in TRAIN if batch not in present]
        missing += [TEST] if test is None else []
        names = [f"{batch}.bin (or {batch} of the python version)" for batch in missing]
        raise not_found("cifar10", names, _directories(base), SITE)
    if len(train) < len(TRAIN):
        missing = sorted(set(TRAIN) - {path.stem for path in train})
        warnings.warn(
            f"cifar10: {len(missing)} of {len(TRAIN)} training batches are missing in "
            f"{test.parent}: {', '.join(missing)}; going on with "
            f"{len(train) * IMAGES} training images",
            UserWarning,
            stacklevel=2,
        )
    return _read(train), _read([test])


def _directories(base: Path) -> tuple[Path, ...]:
    return base / BINARY, base / PYTHON, base


def _find(base: Path) -> tuple[list[Path], Path | None]:
    """The training batches and the test batch of the fullest version there is."""
    best: tuple[list[Path], Path | None] = ([], None)
    for directory in _directories(base):
        for suffix in (".bin", ""):
            paths = [directory / f"{batch}{suffix}" for batch in TRAIN]
            train = [path for path in paths if path.is_file()]
            test = directory / f"{TEST}{suffix}"
            found = (train, test if test.is_file() else None)
            if _rank(found) > _rank(best):
                best = found
    return best


def _rank(found: tuple[list[Path], Path | None]) -> tuple[bool, int]:
    return found[1] is not None, len(found[0])


def _read(paths: Sequence[Path]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    images = np.empty((len(paths), IMAGES, 32, 32, 3), np.uint8)
    labels = np.empty((len(paths), IMAGES), np.int64)
    for i, path in enumerate(paths):
        pixels, batch_labels = _read_batch(path)
        check_labels(path, batch_labels)
        # The files store each image as three colour planes.
        images[i] = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        labels[i] = batch_labels
    return images.reshape(-1, 32, 32, 3), labels.reshape(-1)


def _read_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pixels (IMAGES, PIXELS) and labels (IMAGES,) of one file."""
    if path.suffix != ".bin":
        from ._cifar_pickle import read_batch  # pickle is slow to import and seldom needed

        return read_batch(path, IMAGES, PIXELS)
    expected = IMAGES * (1 + PIXELS)
    size = path.stat().st_size
    if size != expected:
        raise ValueError(f"{path}: expected {expected} bytes, got {size}")
    rows = np.fromfile(path, np.uint8).reshape(IMAGES, 1 + PIXELS)
    return rows[:, 1:], rows[:, 0]
