# SPDX-License-Identifier: BSD-3-Clause
"""``--isa``: each library gets its own switch, and the switches hold."""

import os
import platform
import subprocess
import sys

import pytest

from fastnn.bench import isa
from fastnn.bench.process import environment

x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="peers have switches on x86-64")
LIBRARIES = [".lib_fastnn", ".lib_numpy", ".lib_torch", ".lib_jax", ".lib_sklearn", ".lib_copy"]


@pytest.mark.parametrize("lib", [*LIBRARIES, ".lib_onnx"])
def test_native_holds_nobody_back(lib):
    assert isa.caps(lib, "native") == {}


@x86
@pytest.mark.parametrize("asked", ["avx2", "portable"])
@pytest.mark.parametrize("lib", LIBRARIES)
def test_every_library_has_switches(lib, asked):
    assert isa.caps(lib, asked)
    assert isa.caps(lib, "avx2") != isa.caps(lib, "portable")


def test_who_has_no_switch_is_named():
    assert isa.caps(".lib_onnx", "avx2") == {} and "no switch" in isa.NO_SWITCH[".lib_onnx"]
    assert isa.caps(".lib_fastnn", "portable") == {"FASTNN_CPU": "portable"}


@x86
def test_environment_has_the_switches_and_only_they_force_a_blas(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    monkeypatch.setenv("XLA_FLAGS", "--mine")
    assert "OPENBLAS_CORETYPE" not in environment(1, {}, ".lib_numpy")
    env = environment(1, {}, ".lib_numpy", "avx2")
    assert env["OPENBLAS_CORETYPE"] == "Haswell"
    assert environment(1, {}, ".lib_jax", "native")["XLA_FLAGS"] == "--mine"
    flags = environment(1, {}, ".lib_jax", "avx2")["XLA_FLAGS"].split()
    assert flags[:2] == ["--mine", "--xla_cpu_max_isa=AVX2"]


@x86
@pytest.mark.parametrize("asked", ["avx2", "portable"])
def test_numpy_obeys(asked):
    script = "from fastnn.bench import isa; print(isa.numpy_in_use())"
    env = {**os.environ, **isa.caps(".lib_numpy", asked)}
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", script], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    wide = ("AVX512", "X86_V4") if asked == "avx2" else ("AVX", "X86_V3", "X86_V4")
    assert not any(name in done.stdout for name in wide), done.stdout


def test_what_a_blas_uses_is_told():
    assert isa.blas_in_use()
