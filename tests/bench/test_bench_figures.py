# SPDX-License-Identifier: BSD-3-Clause
"""Single figures of ``fastnn bench``: measured in fresh processes, judged, never fatal."""

from pathlib import Path

import pytest

from fastnn.bench import figures
from fastnn.bench.figures import Figure
from fastnn.bench.process import Contender

ENV = {"PYTHONPATH": str(Path(__file__).parent / "libraries")}


@pytest.mark.parametrize(
    ("figure", "verdict"),
    [
        (Figure("f", 1.0, target=2.0), "ok"),
        (Figure("f", 3.0, target=2.0), "short"),
        (Figure("f", 3.0, target=2.0, at_most=False), "ok"),
        (Figure("f", 1.0, target=2.0, at_most=False), "short"),
        (Figure("f", None, target=2.0), ""),
        (Figure("f", 1.0), ""),
    ],
)
def test_verdict(figure, verdict):
    assert figure.verdict == verdict


def test_all_that_is_quick():
    seen = []
    found = {f.name: f for f in figures.measure(1, "native", True, seen.append)}
    assert len(seen) == len(found) == 4
    call = found["relu of a 32×64 array, called from Python"]
    assert 0.1 < call.value < 1000 and call.unit == "µs" and call.target == 2.0
    assert found["cifar_quick step: page faults after the third"].value >= 0
    imported = found["import, beyond NumPy's"]
    assert imported.note.endswith("ms") and imported.target == 60.0
    assert 0.1 < found["the package, compressed as in a wheel"].value < 100


def test_speed_up_and_memory(monkeypatch):
    alike = Contender("alike", "dummy_library", {"sleep": 0.01}, ENV)
    for name in ("OURS", "TORCH"):
        monkeypatch.setattr(figures, name, alike)
    monkeypatch.setattr(figures, "train_step", lambda net, batch: figures.Workload(
        "w", "matmul", {"m": 2, "n": 2, "k": 2}
    ))  # fmt: skip
    found = figures.peak_memory("resnet20", 128, 1, "native")
    assert found.value == pytest.approx(1.0, abs=0.3) and found.target == 0.7
    assert found.note.endswith("MiB")
    found = figures.speed_up("cifar_quick", 8, 2, "native")
    assert found.value == pytest.approx(1.0, abs=0.5)  # it sleeps with any number of threads
    assert (found.target, found.at_most) == (1.8, False)
    assert figures.speed_up("cifar_quick", 8, 3, "native").target is None


def test_what_cannot_be_measured_says_why(monkeypatch):
    unable = Contender("fastnn", "dummy_library", {"does": False}, ENV)
    monkeypatch.setattr(figures, "OURS", unable)
    found = figures.measure(1, "native", True, lambda _: None)
    notes = [f.note for f in found if f.value is None]
    assert notes == ["no activation", "no step"]
