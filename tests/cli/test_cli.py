"""The command as users meet it: help, exit codes, one-line errors, what it writes."""

import gzip
import json
import os
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest
from safetensors import safe_open

import fastnn as fnn
from fastnn import _core, cli, datasets, nn
from fastnn.cli import demo, train
from fastnn.data import Normalize


def fastnn(*arguments):
    return cli.main([str(a) for a in arguments])


@pytest.fixture(autouse=True)
def _settings(monkeypatch):
    """No debugging, and the number of threads as it was."""
    monkeypatch.delenv("FASTNN_DEBUG", raising=False)
    threads = fnn.get_num_threads()
    yield
    fnn.set_num_threads(threads)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A directory with the first bundled images under the names of MNIST's official files."""
    folder = tmp_path_factory.mktemp("mnist")
    for split, (x, y) in zip(("train", "t10k"), datasets.mnist_small(), strict=True):
        x, y = x[:200, :, :, 0], y[:200].astype(np.uint8)
        for name, array, magic in (("images-idx3", x, 0x803), ("labels-idx1", y, 0x801)):
            header = struct.pack(f">{1 + array.ndim}I", magic, *array.shape)
            with gzip.open(folder / f"{split}-{name}-ubyte.gz", "wb", 1) as file:
                file.write(header + array.tobytes())
    return folder


# --- usage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["", "demo", "train", "bench", "info"])
def test_help_has_examples(command, capsys):
    with pytest.raises(SystemExit) as end:
        fastnn(*command.split(), "--help")
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert "examples:" in out and f"  fastnn {command or 'demo'}" in out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", "required: COMMAND"),
        ("fly", "invalid choice: 'fly'"),
        ("train --epochs 0", "--epochs: must be an integer of at least 1, got '0'"),
        ("train --epochs 1.5", "--epochs: must be an integer of at least 1, got '1.5'"),
        ("train --lr nan", "--lr: must be a positive number, got 'nan'"),
        ("train --lr 0", "--lr: must be a positive number, got '0'"),
        ("train --momentum -1", "--momentum: must be a number of at least 0, got '-1'"),
        ("train --optimizer adamm", "--optimizer: invalid choice: 'adamm'"),
        ("train --schedule up", "--schedule: invalid choice: 'up'"),
        ("train --seed -1", "--seed: must be an integer of at least 0, got '-1'"),
        ("train --data imagenet", "--data: invalid choice: 'imagenet'"),
        ("train --model vgg99", "--model: invalid choice: 'vgg99'"),
        ("train --activation sine", "--activation: invalid choice: 'sine'"),
        ("train --save no/such/dir/a.safetensors", "--save: there is no directory no/such/dir"),
        ("demo --out .", "--out: . is a directory"),
        ("demo --epochs x", "--epochs: must be an integer of at least 1, got 'x'"),
        ("info --fast", "unrecognized arguments: --fast"),
    ],
)
def test_wrong_usage_is_exit_code_2(command, message, capsys):
    with pytest.raises(SystemExit) as end:
        fastnn(*command.split())
    assert end.value.code == 2
    assert message in capsys.readouterr().err


# --- errors ---------------------------------------------------------------------------------------


def test_missing_data_is_one_line_and_exit_code_1(tmp_path, capsys):
    assert fastnn("train", "--data", "mnist", "--root", tmp_path) == 1
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1
    assert err.startswith("fastnn: error: mnist: missing data files: train-images-idx3-ubyte")
    assert str(tmp_path) in err


def test_truncated_data_is_one_line(tiny, tmp_path, capsys):
    root = tmp_path / "mnist"
    shutil.copytree(tiny, root)
    file = root / "t10k-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:1000])
    assert fastnn("train", "--data", "mnist", "--root", root) == 1
    err = capsys.readouterr().err
    assert err.startswith("fastnn: error: ") and str(file) in err and len(err.splitlines()) == 1


@pytest.mark.parametrize("model", ["cifar_quick", "alexnet"])
def test_a_model_that_does_not_fit_the_data(model, tiny, capsys):
    code = fastnn("train", "--data", "mnist", "--root", tiny, "--model", model)
    err = capsys.readouterr().err.splitlines()
    assert code == 1 and "got (1, 28, 28, 1)" in err[-1]
    assert err[-1].startswith(f"fastnn: error: --model {model} does not fit the images: this model")


@pytest.mark.parametrize("model", ["resnet20", "mobilenet_v1"])
def test_a_model_with_batch_norm_is_trained_and_saved(model, tiny, tmp_path, capsys):
    file = tmp_path / "a.safetensors"
    code = fastnn(
        "train", "--data", "mnist", "--root", tiny, "--model", model, "--epochs", 1,
        "--batch-size", 100, "--no-progress", "--save", file,
    )  # fmt: skip
    assert code == 0, capsys.readouterr().err
    assert isinstance(fnn.load(file)[2], nn.BatchNorm2d)


