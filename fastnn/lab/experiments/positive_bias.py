# SPDX-License-Identifier: BSD-3-Clause
"""Small positive biases at the start of a ReLU network."""

from __future__ import annotations

import numpy as np

from ... import init, nn
from .. import charts
from ..registry import Figure, Result, experiment, verdict
from ..setting import Lab
from ..training import dead_share, fit, mean_loss, mlp, sgd

BIASES = (0.0, 0.01, 0.1, 1.0)
SMALL = (0.01, 0.1)
ERRORS = 2.0


@experiment(
    section="Activation functions",
    order=8,
    title="Small positive biases",
    claim="Small positive biases at the start keep more ReLUs alive and make training better.",
    method="Networks with three hidden layers of ReLUs, started with biases of 0, 0.01, 0.1 and 1, "
    "each with several seeds, the same for all: share of dead units and loss on all training "
    "images after training, and the error on test images.",
    rule="Confirmed if 0.01 or 0.1 has fewer dead units than 0 and a training loss lower by more "
    f"than {ERRORS:g} standard errors of the paired difference. Refuted if neither bias has fewer "
    "dead units or a lower loss by that measure.",
)
def run(lab: Lab) -> Result:
    data = lab.images(*lab.pick((256, 50), (2000, 1000), (5000, 2000)))
    seeds = lab.pick(2, 5, 8)
    losses: dict[float, list[float]] = {b: [] for b in BIASES}
    errors: dict[float, list[float]] = {b: [] for b in BIASES}
    dead: dict[float, list[float]] = {b: [] for b in BIASES}
    from ...random import manual_seed

    for seed in range(seeds):
        for bias in BIASES:
            lab.progress(f"seed {seed}, bias {bias:g}")
            manual_seed(lab.seed + seed)
            model = mlp(data.shape, lab.pick([20] * 3, [100] * 3, [100] * 3))
            for layer in list(model)[:-1]:
                if isinstance(layer, nn.Linear):
                    init.constant_(layer.bias, bias)  # type: ignore[arg-type]
            trace = fit(model, data, lab.pick(1, 3, 5), sgd(model, 0.03), seed=lab.seed + seed)
            losses[bias].append(mean_loss(model, data.x, data.y))
            errors[bias].append(trace.test_error[-1])
            dead[bias].append(dead_share(model, data.x))
    gap = {b: np.array(losses[0.0]) - np.array(losses[b]) for b in SMALL}
    gain = {b: float(g.mean() / (g.std(ddof=1) / seeds**0.5 + 1e-12)) for b, g in gap.items()}
    alive = {b: np.mean(dead[b]) < np.mean(dead[0.0]) for b in SMALL}
    mean = {b: float(np.mean(losses[b])) for b in BIASES}
    return Result(
        measured={
            "training loss, by bias": {f"{b:g}": mean[b] for b in BIASES},
            "test error, by bias": {f"{b:g}": float(np.mean(errors[b])) for b in BIASES},
            "share dead, by bias": {f"{b:g}": float(np.mean(dead[b])) for b in BIASES},
            "gain in loss over bias 0, in standard errors": {
                f"{b:g}": v for b, v in gain.items()
            },
        },
        verdict=verdict(
            any(alive[b] and gain[b] > ERRORS for b in SMALL),
            not any(alive[b] or gain[b] > ERRORS for b in SMALL),
        ),
        finding="Training loss: "
        + ", ".join(f"{mean[b]:.4f} with bias {b:g}" for b in BIASES)
        + ". Dead units: " + ", ".join(f"{np.mean(dead[b]):.1%}" for b in BIASES)
        + f". The gain of 0.01 over 0 is {gain[0.01]:.1f} standard errors, that of 0.1 "
        f"{gain[0.1]:.1f}.",
        on="whether units die at all: with an initialization that suits ReLU there is hardly "
        "anything to save.",
        figures=[
            Figure(
                charts.bars(
                    {f"bias {b:g}": mean[b] for b in BIASES}, "Training loss by bias", "loss"
                ),
                f"Mean of {seeds} seeds.",
            ),
            Figure(
                charts.bars(
                    {f"bias {b:g}": 100 * float(np.mean(dead[b])) for b in BIASES},
                    "Dead units by bias", "%",
                )
            ),
        ],
    )  # fmt: skip
