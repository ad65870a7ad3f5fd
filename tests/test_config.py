"""Threads, targets, the cgroup's quota, the memory pool, fork, and two Python threads at once."""

import gc
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastnn as fnn
import fastnn.functional as F
from fastnn import _core, config


def python(code, **env):
    """Runs code in a fresh interpreter; returns the finished process."""
    return subprocess.run(
        [sys.executable, "-P", "-c", code],  # -P: the installed package
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("target", _core.runnable_targets())
def test_environment_forces_a_target(target):
    code = "from fastnn import _core; print(_core.current_target())"
    assert python(code, FASTNN_CPU=target).stdout.strip() == target


@pytest.mark.parametrize("wrong", ["sse9", "", "AVX2 "])
def test_an_impossible_target_is_an_error_that_lists_the_possible(wrong):
    result = python("import fastnn", FASTNN_CPU=wrong)
    assert result.returncode != 0
    assert "ValueError: FASTNN_CPU: expected one of" in result.stderr
    assert "portable" in result.stderr and repr(wrong) in result.stderr


@pytest.mark.parametrize(
    ("env", "threads"),
    [
        ({"FASTNN_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "5"}, 5),
        ({"OMP_NUM_THREADS": "5,2"}, 5),
        ({"FASTNN_NUM_THREADS": "1", "OMP_NUM_THREADS": "4"}, 1),
    ],
)
def test_environment_sets_the_threads(env, threads):
    clean = {"FASTNN_NUM_THREADS": "", **env}
    out = python("import fastnn; print(fastnn.get_num_threads())", **clean)
    assert out.stdout.strip() == str(threads if _core.has_openmp() else 1), out.stderr


def test_a_wrong_number_of_threads_in_the_environment_is_an_error():
    result = python("import fastnn", FASTNN_NUM_THREADS="many")
    assert "FASTNN_NUM_THREADS: expected an integer in 1..1024, got 'many'" in result.stderr
    result = python("import fastnn", FASTNN_NUM_THREADS="\u00b2", PYTHONUTF8="1")
    assert "FASTNN_NUM_THREADS: expected an integer in 1..1024" in result.stderr


@pytest.mark.parametrize(
    ("n", "error"), [(0, ValueError), (-1, ValueError), (5000, ValueError), (1.5, TypeError),
                     (True, TypeError), ("2", TypeError)],
)  # fmt: skip
def test_set_num_threads_refuses(n, error):
    with pytest.raises(error, match="set_num_threads: n must be"):
        fnn.set_num_threads(n)


@pytest.mark.skipif(not _core.has_openmp(), reason="built without OpenMP")
def test_threadpoolctl_limits_and_restores():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    fnn.set_num_threads(2)
    with threadpoolctl.threadpool_limits(1):
        assert fnn.get_num_threads() == 1
    assert fnn.get_num_threads() == 2


def test_cgroup_quotas(tmp_path):
    own = tmp_path / "cgroup"
    own.write_text("0::/outer/inner\n")
    inner = tmp_path / "fs" / "outer" / "inner"
    inner.mkdir(parents=True)
    (inner / "cpu.max").write_text("max 100000\n")
    assert config._cgroup_quota(tmp_path / "fs", own) is None
    (inner.parent / "cpu.max").write_text("150000 100000\n")  # an outer limit counts too
    assert config._cgroup_quota(tmp_path / "fs", own) == 1.5
    (inner / "cpu.max").write_text("50000 100000\n")
    assert config._cgroup_quota(tmp_path / "fs", own) == 0.5
    (inner / "cpu.max").write_text("nonsense\n")
    assert config._cgroup_quota(tmp_path / "fs", own) == 1.5
    assert config._cgroup_quota(tmp_path / "fs", tmp_path / "absent") is None


def test_cgroup_version_1(tmp_path):
    own = tmp_path / "cgroup"
    own.write_text("3:cpu,cpuacct:/job\n2:memory:/job\n")
    folder = tmp_path / "fs" / "cpu" / "job"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text("300000\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    assert config._cgroup_quota(tmp_path / "fs", own) == 3.0
    (folder / "cpu.cfs_quota_us").write_text("-1\n")
    assert config._cgroup_quota(tmp_path / "fs", own) is None


def test_usable_cores_is_at_least_one(monkeypatch):
    monkeypatch.setattr(config, "_cgroup_quota", lambda: 0.2)
    assert config.usable_cores() == 1


def test_show_config_tells_target_and_threads(capsys):
    fnn.show_config()
    out = capsys.readouterr().out
    assert _core.current_target() in out and "threads" in out and fnn.__version__ in out


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_computes_instead_of_hanging():
    code = """
import os, sys, numpy as np, fastnn as fnn
fnn.set_num_threads(4)
a = np.random.default_rng(0).normal(size=(600, 600)).astype(np.float32)
before = (fnn.from_numpy(a) @ fnn.from_numpy(a)).numpy().tobytes()
child = os.fork()
if child == 0:
    same = (fnn.from_numpy(a) @ fnn.from_numpy(a)).numpy().tobytes() == before
    os._exit(0 if same and fnn.get_num_threads() == 1 else 1)
_, status = os.waitpid(child, 0)
again = (fnn.from_numpy(a) @ fnn.from_numpy(a)).numpy().tobytes() == before
sys.exit(status or not again)
"""
    result = python(code)
    assert result.returncode == 0, result.stderr


def test_two_python_threads_compute_at_once():
    rng = np.random.default_rng(1)
    inputs = [rng.normal(size=(300, 300)).astype(np.float32) for _ in range(4)]
    expected = [(fnn.from_numpy(a) @ fnn.from_numpy(a)).numpy().tobytes() for a in inputs]
    wrong = []

    def work(i):
        for _ in range(20):
            a = fnn.from_numpy(inputs[i])
            if (a @ a).numpy().tobytes() != expected[i]:
                wrong.append(i)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_freed_blocks_are_used_again_and_given_back():
    fnn.empty_cache()
    x = fnn.zeros(1 << 20)
    before = _core.memory_stats()
    for _ in range(10):
        y = F.relu(x)
        del y
    after = _core.memory_stats()
    assert after["system_allocations"] == before["system_allocations"] + 1
    assert after["in_use"] == before["in_use"]
    assert after["cached"] >= 4 << 20
    fnn.empty_cache()
    assert _core.memory_stats()["cached"] == 0


@pytest.mark.parametrize("shape", [(1 << 62,), (1 << 40, 1 << 40), (1 << 45,)])
def test_too_large_is_a_memory_error_and_the_next_call_works(shape):
    with pytest.raises(MemoryError):
        fnn.empty(*shape)
    assert fnn.zeros(3).sum().item() == 0


def test_blocks_are_aligned():
    for n in (1, 3, 100, 5000, 1 << 20):
        assert fnn.empty(n).numpy().ctypes.data % 64 == 0


def test_peak_runs_the_operations_it_reports():
    assert _core.run_peak(1000) == _core.run_peak(500) * 2 > 0


def test_a_view_collected_in_a_cycle_leaves_its_owner_alone():
    t = fnn.ones((64, 64))
    cycle = [t.reshape(4096)]
    cycle.append(cycle)
    del cycle
    gc.collect()
    others = [fnn.zeros((64, 64)) for _ in range(3)]
    assert t.sum().item() == 4096 and not any(z.numpy().any() for z in others)


def test_pow_does_not_depend_on_the_thread_count():
    a = fnn.tensor(np.linspace(0.1, 3, 513 * 32, dtype=np.float32).reshape(513, 32))
    b = fnn.full((513, 1), 3.0)
    fnn.set_num_threads(1)
    alone = (a**b).numpy().tobytes()
    fnn.set_num_threads(2)
    assert (a**b).numpy().tobytes() == alone


@pytest.mark.parametrize("env", [{"OMP_THREAD_LIMIT": "1"}, {"OMP_THREAD_LIMIT": "2"}])
def test_fewer_threads_than_asked_for_take_over_the_tasks_of_the_missing(env):
    code = """
import hashlib, numpy as np, fastnn as fnn
x = np.random.default_rng(0).standard_normal((8, 32, 32, 16)).astype("f4")
w = np.random.default_rng(1).standard_normal((32, 3, 3, 16)).astype("f4")
y = fnn.functional.conv2d(fnn.from_numpy(x), fnn.from_numpy(w), padding=1)
print(hashlib.sha256(y.numpy().tobytes()).hexdigest())
"""
    alone, few = python(code, FASTNN_NUM_THREADS="1"), python(code, FASTNN_NUM_THREADS="4", **env)
    assert alone.returncode == few.returncode == 0, alone.stderr + few.stderr
    assert few.stdout == alone.stdout
