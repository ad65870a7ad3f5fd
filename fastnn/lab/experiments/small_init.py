# SPDX-License-Identifier: BSD-3-Clause
"""Gaussian weights of 0.01 in a deep tanh network: signals die out."""

from __future__ import annotations

from ... import init
from ..registry import Result, experiment, verdict
from ..setting import Lab
from ._deep import figures, signals

VANISHED = 1e-3


@experiment(
    section="Weight initialization",
    order=2,
    title="Small random weights",
    claim="With Gaussian weights of standard deviation 0.01, the outputs of a 10-layer tanh "
    "network with 500 units shrink to 0 from layer to layer, and so do the gradients on their way "
    "back.",
    method="Gaussian inputs through 10 linear layers of 500 units, each followed by tanh, and a "
    "Gaussian gradient from the top back. Mean, standard deviation and histogram of the outputs "
    "of each layer, standard deviation of the gradients, norm of the weights' gradients.",
    rule=f"Confirmed if the standard deviation of the outputs at the top is below {VANISHED:g} of "
    f"that of the first layer, and that of the gradients at the bottom below {VANISHED:g} of the "
    "top's. Refuted if either keeps a tenth.",
)
def run(lab: Lab) -> Result:
    found = signals(lab, "tanh", lambda w: init.normal_(w, 0.0, 0.01))
    forward = found.deviations[-1] / found.deviations[0]
    backward = found.gradient_deviations[0] / found.gradient_deviations[-1]
    return Result(
        measured={
            **found.measured(), "outputs, last over first": forward,
            "gradients, first over last": backward,
        },
        verdict=verdict(forward < VANISHED and backward < VANISHED, max(forward, backward) >= 0.1),
        finding=f"The outputs' standard deviation falls from {found.deviations[0]:.2g} in the "
        f"first layer to {found.deviations[-1]:.1g} in the last, their means stay within "
        f"{max(map(abs, found.means)):.1g}; the gradient keeps {backward:.1g} of its size on the "
        "way back.",
        on="the width: each layer multiplies by about 0.01 times the root of the number of units.",
        figures=figures({"tanh, 0.01": found}),
    )  # fmt: skip
