# SPDX-License-Identifier: BSD-3-Clause
"""``fastnn bench``: its options, its exit codes, and the files that it writes."""

import argparse
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from fastnn.bench import charts, cli, display, lib_copy, machine, results, session
from fastnn.bench.contest import Field, Row, Timing
from fastnn.bench.figures import Figure
from fastnn.bench.job import UnsupportedError
from fastnn.bench.nets import train_step
from fastnn.bench.process import Contender
from fastnn.bench.suites import suite
from fastnn.bench.workloads import (
    BACKWARD,
    IN_CACHE,
    IN_MEMORY,
    activation,
    conv,
    goals,
    linear,
    matmul,
)

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
        for name in ("REPLAYED", "YARDSTICK"):
            monkeypatch.setattr(cli, name, Contender(name, "dummy_library", {"does": False}, ENV))

    return enter


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--only", "("), "--only must be a regular expression, got '[(]'"),
        (("--only", "no such row"), "--only 'no such row' matches none of\n  tiny_mlp step"),
        (("--threads", "0"), "--threads must be between 1 and .*, got 0"),
        (("--threads", "100000"), "got 100000"),
        (("--json", "/no/such/place/b.json"), "there is no directory /no/such/place"),
        (("--threshold", "1.5"), "--threshold must be between 0 and 1, got 1.5"),
        (("--compare", "/no/such/file.json"), "No such file"),
        (("--load", __file__), "test_bench_cli.py: not a file that fastnn bench saved"),
    ],
)
def test_usage_errors(argv, message, capsys):
    assert cli.run(parse(*argv)) == 2
    error = capsys.readouterr().err
    assert error.startswith("fastnn bench: error: ")
    assert re.search(message, error)


