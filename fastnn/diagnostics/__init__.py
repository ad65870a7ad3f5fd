# SPDX-License-Identifier: BSD-3-Clause
"""Tools that look into training: what layers do, what is wrong, what to check before."""

from .advice import Advice, advise
from .anomaly import AnomalyError, detect_anomaly
from .checks import Check, CheckReport, check_model, initial_loss_check, overfit_check
from .log import Log, read_log
from .lr_finder import LRFinding, find_lr
from .monitor import Monitor

__all__ = [
    "Advice", "AnomalyError", "Check", "CheckReport", "LRFinding", "Log", "Monitor", "advise",
    "check_model", "detect_anomaly", "find_lr", "initial_loss_check", "overfit_check", "read_log",
]  # fmt: skip
