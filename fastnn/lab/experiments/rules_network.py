# SPDX-License-Identifier: BSD-3-Clause
"""Update rules race on a network."""

from __future__ import annotations

from ...random import manual_seed
from .. import charts
from ..registry import Figure, Result, experiment, verdict
from ..setting import Lab
from ..training import Trace, best_rate, convnet, fit, smoothed
from ._rules import RULES, Make


@experiment(
    section="Update rules",
    order=2,
    title="A race on a network",
    claim="Momentum and the rules with a rate of their own for each weight bring a network's loss "
    "down faster than plain gradient descent, each at its best learning rate.",
    method="The same ConvNet, start and order of images for each rule, with several learning "
    "rates; compared is the running mean of the training loss at the end of the rate with the "
    "lowest.",
    rule="Confirmed if every rule ends lower than plain gradient descent. Refuted if plain "
    "descent ends lowest of all.",
)
def run(lab: Lab) -> Result:
    data = lab.images(*lab.pick((128, 50), (3000, 50), (10000, 50)))
    best, best_traces = {}, {}
    all_losses: dict[str, dict[float, float]] = {}
    for name, (make, rates) in RULES.items():
        lab.progress(name)

        def train(rate: float, make: Make = make) -> Trace:
            manual_seed(lab.seed)
            model = convnet(data.shape, "relu", lab.pick(4, 8, 16))
            optimizer = make(model.parameters(), lr=rate)
            epochs = lab.pick(1, 2, 4)
            return fit(model, data, epochs, optimizer, every=9, test=False, seed=lab.seed)

        best[name], traces = best_rate(train, rates[:: lab.pick(4, 1, 1)])
        best_traces[name] = traces[best[name]]
        all_losses[name] = {rate: trace.loss for rate, trace in traces.items()}
    loss = {n: t.loss for n, t in best_traces.items()}
    others = [v for n, v in loss.items() if n != "SGD"]
    return Result(
        measured={
            "training loss at the end": loss, "best learning rate": best,
            "training loss, by learning rate": {
                n: {f"{r:g}": v for r, v in values.items()} for n, values in all_losses.items()
            },
        },
        verdict=verdict(max(others) < loss["SGD"], min(others) > loss["SGD"]),
        finding="Training loss at the end: "
        + ", ".join(f"{n} {v:.3g} (rate {best[n]:g})" for n, v in loss.items()) + ".",
        on="the rule.",
        figures=[
            Figure(
                charts.lines(
                    {n: (range(1, len(t.losses) + 1), smoothed(t.losses))
                     for n, t in best_traces.items()},
                    "Training loss", "step", "cross-entropy", log_y=True,
                ),
                "Running means, each rule at its best learning rate.",
            ),
            Figure(
                charts.lines(
                    {n: (v.keys(), v.values()) for n, v in all_losses.items()},
                    "Loss at the end", "learning rate", "cross-entropy", log_x=True, log_y=True,
                ),
                "How much each rule minds its learning rate.",
            ),
        ],
    )  # fmt: skip
