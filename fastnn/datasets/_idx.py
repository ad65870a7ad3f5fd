"""Reader of IDX files (the MNIST format), plain or gzipped, checked byte by byte.

An IDX file is a big-endian header, two zero bytes, a type code (8: unsigned byte), the number
of axes, then the length of each axis as a 32-bit integer, followed by the values.
Source: http://yann.lecun.com/exdb/mnist/, "The IDX file format".
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

GZIP_MAGIC = b"\x1f\x8b"
CHUNK = 1 << 20


def read_idx(path: Path | Traversable, ndim: int) -> NDArray[np.uint8]:
    """Read the unsigned bytes of an IDX file with `ndim` axes.

    Whether the file is gzipped is seen from its first two bytes, not from its name.

    Parameters
    ----------
    path : pathlib.Path or importlib.resources Traversable
    ndim : int
        3 for images, 1 for labels.

    Returns
    -------
    ndarray of uint8, writable, with `ndim` axes.

    Raises
    ------
    ValueError
        Wrong magic number, no items, fewer or more bytes than the header promises, or a
        damaged gzip stream.
    """
    with path.open("rb") as file:
        zipped = file.read(2) == GZIP_MAGIC
        file.seek(0)
        if not zipped:
            return _parse(path, file, ndim)
        try:
            with gzip.open(file) as stream:
                return _parse(path, cast("IO[bytes]", stream), ndim)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path}: expected a whole gzip file, got {error}") from error


def _parse(path: Path | Traversable, stream: IO[bytes], ndim: int) -> NDArray[np.uint8]:
    size = 4 + 4 * ndim
    header = stream.read(size)
    magic = 0x800 + ndim
    if len(header) < size:
        raise ValueError(f"{path}: expected an IDX header of {size} bytes, got {len(header)}")
    got, *shape = struct.unpack(f">{1 + ndim}I", header)
    if got != magic:
        raise ValueError(f"{path}: expected magic number {magic:#06x}, got {got:#06x}")
    if 0 in shape:
        raise ValueError(f"{path}: expected at least one item, got shape {tuple(shape)}")
    expected = math.prod(shape)
    # In chunks: a damaged header may promise terabytes, only what is there gets allocated.
    values = bytearray()
    while len(values) < expected and (chunk := stream.read(min(CHUNK, expected - len(values)))):
        values += chunk
    if len(values) < expected:
        raise ValueError(
            f"{path}: expected {expected} bytes of data for shape {tuple(shape)}, "
            f"got {len(values)} (truncated file)"
        )
    if stream.read(1):
        raise ValueError(
            f"{path}: expected {expected} bytes of data for shape {tuple(shape)}, got more"
        )
    return np.frombuffer(values, np.uint8).reshape(shape)
