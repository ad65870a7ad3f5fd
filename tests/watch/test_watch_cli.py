"""fastnn watch and fastnn train --watch, as processes."""

import re
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager

import pytest
from logs import HEADER, observation, trained

from fastnn.cli import main
from fastnn.diagnostics import read_log

RUN = [sys.executable, "-P", "-m", "fastnn"]  # -P: the installed package, not the source tree


@pytest.fixture(autouse=True)
def interruptible():
    """What was started in the background ignores Ctrl-C, and so would the tests' processes."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@contextmanager
def running(*arguments, cwd=None):
    """A process of the command that does not outlive the block."""
    with subprocess.Popen([*RUN, *arguments], cwd=cwd, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def ask(line):
    """The log from the server of which a line tells the address."""
    url = re.search(r"http://127\.0\.0\.1:\d+/", line)[0]
    with urllib.request.urlopen(url + "log", timeout=20) as answer:
        return answer.read()


@pytest.mark.parametrize("content", [b"", b"rubbish\n", HEADER + observation(0) + b'{"st'])
def test_watch_until_ctrl_c(tmp_path, content):
    (tmp_path / "log").write_bytes(content)
    with running("watch", tmp_path / "log") as process:
        line = process.stdout.readline()
        assert line.startswith("watch at http://127.0.0.1:") and "(Ctrl-C ends)" in line
        assert (b'"step": 0' in ask(line)) == content.startswith(HEADER)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "\n", "")


def test_train_shows_itself_and_leaves_a_log(tmp_path):
    options = ["--model", "mlp", "--epochs", "1", "--watch", "--no-progress"]
    with running("train", *options, cwd=tmp_path) as process:
        lines = [process.stderr.readline() for _ in range(2)]
        assert b'"lines":[' in ask(lines[1])
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0 and err == ""
    assert "logged to fastnn-train.jsonl: 'fastnn watch fastnn-train.jsonl' shows it" in out
    log = read_log(tmp_path / "fastnn-train.jsonl")
    assert log.records[-1]["step"] == 150 and len(log.epochs) == 1 and log.skipped == 0


def test_what_is_written_survives_a_kill(tmp_path):
    command = [*RUN, "train", "--model", "mlp", "--epochs", "50", "--log", "log", "--no-progress"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        while not (tmp_path / "log").exists() or (tmp_path / "log").stat().st_size < 50_000:
            assert process.poll() is None
        process.kill()
    log = read_log(tmp_path / "log")
    assert len(log.records) >= 2 and log.skipped <= 1
    assert main(["train", "--model", "mlp", "--epochs", "1", "--no-progress", "--log",
                 str(tmp_path / "log")]) == 0  # fmt: skip
    assert read_log(tmp_path / "log").runs == 2 and len(read_log(tmp_path / "log").epochs) == 1
    assert read_log(tmp_path / "log", 0).records == log.records


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["missing"], "No such file or directory: 'missing'"),
        (["."], "Is a directory"),
        (["log", "--port", "70000"], "--port: "),
        (["log", "--tensorboard", "out"], "log is not a log of fastnn.diagnostics.Monitor"),
    ],
)
def test_what_cannot_be_watched(tmp_path, monkeypatch, capsys, arguments, error):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log").write_text("hello\n")
    try:
        code = main(["watch", *arguments])
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    assert code in (1, 2) and out == "" and error in err and "Traceback" not in err


def test_a_port_in_use(tmp_path, capsys):
    with trained(tmp_path / "log", steps=1, serve=True) as monitor:
        assert main(["watch", str(tmp_path / "log"), "--port", str(monitor._server.port)]) == 1
        assert "cannot listen on port" in capsys.readouterr().err
        port = str(monitor._server.port)
        arguments = ["train", "--model", "mlp", "--log", str(tmp_path / "b"), "--watch", port]
        assert main(arguments) == 1
        assert "take another one, or 0 for any" in capsys.readouterr().err


def test_event_files(tmp_path, capsys):
    pytest.importorskip("tensorboardX")
    trained(tmp_path / "log", steps=2).close()
    assert main(["watch", str(tmp_path / "log"), "--tensorboard", str(tmp_path / "runs")]) == 0
    assert capsys.readouterr().out == f"wrote {tmp_path / 'runs'}\n"
    assert len(list((tmp_path / "runs").iterdir())) == 1
