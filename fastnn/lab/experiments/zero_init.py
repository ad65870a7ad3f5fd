# SPDX-License-Identifier: BSD-3-Clause
"""All weights 0: the units of a layer stay identical."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ... import init, nn
from ...tensor import Tensor
from .. import charts
from ..registry import Figure, Result, experiment, verdict
from ..setting import Array, Images, Lab
from ..training import error, fit, mlp, sgd
from ._deep import signals

SAME, GUESS = 1e-6, 0.9
STARTS = {"zeros": 0.0, "constant 0.01": 0.01, "Gaussian 0.01": None}


@experiment(
    section="Weight initialization",
    order=1,
    title="Equal weights",
    claim="If all weights start with the same value, all units of a layer compute and learn the "
    "same, and the network does not get beyond what one unit can do.",
    method="A network with one hidden layer of tanh units is trained on the digits or pictures "
    "from zeros, from the constant 0.01 and from small Gaussian weights. Measured: the largest "
    "difference between the weights of two hidden units, relative to the largest weight, and the "
    "training error. Before that, Gaussian inputs go through the network of 10 layers with 500 "
    "tanh or ReLU units, all weights 0 and all 0.01: how much the units of a layer differ.",
    rule=f"Confirmed if after training from equal weights units differ by less than {SAME:g}, "
    "those from the Gaussian start by more, and equal weights get at most half as far below the "
    "error of a guess (90%). Refuted if equal weights come as low as the Gaussian ones.",
)
def run(lab: Lab) -> Result:
    data = lab.images(*lab.pick((300, 100), (2000, 500), (5000, 1000)))
    traces, spread, errors = {}, {}, {}
    for name, value in STARTS.items():
        lab.progress(name)
        model = start(data, value)
        traces[name] = fit(
            model, data, lab.pick(1, 4, 10), sgd(model, 0.05), every=0.5, seed=lab.seed
        )
        spread[name] = difference(model[1].weight.numpy())  # type: ignore[attr-defined]
        errors[name] = error(model, data.x, data.y)
    deep = {
        f"{a}, {name}": max(difference(s.T) for s in signals(lab, a, filled(value)).outputs)
        for a in ("relu", "tanh") for name, value in STARTS.items() if value is not None
    }  # fmt: skip
    equal = [name for name, value in STARTS.items() if value is not None]
    gaussian = errors["Gaussian 0.01"]
    decided = verdict(
        all(spread[n] < SAME and GUESS - errors[n] <= (GUESS - gaussian) / 2 for n in equal)
        and spread["Gaussian 0.01"] > SAME,
        all(errors[n] <= gaussian for n in equal),
    )
    return Result(
        measured={
            "largest difference between units, relative": spread, "training error": errors,
            "largest difference between outputs of a layer of the deep network": deep,
        },
        verdict=decided,
        finding=f"After training from zeros the hidden units differ by {spread['zeros']:.1g}, from "
        f"a constant by {spread['constant 0.01']:.1g}, from Gaussian weights by "
        f"{spread['Gaussian 0.01']:.2g}. Training errors: {errors['zeros']:.1%}, "
        f"{errors['constant 0.01']:.1%} and {gaussian:.1%}. In the deep network the outputs of two "
        f"units of a layer differ by no more than {max(deep.values()):.1g}.",
        on="the data, and how long was trained: what one unit can do may be much or little of it.",
        figures=[
            Figure(
                charts.lines(
                    {n: (t.epochs, t.train_error) for n, t in traces.items()}, "Training error",
                    "epoch", "share wrong",
                ),
                "A hidden layer of equal units is worth a single one.",
            )
        ],
    )  # fmt: skip


def start(data: Images, value: float | None) -> nn.Sequential:
    """A network whose weights are all `value`, or Gaussian."""
    model = mlp(data.shape, [50], "tanh")
    for parameter in model.parameters():
        if value is None and parameter.ndim > 1:
            init.normal_(parameter, 0.0, 0.01)
        else:
            init.constant_(parameter, (value or 0.0) if parameter.ndim > 1 else 0.0)
    return model


def filled(value: float) -> Callable[[Tensor], object]:
    """Gives all weights this value."""
    return lambda weight: init.constant_(weight, value)


def difference(weights: Array) -> float:
    """Largest difference between rows, relative to the largest weight; 0 if all are 0."""
    gap = float(np.abs(weights - weights[:1]).max())
    size = float(np.abs(weights).max())
    return gap / size if size else 0.0