def test_training_that_blows_up_says_where_and_saves_nothing(tiny, tmp_path, capsys):
    code = fastnn(
        "train", "--data", "mnist", "--root", tiny, "--lr", "1e30", "--no-progress",
        "--save", tmp_path / "a.safetensors",
    )  # fmt: skip
    err = capsys.readouterr().err.splitlines()
    assert code == 1 and "the loss is" in err[-1] and "epoch 1, step" in err[-1]
    assert not list(tmp_path.iterdir())


def test_debug_shows_the_traceback(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTNN_DEBUG", "1")
    with pytest.raises(FileNotFoundError):
        fastnn("train", "--data", "mnist", "--root", tmp_path)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "fastnn: interrupted"),
        (KeyError("x"), 1, "fastnn: error: KeyError: 'x' (FASTNN_DEBUG=1 shows the traceback)"),
        (ValueError("two\n  lines"), 1, "fastnn: error: two lines"),
    ],
)
def test_what_goes_wrong_inside(error, code, message, monkeypatch, capsys):
    def fail(*args):
        raise error

    monkeypatch.setattr(train, "load", fail)
    assert fastnn("train") == code
    assert capsys.readouterr().err.splitlines() == [message]


def test_warnings_are_one_line_too(tiny, monkeypatch, capsys):
    import warnings

    def load(*args):
        warnings.warn("two batches\nare missing", UserWarning, stacklevel=1)
        raise ValueError("enough")

    monkeypatch.setattr(train, "load", load)
    assert fastnn("train") == 1
    expected = ["fastnn: warning: two batches are missing", "fastnn: error: enough"]
    assert capsys.readouterr().err.splitlines() == expected


# --- info -----------------------------------------------------------------------------------------


def test_info(capsys):
    assert fastnn("info") == 0
    out = capsys.readouterr().out
    for wanted in (fnn.__version__, _core.current_target(), "numpy", "safetensors", "threads"):
        assert wanted in out
    assert fastnn("info", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["target"] == _core.current_target() and found["numpy"] == np.__version__


def test_module_and_script_are_the_same_program(tmp_path):
    script = shutil.which("fastnn", path=os.path.dirname(sys.executable))
    assert script, "the console script is not installed"
    found = [
        subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, stdin=subprocess.DEVNULL
        ).stdout
        for command in ([script, "--version"], [sys.executable, "-P", "-m", "fastnn", "--version"])
    ]
    assert found == [f"fastnn {fnn.__version__}\n"] * 2


def test_a_reader_that_goes_away_is_no_traceback(tmp_path):
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(
        [sys.executable, "-P", "-m", "fastnn", "info"], stdout=write, stderr=subprocess.PIPE,
        text=True, cwd=tmp_path,
    )  # fmt: skip
    os.close(write)
    assert result.returncode == 1 and result.stderr == ""


# --- train ----------------------------------------------------------------------------------------


def test_train_saves_a_model_that_predicts_and_a_record(tiny, tmp_path, capsys):
    weights, record = tmp_path / "a.safetensors", tmp_path / "a.json"
    code = fastnn(
        "train", "--data", "mnist", "--root", tiny, "--model", "mlp", "--activation", "tanh",
        "--epochs", 6, "--batch-size", 20, "--threads", 1, "--save", weights, "--json", record,
    )  # fmt: skip
    out, err = capsys.readouterr()
    assert code == 0 and fnn.get_num_threads() == 1
    assert "epoch 6/6" in err and "mlp with tanh" in err
    found = json.loads(record.read_text())
    assert f"accuracy {found['test']['accuracy']:.2%}" in out
    assert found["settings"]["model"] == "mlp" and found["settings"]["batch_size"] == 20
    assert len(found["history"]) == 6 and found["test"]["accuracy"] > 0.5
    assert found["history"][-1]["loss"] < found["history"][0]["loss"]

    # What was saved is what was measured, with all that is needed to use it.
    with safe_open(weights, "np") as file:
        stored = file.metadata()
    (metadata,) = [m["metadata"] for m in map(json.loads, stored.values()) if "metadata" in m]
    assert metadata["classes"] == list("0123456789") and metadata["activation"] == "tanh"
    model = fnn.load(weights).eval()
    _, (x, y) = datasets.mnist(tiny)
    normalize = Normalize(metadata["mean"], metadata["std"])
    right = model(fnn.from_numpy(normalize(x))).numpy().argmax(axis=1) == y
    assert right.mean() == metadata["test_accuracy"] == found["test"]["accuracy"]
    preprocess = fnn.load_preprocessing(weights)
    np.testing.assert_allclose(preprocess(x), normalize(x), atol=2e-6)


