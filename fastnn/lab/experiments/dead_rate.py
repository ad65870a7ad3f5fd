# SPDX-License-Identifier: BSD-3-Clause
"""Learning rates that are too large kill ReLUs."""

from __future__ import annotations

from .. import charts
from ..registry import Figure, Result, experiment, verdict
from ..setting import Lab
from ..training import dead_share, fit, mlp, sgd

MANY, FEW = 0.1, 0.05


@experiment(
    section="Activation functions",
    order=6,
    title="Dead ReLUs and the learning rate",
    claim="A learning rate that is too high throws ReLUs off the data, and they die.",
    method="The same network with three hidden layers is trained with learning rates from low to "
    "too high (SGD, momentum 0.9). Afterwards all training images are passed through it, and the "
    "units that fire for none of them are counted.",
    rule=f"Confirmed if at the best rate fewer than {FEW:.0%} of the units are dead or a third of "
    f"those at the worst one, and at some higher rate at least {MANY:.0%}. Refuted if the share "
    "never reaches this.",
)
def run(lab: Lab) -> Result:
    data = lab.images(*lab.pick((256, 50), (3000, 500), (10000, 1000)))
    rates = lab.pick((0.01, 1.0), (0.003, 0.01, 0.03, 0.1, 0.3, 1.0), (0.001, 0.003, 0.01, 0.03,
                     0.1, 0.2, 0.3, 0.6, 1.0))  # fmt: skip
    start, dead, errors, ended = {}, {}, {}, {}
    for rate in rates:
        lab.progress(f"rate {rate:g}")
        model = mlp(data.shape, lab.pick([20] * 3, [100] * 3, [100] * 3))
        start[rate] = dead_share(model, data.x)
        trace = fit(model, data, lab.pick(1, 4, 10), sgd(model, rate), seed=lab.seed)
        dead[rate], errors[rate] = dead_share(model, data.x), trace.train_error[-1]
        ended[rate] = trace.diverged
    best = min(rates, key=lambda r: errors[r])
    above = [r for r in rates if r > best]
    worst = max(above, key=lambda r: dead[r], default=best)
    alive = dead[best] < FEW or dead[best] < dead[worst] / 3
    return Result(
        measured={
            "share dead before training": start[best],
            "share dead, by learning rate": {f"{r:g}": v for r, v in dead.items()},
            "training error, by learning rate": {f"{r:g}": v for r, v in errors.items()},
            "exploded": {f"{r:g}": v for r, v in ended.items()},
        },
        verdict=verdict(alive and dead[worst] >= MANY, max(dead.values()) < MANY),
        finding=f"At the best rate, {best:g}, {dead[best]:.1%} of the units are dead, and "
        f"{dead[worst]:.0%} at a rate of {worst:g}. Before training {start[best]:.1%} were.",
        on="the network: here many die at the best rate, too.",
        figures=[
            Figure(
                charts.lines(
                    {"dead units": (rates, dead.values()),
                     "training error": (rates, errors.values())},
                    "After training", "learning rate", "share", log_x=True, y_range=(0, 1),
                ),
                "After training, at each learning rate.",
            )
        ],
    )  # fmt: skip
