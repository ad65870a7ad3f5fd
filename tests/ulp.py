"""Python side of ulp.c: compiled with the system's C compiler into a directory of the caller's."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np

FUNCTIONS = {
    name: number
    for number, name in enumerate(
        ["exp", "tanh", "sigmoid", "log", "log1p", "expm1", "elu", "silu", "gelu", "gelu_tanh",
         "mish", "softplus", "logsigmoid", "softsign", "hardsigmoid", "hardswish"]
    )
}


def find_compiler() -> str | None:
    """$CC, or cc from the path."""
    return shutil.which(os.environ.get("CC", "cc").split()[0])


class Ulp:
    """Bit patterns, double-precision truth, and the largest error in ulp, over whole arrays."""

    def __init__(self, directory: Path) -> None:
        library = Path(directory) / "ulp.so"
        command = [find_compiler() or "cc", "-O2", "-ffp-contract=off", "-fPIC", "-shared",
                   "-o", str(library), str(Path(__file__).with_name("ulp.c")), "-lm"]
        if subprocess.run([*command, "-fopenmp"], capture_output=True).returncode:
            subprocess.run(command, check=True)  # a compiler without OpenMP: one thread
        self._c = ctypes.CDLL(str(library))
        self._c.ulp_max.restype = ctypes.c_double

    def fill(self, first: int, step: int, count: int) -> np.ndarray:
        """`count` floats whose bits are first, first + step, … (modulo 2^32)."""
        x = np.empty(count, dtype=np.float32)
        self._c.ulp_fill(_pointer(x), ctypes.c_uint32(first), ctypes.c_uint32(step),
                         ctypes.c_ssize_t(count))
        return x

    def truth(self, function: str, x: np.ndarray) -> np.ndarray:
        """function(x) in double precision."""
        result = np.empty(x.size)
        self._c.ulp_truth(_pointer(result), _pointer(x), ctypes.c_ssize_t(x.size),
                          FUNCTIONS[function])
        return result

    def max_error(self, truth: np.ndarray, y: np.ndarray) -> tuple[float, int]:
        """The largest error of y in ulp, and its index."""
        if y.dtype != np.float32 or y.shape != truth.shape:
            raise AssertionError(f"expected float32 {truth.shape}, got {y.dtype} {y.shape}")
        worst = ctypes.c_ssize_t()
        error = self._c.ulp_max(ctypes.byref(worst), _pointer(truth), _pointer(y),
                                ctypes.c_ssize_t(y.size))
        return error, worst.value


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)
