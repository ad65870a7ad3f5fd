#!/usr/bin/env python3
"""Make the bundled MNIST subset, fastnn/datasets/mnist_small, from the official files.

Usage: python tools/make_mnist_small.py MNIST_DIR [--out DIR]

Takes 500 training and 100 test images of each digit from the training and the test file. Of the
n images of a digit, those at positions floor(i * n / count) are taken, i = 0 ... count - 1: spread
over the whole file (its writers and its easy and hard parts), with no random numbers. Images keep
the order of the file. The source files are checked against their published content.
"""

import argparse
import gzip
import hashlib
import os
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastnn.datasets import mnist

# SHA-256 of all pixels and labels of the official files: x_train, y_train, x_test, y_test.
SHA256 = (
    "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
)
OUT = Path(__file__).resolve().parents[1] / "fastnn" / "datasets" / "mnist_small"


def choose(labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Ascending indices of `count` items of each of the ten classes, evenly spread."""
    chosen = []
    for digit in range(10):
        places = np.flatnonzero(labels == digit)
        if len(places) < count:
            raise ValueError(f"expected at least {count} images of {digit}, got {len(places)}")
        chosen.append(places[np.arange(count) * len(places) // count])
    return np.sort(np.concatenate(chosen))


def idx_bytes(values: NDArray[np.uint8]) -> bytes:
    """`values` as the content of an IDX file."""
    header = struct.pack(f">{1 + values.ndim}I", 0x800 + values.ndim, *values.shape)
    return header + values.tobytes()


def write_gz(path: Path, content: bytes) -> None:
    """Write `content` gzipped, without name and time, in place of `path`."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(gzip.compress(content, compresslevel=9, mtime=0))
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("mnist", type=Path, help="directory of the official files")
    parser.add_argument("--out", type=Path, default=OUT, help="default: %(default)s")
    arguments = parser.parse_args()
    splits = mnist(arguments.mnist)
    for array, expected in zip((a for split in splits for a in split), SHA256, strict=True):
        got = hashlib.sha256(array.astype(np.uint8).tobytes()).hexdigest()
        if got != expected:
            parser.error(f"{arguments.mnist}: expected official MNIST {expected}, got {got}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, (images, labels), count in (("train", splits[0], 500), ("t10k", splits[1], 100)):
        index = choose(labels, count)
        pixels = idx_bytes(images[index, :, :, 0])
        write_gz(arguments.out / f"{name}-images-idx3-ubyte.gz", pixels)
        digits = idx_bytes(labels[index].astype(np.uint8))
        write_gz(arguments.out / f"{name}-labels-idx1-ubyte.gz", digits)
        print(f"{name}: {len(index)} images, {len(pixels)} bytes before compression")


if __name__ == "__main__":
    main()
