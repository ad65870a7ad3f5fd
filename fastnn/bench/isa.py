# SPDX-License-Identifier: BSD-3-Clause
"""Hold ours and the peers to the same instructions, each by its own switch.

``native`` changes nothing. ``avx2`` and ``portable`` (SSE, the least that these libraries run on)
set environment variables of the workers; what a library then says that it uses stands in the
report. That each switch holds was measured: docs/performance.md has the figures. ONNX Runtime has
no such switch. On other CPUs than x86-64 only ours can be held back.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping

import numpy as np

ISAS = ("native", "avx2", "portable")
NO_SWITCH = {".lib_onnx": "ONNX Runtime has no switch: it uses all that the CPU has"}

_TORCH = {
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
    "portable": {
        "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    },
}  # fmt: skip
_OPENBLAS = {"avx2": "Haswell", "portable": "Nehalem"}
# XLA's own code obeys the first flag; matrix products also go to YNNPACK, which obeys nothing and
# is turned off, and to oneDNN, which has its own switch.
_XLA = "--xla_cpu_max_isa={} --xla_cpu_experimental_ynn_fusion_type="
_JAX = {
    "avx2": {"XLA_FLAGS": _XLA.format("AVX2"), "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "portable": {"XLA_FLAGS": _XLA.format("SSE4_2"), "ONEDNN_MAX_CPU_ISA": "SSE41"},
}


def caps(lib: str, isa: str) -> dict[str, str]:
    """Return the environment variables that hold the library of module ``lib`` to ``isa``."""
    if isa == "native":
        return {}
    if lib == ".lib_fastnn":
        return {"FASTNN_CPU": isa}
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return {}
    numpy = {"OPENBLAS_CORETYPE": _OPENBLAS[isa], **_numpy(isa)}
    if lib == ".lib_torch":
        return dict(_TORCH[isa])
    if lib == ".lib_jax":
        return dict(_JAX[isa])
    return numpy if lib in (".lib_numpy", ".lib_sklearn", ".lib_copy") else {}


def _numpy(isa: str) -> dict[str, str]:
    """Turn off those of the features that NumPy was built to choose from that are too wide."""
    try:
        from numpy._core._multiarray_umath import __cpu_dispatch__ as built  # type: ignore
    except ImportError:  # NumPy 1
        from numpy.core._multiarray_umath import __cpu_dispatch__ as built  # type: ignore
    wide = ("AVX512", "X86_V4")
    off = [name for name in built if isa == "portable" or name.startswith(wide)]
    return {"NPY_DISABLE_CPU_FEATURES": " ".join(off)} if off else {}


def merged(env: Mapping[str, str], lib: str, isa: str) -> dict[str, str]:
    """Return ``env`` with the caps; flags of XLA that are there already are kept."""
    extra = caps(lib, isa)
    if env.get("XLA_FLAGS") and "XLA_FLAGS" in extra:
        extra["XLA_FLAGS"] = f"{env['XLA_FLAGS']} {extra['XLA_FLAGS']}"
    return {**env, **extra}


def numpy_in_use() -> str:
    """Return the widest group of instructions that this process's NumPy found."""
    config = np.show_config(mode="dicts") or {}
    simd = config.get("SIMD Extensions", {})
    return f"NumPy {(simd.get('found') or simd.get('baseline') or ['unknown'])[-1]}"


def blas_in_use() -> str:
    """Return the kernels that the BLAS libraries of this process chose, where that can be known."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return "BLAS unknown (threadpoolctl is not installed)"
    found = (lib for lib in threadpool_info() if lib.get("architecture"))
    kinds = sorted({f"{lib['internal_api']} {lib['architecture']}" for lib in found})
    return ", ".join(kinds) or "BLAS unknown"
