"""What installs and what starts: the sdist, builds without OpenMP, FASTNN_CPU, import's cost."""

import shutil
import subprocess
import sys
import tarfile

import pytest
from packaging_tools import ROOT, dist, environment, fresh_environment, run, unpack

import fastnn as fnn
from fastnn import _core

# -P: without the current directory on the path, so that the installed package is what runs.
PYTHON = (sys.executable, "-P")


@pytest.mark.slow
def test_sdist_has_all_sources_and_nothing_built():
    sdist, _ = dist()
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for folder, patterns in {
        "csrc": ("*.c", "*.h", "*.inc", "*.def"), "fastnn": ("*.py", "*.pyx", "*.pxi", "*.pyi"),
        "tests": ("*.py", "*.c"), "docs": ("*.md",), "examples": ("*.py",), "bench": ("*.py",),
    }.items():  # fmt: skip
        files = [p for pattern in patterns for p in (ROOT / folder).rglob(pattern)]
        assert files, folder
        missing = {str(p.relative_to(ROOT)) for p in files} - names
        assert not missing, missing
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md",
                 "CONTRIBUTING.md", "fastnn/py.typed"):  # fmt: skip
        assert name in names
    assert not [name for name in names if name.endswith((".so", ".o", ".pyc"))]


SAME_BITS = """
import hashlib, numpy as np, fastnn as fnn
from fastnn import functional as F
fnn.manual_seed(3)
x = fnn.randn(8, 16, 16, 32, requires_grad=True)
w = fnn.randn(32, 3, 3, 32, requires_grad=True)
y = F.sigmoid(F.conv2d(x, w, padding=1))
y.sum().backward()
print(hashlib.sha256(y.numpy().tobytes() + x.grad.numpy().tobytes() + w.grad.numpy().tobytes())
      .hexdigest())
"""


def test_a_source_tree_without_kernels_says_what_to_do(tmp_path):
    tree = tmp_path / "fastnn"
    tree.mkdir()
    shutil.copy(ROOT / "fastnn" / "__init__.py", tree)
    command = [sys.executable, "-S", "-c", "import fastnn"]  # -S: without any installed package
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert found.returncode == 1
    assert f"{tree} has no compiled kernels" in found.stderr and "-P" in found.stderr


@pytest.mark.slow
def test_editable_build_without_openmp(tmp_path):
    """It says that it has one thread, and computes the same bits as the build with threads."""
    tree = unpack(dist()[0], tmp_path / "source")
    python = fresh_environment(tmp_path / "venv", "-e", tree, env={"FASTNN_OPENMP": "0"})
    found = run(python, "-P", "-m", "fastnn", "info")
    assert "built without OpenMP" in found and str(tree) in run(
        python, "-P", "-c", "import fastnn; print(fastnn.__file__)"
    )
    assert run(python, "-P", "-c", SAME_BITS) == run(*PYTHON, "-c", SAME_BITS)


@pytest.mark.parametrize("target", _core.runnable_targets())
def test_fastnn_cpu_chooses_the_target(target):
    code = "import fastnn; fastnn.show_config()"
    found = run(*PYTHON, "-c", code, env={"FASTNN_CPU": target})
    assert ["target", target] in [line.split() for line in found.splitlines()]


@pytest.mark.parametrize("value", ["sse9", "", "AVX2 "])
def test_fastnn_cpu_that_is_no_target(value):
    result = subprocess.run(
        [*PYTHON, "-c", "import fastnn"], capture_output=True, text=True,
        env=environment({"FASTNN_CPU": value}),
    )  # fmt: skip
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    targets = ", ".join(_core.runnable_targets())
    assert last == f"ValueError: FASTNN_CPU: expected one of {targets}, got {value!r}"


@pytest.mark.parametrize("value", ["0", "two", "-1"])
def test_fastnn_num_threads_that_is_no_number_of_threads(value):
    result = subprocess.run(
        [*PYTHON, "-c", "import fastnn"], capture_output=True, text=True,
        env=environment({"FASTNN_NUM_THREADS": value}),
    )  # fmt: skip
    assert result.returncode == 1
    assert f"FASTNN_NUM_THREADS: expected an integer in 1..1024, got {value!r}" in result.stderr


def test_import_is_cheap():
    """Counted, not timed: what import brings in beyond NumPy, without anything slow."""
    code = (
        "import sys, numpy; before = set(sys.modules); import fastnn; "
        "print(*sorted(set(sys.modules) - before))"
    )
    new = run(*PYTHON, "-c", code).split()
    slow = {
        "tqdm", "safetensors", "torch", "matplotlib", "sklearn", "scipy", "jax", "urllib.request",
        "http.client", "asyncio", "multiprocessing", "unittest", "argparse", "ssl", "tarfile",
        "fastnn.cli", "fastnn.bench", "fastnn.report",
    }  # fmt: skip
    assert not slow & set(new)
    others = [name for name in new if not name.startswith("fastnn")]
    assert len(others) <= 40, others


def test_version_is_one():
    """The version that the package tells is the one that it was installed as."""
    from importlib.metadata import version

    assert fnn.__version__ == version("fastnn-cpu")
