# SPDX-License-Identifier: BSD-3-Clause
"""Tools that look into training: what layers do, what is wrong, what to check before."""

from .advice import Advice, advise
from .anomaly import AnomalyError, detect_anomaly
from .log import Log, read_log
from .monitor import Monitor

__all__ = [
    "Advice", "AnomalyError", "Log", "Monitor", "advise", "detect_anomaly", "read_log",
]  # fmt: skip
