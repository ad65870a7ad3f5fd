"""MNIST, Fashion-MNIST and the bundled MNIST subset, from their IDX files."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ._common import Split, Splits, check_flag, check_labels, data_root, not_found
from ._idx import read_idx

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["fashion_mnist", "mnist", "mnist_small"]

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
SITES = {
    "mnist": "http://yann.lecun.com/exdb/mnist/",
    "fashion_mnist": "https://github.com/zalandoresearch/fashion-mnist",
}
MIRRORS = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    "fashion_mnist": ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
}
# MD5 of the published .gz files, in the order of FILES.
MD5 = {
    "mnist": (
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    "fashion_mnist": (
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
}
# MD5 of the unpacked training label files. The two sets name their files alike, so a
# directory of the one is easily given for the other; the labels tell which it is.
LABELS_MD5 = {
    "a25bea736e30d166cdddb491f175f624": "mnist",
    "9018921c3c673c538a1fc5bad174d6f9": "fashion_mnist",
}
MAX_BYTES = 64 << 20


def mnist(
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
    *,
    mirrors: Sequence[str] | None = None,
) -> Splits:
    """MNIST: 60,000 training and 10,000 test images of handwritten digits.

    Parameters
    ----------
    root : path, optional
        Directory that holds the four official IDX files, plain or .gz, or has them in a folder
        `mnist`. Default: the environment variable FASTNN_DATA, else ``~/.cache/fastnn``.
    download : bool
        Fetch files that are missing into ``<root>/mnist`` and check their MD5.
    mirrors : sequence of str, optional
        Base URLs to download from, tried in order, instead of the built-in ones.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        Images uint8 ``(N, 28, 28, 1)``, labels int64 ``(N,)`` in 0 ... 9.

    Raises
    ------
    FileNotFoundError
        Files are missing and `download` is False.
    ValueError
        A file is damaged (wrong magic number, size, count or label, broken gzip), or holds
        Fashion-MNIST.
    OSError
        The download failed from every mirror.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
    recognition", Proc. IEEE 86(11), 1998.
    """
    return _load("mnist", root, download, mirrors)


def fashion_mnist(
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
    *,
    mirrors: Sequence[str] | None = None,
) -> Splits:
    """Fashion-MNIST: 60,000 training and 10,000 test images of clothes in 10 classes.

    Parameters, results and errors are those of `mnist`; the folder is `fashion_mnist`.

    References
    ----------
    H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking
    machine learning algorithms", arXiv:1708.07747, 2017.
    """
    return _load("fashion_mnist", root, download, mirrors)


def mnist_small() -> Splits:
    """The bundled part of MNIST: 5,000 training and 1,000 test images, 500 and 100 a digit.

    The training images are from MNIST's training file, the test images from its test file.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        Images uint8 ``(N, 28, 28, 1)``, labels int64 ``(N,)`` in 0 ... 9.

    Examples
    --------
    >>> from fastnn.datasets import mnist_small
    >>> (x_train, y_train), (x_test, y_test) = mnist_small()
    >>> x_train.shape, x_test.shape
    ((5000, 28, 28, 1), (1000, 28, 28, 1))
    """
    from importlib import resources

    folder = resources.files(__package__).joinpath("mnist_small")
    return _read("mnist_small", lambda file: folder.joinpath(f"{file}.gz"))


def _load(
    name: str,
    root: str | os.PathLike[str] | None,
    download: bool,
    mirrors: Sequence[str] | None,
) -> Splits:
    check_flag(name, "download", download)
    base = data_root(name, root)
    # The data set's own folder first: `base` may hold the files of the other one.
    directories = (base / name, base)
    for directory in directories:
        if not _missing(directory):
            return _read(name, partial(_find, directory))
    target = base if base.name == name else base / name
    if not download:
        # List what is missing where most of the files are.
        missing = min((_missing(d) for d in directories), key=len)
        raise not_found(name, [f"{file}[.gz]" for file in missing], directories, SITES[name])

    from ._download import fetch  # urllib is slow to import and seldom needed

    for file in _missing(target):
        md5 = MD5[name][FILES.index(file)]
        fetch(name, mirrors or MIRRORS[name], f"{file}.gz", target, md5, MAX_BYTES)
    return _read(name, partial(_find, target))


def _find(directory: Path, file: str) -> Path:
    plain = directory / file
    return plain if plain.is_file() else directory / f"{file}.gz"


def _missing(directory: Path) -> list[str]:
    return [file for file in FILES if not _find(directory, file).is_file()]


def _read(name: str, locate: Callable[[str], Path | Traversable]) -> Splits:
    train = _read_split(name, locate(FILES[0]), locate(FILES[1]))
    test = _read_split(name, locate(FILES[2]), locate(FILES[3]))
    return train, test


def _read_split(name: str, image_path: Path | Traversable, label_path: Path | Traversable) -> Split:
    labels = read_idx(label_path, 1)
    raw = struct.pack(">II", 0x801, len(labels)) + labels.tobytes()
    content = LABELS_MD5.get(hashlib.md5(raw, usedforsecurity=False).hexdigest(), name)
    if content != name:
        raise ValueError(f"{label_path}: expected the labels of {name}, got those of {content}")
    check_labels(label_path, labels)
    images = read_idx(image_path, 3)
    if images.shape[1:] != (28, 28):
        raise ValueError(f"{image_path}: expected 28x28 images, got shape {images.shape}")
    if len(images) != len(labels):
        raise ValueError(
            f"{label_path}: expected {len(images)} labels, as many as there are images in "
            f"{image_path}, got {len(labels)}"
        )
    return images[..., None], labels.astype(np.int64)
