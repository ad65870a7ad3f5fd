# SPDX-License-Identifier: BSD-3-Clause
"""Leaky ReLU: no unit without a gradient, where ReLU has many."""

from __future__ import annotations

import math

from .. import charts
from ..registry import Figure, Result, experiment, verdict
from ..setting import Lab
from ..training import Trace, fit, mlp, sgd, stuck_share

SLOWER, SOME = 1.25, 0.01


@experiment(
    section="Activation functions",
    order=9,
    title="Leaky ReLU",
    claim="With leaky ReLU no unit stops learning, even where a high learning rate kills ReLUs, "
    "and it learns as fast as ReLU.",
    method="Networks with ReLU and with leaky ReLU (slope 0.01) are trained with learning rates "
    "from low to too high. Counted are the hidden units whose weights get a gradient of exactly 0 "
    "from all training images together, and the training loss at the best rate of each.",
    rule="Confirmed if at the rates at which neither explodes leaky ReLU has no such unit and "
    f"ReLU has {SOME:.0%} or more, and its best loss is at most {SLOWER:g} times "
    "ReLU's. Refuted if it has such units as well.",
)
def run(lab: Lab) -> Result:
    data = lab.images(*lab.pick((256, 50), (3000, 50), (10000, 50)))
    rates = lab.pick((0.03, 0.3), (0.01, 0.03, 0.1, 0.3), (0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.6))
    names = ("relu", "leaky_relu")
    stuck: dict[str, dict[float, float]] = {n: {} for n in names}
    traces: dict[str, dict[float, Trace]] = {n: {} for n in names}
    for name in names:
        for rate in rates:
            lab.progress(f"{name}, rate {rate:g}")
            model = mlp(data.shape, lab.pick([20] * 3, [100] * 3, [100] * 3), name)
            traces[name][rate] = fit(
                model, data, lab.pick(1, 4, 8), sgd(model, rate), test=False, seed=lab.seed
            )
            exploded = traces[name][rate].diverged
            stuck[name][rate] = math.nan if exploded else stuck_share(model, data)
    told = [r for r in rates if all(math.isfinite(s[r]) for s in stuck.values())]
    most = {n: max((s[r] for r in told), default=0.0) for n, s in stuck.items()}
    loss = {n: min(t.loss for t in runs.values()) for n, runs in traces.items()}
    fine = most["leaky_relu"] == 0 and loss["leaky_relu"] <= SLOWER * loss["relu"]
    return Result(
        measured={
            "largest share where neither explodes": most,
            "share of units without a gradient, by learning rate": {
                n: {f"{r:g}": v for r, v in s.items()} for n, s in stuck.items()
            },
            "training loss at the best rate": loss,
        },
        verdict=verdict(fine and most["relu"] >= SOME, most["leaky_relu"] > 0),
        finding=f"Up to {most['relu']:.0%} of the ReLU units are left without a gradient, of the "
        f"leaky ones {most['leaky_relu']:.0%}. At their best rates the losses are "
        f"{loss['relu']:.3g} and {loss['leaky_relu']:.3g}.",
        on="the learning rate, which has to kill ReLUs without making either network explode."
        if fine
        else "what counts: no unit is stuck, but the loss is higher than ReLU's.",
        figures=[
            Figure(
                charts.lines(
                    {n: (rates, s.values()) for n, s in stuck.items()},
                    "Units without a gradient", "learning rate", "share", log_x=True,
                ),
                "After training; a gap is a run that exploded.",
            ),
            Figure(
                charts.lines(
                    {n: (rates, [t.loss for t in runs.values()]) for n, runs in traces.items()},
                    "Training loss", "learning rate", "cross-entropy", log_x=True, log_y=True,
                )
            ),
        ],
    )  # fmt: skip
