# SPDX-License-Identifier: BSD-3-Clause
"""The bench's referee: it compares before it times, times by turns, and survives its contenders."""

import itertools
import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fastnn.bench import contest
from fastnn.bench.contest import Field, Timing, difference, take_turns
from fastnn.bench.job import Job
from fastnn.bench.process import (
    AbsentError,
    Contender,
    Seat,
    Worker,
    WorkerError,
    environment,
    outputs,
)
from fastnn.bench.worker import timed
from fastnn.bench.workloads import BEST, COPY, Workload, activation, goals, matmul

WORK = matmul(3, 4, 5, **goals(None, 1.0))
ENV = {"PYTHONPATH": str(Path(__file__).parent / "libraries")}
NAN = float("nan")


def dummy(name: str, kinds=None, by_hand=(), **options) -> Contender:
    return Contender(name, "dummy_library", {"name": name, **options}, ENV, kinds, by_hand)


def log_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def state_of(pid: str) -> str:
    """Return the state letter of a process: T is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


# --- comparing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "other", "message"),
    [
        ({"y": [1.0, 2.0]}, {"y": [1.0, 2.0]}, ""),
        ({"y": [1.0, 2.0]}, {"y": [1.0001, 2.0]}, ""),  # within 1e-4 of the largest
        ({"y": [1.0, 2.0]}, {"y": [1.001, 2.0]}, "y differs by 0.001"),
        ({"y": [0.0, 0.0]}, {"y": [1.0, 2.0]}, "y differs by 2"),
        ({"y": [1.0, 2.0]}, {"y": [0.0, 0.0]}, "y differs by 2"),
        ({"y": [1.0, NAN]}, {"y": [1.0, NAN]}, "y is not finite"),
        ({"y": [1.0, np.inf]}, {"y": [1.0, np.inf]}, "y is not finite"),
        ({"y": [1.0, 2.0]}, {"y": [[1.0, 2.0]]}, r"y has shapes \(2,\) and \(1, 2\)"),
        ({"y": [1.0]}, {"z": [1.0]}, r"outputs are \['y'\] and \['z'\]"),
        ({"y": [1.0]}, {"y": [1.0], "z": [1.0]}, "outputs are"),
        ({"y": [], "z": [1.0]}, {"y": [], "z": [3.0]}, "z differs by 2"),
    ],
)
def test_difference(ours, other, message):
    work = Workload("w", "matmul", tolerance=1e-4)
    arrays = [{k: np.array(v, np.float32) for k, v in side.items()} for side in (ours, other)]
    found = difference(*arrays, work)
    if message:
        assert re.search(message, found), found
    else:
        assert found == ""


def test_difference_is_taken_in_float64_and_the_floor_is_added():
    big = {"y": np.array([1e8], np.float32)}
    near = {"y": np.array([1e8 + 1.0], np.float64)}
    assert "differs by 1 " in difference(big, near, Workload("w", "k", tolerance=0.0))
    assert difference(big, near, Workload("w", "k", tolerance=0.0, floor=1.0)) == ""


# --- statistics -----------------------------------------------------------------------------------


def test_timing_is_the_median_with_half_the_interquartile_range():
    timing = Timing((5.0, 1.0, 3.0, 2.0, 4.0))
    assert timing.median == 3.0
    assert timing.spread == pytest.approx((4.0 - 2.0) / 2 / 3.0)
    assert Timing((1.0, 1.0, 1.0, 1.0, 100.0)).median == 1.0  # one disturbed round


def test_ratio_and_verdict():
    row = contest.Row(matmul(2, 2, 2, **goals(None, 1.5)))
    assert (row.ratio, row.best_peer, row.verdict) == (None, None, "")
    row.timings = {"fastnn": Timing((1.0, 1.0)), "a": Timing((3.0, 3.0)), "b": Timing((2.0, 2.0))}
    assert (row.ratio, row.best_peer, row.verdict) == (2.0, "b", "ok")
    row.no_peers = {"fastnn", "b"}
    assert (row.ratio, row.best_peer) == (3.0, "a")
    row.timings["fastnn"] = Timing((4.0, 4.0))
    assert (row.ratio, row.verdict) == (0.75, "short")
    row.failure = "wrong"
    assert row.verdict == "FAILED"


def test_targets_against_several_opponents():
    row = contest.Row(matmul(2, 2, 2, **goals(0.5, 2.0, PyTorch=2.5, copy=0.9)))
    row.timings = {"fastnn": Timing((1.0, 1.0)), "JAX": Timing((2.2, 2.2))}
    assert row.verdict == "ok"  # the others were not timed
    row.timings["PyTorch"] = Timing((2.4, 2.4))
    assert row.best_peer == "JAX" and row.against("PyTorch") == 2.4
    assert row.verdict == "short" and row.judge(row.work.foundation) == "ok"
    row.timings["PyTorch"] = Timing((2.6, 2.6))
    row.timings[COPY] = Timing((0.8, 0.8))
    assert row.best_peer == "JAX" and row.verdict == "short"  # a copy is no peer, but a target
    row.timings[COPY] = Timing((0.95, 0.95))
    assert row.verdict == "ok" and row.against("NumPy") is None
    row.timings["fastnn compiled"] = Timing((0.5, 0.5))
    assert row.ours == "fastnn compiled" and row.against(BEST) == 4.4


def test_rms_difference():
    work = Workload("w", "k", metric="rms", tolerance=0.1)
    other = {"y": np.array([1.0, 1.0, 1.0, 1.0])}
    assert difference({"y": np.array([1.0, 1.0, 1.0, 1.19])}, other, work) == ""
    assert "rms value 1" in difference({"y": np.array([1.0, 1.0, 1.0, 1.21])}, other, work)


# --- workers --------------------------------------------------------------------------------------


def test_environment_has_equal_threads_and_nothing_forced(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("OPENBLAS_L2_SIZE", "512")
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    env = environment(3, {"EXTRA": "1"})
    assert "OPENBLAS_CORETYPE" not in env and "OPENBLAS_L2_SIZE" not in env
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "FASTNN_NUM_THREADS")
    assert [env[name] for name in names] == ["3"] * 4
    assert env["EXTRA"] == "1" and env["PATH"] == os.environ["PATH"]


def test_a_worker_answers_and_does_not_load_fastnn(monkeypatch, tmp_path):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    worker = Worker(dummy("a"), threads=1)
    try:
        assert worker.versions["a"] == "1.0" and worker.config == {"target": "dummy"}
        assert worker.versions["threads"] == worker.versions["environment"] == "1"
        assert worker.versions["forced"] == "unset"
        assert worker.versions["loaded fastnn"] == "False"
        assert worker.ask("peak", seconds=0.01) == {"flops": None}
        with pytest.raises(WorkerError, match="a: RuntimeError: time: no workload was set up"):
            worker.ask("time", calls=1, untimed=0)
        with pytest.raises(WorkerError, match="unknown request 'jump'"):
            worker.ask("setup", workload=WORK.as_json())
            worker.ask("jump")
        c = outputs(worker)["c"]
        assert c.shape == (3, 4) and c.dtype == np.float32 and c.std() > 0
        assert worker.ask("setup", workload=activation("relu", 8).as_json()) == {
            "unsupported": "no activation"
        }
    finally:
        worker.close()
    assert not worker.alive
    with pytest.raises(WorkerError, match="a: its process has ended"):
        worker.ask("peak", seconds=0.01)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_worker_is_stopped_except_while_it_answers():
    worker = Worker(dummy("a"), threads=1)
    try:
        for _ in range(2):
            deadline = time.monotonic() + 5
            while state_of(worker.versions["pid"]) != "T" and time.monotonic() < deadline:
                time.sleep(0.001)
            assert state_of(worker.versions["pid"]) == "T"
            worker.ask("setup", workload=WORK.as_json())
    finally:
        worker.close()


def test_absent_broken_dead_and_silent_workers():
    with pytest.raises(AbsentError, match="no_such_module_anywhere"):
        Worker(dummy("a", missing=True), 1)
    with pytest.raises(WorkerError, match="a: RuntimeError: no licence"):
        Worker(dummy("a", refuses=True), 1)
    with pytest.raises(WorkerError, match=r"a: its process ended \(exit code 3\): .*goodbye"):
        Worker(dummy("a", exits=True), 1)
    worker = Worker(dummy("a", sleep=30.0), 1)
    worker.timeout = 0.2
    worker.ask("setup", workload=WORK.as_json())
    with pytest.raises(WorkerError, match=r"a: no answer within 0.2 s"):
        worker.ask("time", calls=1, untimed=0)
    assert not worker.alive


# --- the contest ----------------------------------------------------------------------------------


def test_turns_alternate(tmp_path):
    log = tmp_path / "log"
    names = ("a", "b", "c")
    with Field(dummy("a", log=str(log), sleep=0.01), tuple(
        dummy(n, log=str(log), sleep=0.01) for n in names[1:]
    ), threads=1) as field:  # fmt: skip
        row, ready = field.check(WORK)
        assert row.failure == "" and list(ready) == list(names)
        timings = take_turns(ready, rounds=5, seconds=0.02)
    for timing in timings.values():
        assert len(timing.rounds) == 5
        assert 0.01 <= timing.median < 0.1
    runs = [line.split()[0] for line in log_of(log)]
    turns = [name for name, _ in itertools.groupby(runs)]
    assert turns == list(names) * 6  # a warm-up and five rounds


def test_a_wrong_result_is_a_failure_and_never_timed(tmp_path):
    log = tmp_path / "log"
    with Field(
        dummy("ours", log=str(log), wrong=0.1),
        (dummy("peer", log=str(log)), dummy("second", log=str(log))),
        threads=1,
    ) as field:
        row = field.measure(WORK, rounds=5, seconds=0.01)
    assert "against peer: c differs by 0.1" in row.failure
    assert "against second: c differs by 0.1" in row.failure
    assert row.timings == {} and row.verdict == "FAILED" and log_of(log) == []


def test_absent_and_broken_peers_are_named_and_the_others_timed():
    peers = (
        dummy("absent", missing=True), dummy("refusing", refuses=True), dummy("able"),
        dummy("unable", does=False), dummy("other", kinds=("step",)),
        dummy("raising", dies="raise"), dummy("dying", dies="check"), dummy("late", dies="run"),
    )  # fmt: skip
    with Field(dummy("fastnn"), peers, threads=1) as field:
        row = field.measure(WORK, rounds=5, seconds=0.005)
        again = field.measure(WORK, rounds=5, seconds=0.005)
        assert list(field.absent) == ["absent"]
        assert "no_such_module_anywhere" in field.absent["absent"]
        assert field.broken == {"refusing": "refusing: RuntimeError: no licence"}
    assert row.failure == "" and list(row.timings) == ["fastnn", "able"]
    assert row.notes[0] == "raising: FloatingPointError: this is not good"
    assert "dying: its process ended (exit code 7)" in row.notes[1]
    assert "late: its process ended (exit code 7)" in row.notes[2]
    assert [note.split(":")[0] for note in again.notes] == ["raising", "dying", "late"]
    assert again.failure == "" and list(again.timings) == ["fastnn", "able"]


@pytest.mark.parametrize("dies", ["check", "run", "raise"])
def test_ours_that_breaks_is_a_failure_and_the_next_row_goes_on(dies):
    with Field(dummy("ours", dies=dies), (dummy("peer"),), threads=1) as field:
        for _ in range(2):
            row = field.measure(WORK, rounds=5, seconds=0.005)
            assert row.failure.startswith("ours: ") and row.timings == {}


def test_what_is_done_by_hand_is_compared_but_no_peer():
    peers = (dummy("by hand", by_hand=("matmul",), wrong=0.0), dummy("peer", sleep=0.02))
    with Field(dummy("fastnn", sleep=0.01), peers, threads=1) as field:
        row = field.measure(WORK, rounds=5, seconds=0.005)
    assert set(row.timings) == {"fastnn", "by hand", "peer"}
    medians = {name: timing.median for name, timing in row.timings.items()}
    assert row.best_peer == "peer"
    assert row.ratio == pytest.approx(medians["peer"] / medians["fastnn"])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills orphans")
def test_workers_end_with_a_parent_that_is_killed():
    script = (
        "import os, signal\n"
        "from fastnn.bench.contest import Contender, Worker\n"
        f"worker = Worker(Contender('a', 'dummy_library', {{'name': 'a'}}, {ENV}), 1)\n"
        "print(worker.versions['pid'], flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    deadline = time.monotonic() + 5
    while Path(f"/proc/{int(done.stdout)}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{int(done.stdout)}").exists()


def test_no_process_is_left(tmp_path):
    with Field(dummy("a"), (dummy("b"),), threads=1) as field:
        pids = [int(w.versions["pid"]) for w in field.workers.values()]
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_workload_that_ours_cannot_do_is_unsupported_and_no_failure():
    with Field(dummy("fastnn", does=False), (dummy("peer"),), threads=1) as field:
        row = field.measure(WORK, rounds=5, seconds=0.005)
    assert (row.verdict, row.unsupported, row.failure, row.timings) == (
        "unsupported", "no matmul", "", {},
    )  # fmt: skip


def test_workloads_among_ourselves_are_checked_and_take_turns(tmp_path):
    log = tmp_path / "log"
    works = [matmul(2, 2, 2), matmul(3, 3, 3), Workload("no", "dance")]
    with Field(
        dummy("fastnn", log=str(log), sleep=0.01), (dummy("peer"), dummy("other", wrong=1.0)), 1
    ) as field:
        rows = field.among_ourselves(works, ("peer",), rounds=5, seconds=0.01)
        assert [row.work for row in rows] == works
        assert [list(row.timings) for row in rows] == [["fastnn"], ["fastnn"], []]
        assert all(len(row.timings["fastnn"].rounds) == 5 for row in rows[:2])
        assert rows[2].unsupported == "no dance"
        (wrong,) = field.among_ourselves(works[:1], ("other",), rounds=5, seconds=0.01)
        assert "against other: c differs by 1" in wrong.failure and not wrong.timings


def test_what_no_other_library_checks_is_said():
    yardstick = Contender("copy", "dummy_library", {}, ENV, yardstick=True)
    with Field(dummy("fastnn"), (yardstick,), threads=1) as field:
        row = field.measure(WORK, rounds=5, seconds=0.005)
    assert row.notes == ["no other library that could check the result"]
    assert set(row.timings) == {"fastnn", "copy"} and row.ratio is None


def test_who_is_far_behind_plays_fewer_rounds(tmp_path):
    with Field(dummy("fastnn"), (dummy("slow", sleep=0.03),), threads=1) as field:
        row = field.measure(WORK, rounds=7, seconds=0.01)
    assert [len(timing.rounds) for timing in row.timings.values()] == [7, 5]


def test_a_worker_holds_jobs_in_slots():
    with Field(dummy("fastnn"), (), threads=1) as field:
        worker = field.workers["fastnn"]
        for slot, n in ((0, 2), (1, 3)):
            Seat(worker, slot).ask("setup", workload=matmul(n, n, n).as_json())
        assert [outputs(Seat(worker, slot))["c"].shape for slot in (0, 1)] == [(2, 2), (3, 3)]
        usage = Seat(worker, 0).ask("usage", calls=2)
        assert usage["faults"] >= 0 and usage["resident"] > 1e6
        worker.ask("setup", workload=matmul(4, 4, 4).as_json())  # empties the others
        with pytest.raises(WorkerError, match="time: no workload was set up"):
            Seat(worker, 1).ask("time", calls=1, untimed=0)


def test_a_turn_that_other_work_slows_down_ends_early():
    calls = []
    slow = Job(lambda: time.sleep(0.01), dict)
    slow.seconds_per_call = lambda n: calls.append(n) or time.sleep(0.01 * n) or 0.01
    assert timed(slow, 80, limit=0.05) == pytest.approx(0.01)
    assert calls == [10]
    calls.clear()
    assert timed(slow, 5, limit=math.inf) == pytest.approx(0.01) and sum(calls) == 5
