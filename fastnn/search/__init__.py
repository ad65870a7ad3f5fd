# SPDX-License-Identifier: BSD-3-Clause
"""Search for hyperparameters: spaces, methods, early ends, processes, logs that survive.

>>> from fastnn import search
>>> space = {"lr": search.log_uniform(1e-4, 1), "activation": ["relu", "elu"]}
>>> def objective(config, report):
...     return abs(config["lr"] - 0.01) + (config["activation"] == "elu")
>>> search.random(objective, space, trials=20, progress=False).best.config["activation"]
'relu'
"""

from ._methods import METHODS, coarse_to_fine, grid, halving, optuna, random, run
from ._results import Results, load
from ._space import Choice, Range, choice, integer, log_uniform, uniform
from ._trial import Abandon, Abandoned, Report, Trial

__all__ = [
    "METHODS", "Abandon", "Abandoned", "Choice", "Range", "Report", "Results", "Trial", "choice",
    "coarse_to_fine", "grid", "halving", "integer", "load", "log_uniform", "optuna", "random",
    "run", "uniform",
]  # fmt: skip
