# SPDX-License-Identifier: BSD-3-Clause
"""Loss curves of learning rates that are too low, good and too high."""

from __future__ import annotations

from .. import charts
from ..registry import Figure, Result, experiment, verdict
from ..setting import Lab
from ..training import convnet, fit, sgd, smoothed

SLOW, DONE = 0.1, 0.75


@experiment(
    section="Babysitting the learning process",
    order=1,
    title="Too low, good, too high",
    claim="The loss curve tells the learning rate: too low, and the loss hardly falls; too high, "
    "and it explodes or stays where it was; in between it falls fast.",
    method="One ConvNet, the same start and order of images, SGD with momentum 0.9 and learning "
    "rates from far too low to far too high for a few epochs.",
    rule=f"Confirmed if the loss falls by less than {SLOW:.0%} at the lowest rate, by more than "
    f"{DONE:.0%} (on colour pictures 30%) at the best one, which is neither end, and at the "
    "highest explodes or falls by less than 10%. Refuted if an end of the range is best.",
)
def run(lab: Lab) -> Result:
    from ...random import manual_seed

    data = lab.images(*lab.pick((256, 50), (3000, 50), (20000, 50)))
    rates = lab.pick((1e-5, 0.03, 3.0), (1e-5, 1e-3, 0.03, 0.3, 3.0), (1e-5, 1e-3, 0.03, 0.3, 3.0))
    traces = {}
    for rate in rates:
        lab.progress(f"rate {rate:g}")
        manual_seed(lab.seed)
        model = convnet(data.shape, "relu", lab.pick(4, 8, 16))
        traces[rate] = fit(model, data, lab.pick(1, 3, 3), sgd(model, rate), every=10, test=False)
    fall = {r: 1 - t.loss / t.losses[0] for r, t in traces.items()}
    best = max(fall, key=lambda r: fall[r])
    enough = 0.3 if lab.data == "cifar10" else DONE
    inside = best not in (rates[0], rates[-1])
    return Result(
        measured={
            "part of the loss that is gone": {f"{r:g}": v for r, v in fall.items()},
            "exploded": {f"{r:g}": t.diverged for r, t in traces.items()},
            "best learning rate": best,
        },
        verdict=verdict(
            inside and fall[rates[0]] < SLOW and fall[best] > enough and fall[rates[-1]] < 0.1,
            not inside,
        ),
        finding="Part of the loss that is gone, by learning rate: "
        + ", ".join(
            f"exploded at {r:g}" if traces[r].diverged else f"{v:.0%} at {r:g}"
            for r, v in fall.items()
        )
        + ".",
        on="how long one waits.",
        figures=[
            Figure(
                charts.lines(
                    {f"{r:g}": (range(1, len(t.losses) + 1), smoothed(t.losses))
                     for r, t in traces.items()},
                    "Training loss", "step", "cross-entropy",
                    y_range=(0.0, 2 * traces[rates[0]].losses[0]),
                ),
                "Running mean of the batches' losses. A line that ends early, or a mere dot, has "
                "exploded.",
            )
        ],
    )  # fmt: skip
