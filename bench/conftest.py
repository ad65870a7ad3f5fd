# SPDX-License-Identifier: BSD-3-Clause
"""What every saved benchmark says about the machine that it ran on, and the roofs of this run."""

from typing import Any

import pytest

import fastnn as fnn
from fastnn.bench import lib_copy, lib_fastnn, machine
from fastnn.config import config


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    shown = {k: v for k, v in config().items() if k in ("fastnn", "target", "OpenMP", "compiler")}
    machine_info["fastnn"] = {**machine.describe(fnn.get_num_threads()), **shown}


@pytest.fixture(scope="session")
def roofs() -> dict[str, float]:
    """Peak flops per second, and bytes per second of a copy in memory, measured now."""
    threads = fnn.get_num_threads()
    bandwidth = lib_copy.open_library(threads).bandwidth()  # type: ignore[attr-defined]
    peak = lib_fastnn.open_library(threads).peak(0.3)  # type: ignore[attr-defined]
    return {"GFLOP/s": peak * 1e-9, "GB/s": bandwidth["memory"] * 1e-9}
