# SPDX-License-Identifier: BSD-3-Clause
"""ReLUs whose plane lies off the data cloud at the start."""

from __future__ import annotations

import numpy as np

from ... import nn
from .. import charts
from ..registry import Figure, Result, experiment, verdict
from ..setting import Array, Images, Lab
from ..training import activations, fit, mlp, sgd

STAY = 0.9


@experiment(
    section="Activation functions",
    order=5,
    title="ReLUs that start off the data cloud",
    claim="A ReLU that is initialized so that it fires for no training image gets no gradient and "
    "stays dead for ever.",
    method="In a network with two hidden layers of ReLUs, half of the units of one layer get a "
    "bias that puts their plane just beyond all training images. The network is trained; each "
    "epoch the share of these units that fire for no training image is counted. Once for the first "
    "layer, whose inputs never change, and once for the second, whose inputs do.",
    rule=f"Confirmed if in both layers at least {STAY:.0%} of them are dead to the end. Refuted if "
    "in both fewer than half are.",
)
def run(lab: Lab) -> Result:
    data = lab.images(*lab.pick((256, 50), (2000, 50), (10000, 50)))
    epochs = lab.pick(1, 8, 10)
    curves = {}
    for layer in (0, 1):
        lab.progress(f"layer {layer + 1}")
        curves[f"layer {layer + 1}"] = survivors(lab, data, layer, epochs)
    first, second = (curve[-1] for curve in curves.values())
    return Result(
        measured={
            "share of the killed units that is dead at the end": {
                name: curve[-1] for name, curve in curves.items()
            },
        },
        verdict=verdict(first >= STAY and second >= STAY, first < 0.5 and second < 0.5),
        finding=f"After {epochs} epochs {first:.0%} of the killed units of the first layer are "
        f"dead, and {second:.0%} of those of the second layer.",
        on="the layer: the first one's inputs are fixed, and it never recovers; a unit above gets "
        "another cloud of inputs as the layers below learn, and may be met by it again.",
        figures=[
            Figure(
                charts.lines(
                    {n: (range(len(c)), c) for n, c in curves.items()},
                    "Units killed at the start", "epoch", "share still dead", y_range=(0, 1),
                ),
                "Half of the units of one layer were moved off the data.",
            )
        ],
    )  # fmt: skip


def survivors(lab: Lab, data: Images, layer: int, epochs: int) -> list[float]:
    """Share of killed units that are dead, before training and after each epoch."""
    model = mlp(data.shape, lab.pick([20, 20], [100, 100], [100, 100]))
    linear = [m for m in model if isinstance(m, nn.Linear)][layer]
    before = activations(model, data.x, nn.Linear)[layer]
    killed = np.arange(linear.out_features) % 2 == 0
    highest = before.max(axis=0)
    bias: Array = linear.bias.numpy()  # type: ignore[union-attr]
    bias[killed] -= highest[killed] + 0.01 * before.std()

    def dead() -> float:
        signal = activations(model, data.x, nn.ReLU)[layer]
        return float((signal[:, killed] <= 0).all(axis=0).mean())

    shares = [dead()]
    optimizer = sgd(model, 0.03)
    for epoch in range(epochs):
        fit(model, data, 1, optimizer, test=False, check=50, seed=lab.seed + epoch)
        shares.append(dead())
    return shares
