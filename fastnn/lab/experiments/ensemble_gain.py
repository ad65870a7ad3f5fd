# SPDX-License-Identifier: BSD-3-Clause
"""What several networks gain when they answer together."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from ...random import manual_seed
from .. import charts
from ..registry import Figure, Result, experiment, verdict
from ..setting import Array, Lab
from ..training import convnet, fit, outputs, sgd

GAIN = 0.01


@experiment(
    section="Ensembles",
    order=1,
    title="Several networks together",
    claim="The mean of the probabilities of several networks, trained independently, is right "
    "about two points more often than one of them.",
    method="ConvNets that differ only in their seeds are trained on the same images. The test "
    "error of the mean of their probabilities is compared with that of each one; for each number "
    "of members the mean over all choices of so many.",
    rule=f"Confirmed if all of them together gain between {100 * GAIN:g} and {300 * GAIN:g} points "
    "over the mean single one. Refuted if they gain nothing.",
)
def run(lab: Lab) -> Result:
    data = lab.images(*lab.pick((256, 100), (2000, 1000), (10000, 5000)))
    members = lab.pick(2, 5, 5)
    answers = []
    for seed in range(members):
        lab.progress(f"member {seed + 1} of {members}")
        manual_seed(lab.seed + seed)
        model = convnet(data.shape, "relu", lab.pick(4, 8, 16))
        epochs = lab.pick(1, 6, 10)
        fit(model, data, epochs, sgd(model, 0.02), every=epochs, test=False, seed=lab.seed + seed)
        answers.append(probabilities(outputs(model, data.x_test)))
    errors = []
    for k in range(1, members + 1):
        together = [np.mean(group, axis=0) for group in combinations(answers, k)]
        errors.append(float(np.mean([(p.argmax(axis=1) != data.y_test).mean() for p in together])))
    single, all_ = errors[0], errors[-1]
    gain = single - all_
    return Result(
        measured={
            "test error, by members": {str(k): e for k, e in enumerate(errors, 1)},
            "gain in points": 100 * gain, "part of the error that is gone": gain / single,
        },
        verdict=verdict(GAIN <= gain <= 3 * GAIN, gain <= 0),
        finding=f"One network is wrong for {single:.2%} of the test images, {members} together for "
        f"{all_:.2%}: a gain of {100 * gain:.2f} points, {gain / single:.0%} of the errors.",
        on="how much there is to gain: the part of the errors that goes away says more than the "
        "points.",
        figures=[
            Figure(
                charts.lines(
                    {"test error": (range(1, members + 1), errors)}, "Test error", "members",
                    "share wrong",
                ),
                "Mean over all choices of so many members.",
            )
        ],
    )  # fmt: skip


def probabilities(logits: Array) -> Array:
    """Softmax in float64."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    return e / e.sum(axis=1, keepdims=True)
