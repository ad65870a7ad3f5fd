# SPDX-License-Identifier: BSD-3-Clause
"""Batch normalization forgives a bad initialization."""

from __future__ import annotations

from ... import init, nn
from .. import charts
from ..registry import Figure, Result, experiment, verdict
from ..setting import Lab
from ..training import fit, mlp, sgd

NEAR, FAR = 0.1, 0.3
KINDS = {"plain": False, "batch norm": True}


@experiment(
    section="Batch normalization",
    order=1,
    title="Batch normalization and bad starts",
    claim="With batch normalization a deep network learns from initial weights of very different "
    "sizes, with which it fails otherwise.",
    method="Networks with five hidden layers of ReLUs, with and without batch normalization, start "
    "from Gaussian weights of standard deviations from 0.001 to 1 and are trained at two learning "
    "rates; the lower training error counts.",
    rule=f"Confirmed if with batch norm all starts end within {100 * NEAR:g} points of its best "
    f"one, and without it some start ends more than {100 * FAR:g} points above its best. Refuted "
    "if the errors spread as far with it as without.",
)
def run(lab: Lab) -> Result:
    data = lab.images(*lab.pick((256, 50), (3000, 50), (10000, 50)))
    sizes = lab.pick((0.001, 0.1), (0.001, 0.01, 0.1, 1.0), (0.001, 0.003, 0.01, 0.03, 0.1, 0.3,
                     1.0))  # fmt: skip
    errors: dict[str, dict[float, float]] = {k: {} for k in KINDS}
    for kind, norm in KINDS.items():
        for size in sizes:
            for rate in lab.pick((0.01,), (0.003, 0.03), (0.003, 0.03)):
                lab.progress(f"{kind}, {size:g}")
                model = mlp(data.shape, lab.pick([20] * 2, [100] * 5, [100] * 5), norm=norm)
                for layer in model:
                    if isinstance(layer, nn.Linear):
                        init.normal_(layer.weight, 0.0, size)
                trace = fit(
                    model, data, lab.pick(1, 4, 8), sgd(model, rate), test=False, seed=lab.seed
                )
                errors[kind][size] = min(errors[kind].get(size, 1.0), trace.train_error[-1])
    spread = {k: max(e.values()) - min(e.values()) for k, e in errors.items()}
    return Result(
        measured={
            "training error, by size of the weights": {
                k: {f"{s:g}": v for s, v in e.items()} for k, e in errors.items()
            },
            "worst minus best": spread,
        },
        verdict=verdict(
            spread["batch norm"] <= NEAR and spread["plain"] > FAR,
            spread["batch norm"] >= spread["plain"],
        ),
        finding=f"Between the best and the worst start lie {100 * spread['plain']:.0f} points of "
        f"training error without batch norm and {100 * spread['batch norm']:.0f} with it.",
        on="how bad the start is.",
        figures=[
            Figure(
                charts.lines(
                    {k: (sizes, e.values()) for k, e in errors.items()}, "Training error",
                    "standard deviation of the initial weights", "share wrong", log_x=True,
                    y_range=(0, 1),
                ),
                "The better of two learning rates.",
            )
        ],
    )  # fmt: skip
