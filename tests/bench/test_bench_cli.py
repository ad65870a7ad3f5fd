# SPDX-License-Identifier: BSD-3-Clause
"""``fastnn bench``: its options, its exit codes, and the files that it writes."""

import argparse
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from fastnn.bench import cli, machine, results
from fastnn.bench.contest import Contender, Row, Timing
from fastnn.bench.workloads import BACKWARD, IN_CACHE, activation, matmul, question, step

ENV = {"PYTHONPATH": str(Path(__file__).parent / "libraries")}


def timing(ms: float) -> Timing:
    return Timing((ms * 1e-3,) * 5)


def parse(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fastnn bench")
    cli.add_arguments(parser)
    return parser.parse_args(argv)


@pytest.fixture
def dummies(monkeypatch):
    """Put dummy libraries into the ring: ours, one that is there, one that is not."""

    def enter(wrong: float = 0.0) -> None:
        monkeypatch.setattr(
            cli, "OURS", Contender("fastnn", "dummy_library", {"wrong": wrong}, ENV)
        )
        monkeypatch.setattr(cli, "NUMPY", Contender("there", "dummy_library", {}, ENV))
        monkeypatch.setattr(
            cli, "TORCH", Contender("gone", "dummy_library", {"missing": True}, ENV)
        )

    return enter


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--only", "("), "--only must be a regular expression, got '[(]'"),
        (("--only", "no such row"), "--only 'no such row' matches none of\n  tiny_mlp step"),
        (("--threads", "0"), "--threads must be between 1 and .*, got 0"),
        (("--threads", "100000"), "got 100000"),
        (("--json", "/no/such/place/b.json"), "there is no directory /no/such/place"),
    ],
)
def test_usage_errors(argv, message, capsys):
    assert cli.run(parse(*argv)) == 2
    error = capsys.readouterr().err
    assert error.startswith("fastnn bench: error: ")
    assert re.search(message, error)


def test_threads_that_are_no_number(capsys):
    with pytest.raises(SystemExit) as stop:
        parse("--threads", "many")
    assert stop.value.code == 2


def test_a_run_prints_and_writes_everything(dummies, tmp_path, capsys):
    dummies()
    files = [tmp_path / name for name in ("b.json", "b.html", "b.md")]
    args = parse("--quick", "--only", r"^matmul 512", "--threads", "1", "--json", str(files[0]),
                 "--html", str(files[1]), "--markdown", str(files[2]))  # fmt: skip
    assert cli.run(args) == 0
    out, progress = capsys.readouterr()
    assert "[1/1] matmul 512×512×512: " in progress and "× there " in progress
    assert "matmul 512×512×512" in out and "best peer / ours" in out
    assert "not installed, skipped: gone" in out
    saved = json.loads(files[0].read_text(encoding="utf-8"))
    (row,) = saved["rows"]
    assert row["name"] == "matmul 512×512×512" and row["flops"] == 2 * 512**3
    assert list(row["times"]) == ["fastnn", "there"]
    assert len(row["times"]["there"]["rounds"]) == 5 and row["verdict"] in ("ok", "short")
    assert saved["absent"] == {"gone": "No module named 'no_such_module_anywhere'"}
    info = saved["info"]
    assert {"cpu", "threads", "date", "python", "commit", "target", "versions"} <= set(info)
    assert info["threads"] == 1 and info["memory copy, GB/s"] > 0
    command = "fastnn bench --quick --only '^matmul 512' --threads 1"
    assert command in files[2].read_text(encoding="utf-8")
    page = ElementTree.fromstring(files[1].read_text(encoding="utf-8").split("\n", 1)[1])
    assert command in "".join(page.itertext())


def test_a_mismatch_exits_with_1(dummies, capsys):
    dummies(wrong=1.0)
    assert cli.run(parse("--quick", "--only", "^matmul 512")) == 1
    out = capsys.readouterr().out
    assert "FAILED matmul 512×512×512: against there: c differs by 1" in out


