# SPDX-License-Identifier: BSD-3-Clause
"""Xavier initialization keeps tanh signals alive, and is too small for ReLU."""

from __future__ import annotations

from ... import init
from ..registry import Result, experiment, verdict
from ..setting import Lab
from ._deep import figures, signals

KEPT, LOST = 0.25, 0.1


@experiment(
    section="Weight initialization",
    order=4,
    title="Xavier initialization",
    claim="Xavier initialization keeps the signals of the 10-layer tanh network alive, but under "
    "ReLU, which drops half of each signal, they shrink.",
    method="The network with 10 layers of 500 units and Xavier's weights, standard deviation "
    "1 / sqrt(500), with tanh and with ReLU, forward and backward.",
    rule=f"Confirmed if tanh keeps at least {KEPT:.0%} of the first layer's standard deviation up "
    f"to the last and ReLU less than {LOST:.0%}. Refuted if tanh loses more than 90% or ReLU keeps "
    f"{KEPT:.0%}.",
)
def run(lab: Lab) -> Result:
    found = {f"{a}, Xavier": signals(lab, a, init.xavier_normal_) for a in ("relu", "tanh")}
    kept = {n: s.deviations[-1] / s.deviations[0] for n, s in found.items()}
    tanh, relu = kept["tanh, Xavier"], kept["relu, Xavier"]
    return Result(
        measured={
            **{n: s.measured() for n, s in found.items()}, "outputs, last over first": kept,
        },
        verdict=verdict(tanh >= KEPT and relu < LOST, tanh < 0.1 or relu >= KEPT),
        finding=f"From the first to the last layer tanh keeps {tanh:.0%} of the standard "
        f"deviation, ReLU {relu:.1%}.",
        on="the depth: ReLU loses about a factor of 1.4 a layer, which a few layers bear.",
        figures=figures(found),
    )  # fmt: skip
