# SPDX-License-Identifier: BSD-3-Clause
"""What preprocessing does for training on images."""

from __future__ import annotations

import numpy as np

from ...preprocessing import MeanImage, Standardize, Whiten
from ...random import manual_seed
from .. import charts
from ..registry import Figure, Result, experiment, verdict
from ..setting import Images, Lab
from ..training import Trace, convnet, fit, mlp, sgd

MATTERS = 0.1


@experiment(
    section="Data preprocessing",
    order=2,
    title="Preprocessing of images",
    claim="For training on images it is enough to subtract the mean; to divide by standard "
    "deviations or to whiten gains little.",
    method="The same images, as they are (0 to 1), with the mean image subtracted, standardized "
    "pixel by pixel, and whitened (ZCA), each multiplied by one number so that their mean square "
    "is 1; statistics from training images. On each a fully connected network and a ConvNet are "
    "trained at several learning rates; the lowest test error counts.",
    rule="Confirmed if for both networks centred images have a test error lower by at least "
    f"{MATTERS:.0%} of that of original ones, and neither standardized nor white ones are better "
    f"than centred ones by {MATTERS:.0%}. Refuted if for both networks the original images are at "
    "least as good as centred ones, or standardized or white ones better by that much.",
)
def run(lab: Lab) -> Result:
    raw = lab.raw(*lab.pick((256, 50), (3000, 1000), (10000, 2000)))
    kinds = {
        "original": None, "centred": MeanImage(), "standardized": Standardize(),
        "white": Whiten("zca", eps=1e-2),
    }  # fmt: skip
    rates = lab.pick((0.02,), (0.01, 0.03), (0.003, 0.01, 0.03))
    x, x_test = raw.x.astype(np.float32) / 255, raw.x_test.astype(np.float32) / 255
    errors: dict[str, dict[str, float]] = {"fully connected": {}, "ConvNet": {}}
    curves: dict[str, dict[str, Trace]] = {"fully connected": {}, "ConvNet": {}}
    for kind, step in kinds.items():
        a, b = (x, x_test) if step is None else (step.fit_transform(x), step.transform(x_test))
        unit = np.float32(1 / np.sqrt((a.astype(np.float64) ** 2).mean()))
        data = Images((a * unit).astype(np.float32), raw.y, (b * unit).astype(np.float32),
                      raw.y_test)  # fmt: skip
        for net in errors:
            for rate in rates:
                lab.progress(f"{kind}, {net}, rate {rate:g}")
                manual_seed(lab.seed)
                small = mlp(data.shape, lab.pick([20], [100, 100], [200, 200]))
                model = small if net != "ConvNet" else convnet(data.shape, "relu", 8)
                trace = fit(model, data, lab.pick(1, 4, 8), sgd(model, rate), seed=lab.seed)
                if trace.test_error[-1] < errors[net].get(kind, 2.0):
                    errors[net][kind], curves[net][kind] = trace.test_error[-1], trace
    gain = {n: 1 - e["centred"] / e["original"] for n, e in errors.items()}
    more = {
        n: {k: 1 - e[k] / e["centred"] for k in ("standardized", "white")}
        for n, e in errors.items()
    }
    enough = {n: max(v.values()) < MATTERS for n, v in more.items()}
    return Result(
        measured={
            "test error": errors, "part of the error that centring saves": gain,
            "part that more than centring saves": more,
        },
        verdict=verdict(
            all(gain[n] >= MATTERS and enough[n] for n in gain),
            all(gain[n] <= 0 or not enough[n] for n in gain),
        ),
        finding=" ".join(
            f"Test errors, {net}: " + ", ".join(f"{k} {v:.1%}" for k, v in e.items()) + "."
            for net, e in errors.items()
        ),
        on="the network and the images.",
        figures=[
            Figure(
                charts.lines(
                    {k: (t.epochs, t.test_error) for k, t in traces.items()},
                    f"Test error, {net}", "epoch", "share wrong",
                )
            )
            for net, traces in curves.items()
        ],
    )  # fmt: skip
