# SPDX-License-Identifier: BSD-3-Clause
"""Batch normalization allows higher learning rates."""

from __future__ import annotations

from .. import charts
from ..registry import Figure, Result, experiment, verdict
from ..setting import Lab
from ..training import fit, mlp, sgd

HIGHER, GOOD = 3.0, 0.05
KINDS = {"plain": False, "batch norm": True}


@experiment(
    section="Batch normalization",
    order=2,
    title="Batch normalization and the learning rate",
    claim="Batch normalization lets a network learn at learning rates several times higher.",
    method="Networks with five hidden layers of ReLUs, well initialized, with and without batch "
    "normalization, are trained at learning rates from low to far too high. A rate is good if the "
    f"training error ends within {100 * GOOD:g} points of the lowest that this kind of network "
    "reached.",
    rule=f"Confirmed if the highest good rate with batch norm is at least {HIGHER:g} times that "
    "without. Refuted if it is not higher.",
)
def run(lab: Lab) -> Result:
    data = lab.images(*lab.pick((256, 50), (3000, 50), (10000, 50)))
    rates = lab.pick((0.01, 0.3), (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0), (0.001, 0.003, 0.01,
                     0.03, 0.1, 0.3, 1.0, 3.0, 10.0))  # fmt: skip
    errors: dict[str, dict[float, float]] = {k: {} for k in KINDS}
    for kind, norm in KINDS.items():
        for rate in rates:
            lab.progress(f"{kind}, rate {rate:g}")
            model = mlp(data.shape, lab.pick([20] * 2, [100] * 5, [100] * 5), norm=norm)
            trace = fit(model, data, lab.pick(1, 4, 8), sgd(model, rate), test=False, seed=lab.seed)
            errors[kind][rate] = trace.train_error[-1]
    highest = {
        k: max(r for r, v in e.items() if v <= min(e.values()) + GOOD) for k, e in errors.items()
    }
    factor = highest["batch norm"] / highest["plain"]
    return Result(
        measured={
            "training error, by learning rate": {
                k: {f"{r:g}": v for r, v in e.items()} for k, e in errors.items()
            },
            "highest good learning rate": highest, "factor": factor,
        },
        verdict=verdict(factor >= HIGHER, factor <= 1),
        finding=f"The highest learning rate that trains well is {highest['plain']:g} without and "
        f"{highest['batch norm']:g} with batch norm, {factor:.0f} times as high. The lowest errors "
        f"are {min(errors['plain'].values()):.1%} and {min(errors['batch norm'].values()):.1%}.",
        on="the grid of learning rates: the factor is smaller than its step.",
        figures=[
            Figure(
                charts.lines(
                    {k: (rates, e.values()) for k, e in errors.items()}, "Training error",
                    "learning rate", "share wrong", log_x=True, y_range=(0, 1),
                )
            )
        ],
    )  # fmt: skip
