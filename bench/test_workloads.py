# SPDX-License-Identifier: BSD-3-Clause
"""fastnn's own speed, in one process, as answers to questions; takes some minutes.

    python -m pytest bench --benchmark-json=bench.json --benchmark-group-by=group

Each output is compared with NumPy's (or, where NumPy has no way, PyTorch's) before it is timed;
``--benchmark-disable`` only compares. Against other libraries: ``fastnn bench --peers``.
"""

import importlib
import math
import time

import networks
import pytest

import fastnn as fnn
from fastnn.bench import lib_fastnn, lib_numpy
from fastnn.bench.contest import difference
from fastnn.bench.job import UnsupportedError
from fastnn.bench.suites import suite
from fastnn.bench.workloads import Workload
from fastnn.config import config, cpu_name

SUITE = suite()
SECONDS = 0.2  # of measuring, for each
LARGE = 2e11  # flops in a step: those take minutes to check, and `fastnn bench` measures them


def of_groups(groups: list[list[Workload]]) -> list[Workload]:
    works = [work for group in groups for work in group]
    return [work for work in works if work.flops < LARGE]


QUESTIONS = {
    "how fast is a training step?": [
        w for w in SUITE.rows if w.kind in ("step", "infer") and w.flops < LARGE
    ],
    "how fast is a kernel?": [w for w in SUITE.rows if w.kind not in ("step", "infer")],
    "what does sigmoid cost a network?": of_groups(SUITE.networks),
    "what does an activation cost, alone?": of_groups(SUITE.costs),
    "what does an activation cost a training step?": of_groups(SUITE.shares),
    **{f"how fast are the layers of {net}?": works for net, works in networks.all_nets().items()},
}
CASES = [
    pytest.param(question, work, id=networks.plain(f"{question.rstrip('?')}: {work.name}"))
    for question, works in QUESTIONS.items()
    for work in works
]


def expected(work: Workload) -> dict:
    """Return what another library computes; skip if none can."""
    try:
        return lib_numpy.open_library(1).job(work).outputs()
    except UnsupportedError as error:
        why = str(error)
    try:
        torch = importlib.import_module("fastnn.bench.lib_torch")
        return torch.open_library(fnn.get_num_threads()).job(work).outputs()
    except ModuleNotFoundError:
        pytest.skip(f"nothing to compare with: NumPy: {why}; PyTorch is not installed")


@pytest.mark.parametrize(("question", "work"), CASES)
def test_speed(question, work, benchmark, roofs):
    try:
        job = lib_fastnn.open_library(fnn.get_num_threads()).job(work)
    except UnsupportedError as error:
        pytest.skip(str(error))
    found = difference(job.outputs(), expected(work), work)
    assert not found, found
    benchmark.group = question
    prepare = job.prepare or (lambda: None)
    prepare()
    start = time.perf_counter()
    job.run()
    one = max(time.perf_counter() - start, 1e-7)
    rounds = max(5, min(50, math.ceil(SECONDS / one)))
    # A forward pass before each backward one is not timed, so that those run once a round.
    calls = 1 if job.prepare else max(1, min(10_000, math.ceil(SECONDS / rounds / one)))
    benchmark.pedantic(
        job.run, setup=job.prepare, rounds=rounds, iterations=calls,
        warmup_rounds=0 if one > SECONDS else 2,
    )  # fmt: skip
    if benchmark.stats is not None:  # None under --benchmark-disable
        speed, unit = work.rate(benchmark.stats.stats.median)
        benchmark.extra_info.update({
            unit: round(speed, 3), "% of peak": round(100 * speed / roofs[unit], 1),
            "CPU": cpu_name(), "target": str(config()["target"]), "threads": fnn.get_num_threads(),
            **work.args,
        })  # fmt: skip
