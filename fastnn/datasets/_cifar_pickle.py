"""Reader of CIFAR-10's "python" batches, which are pickles, without trusting them.

Unpickling can call any function that a file names. Here the few names that the official files
use stand for inert classes of this module, and every other name is refused.
"""

import io
import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray


def read_batch(path: Path, images: int, pixels: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read pixels ``(images, pixels)`` and labels ``(images,)`` of a pickled batch.

    Raises
    ------
    ValueError
        Not a pickle of a dict with a uint8 array ``b"data"`` and a list ``b"labels"`` of these
        sizes, or one that refers to anything but NumPy arrays.
    """
    limit = 2 * images * pixels + (1 << 20)
    size = path.stat().st_size
    if size > limit:
        raise ValueError(f"{path}: expected at most {limit} bytes, got {size}")
    try:
        batch = _Unpickler(io.BytesIO(path.read_bytes()), encoding="bytes").load()
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise ValueError(f"{path}: expected a CIFAR-10 batch, got {error!r}") from error
    if not isinstance(batch, dict) or not {b"data", b"labels"} <= batch.keys():
        raise ValueError(f"{path}: expected a dict with b'data' and b'labels', got {batch!r:.100}")
    data, labels = batch[b"data"], batch[b"labels"]
    if not isinstance(data, _Array) or not data.matches((images, pixels)):
        shape = (images, pixels)
        raise ValueError(f"{path}: expected uint8 data of shape {shape}, got {data!r:.100}")
    if not isinstance(labels, list) or len(labels) != images:
        raise ValueError(f"{path}: expected a list of {images} labels, got {labels!r:.100}")
    bad = [label for label in labels if type(label) is not int or not 0 <= label <= 255]
    if bad:
        raise ValueError(f"{path}: expected integer labels, got {bad[0]!r:.100}")
    return data.to_numpy(), np.array(labels, np.uint8)


class _Dtype:
    """Stands for numpy.dtype: keeps the type code, a single byte needs no more."""

    __slots__ = ("code",)

    def __init__(self, code: object = None, align: object = 0, copy: object = 0) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        pass

    def __repr__(self) -> str:
        return f"dtype {self.code!r}"


class _Array:
    """Stands for numpy.ndarray, so that NumPy never acts on a state that it did not write."""

    __slots__ = ("dtype", "fortran", "raw", "shape")

    def __init__(self, *args: object) -> None:
        self.shape: object = ()
        self.dtype: object = None
        self.fortran: object = False
        self.raw: object = b""

    def __setstate__(self, state: tuple[object, ...]) -> None:
        _, self.shape, self.dtype, self.fortran, self.raw = state

    def __repr__(self) -> str:
        return f"an array of shape {self.shape!r:.40} and {self.dtype!r:.40}"

    def matches(self, shape: tuple[int, int]) -> bool:
        """Whether this is a uint8 array of `shape` with all of its bytes."""
        return (
            self.shape == shape
            and isinstance(self.dtype, _Dtype)
            and self.dtype.code in (b"u1", "u1")
            and isinstance(self.raw, bytes)
            and len(self.raw) == shape[0] * shape[1]
        )

    def to_numpy(self) -> NDArray[np.uint8]:
        raw: Any = self.raw
        shape: Any = self.shape
        return np.frombuffer(raw, np.uint8).reshape(shape, order="F" if self.fortran else "C")


# The Python implementation: the C one allocates and fills 8 * n bytes for a memo index n, which
# a few bytes of a hostile file can set to 2**32.
class _Unpickler(pickle._Unpickler):
    """Unpickles dicts, lists, numbers, bytes and stand-ins of arrays, nothing else."""

    ALLOWED: ClassVar[dict[tuple[str, str], object]] = {
        ("numpy.core.multiarray", "_reconstruct"): _Array,
        ("numpy._core.multiarray", "_reconstruct"): _Array,
        ("numpy", "ndarray"): "numpy.ndarray",  # only ever an argument of _reconstruct
        ("numpy", "dtype"): _Dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"a reference to {module}.{name}, refused")
        return self.ALLOWED[module, name]
