# SPDX-License-Identifier: BSD-3-Clause
"""``--compare``: a ratio is worse only beyond the noise of both runs, against the same peer."""

import pytest

from fastnn.bench import cli, compare, results
from fastnn.bench.contest import Row, Timing
from fastnn.bench.nets import train_step
from fastnn.bench.workloads import matmul


def a_run(ours: float, peers: dict[str, float], spread: float = 0.0, **more) -> results.Run:
    def timing(seconds):
        return Timing(tuple(seconds * (1 + k * spread) for k in (-2, -1, 0, 1, 2)))

    times = {"fastnn": timing(ours), **{name: timing(t) for name, t in peers.items()}}
    row = Row(matmul(8, 8, 8), times, no_peers={"fastnn", "copy"}, **more)
    info = {"cpu": "test", "cores": 2, "threads": 2, "target": "avx2", "rounds": 5}
    return results.Run(info, [row])


@pytest.mark.parametrize(
    ("old", "new", "spread", "verdict"),
    [
        (1.0, 1.0, 0.0, ""),
        (1.0, 1.08, 0.0, ""),  # within the threshold
        (1.0, 1.25, 0.0, "worse"),
        (1.25, 1.0, 0.0, "better"),
        (1.0, 1.25, 0.2, ""),  # within the noise: 2 · √4 · 0.2
        (1.0, 3.0, 0.1, "worse"),
    ],
)
def test_verdicts(old, new, spread, verdict):
    peers = {"PyTorch": 2.0}
    (change,) = compare.changes(a_run(old, peers, spread), a_run(new, peers, spread))
    assert change.verdict == verdict
    assert change.relative == pytest.approx(old / new - 1)
    assert change.allowed == pytest.approx(max(0.1, 2 * 2 * spread))


def test_the_opponent_is_one_of_both_runs():
    old = a_run(1.0, {"JAX": 1.5, "PyTorch": 2.0})
    new = a_run(1.0, {"PyTorch": 2.0, "NumPy": 0.5, "copy": 0.1})
    (change,) = compare.changes(old, new)
    assert (change.opponent, change.old, change.new) == ("PyTorch", 2.0, 2.0)
    assert compare.changes(a_run(1.0, {"JAX": 1.0}), a_run(1.0, {"NumPy": 1.0})) == []


def test_a_row_that_fails_now_is_worse():
    good = a_run(1.0, {"PyTorch": 2.0})
    for how in ({"failure": "wrong"}, {"unsupported": "gone"}):
        bad = results.Run(good.info, [Row(matmul(8, 8, 8), **how)])
        assert compare.broken(good, bad) == ["matmul 8×8×8"] and compare.broken(bad, good) == []
        assert compare.changes(good, bad) == []


def test_sigmoid_in_a_network_is_compared():
    def run(sigmoid):
        rows = [Row(train_step("tiny_mlp", 8, fn), {"fastnn": Timing((t,) * 5)})
                for fn, t in (("relu", 1.0), ("sigmoid", sigmoid))]  # fmt: skip
        return results.Run({"rounds": 5}, networks=[rows])

    (change,) = compare.changes(run(1.0), run(1.25))
    assert (change.opponent, change.verdict) == ("sigmoid", "worse")
    assert change.relative == pytest.approx(-0.2)


def test_what_was_different_is_told():
    old, new = a_run(1.0, {}), a_run(1.0, {})
    new.info |= {"threads": 1, "isa": "avx2"}
    assert compare.differences(old, new) == [
        "threads differs: 2 then, 1 now", "isa differs: None then, avx2 now",
    ]  # fmt: skip


@pytest.mark.parametrize(("ours", "code"), [(1.0, 0), (1.5, 1), (0.5, 0)])
def test_exit_code(tmp_path, capsys, ours, code):
    import argparse

    files = [tmp_path / "old.json", tmp_path / "new.json"]
    for path, seconds in zip(files, (1.0, ours), strict=True):
        path.write_text(results.as_json(a_run(seconds, {"PyTorch": 2.0})), encoding="utf-8")
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    args = parser.parse_args(["--load", str(files[1]), "--compare", str(files[0])])
    assert cli.run(args) == code
    out = capsys.readouterr().out
    assert f"compared 1 ratios: {code} worse" in out
    assert ("worse" in out.split("compared")[0]) == bool(code)
