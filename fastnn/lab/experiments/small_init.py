# SPDX-License-Identifier: BSD-3-Clause
"""Gaussian weights of 0.01 in a deep network: signals die out."""

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
    claim="With Gaussian weights of standard deviation 0.01, the outputs of a network of 10 layers "
    "with 500 tanh or ReLU units shrink to 0 from layer to layer, and so do the gradients on their "
    "way back.",
    method="Gaussian inputs through 10 linear layers of 500 units, each followed by the "
    "activation, and a Gaussian gradient from the top back. Mean, standard deviation and histogram "
    "of the outputs of each layer and of the gradients, norm of the weights' gradients.",
    rule="Confirmed if with both activations the standard deviation of the outputs at the top is "
    f"below {VANISHED:g} of that of the first layer, and that of the gradients at the bottom below "
    f"{VANISHED:g} of the top's. Refuted if with both either keeps a tenth.",
)
def run(lab: Lab) -> Result:
    found = {
        f"{a}, 0.01": signals(lab, a, lambda w: init.normal_(w, 0.0, 0.01))
        for a in ("relu", "tanh")
    }
    forward = {n: s.deviations[-1] / s.deviations[0] for n, s in found.items()}
    backward = {n: s.gradient_deviations[0] / s.gradient_deviations[-1] for n, s in found.items()}
    most = [max(forward[n], backward[n]) for n in found]
    tanh = found["tanh, 0.01"]
    return Result(
        measured={
            "outputs, last over first": forward, "gradients, first over last": backward,
            **{n: s.measured() for n, s in found.items()},
        },
        verdict=verdict(max(most) < VANISHED, min(most) >= 0.1),
        finding="From the first layer to the last the standard deviation of the outputs falls to "
        + ", ".join(f"{v:.1g} of its size ({n})" for n, v in forward.items())
        + "; the gradient keeps on its way back "
        + ", ".join(f"{v:.1g} ({n})" for n, v in backward.items())
        + f". The means of the tanh outputs stay within {max(map(abs, tanh.means)):.1g}.",
        on="the width: each layer multiplies by about 0.01 times the root of the number of units.",
        figures=figures(found),
    )  # fmt: skip
