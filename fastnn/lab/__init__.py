# SPDX-License-Identifier: BSD-3-Clause
"""The lab: claims about training networks as experiments that anyone repeats and looks at.

    fastnn lab list
    fastnn lab run --all --quick

An experiment is one file in `fastnn/lab/experiments` with one function under `experiment`. It
measures, and decides by stated thresholds whether its claim holds; nothing is quoted.
"""

from .registry import (
    DEPENDS,
    SECTIONS,
    Experiment,
    Figure,
    Result,
    all_experiments,
    experiment,
    verdict,
)
from .runner import run
from .setting import Lab

__all__ = [
    "DEPENDS", "SECTIONS", "Experiment", "Figure", "Lab", "Result", "all_experiments", "experiment",
    "run", "verdict",
]  # fmt: skip