def test_options_that_argparse_refuses(capsys):
    for argv in (("--threads", "many"), ("--isa", "avx1024")):
        with pytest.raises(SystemExit) as stop:
            parse(*argv)
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
    assert info["threads"] == 1 and info["isa"] == "native" and info["seconds"] >= 0
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
    measure, calls = session.Field.measure, []

    def interrupted(self, *args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return measure(self, *args)

    monkeypatch.setattr(session.Field, "measure", interrupted)
    assert cli.run(parse("--quick", "--only", "^matmul|^conv 3×3 s1 32→32")) == 1
    out = capsys.readouterr().out
    assert "interrupted: after 1 of 3 workloads" in out and "matmul 512×512×512" in out


def test_ours_that_cannot_start_exits_with_1(monkeypatch, capsys):
    monkeypatch.setattr(cli, "OURS", Contender("fastnn", "dummy_library", {"refuses": True}, ENV))
    assert cli.run(parse("--quick", "--only", "^matmul 512")) == 1
    assert "fastnn: RuntimeError: no licence" in capsys.readouterr().err


def test_peers_adds_contenders_but_quick_does_not_compile(monkeypatch):
    seen = []

    def bench(chosen, plan):
        seen.append([p.name for p in plan.peers])
        return results.Run({"rounds": plan.rounds, "isa": plan.isa})

    monkeypatch.setattr(cli, "bench", bench)
    for argv in ((), ("--peers",), ("--peers", "--quick")):
        assert cli.run(parse(*argv)) == 0
    assert seen[0] == ["fastnn compiled", "NumPy", "PyTorch", "copy"]
    assert set(seen[1]) - set(seen[0]) == {
        "PyTorch tuned", "PyTorch compiled", "JAX", "scikit-learn", "ONNX Runtime"
    }  # fmt: skip
    assert set(seen[1]) - set(seen[2]) == {"PyTorch compiled"}


# --- tables ---------------------------------------------------------------------------------------


def a_run(factor: float = 1.0, spread: float = 0.0) -> results.Run:
    """Make up a run; ours takes ``factor`` times as long in rows against peers."""

    def ours(ms: float) -> Timing:
        return Timing(tuple(ms * 1e-3 * (1 + k * spread) for k in (-2, -1, 0, 1, 2)))

    info = {
        "cpu": "test", "rounds": 7, "commit": None, "isa": "avx2", "FMA peak, GFLOP/s": 100.0,
        "memory copy, GB/s": 20.0, "cache copy, GB/s": 80.0,
    }  # fmt: skip
    run = results.Run(info, absent={"JAX": "no"}, skipped=["dance"])
    for fn, ms in (("relu", 0.01), ("sigmoid", 0.02)):
        for direction in ("forward", BACKWARD):
            row = Row(activation(fn, IN_CACHE, direction, **goals(1.0, 1.0)))
            row.timings = {"fastnn": ours(ms * factor), "NumPy": timing(0.015)}
            run.rows.append(row)
    tiny = Row(
        train_step("tiny_mlp", 32, **goals(1.0, 1.5, PyTorch=4.0)),
        no_peers={"fastnn", "fastnn compiled", "copy", "NumPy"},
    )
    tiny.timings = {"fastnn": ours(factor), "NumPy": timing(0.5), "PyTorch": timing(3.0)}
    run.rows += [tiny, Row(matmul(2, 2, 2, **goals(1.0, 1.0)), failure="against <NumPy> | wrong")]
    run.rows.append(Row(matmul(3, 3, 3, **goals(1.0, 1.0)), unsupported="this version has no @"))
    copied = Row(activation("relu", IN_MEMORY, **goals(None, copy=0.9)))
    copied.timings = {"fastnn": ours(2.0), "copy": timing(1.9)}
    run.rows.append(copied)

    def among(works, times):
        return [Row(w, {"fastnn": timing(ms)}) for w, ms in zip(works, times, strict=True)]

    fns = ("relu", "sigmoid", "identity")
    run.shares = [among([train_step("cifar_quick", 128, fn) for fn in fns], (10.0, 12.0, 9.0))]
    pairs = [("cifar_quick", (10.0, 12.0)), ("resnet20", (20.0, 20.4))]
    run.networks = [
        among([train_step(net, 128, fn) for fn in fns[:2]], times) for net, times in pairs
    ]
    run.costs = [
        among([activation(fn, IN_CACHE, d) for fn in fns[:2]], (0.01, 0.02))
        for d in ("forward", BACKWARD)
    ]
    acts = [activation(fn, 4096, d) for fn in fns[:2] for d in ("forward", BACKWARD)]
    convs = [conv(2, 8, 4, 4, 3, direction=d) for d in ("forward", BACKWARD)]
    run.layers = [among([*convs, *acts], (1, 2, 0.25, 0.25, 0.5, 0.5)),
                  among([linear(2, 3, 4), *acts], (1, 0.5, 0.5, 1, 1))]  # fmt: skip
    run.figures = [Figure("faults", 0.0, "a step", 0.0), Figure("speed-up", 1.5, "×", 1.8, False),
                   Figure("memory", None, target=0.7, note="no such op")]  # fmt: skip
    return run


def test_tables():
    run = a_run()
    sections = dict(results.sections(run))
    head, cost = sections["What an activation costs"]
    assert head[1:3] == ["forward, in cache, ns", "backward, in cache, ns"]
    assert [row[0] for row in cost] == ["relu", "sigmoid"]
    assert cost[0][1] == f"{0.01e-3 / IN_CACHE * 1e9:.3f}"
    assert cost[1][3:] == ["12.0", "+20.0%", "25.0%"] and cost[0][5] == "10.0%"
    answer = results.lecture_answer(run)
    assert "+0.305 ns an element forward, in cache (2.00×)" in answer
    assert "+20.0% of a convolutional network's training step" in answer
    _, networks = sections["ReLU against sigmoid: training steps"]
    assert [row[3:] for row in networks] == [["+20.0%", "≤ 5%", "short"], ["+2.0%", "≤ 5%", "ok"]]
    _, layers = sections["ReLU against sigmoid: layers, forward and backward"]
    assert layers[0] == ["conv 3×3 s1 4→4@8² b2", "3.00", "0.500", "1.00", "14.3%", "25.0%"]
    assert layers[1][0] == "linear 2×3×4"
    head, steps = sections["Training steps"]
    assert head[4:6] == ["NumPy, ms", "PyTorch, ms"]
    assert steps[0][1] == "1.00 ±0%" and steps[0][4] == "0.500 ±0%*"
    assert steps[0][-4:] == ["3.00× PyTorch", "≥ 1 ok", "≥ 1.5, ≥ 4 PyTorch", "short"]
    _, kernels = sections["Kernels"]
    assert [row[-1] for row in kernels] == [
        "ok", "ok", "short", "short", "FAILED", "unsupported", "ok",
    ]  # fmt: skip
    assert kernels[-1][3] == "95% of copy" and kernels[-1][-4] == "0.95× copy"
    _, narrow = dict(results.sections(run, wide=False))["Kernels"]
    assert len(narrow[0]) == 8
    _, figures = sections["Other figures"]
    assert [row[1:4] for row in figures] == [
        ["0 a step", "≤ 0", "ok"], ["1.5 ×", "≥ 1.8", "short"], ["–", "≤ 0.7", ""],
    ]  # fmt: skip


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
    page = ElementTree.fromstring(charts.as_html(run, "fastnn bench").split("\n", 1)[1])
    text = "".join(page.itertext())
    for part in ("FAILED matmul 2×2×2: against <NumPy> | wrong", "not installed, skipped: JAX",
                 "this version has no @: matmul 3×3×3", "no time was left for: dance"):  # fmt: skip
        assert part in text and part in markdown
    assert "3.00× PyTorch" in text and "3.00× PyTorch" in markdown
    for chart in ("What an activation costs, in cache", "Share of the activations", "Roofline",
                  "ReLU against sigmoid: time of a training step", "times fastnn's"):  # fmt: skip
        assert chart in text


def test_json_holds_everything():
    run = a_run()
    saved = json.loads(results.as_json(run))
    assert saved["rows"][4]["ratio"] == pytest.approx(3.0)
    assert saved["rows"][4]["best_peer"] == "PyTorch"
    assert [r["args"]["fn"] for r in saved["shares"][0]] == ["relu", "sigmoid", "identity"]
    again = results.from_json(results.as_json(run))
    assert results.as_json(again) == results.as_json(run)
    assert results.sections(again) == results.sections(run)
    assert [r.work.name for r in again.failures] == ["matmul 2×2×2"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"info": {}, "rows": [{}]}'])
def test_json_of_something_else(text):
    with pytest.raises(ValueError, match="not a file that fastnn bench saved"):
        results.from_json(text)


def test_a_saved_run_is_shown_again(tmp_path, capsys):
    path, page = tmp_path / "old.json", tmp_path / "b.html"
    path.write_text(results.as_json(a_run()), encoding="utf-8")
    assert cli.run(parse("--load", str(path), "--html", str(page))) == 1  # it has a failure
    out = capsys.readouterr().out
    assert "tiny_mlp step, batch 32" in out and "faults" in out
    assert "Roofline" in page.read_text(encoding="utf-8")


def test_tables_with_rich_and_without(monkeypatch, capsys):
    pytest.importorskip("rich")
    table = (["name", "verdict"], [["a row", "short"]])
    display.table("plain", table)
    assert capsys.readouterr().out == "plain\nname   verdict\na row    short\n\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    display.table("rich", table)
    out = capsys.readouterr().out
    assert "rich" in out and "a row" in out and "┃" in out


def test_when_the_time_is_over_the_rest_is_named(dummies, monkeypatch, capsys):
    dummies()
    monkeypatch.setitem(session.QUICK, "limit", 0.0)
    assert cli.run(parse("--quick", "--only", "^matmul")) == 0
    assert "no time was left for: matmul 512×512×512" in capsys.readouterr().out


def test_only_keeps_whole_groups():
    chosen, figures = cli._select("sigmoid 4 M, forward", quick=False)
    assert [w.name for w in chosen.rows] == ["sigmoid 4 M, forward"] and not figures
    assert [len(g) for g in chosen.costs] == [len(suite().costs[0])] and not chosen.networks
    chosen, figures = cli._select("^figures$", quick=True)
    assert figures and not chosen.names


def test_a_busy_machine_is_told():
    for load, told in (("0.2", False), ("1.9", True)):
        run = results.Run({"cores": 2, "load at start": load})
        assert any("busy" in line for line in results.remarks(run)) == told


def test_the_load_is_taken_before_the_workers_start(dummies, monkeypatch):
    def describe(threads):
        assert not begun, "what the workers' imports add is not other programs' load"
        return real(threads)

    begun, real = [], machine.describe
    dummies()
    monkeypatch.setattr(machine, "describe", describe)
    monkeypatch.setattr(session, "Field", lambda *args: begun.append(args) or Field(*args))
    assert cli.run(parse("--quick", "--only", "^matmul")) == 0 and begun


def test_rows_that_reach_their_targets_are_counted():
    def row(n, ours, foundation, target):
        work = matmul(n, n, n, **goals(foundation, target))
        return Row(work, {"fastnn": timing(ours), "a": timing(1.0)})

    rows = [row(2, 1.0, 0.8, 2.0), row(3, 1.0, None, 1.0), row(4, 2.0, 0.8, 1.0)]
    assert results.remarks(results.Run({}, rows)) == [
        "1 of 3 rows reach their targets",
        "1 of 2 rows reach the foundation's targets; short: matmul 4×4×4",
    ]
    assert results.remarks(results.Run({})) == []


def test_machine():
    info = machine.describe(2)
    assert info["threads"] == 2 and info["cpu"] and info["date"].endswith("UTC")
    assert info["commit"] is None or len(info["commit"].removesuffix("+changes")) == 40


def test_copy():
    copy = lib_copy.open_library(2)
    rates = copy.bandwidth()
    assert set(rates) == {"memory", "cache"}
    assert all(1e8 < rate < 1e13 for rate in rates.values())
    with pytest.raises(UnsupportedError, match="in cache"):
        copy.job(activation("relu", IN_CACHE))
    for direction in ("forward", BACKWARD):
        assert copy.job(activation("relu", IN_MEMORY, direction)).seconds_per_call(2) > 0
