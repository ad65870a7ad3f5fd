# SPDX-License-Identifier: BSD-3-Clause
"""Batch normalization keeps signals and gradients flowing in deep networks."""

from __future__ import annotations

from ... import init
from ..registry import Result, experiment, verdict
from ..setting import Lab
from ._deep import figures, signals

LOW, HIGH = 0.1, 10.0


@experiment(
    section="Batch normalization",
    order=3,
    title="Batch normalization and the flow of signals",
    claim="With batch normalization outputs and gradients of a deep network keep their size even "
    "from weights that are far too small.",
    method="The network with 10 layers of 500 units, Gaussian weights of 0.01, with tanh and with "
    "ReLU, each with and without batch normalization before the activation; forward and backward.",
    rule=f"Confirmed if with batch norm outputs and gradients at one end are {LOW:g} to {HIGH:g} "
    "times those at the other, for both activations, and without it below this. Refuted if for "
    "both activations either is outside with batch norm.",
)
def run(lab: Lab) -> Result:
    found = {}
    for activation in ("relu", "tanh"):
        for norm in (False, True):
            name = f"{activation}, batch norm" if norm else activation
            found[name] = signals(lab, activation, lambda w: init.normal_(w, 0.0, 0.01), norm)
    forward = {n: s.deviations[-1] / s.deviations[0] for n, s in found.items()}
    backward = {n: s.gradient_deviations[0] / s.gradient_deviations[-1] for n, s in found.items()}
    ends = {n: (forward[n], backward[n]) for n in found}
    kept = [all(LOW <= v <= HIGH for v in ends[f"{a}, batch norm"]) for a in ("relu", "tanh")]
    lost = all(max(ends[a]) < LOW for a in ("relu", "tanh"))
    return Result(
        measured={
            "outputs, last over first": forward, "gradients, first over last": backward,
            **{n: s.measured() for n, s in found.items()},
        },
        verdict=verdict(all(kept) and lost, not any(kept)),
        finding="Outputs of the last layer over the first, and gradients of the first over the "
        "last: " + "; ".join(f"{n} {f:.2g} and {b:.2g}" for n, (f, b) in ends.items()) + ".",
        on="the activation, and on forward or backward: batch norm sets the size of the outputs "
        "and only bounds what happens to gradients.",
        figures=figures(found, ["relu, batch norm"]),
    )  # fmt: skip
