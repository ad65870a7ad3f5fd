# SPDX-License-Identifier: BSD-3-Clause
"""The size of updates, relative to the weights, at good learning rates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import nn, optim
from .. import charts
from ..registry import Figure, Result, experiment, verdict
from ..setting import Array, Images, Lab
from ..training import Trace, best_rate, convnet, fit

LOW, HIGH = 3e-4, 3e-3
Rule = Callable[[nn.Module, float], Any]
RULES: dict[str, tuple[Rule, tuple[float, ...]]] = {
    "SGD": (lambda m, lr: optim.SGD(m.parameters(), lr=lr), (0.03, 0.1, 0.3)),
    "momentum": (lambda m, lr: optim.SGD(m.parameters(), lr=lr, momentum=0.9), (0.003, 0.01, 0.03,
                 0.1)),
    "Adam": (lambda m, lr: optim.Adam(m.parameters(), lr=lr), (3e-4, 1e-3, 3e-3)),
}  # fmt: skip


@experiment(
    section="Babysitting the learning process",
    order=3,
    title="The size of updates",
    claim="At a good learning rate each update changes the weights by about a thousandth of their "
    "size.",
    method="A ConvNet is trained with SGD, SGD with momentum and Adam at several learning rates. "
    "At each step the norm of the change of every layer's weights is divided by the norm of the "
    "weights; the median over steps and layers is given, at the rate with the lowest loss.",
    rule=f"Confirmed if it lies between {LOW:g} and {HIGH:g} for all three rules. Refuted if for "
    "none.",
)
def run(lab: Lab) -> Result:
    data = lab.images(*lab.pick((256, 50), (3000, 50), (10000, 50)))
    ratios: dict[str, dict[float, float]] = {}
    chosen, histories = {}, {}
    for name, (rule, rates) in RULES.items():
        lab.progress(name)
        kept: dict[float, list[list[float]]] = {}

        def train(rate: float, rule: Rule = rule, kept: Any = kept) -> Trace:
            trace, kept[rate] = watched(lab, data, rule, rate)
            return trace

        chosen[name], _ = best_rate(train, lab.pick(rates[:1], rates, rates))
        ratios[name] = {rate: float(np.median(r)) for rate, r in kept.items()}
        histories[name] = [float(np.median(row)) for row in kept[chosen[name]]]
    at_best = {n: ratios[n][chosen[n]] for n in RULES}
    inside = [LOW <= r <= HIGH for r in at_best.values()]
    return Result(
        measured={
            "update over weights at the best rate": at_best, "best learning rate": chosen,
            "update over weights, by learning rate": {
                n: {f"{r:g}": v for r, v in values.items()} for n, values in ratios.items()
            },
        },
        verdict=verdict(all(inside), not any(inside)),
        finding="Median change of the weights at the best learning rate: "
        + ", ".join(f"{n} {v:.1e}" for n, v in at_best.items()) + ".",
        on="the rule, the time (updates shrink as training goes on) and how long is trained.",
        figures=[
            Figure(
                charts.lines(
                    {n: (np.arange(len(h)) * lab.pick(1, 5, 20), h) for n, h in histories.items()},
                    "Update over weights, best rates", "step", "ratio", log_y=True,
                ),
                "Median over layers; the claim says 0.001.",
            )
        ],
    )  # fmt: skip


def watched(lab: Lab, data: Images, rule: Rule, rate: float) -> tuple[Trace, list[list[float]]]:
    """A training, and the ratio of each layer at some steps."""
    from ...random import manual_seed

    manual_seed(lab.seed)
    model = convnet(data.shape, "relu", lab.pick(4, 8, 16))
    weights = [p for p in model.parameters() if p.ndim > 1]
    every, rows = lab.pick(1, 5, 20), []
    before: list[Array] = []

    def look(step: int) -> None:
        if before:  # taken just before the step that is now done
            changed = zip(weights, before, strict=True)
            rows.append([float(np.linalg.norm(w.numpy() - b) / np.linalg.norm(b))
                         for w, b in changed])  # fmt: skip
            before.clear()
        if step % every == 0:
            before.extend(w.numpy().copy() for w in weights)

    trace = fit(
        model, data, lab.pick(1, 3, 4), rule(model, rate), test=False, every=10, on_step=look,
        seed=lab.seed,
    )  # fmt: skip
    return trace, rows
