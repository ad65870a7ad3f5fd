# SPDX-License-Identifier: BSD-3-Clause
"""The mean image against one mean for each channel."""

from __future__ import annotations

import numpy as np

from ...preprocessing import ChannelMean, MeanImage
from ...random import manual_seed
from .. import charts
from ..registry import Figure, Result, experiment, verdict
from ..setting import Array, Images, Lab
from ..training import convnet, fit, sgd

ERRORS, POINTS = 2.0, 0.005


@experiment(
    section="Data preprocessing",
    order=3,
    title="Mean image or channel means",
    claim="To subtract one mean for each channel does as well as to subtract the mean image.",
    method="A ConvNet is trained on images minus the mean training image, and on the same images "
    "minus the mean of each channel, with the same scale, several seeds for both. Compared is the "
    "test error.",
    rule=f"Confirmed if the mean image is not better by more than {ERRORS:g} standard errors of "
    f"the paired difference and {100 * POINTS:g} points, and this error is at most 1 point. "
    "Refuted if it is better by more.",
)
def run(lab: Lab) -> Result:
    raw = lab.raw(*lab.pick((256, 100), (3000, 1000), (10000, 5000)))
    seeds = lab.pick(2, 5, 5)
    x, x_test = raw.x.astype(np.float32), raw.x_test.astype(np.float32)
    kinds = {"mean image": MeanImage(divisor=64), "channel mean": ChannelMean(divisor=64)}
    errors: dict[str, list[float]] = {}
    for name, step in kinds.items():
        data = Images(step.fit_transform(x), raw.y, step.transform(x_test), raw.y_test)
        errors[name] = []
        for seed in range(seeds):
            lab.progress(f"{name}, seed {seed}")
            manual_seed(lab.seed + seed)
            model = convnet(data.shape, "relu", lab.pick(4, 8, 16))
            epochs = lab.pick(1, 4, 5)
            trace = fit(model, data, epochs, sgd(model, 0.02), every=epochs, seed=lab.seed + seed)
            errors[name].append(trace.test_error[-1])
    gap = np.array(errors["channel mean"]) - np.array(errors["mean image"])
    deviation = float(gap.std(ddof=1) / seeds**0.5)
    worse = float(gap.mean())
    refuted = worse > ERRORS * deviation and worse > POINTS
    picture = kinds["mean image"].mean_.mean(axis=-1)
    mean = {name: float(np.mean(e)) for name, e in errors.items()}
    return Result(
        measured={
            "test error": errors, "mean test error": mean,
            "channel mean minus mean image": worse, "its standard error": deviation,
            "standard deviation over places of the mean image, of 255": float(picture.std()),
        },
        verdict=verdict(not refuted and deviation <= 0.01, refuted),
        finding=f"Test error {mean['mean image']:.2%} with the mean image, "
        f"{mean['channel mean']:.2%} with channel means: a difference of "
        f"{100 * worse:+.2f} points, standard error {100 * deviation:.2f}.",
        on="the seeds, whose noise is larger than the difference.",
        figures=[
            Figure(
                charts.bars(
                    {n: 100 * e for n, e in mean.items()}, "Test error", "%", "{:.2f}"
                ),
                f"Mean of {seeds} seeds.",
            ),
            Figure(
                charts.heat_map(
                    shrink(picture), [""] * 7, [""] * 7, "The mean image", "columns", "rows",
                    "{:.0f}",
                ),
                "Averaged over channels and over patches; pixels from 0 to 255.",
            ),
        ],
    )  # fmt: skip


def shrink(picture: Array) -> Array:
    """7x7 patches' means."""
    rows = np.array_split(picture, 7)
    return np.array([[part.mean() for part in np.array_split(row, 7, axis=1)] for row in rows])