def test_an_interrupted_run_shows_what_it_has(dummies, monkeypatch, capsys):
    dummies()
    measure, calls = cli.Field.measure, []

    def interrupted(self, *args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return measure(self, *args)

    monkeypatch.setattr(cli.Field, "measure", interrupted)
    assert cli.run(parse("--quick", "--only", "^matmul")) == 1
    out = capsys.readouterr().out
    assert "interrupted: after 1 of 2 workloads" in out and "matmul 512×512×512" in out


def test_ours_that_cannot_start_exits_with_1(monkeypatch, capsys):
    monkeypatch.setattr(cli, "OURS", Contender("fastnn", "dummy_library", {"refuses": True}, ENV))
    assert cli.run(parse("--quick", "--only", "^matmul 512")) == 1
    assert "fastnn: RuntimeError: no licence" in capsys.readouterr().err


def test_variants_are_checked_against_peers_and_timed_against_each_other():
    ours = Contender("fastnn", "dummy_library", {"sleep": 0.01}, ENV)
    peer = Contender("peer", "dummy_library", {}, ENV)
    works = [matmul(2, 2, 2), matmul(3, 3, 3)]
    with cli.Field(ours, (peer,), threads=1) as field:
        rows = cli.among_ourselves(works, field, rounds=5, seconds=0.01)
    assert [row.work for row in rows] == works
    assert all(list(row.timings) == ["fastnn"] and not row.failure for row in rows)
    assert all(len(row.timings["fastnn"].rounds) == 5 for row in rows)


def test_peers_adds_contenders_but_quick_does_not_compile(monkeypatch):
    seen = []
    monkeypatch.setattr(cli, "bench", lambda *a: seen.append([p.name for p in a[3]]) or results.Run(
        {"rounds": 5}
    ))  # fmt: skip
    for argv in ((), ("--peers",), ("--peers", "--quick")):
        assert cli.run(parse(*argv)) == 0
    assert seen[0] == ["NumPy", "PyTorch"]
    assert set(seen[1]) - set(seen[0]) == {
        "PyTorch tuned", "PyTorch compiled", "JAX", "scikit-learn"
    }  # fmt: skip
    assert set(seen[1]) - set(seen[2]) == {"PyTorch compiled"}


# --- tables ---------------------------------------------------------------------------------------


def a_run() -> results.Run:
    run = results.Run({"cpu": "test", "rounds": 7, "commit": None}, absent={"JAX": "no"})
    for fn, ms in (("relu", 0.01), ("sigmoid", 0.02)):
        for direction in ("forward", BACKWARD):
            row = Row(activation(fn, IN_CACHE, direction, target=1.0))
            row.timings = {"fastnn": timing(ms), "NumPy": timing(0.015)}
            run.rows.append(row)
    tiny = Row(step("tiny_mlp", 32, target=1.5), no_peers={"fastnn", "NumPy"})
    tiny.timings = {"fastnn": timing(1.0), "NumPy": timing(0.5), "PyTorch": timing(3.0)}
    run.rows += [tiny, Row(matmul(2, 2, 2, target=1.0), failure="against <NumPy> | wrong")]
    for work, ms in zip(question(), (10.0, 12.0, 9.0), strict=True):
        run.question.append(Row(work, {"fastnn": timing(ms)}))
    return run


def test_tables():
    sections = dict(results.sections(a_run()))
    _, cost = sections["ReLU against sigmoid: the function"]
    assert [row[0] for row in cost] == ["relu", "relu", "sigmoid", "sigmoid"]
    assert cost[0][3] == f"{0.01e-3 / IN_CACHE * 1e9:.3f}" and cost[2][5] == "2.00×"
    assert float(cost[0][4]) == pytest.approx(8 * IN_CACHE / 0.01e-3 * 1e-9, abs=0.05)
    _, share = sections["ReLU against sigmoid: a training step"]
    assert [row[2] for row in share] == ["+0.0%", "+20.0%", "-10.0%"]
    assert [row[3] for row in share] == ["10.0%", "25.0%", "0.0%"]
    head, steps = sections["Training steps"]
    assert head[3:5] == ["NumPy, ms", "PyTorch, ms"]
    assert steps[0][1] == "1.00 ±0%" and steps[0][3] == "0.500 ±0%*"
    assert steps[0][-3:] == ["3.00× PyTorch", "≥ 1.5", "ok"]
    _, kernels = sections["Kernels"]
    assert [row[-1] for row in kernels] == ["ok", "ok", "short", "short", "FAILED"]


def test_text_table_is_aligned():
    text = results.text_table((["name", "ms"], [["a", "1.00"], ["longer", "12.00"]]))
    assert text == "name       ms\na        1.00\nlonger  12.00"


@pytest.mark.parametrize(
    ("ms", "text"), [(0.01234, "0.0123"), (0.1234, "0.123"), (1.234, "1.23"), (12.34, "12.3"),
                     (1234.5, "1234")]
)  # fmt: skip
def test_milliseconds(ms, text):
    assert results.milliseconds(ms * 1e-3) == text


def test_formats_agree_and_escape():
    run = a_run()
    markdown = results.as_markdown(run, "fastnn bench")
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    assert all(line.endswith(" |") for line in lines)
    page = ElementTree.fromstring(results.as_html(run, "fastnn bench").split("\n", 1)[1])
    text = "".join(page.itertext())
    for part in ("FAILED matmul 2×2×2: against <NumPy> | wrong", "not installed, skipped: JAX"):
        assert part in text and part in markdown
    assert "3.00× PyTorch" in text and "3.00× PyTorch" in markdown
    saved = json.loads(results.as_json(run))
    assert saved["rows"][4]["ratio"] == pytest.approx(3.0)
    assert saved["rows"][4]["best_peer"] == "PyTorch"
    assert [r["args"]["fn"] for r in saved["question"]] == ["relu", "sigmoid", "identity"]
    assert [r.work.name for r in run.failures] == ["matmul 2×2×2"]


def test_a_busy_machine_is_told():
    for load, told in (("0.2", False), ("1.9", True)):
        run = results.Run({"cores": 2, "load at start": load})
        assert any("busy" in line for line in results.remarks(run)) == told


def test_machine():
    info = machine.describe(2)
    assert info["threads"] == 2 and info["cpu"] and info["date"].endswith("UTC")
    assert info["commit"] is None or len(info["commit"].removesuffix("+changes")) == 40
    rates = machine.copy_bandwidth(2, rounds=3)
    assert set(rates) == {"copy", "in place"}
    assert all(1e8 < rate < 1e13 for rate in rates.values())
