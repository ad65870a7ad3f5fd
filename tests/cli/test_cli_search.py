# SPDX-License-Identifier: BSD-3-Clause
"""``fastnn search``: what it writes and prints, resuming, exit codes."""

import argparse
import json

import pytest

import fastnn as fnn
from fastnn import cli, datasets, search
from fastnn.cli import search as command


def fastnn(*arguments):
    return cli.main([str(a) for a in arguments])


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """The first digits only; no debugging; threads as they were."""
    monkeypatch.delenv("FASTNN_DEBUG", raising=False)
    (x, y), test = datasets.mnist_small()
    monkeypatch.setattr(datasets, "mnist_small", lambda: ((x[:300], y[:300]), test))
    command.split.cache_clear()
    threads = fnn.get_num_threads()
    yield
    fnn.set_num_threads(threads)
    command.split.cache_clear()


RUN = ("search", "--model", "mlp", "--epochs", 1, "--no-progress")


def test_it_searches_and_resumes(tmp_path, capsys):
    out, file = tmp_path / "out", tmp_path / "found.json"
    assert fastnn(*RUN, "--trials", 3, "--out", out) == 0
    first, lines = capsys.readouterr().out, (out / "trials.jsonl").read_text().splitlines()
    assert len(lines) == 4 and "Best validation accuracy: 0." in first
    assert fastnn(*RUN, "--trials", 4, "--out", out, "--resume", "--json", file) == 0
    assert (out / "trials.jsonl").read_text().splitlines()[:4] == lines
    found = json.loads(file.read_text())
    assert [t["number"] for t in found["trials"]] == [0, 1, 2, 3]
    assert found["best"]["value"] == max(t["value"] or 0 for t in found["trials"])
    assert found["settings"]["model"] == "mlp"
    html = (out / "search.html").read_text()
    assert "Hyperparameters of mlp on mnist_small" in html and html.count("<svg") >= 2
    text = capsys.readouterr().out
    assert f"lr {found['best']['config']['lr']:.4g}" in text
    (again,) = [line for line in text.splitlines() if line.startswith("fastnn train")]
    cli._parser().parse_args(again.split()[1:])


@pytest.mark.parametrize(
    ("method", "trials", "count"),
    [("grid", 7, 6), ("halving", 3, 4), ("coarse-to-fine", 4, 4)],
)
def test_every_method(method, trials, count, tmp_path, capsys):
    code = fastnn(
        *RUN, "--epochs", 3, "--method", method, "--trials", trials, "--out", tmp_path / "out",
        "--space", "lr=1e-3:1e-1", "--space", "activation=relu,tanh",
    )  # fmt: skip
    assert code == 0, capsys.readouterr().err
    found = search.load(tmp_path / "out" / "trials.jsonl")
    assert len(found.trials) == count and set(found.best.config) == {"lr", "activation"}


def test_a_search_in_which_all_blows_up_is_exit_code_1(tmp_path, capsys):
    file = tmp_path / "found.json"
    code = fastnn(*RUN, "--trials", 2, "--space", "lr=1e30,1e31", "--out", tmp_path / "out",
                  "--json", file)  # fmt: skip
    captured = capsys.readouterr()
    assert code == 1 and "abandoned: Trainer.fit: the loss is" in captured.out
    assert "none of 2 trials is done" in captured.err.splitlines()[-1]
    assert json.loads(file.read_text())["best"] is None
    assert "abandoned" in (tmp_path / "out" / "search.html").read_text()


def test_errors_before_any_work(tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "trials.jsonl").write_text("")
    file = tmp_path / "file"
    file.write_text("")
    for options, code, message in (
        (("--out", out), 2, "go on with --resume, or take another DIR"),
        (("--out", file), 2, "is not a directory"),
        (("--optimizer", "adam", "--space", "momentum=0:1"), 2, "momentum: adam has none"),
        (("--space", "lr=1,2", "--space", "lr=1,3"), 2, "--space: lr is given twice"),
        (("--model", "cifar_quick", "--out", tmp_path / "a"), 1, "does not fit the images"),
        (("--data", "mnist", "--root", tmp_path, "--out", tmp_path / "a"), 1, "missing data files"),
        (("--method", "grid", "--trials", 2, "--out", tmp_path / "a"), 1, "4 combinations"),
    ):
        assert fastnn("search", *options) == code
        assert message in capsys.readouterr().err
        assert not (tmp_path / "a" / "trials.jsonl").exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--space lr=0:1", "lr must be positive, got 0"),
        ("--space weight_decay=0:1", "low must be positive on a logarithmic scale"),
        ("--space momentum=-1:1", "momentum must be positive, got -1"),
        ("--space lr=1:0.1", "low must not be above high"),
        ("--space lr=0,1", "lr must be positive"),
        ("--space lr", "expected numbers, LOW:HIGH or A,B,C"),
        ("--space depth=1:2", "expected one of lr, weight_decay"),
        ("--space activation=relu,sine", "activation must be of celu"),
        ("--space batch_size=8.5,9", "expected whole numbers"),
        ("--method magic", "invalid choice: 'magic'"),
        ("--trials 0", "--trials: must be an integer of at least 1"),
        ("--workers 0", "--workers: must be an integer of at least 1"),
    ],
)
def test_wrong_usage_is_exit_code_2(option, message, capsys):
    with pytest.raises(SystemExit) as end:
        fastnn("search", *option.split())
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit):
        fastnn("search", "--help")
    assert "examples:\n  fastnn search" in capsys.readouterr().out


def test_axes():
    assert command.axis("lr=1e-3:1") == ("lr", search.log_uniform(1e-3, 1))
    assert command.axis("momentum=0:0.9") == ("momentum", search.uniform(0, 0.9))
    assert command.axis("batch_size=8:64") == ("batch_size", search.integer(8, 64, log=True))
    assert command.axis("weight_decay=0,1e-3") == ("weight_decay", search.choice([0.0, 1e-3]))
    assert command.axis("optimizer=sgd,adam") == ("optimizer", search.choice(["sgd", "adam"]))
    with pytest.raises(argparse.ArgumentTypeError, match=r"\(in 'optimizer=sdg'\)"):
        command.axis("optimizer=sdg")


def test_validation_images_are_not_trained_on():
    (x, y), (held_x, held_y) = command.split("mnist_small", None, 0)
    assert len(x) == len(y) == 240 and len(held_x) == len(held_y) == 60
    seen = {image.tobytes() for image in x}
    assert not any(image.tobytes() in seen for image in held_x)
