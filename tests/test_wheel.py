"""The wheel: what is in it, and that it works where there is neither a compiler nor this tree."""

import sys
import zipfile

import pytest
from packaging_tools import dist, fresh_environment, run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel():
    return dist()[1]


def test_contents(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    folders = {name.split("/")[0] for name in names}
    assert folders == {"fastnn", f"fastnn_cpu-{wheel.name.split('-')[1]}.dist-info"}
    for wanted in ("py.typed", "_core.pyi", "__main__.py", "cli/demo.py", "bench/cli.py",
                   "watch/page.html", "watch/page.css", "watch/page.js",
                   "datasets/mnist_small/t10k-images-idx3-ubyte.gz"):  # fmt: skip
        assert f"fastnn/{wanted}" in names
    assert sum(name.startswith("fastnn/_core.") and name.endswith(".so") for name in names) == 1
    assert not [name for name in names if name.endswith((".pyx", ".pxi", ".c", ".o", ".inc"))]


def test_size(wheel):
    assert wheel.stat().st_size <= 4 << 20


USE = """
import sys
import numpy as np
import fastnn as fnn
from fastnn import datasets
assert fnn.__file__.startswith(sys.prefix), fnn.__file__
(x, y), _ = datasets.mnist_small()
fnn.manual_seed(0)
model = fnn.models.demo_convnet()
trainer = fnn.Trainer(model, fnn.optim.SGD(model.parameters(), lr=0.02, momentum=0.9),
                      preprocess=fnn.data.Normalize.fit(x), progress=False)
record, = trainer.fit((x[:1000], y[:1000]), epochs=1, batch_size=20)
assert record["accuracy"] > 0.3, record
print(fnn._core.__file__)
"""


def test_repaired_wheel_works_without_a_compiler(wheel, tmp_path):
    if sys.platform != "linux":
        pytest.skip("auditwheel repairs wheels of Linux")
    pytest.importorskip("auditwheel")
    repaired = tmp_path / "repaired"
    run(sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", repaired, wheel,
        env={"PATH": _path_with_patchelf()})  # fmt: skip
    (repaired,) = repaired.glob("*.whl")
    assert repaired.stat().st_size <= 4 << 20
    python = fresh_environment(tmp_path / "venv", repaired)
    bare = {"PATH": str(python.parent)}  # no cc, no ld
    core = run(python, "-I", "-c", USE, env=bare, cwd=tmp_path).strip()
    assert "target" in run(python.parent / "fastnn", "info", env=bare, cwd=tmp_path)
    (gomp,) = [line for line in run("ldd", core).splitlines() if "libgomp" in line]
    assert "fastnn_cpu.libs" in gomp, gomp


def _path_with_patchelf():
    """PATH with this environment's programs first: auditwheel calls patchelf."""
    import os
    from pathlib import Path

    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
