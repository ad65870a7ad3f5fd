# SPDX-License-Identifier: BSD-3-Clause
"""Gaussian weights of 1 in a deep network: tanh saturates, ReLU explodes."""

from __future__ import annotations

from ... import init
from ..registry import Result, experiment, verdict
from ..setting import Lab
from ._deep import figures, signals

MOST = 0.8


@experiment(
    section="Weight initialization",
    order=3,
    title="Large random weights",
    claim="With Gaussian weights of standard deviation 1, nearly all tanh outputs of the 10-layer "
    "network are -1 or 1, and its gradients vanish.",
    method="As for small weights: 10 layers of 500 tanh units, forward and backward; beside it "
    "the same with ReLU, which does not count for the verdict.",
    rule=f"Confirmed if more than {MOST:.0%} of the outputs exceed 0.99 in size in every layer and "
    "the gradient loses size on its way down. The claim depends if they saturate but the gradient "
    "does not shrink. Refuted if less than half of them saturate.",
)
def run(lab: Lab) -> Result:
    both = {
        f"{a}, 1": signals(lab, a, lambda w: init.normal_(w, 0.0, 1.0)) for a in ("relu", "tanh")
    }
    found, relu = both["tanh, 1"], both["relu, 1"]
    growth = relu.deviations[-1] / relu.deviations[0]
    saturated = min(found.saturated)
    backward = found.gradient_deviations[0] / found.gradient_deviations[-1]
    return Result(
        measured={
            "share saturated, layer by layer": found.saturated,
            "gradients, first over last": backward, "ReLU's outputs, last over first": growth,
            **{n: s.measured() for n, s in both.items()},
        },
        verdict=verdict(saturated > MOST and backward < 1, saturated < 0.5),
        finding=f"At least {saturated:.0%} of the outputs of each tanh layer are saturated. The "
        f"gradient at the first layer is {backward:.3g} times that at the last"
        + (
            ": saturation takes most of it, and the large weights, which multiply what is left, "
            "give it back" if backward >= 1 else ""
        )
        + f". ReLU's outputs grow by a factor of {growth:.1g}.",
        on="which effect is stronger: few units pass a gradient, but it is multiplied by weights "
        "whose product with the width is large. Saturated units alone do not make it vanish.",
        figures=figures(both),
    )  # fmt: skip
