"""Objectives that other processes can import."""

import math
import os
import signal

import numpy as np

import fastnn as fnn
from fastnn import search

SPACE = {
    "lr": search.log_uniform(1e-4, 1.0),
    "momentum": search.uniform(0.0, 1.0),
    "size": search.integer(8, 64, log=True),
    "activation": ["relu", "elu", "tanh"],
}


def bowl(config, report):
    """Best at lr 0.01, with relu; the noise is the trial's own, the loss explodes above 0.3."""
    noise = float(fnn.randn(1).numpy()[0]) + float(np.random.default_rng(report.seed).random())
    value = (math.log10(config["lr"]) + 2) ** 2 + 0.1 * (config["activation"] != "relu")
    for step in range(10):
        report(step, 2.0**step if config["lr"] > 0.3 else 1 + value + 0.8**step)
    return value + 1e-3 * noise + 0.1 / (report.budget or 1)


def deadly(config, report):
    """Kills its process at some learning rates."""
    if config["lr"] > 0.3:
        os.kill(os.getpid(), signal.SIGKILL)
    return bowl(config, report)


def threads(config, report):
    return fnn.get_num_threads()
