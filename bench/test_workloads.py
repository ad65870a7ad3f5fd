# SPDX-License-Identifier: BSD-3-Clause
"""fastnn's own speed, in one process: the rows of ``fastnn bench`` and real networks' layers.

    python -m pytest bench --benchmark-json=bench.json --benchmark-group-by=group

Each output is compared with NumPy's before it is timed; ``--benchmark-disable`` only compares.
Against other libraries: ``fastnn bench --peers``.
"""

import networks
import pytest

import fastnn as fnn
from fastnn.bench import lib_fastnn, lib_numpy
from fastnn.bench.contest import difference
from fastnn.bench.workloads import Workload, question, suite

ROWS = suite() + [w for w in question() if w.args["fn"] != "relu"]  # that one is in the suite


def plain(work: Workload) -> str:
    """Name a test so that it can be typed."""
    return work.name.translate(str.maketrans({"×": "x", "→": "-", "²": None}))


def measure(work: Workload, benchmark) -> None:
    """Compare with NumPy, then time."""
    job = lib_fastnn.open_library(fnn.get_num_threads()).job(work)
    expected = lib_numpy.open_library(1).job(work).outputs()
    found = difference(job.outputs(), expected, work)
    assert not found, found
    benchmark.group = work.group
    if job.prepare is None:
        benchmark(job.run)
    else:  # an untimed forward pass before each backward one
        benchmark.pedantic(job.run, setup=job.prepare, rounds=20, warmup_rounds=2)
    if benchmark.stats is not None:  # None under --benchmark-disable
        speed, unit = work.rate(benchmark.stats.stats.median)
        benchmark.extra_info.update({unit: speed, "threads": fnn.get_num_threads(), **work.args})


@pytest.mark.parametrize("work", ROWS, ids=plain)
def test_row(work, benchmark):
    measure(work, benchmark)


@pytest.mark.parametrize("work", networks.all_layers(), ids=plain)
def test_layer(work, benchmark):
    measure(work, benchmark)
