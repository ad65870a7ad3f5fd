"""The main job: real images in, a network that reads digits out, the same bits every time."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from packaging_tools import ROOT

import fastnn as fnn
from fastnn import datasets
from fastnn.data import Normalize
from fastnn.train import Trainer


def train(epochs, count=5000):
    (x, y), test = datasets.mnist_small()
    fnn.manual_seed(0)
    model = fnn.models.demo_convnet(activation="relu")
    optimizer = fnn.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    trainer = Trainer(model, optimizer, preprocess=Normalize.fit(x), progress=False)
    trainer.fit((x[:count], y[:count]), epochs, batch_size=32)
    return trainer, test


def test_learns_to_read_digits():
    trainer, test = train(epochs=6)
    # At one rate the accuracy of an epoch moves by a point with every bit; at a tenth it settles.
    trainer.optimizer.param_groups[0]["lr"] /= 10
    (x, y), _ = datasets.mnist_small()
    trainer.fit((x, y), 2, batch_size=32)
    assert trainer.evaluate(test)["accuracy"] >= 0.97


def test_saved_and_loaded_it_predicts_the_same(tmp_path):
    trainer, (x, _) = train(epochs=1, count=640)
    fnn.save(trainer.model, tmp_path / "a.safetensors")
    loaded = Trainer(
        model := fnn.load(tmp_path / "a.safetensors"),
        fnn.optim.SGD(model.parameters(), lr=0.1),
        preprocess=trainer.preprocess,
    )
    assert loaded.predict(x[:100]).tobytes() == trainer.predict(x[:100]).tobytes()


SCRIPT = """
import sys
import fastnn as fnn
from test_end_to_end import train
trainer, _ = train(epochs=1, count=640)
fnn.save(trainer.model, sys.argv[1])
"""


@pytest.mark.parametrize("target", fnn._core.runnable_targets())
def test_one_seed_one_file(target, tmp_path):
    files = []
    for threads in (1, 2):
        files.append(tmp_path / f"{threads}.safetensors")
        subprocess.run(
            [sys.executable, "-P", "-c", SCRIPT, str(files[-1])], check=True, cwd=tmp_path,
            env={**os.environ, "FASTNN_NUM_THREADS": str(threads), "FASTNN_CPU": target,
                 "PYTHONPATH": os.path.dirname(__file__)},
        )  # fmt: skip
    first, second = (file.read_bytes() for file in files)
    assert first == second


def test_resnet_has_the_same_bits_at_any_number_of_threads_and_compiled():
    def train(threads, compiled):
        fnn.set_num_threads(threads)
        fnn.manual_seed(0)
        rng = np.random.default_rng(0)
        x = rng.standard_normal((48, 32, 32, 3), dtype=np.float32)  # the last batch has 16
        model = fnn.models.resnet20()
        optimizer = fnn.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        trainer = Trainer(model, optimizer, progress=False, compile=compiled)
        trainer.fit((x, rng.integers(0, 10, 48)), epochs=2, batch_size=32)
        return [tensor.numpy().tobytes() for tensor in model.state_dict().values()]

    before = fnn.get_num_threads()
    try:
        found = [train(threads, threads == 3) for threads in (1, 2, 3, 4)]
    finally:
        fnn.set_num_threads(before)
    assert found.count(found[0]) == 4


@pytest.mark.slow
def test_real_images_give_the_same_bits_at_any_number_of_threads():
    """Some steps of the check that a release does with a whole epoch."""
    data = Path(os.environ.get("FASTNN_DATA", "~/.cache/fastnn")).expanduser()
    if not list(data.glob("cifar-10-batches-*/test_batch*")):
        pytest.skip("no CIFAR-10 in FASTNN_DATA")
    tool = ROOT / "tools" / "check_training.py"
    result = subprocess.run(
        [sys.executable, "-P", tool, "threads", "--steps", "20"], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
