# SPDX-License-Identifier: BSD-3-Clause
"""How many ReLUs of trained networks are dead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ... import nn
from .. import charts
from ..registry import Figure, Result, experiment, verdict
from ..setting import Lab
from ..training import Trace, best_rate, convnet, dead_share, fit, mlp, sgd

LOW, HIGH = 0.1, 0.2
Maker = Callable[[], nn.Sequential]


@experiment(
    section="Activation functions",
    order=7,
    title="Dead units in trained networks",
    claim="In a trained network 10 to 20% of the ReLUs are dead.",
    method="A fully connected network and a ConvNet are trained at learning rates from low to "
    "high; for each the best one by training loss, and one three times as large. Then all "
    "training images are passed through: a unit (a channel, at any place) that fires for none is "
    "dead. Counted before and after training.",
    rule=f"Confirmed if all of these networks have {LOW:.0%} to {HIGH:.0%}. Refuted if none has.",
)
def run(lab: Lab) -> Result:
    data = lab.images(*lab.pick((256, 50), (3000, 50), (10000, 50)))
    rates = lab.pick((0.03,), (0.01, 0.03, 0.1), (0.003, 0.01, 0.03, 0.1))
    makers: dict[str, Maker] = {
        "fully connected": lambda: mlp(data.shape, lab.pick([20], [200, 200, 200], [200] * 3)),
        "ConvNet": lambda: convnet(data.shape, "relu", lab.pick(4, 8, 16)),
    }
    shares, before, chosen = {}, {}, {}
    for name, make in makers.items():
        lab.progress(name)
        trained: dict[float, nn.Sequential] = {}

        def train(rate: float, make: Maker = make, trained: Any = trained) -> Trace:
            model = trained[rate] = make()
            optimizer, epochs = sgd(model, rate), lab.pick(1, 3, 8)
            return fit(model, data, epochs, optimizer, test=False, batch=32, seed=lab.seed)

        before[name] = dead_share(make(), data.x)
        best, _ = best_rate(train, rates)
        chosen[name] = best
        shares[f"{name}, best rate"] = dead_share(trained[best], data.x)
        train(3 * best)
        shares[f"{name}, three times that"] = dead_share(trained[3 * best], data.x)
    inside = [LOW <= share <= HIGH for share in shares.values()]
    return Result(
        measured={
            "share dead before training": before, "share dead after training": shares,
            "best learning rate": chosen,
        },
        verdict=verdict(all(inside), not any(inside)),
        finding="Dead after training: "
        + ", ".join(f"{share:.1%} ({name})" for name, share in shares.items()) + ".",
        on="the network and the learning rate.",
        figures=[
            Figure(
                charts.bars(
                    {n: 100 * s for n, s in shares.items()}, "Dead units after training", "%",
                    "{:.1f}",
                ),
                f"The claim says {LOW:.0%} to {HIGH:.0%}.",
            )
        ],
    )  # fmt: skip
