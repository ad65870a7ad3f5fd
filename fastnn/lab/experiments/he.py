# SPDX-License-Identifier: BSD-3-Clause
"""He initialization keeps ReLU signals alive, forward and backward."""

from __future__ import annotations

from ... import init
from ...tensor import Tensor
from ..registry import Result, experiment, verdict
from ..setting import Lab
from ._deep import figures, signals

LOW, HIGH = 0.5, 2.0


@experiment(
    section="Weight initialization",
    order=5,
    title="He initialization",
    claim="He initialization, with twice Xavier's variance, keeps outputs and gradients of the "
    "10-layer ReLU network at one size.",
    method="The network with 10 layers of 500 ReLU units, with Xavier's weights and with He's, "
    "standard deviation sqrt(2 / 500), forward and backward; beside it tanh with He's weights, "
    "which does not count for the verdict.",
    rule=f"Confirmed if with He the standard deviations of the last layer's outputs and of the "
    f"first layer's gradients are {LOW:g} to {HIGH:g} times those at the other end. Refuted if "
    "either changes as much as with Xavier.",
)
def run(lab: Lab) -> Result:
    def he_normal(weight: Tensor) -> object:
        return init.kaiming_normal_(weight, nonlinearity="relu")

    found = {
        "relu, Xavier": signals(lab, "relu", init.xavier_normal_),
        "relu, He": signals(lab, "relu", he_normal), "tanh, He": signals(lab, "tanh", he_normal),
    }  # fmt: skip
    forward = {n: s.deviations[-1] / s.deviations[0] for n, s in found.items()}
    backward = {n: s.gradient_deviations[0] / s.gradient_deviations[-1] for n, s in found.items()}
    he, xavier = (forward["relu, He"], backward["relu, He"]), (
        forward["relu, Xavier"], backward["relu, Xavier"],
    )  # fmt: skip
    return Result(
        measured={
            **{n: s.measured() for n, s in found.items()}, "outputs, last over first": forward,
            "gradients, first over last": backward,
        },
        verdict=verdict(
            all(LOW <= v <= HIGH for v in he), any(h <= x for h, x in zip(he, xavier, strict=True))
        ),
        finding=f"With He the last layer's outputs are {he[0]:.2f} times as large as the first's, "
        f"with Xavier {xavier[0]:.2g}; the gradients at the bottom {he[1]:.2f} and {xavier[1]:.2g} "
        "times those at the top.",
        on="the draw of the weights, in a network as narrow as this one.",
        figures=figures(found, ["relu, He", "tanh, He"]),
    )  # fmt: skip
