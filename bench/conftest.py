# SPDX-License-Identifier: BSD-3-Clause
"""What every saved benchmark says about the machine that it ran on."""

from typing import Any

import fastnn as fnn
from fastnn.bench import machine
from fastnn.config import config


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    shown = {k: v for k, v in config().items() if k in ("fastnn", "target", "OpenMP", "compiler")}
    machine_info["fastnn"] = {**machine.describe(fnn.get_num_threads()), **shown}
