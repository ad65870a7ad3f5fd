# SPDX-License-Identifier: BSD-3-Clause
"""The update rules that race, each with the learning rates that are tried."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ... import optim

Make = Callable[..., Any]
RULES: dict[str, tuple[Make, tuple[float, ...]]] = {
    "SGD": (optim.SGD, (0.001, 0.01, 0.03, 0.1, 0.3)),
    "momentum": (partial(optim.SGD, momentum=0.9), (0.001, 0.003, 0.01, 0.03, 0.1)),
    "Nesterov": (partial(optim.SGD, momentum=0.9, nesterov=True), (0.001, 0.003, 0.01, 0.03, 0.1)),
    "Adagrad": (optim.Adagrad, (0.001, 0.01, 0.03, 0.1)),
    "Adadelta": (optim.Adadelta, (0.1, 0.3, 1.0)),
    "RMSprop": (optim.RMSprop, (1e-4, 3e-4, 1e-3, 3e-3)),
    "Adam": (optim.Adam, (3e-4, 1e-3, 3e-3, 0.01)),
}