def test_train_repeats_itself(tiny, tmp_path):
    files = []
    for threads, seed in ((1, 0), (2, 0), (2, 1)):
        files.append(tmp_path / f"{threads}{seed}.safetensors")
        code = fastnn(
            "train", "--data", "mnist", "--root", tiny, "--epochs", 1, "--no-progress",
            "--threads", threads, "--seed", seed, "--save", files[-1],
        )  # fmt: skip
        assert code == 0
    first, second, third = (file.read_bytes() for file in files)
    assert first == second != third


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [
        *zip(train.OPTIMIZERS, train.SCHEDULES, strict=True), ("rmsprop", "onecycle"),
        ("adagrad", "onecycle"), ("sgd", "plateau"), ("adamw", "cosine"),
    ],
)  # fmt: skip
def test_optimizers_and_schedules(optimizer, schedule, tiny, tmp_path, capsys):
    code = fastnn(
        "train", "--data", "mnist", "--root", tiny, "--model", "mlp", "--epochs", 3,
        "--optimizer", optimizer, "--schedule", schedule, "--no-progress",
        "--json", tmp_path / "a.json",
    )  # fmt: skip
    assert code == 0, capsys.readouterr().err
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["settings"]["optimizer"] == optimizer
    assert found["settings"]["schedule"] == schedule
    expected = 0.02 if optimizer == "sgd" else train.OPTIMIZERS[optimizer]([fnn.ones(1)]).defaults
    assert found["settings"]["lr"] == (expected if optimizer == "sgd" else expected["lr"])
    assert found["history"][-1]["loss"] < found["history"][0]["loss"]


def test_momentum_where_there_is_none(capsys):
    assert fastnn("train", "--optimizer", "adam", "--momentum", "0.9") == 2
    assert "--momentum: adam has none; only sgd and rmsprop do" in capsys.readouterr().err


def test_schedules_end_where_the_help_says():
    ends = {
        "cosine": 0.0, "linear": 0.0, "onecycle": 0.4 / 25e4, "step": 0.004, "exponential": 0.004,
        "plateau": 0.4, "constant": 0.4,
    }  # fmt: skip
    for name, end in ends.items():
        optimizer = fnn.optim.SGD([fnn.ones(1)], lr=0.4)
        scheduler, unit = train.schedule(name, optimizer, 6, 10)
        calls = {"step": 60, "epoch": 6}[unit] - (name == "onecycle") - (name == "step")
        for _ in range(calls):
            if name not in ("plateau", "constant"):
                scheduler.step()
        assert optimizer.param_groups[0]["lr"] == pytest.approx(end, abs=1e-12), name


BIG = {"alexnet": (64, 64, 3), "vgg11": (32, 32, 3), "vgg16": (32, 32, 3)}  # 60 M weights and more


@pytest.mark.parametrize(
    ("model", "activation"),
    [(m, a) for m in fnn.models.names() for a in nn.activation.names() if m not in BIG]
    + [pytest.param(m, "tanh", marks=pytest.mark.slow) for m in BIG],
)
def test_every_model_takes_every_activation(model, activation):
    shape = (32, 32, 3) if model == "cifar_quick" else BIG.get(model, (28, 28, 1))
    net = train.build(model, shape, 7, activation)
    assert net(fnn.zeros(2, *shape)).shape == (2, 7)


def test_every_recipe_names_a_data_set_and_a_model():
    for name, recipe in train.RECIPES.items():
        assert hasattr(datasets, name)
        assert recipe.model in fnn.models.names()
        assert len(set(recipe.classes)) == len(recipe.classes) == 10


# --- demo -----------------------------------------------------------------------------------------


def test_demo(tmp_path, monkeypatch, capsys):
    (x, y), (x_test, y_test) = datasets.mnist_small()
    monkeypatch.setattr(
        demo.datasets, "mnist_small", lambda: ((x[:640], y[:640]), (x_test[:100], y_test[:100]))
    )
    monkeypatch.setattr(demo, "SIZES", {"in cache": 2048, "in memory": 1 << 18})
    page, record = tmp_path / "demo.html", tmp_path / "demo.json"
    assert fastnn("demo", "--epochs", 3, "--out", page, "--json", record) == 0
    out, err = capsys.readouterr()
    found = json.loads(record.read_text())
    for name in ("relu", "sigmoid"):
        net = found["networks"][name]
        assert f"training with {name}" in err
        assert len(net["history"]) == 3
        assert net["history"][-1]["validation_accuracy"] == net["test_accuracy"]
        assert net["ms_per_step"] > 0 and net["activation_share"] < 1
        for functions in found["element_wise"].values():
            assert all(cost["ns"] > 0 for cost in functions[name].values())
        row = next(line for line in out.splitlines() if line.startswith(name))
        assert f"{net['test_accuracy']:.1%}" in row and f"{net['ms_per_step']:.2f}" in row
    html = page.read_text()
    assert html.count("<svg") == 3  # loss, accuracy, cost
    assert "http" not in html.replace("http://www.w3.org/2000/svg", "")  # nothing from outside
    assert "Each network starts from the rate that suits it" in html


def test_epochs_to_a_threshold_are_the_first_that_reach_it():
    history = [{"epoch": i + 1, "validation_accuracy": a} for i, a in enumerate((0.5, 0.95, 0.94))]
    found = demo.summary(history, "relu", {"relu": 0.004, "identity": 0.003})
    assert found == {
        "test_accuracy": 0.94, "epochs_to_90%": 2, "epochs_to_95%": 2, "epochs_to_97%": None,
        "ms_per_step": 4.0, "activation_share": 0.25,
    }  # fmt: skip
