# SPDX-License-Identifier: BSD-3-Clause
"""ELU: mean activation and robustness to noise."""

from __future__ import annotations

import numpy as np

from ... import nn
from ...random import manual_seed
from .. import charts
from ..registry import Figure, Result, experiment, verdict
from ..setting import Lab
from ..training import activations, convnet, error, fit, sgd

NAMES = ("relu", "leaky_relu", "elu")
NOISES = (0.0, 0.5, 1.0, 1.5)
ERRORS = 2.0


@experiment(
    section="Activation functions",
    order=11,
    title="ELU: mean activation and noise",
    claim="The outputs of ELU average closer to 0 than those of ReLU, and its networks are more "
    "robust to noise in their inputs.",
    method="The four-layer ConvNet is trained with ReLU, leaky ReLU and ELU, with several seeds, "
    "on clean images. The mean of each layer's outputs over test images, divided by their standard "
    "deviation; and the test error with Gaussian noise added to the images.",
    rule="Confirmed if ELU's means are smaller in size than ReLU's in every layer, and noise adds "
    f"less error to ELU than to ReLU by more than {ERRORS:g} standard errors of the difference "
    "over the seeds (at noise of 1, in standard deviations of the pixels). Refuted if neither.",
)
def run(lab: Lab) -> Result:
    data = lab.images(*lab.pick((256, 50), (3000, 1000), (10000, 2000)))
    seeds = lab.pick(2, 3, 4)
    errors = {n: np.zeros((seeds, len(NOISES))) for n in NAMES}
    means: dict[str, list[list[float]]] = {n: [] for n in NAMES}
    noise = lab.rng(5).standard_normal(data.x_test.shape, dtype=np.float32)
    for seed in range(seeds):
        for name in NAMES:
            lab.progress(f"{name}, seed {seed}")
            manual_seed(lab.seed + seed)
            model = convnet(data.shape, name, lab.pick(4, 8, 16))
            fit(model, data, lab.pick(1, 4, 6), sgd(model, 0.02), seed=seed, test=False)
            kind = type(nn.activation.make(name))
            signals = activations(model, data.x_test[:500], kind)
            means[name].append([abs(float(s.mean()) / float(s.std())) for s in signals])
            for k, level in enumerate(NOISES):
                noisy = data.x_test + np.float32(level) * noise
                errors[name][seed, k] = error(model, noisy, data.y_test)
    average = {n: np.mean(m, axis=0).tolist() for n, m in means.items()}
    at = NOISES.index(1.0)
    harm = {n: e[:, at] - e[:, 0] for n, e in errors.items()}
    gap = harm["relu"] - harm["elu"]
    gain = float(gap.mean() / (gap.std(ddof=1) / seeds**0.5 + 1e-12))
    centred = all(e < r for e, r in zip(average["elu"], average["relu"], strict=True))
    return Result(
        measured={
            "size of the mean over standard deviation, layer by layer": average,
            "test error, by noise": {
                n: {f"{s:g}": float(v) for s, v in zip(NOISES, e.mean(axis=0), strict=True)}
                for n, e in errors.items()
            },
            "error that noise of 1 adds": {n: float(h.mean()) for n, h in harm.items()},
            "ELU's gain over ReLU, in standard errors": gain,
        },
        verdict=verdict(centred and gain > ERRORS, not centred and gain <= ERRORS),
        finding="Mean over standard deviation of the outputs, average of the layers: ReLU "
        f"{np.mean(average['relu']):.2f}, ELU {np.mean(average['elu']):.2f}. Noise as strong as "
        f"the image adds {harm['relu'].mean():.1%} error with ReLU and {harm['elu'].mean():.1%} "
        f"with ELU ({abs(gain):.1f} standard errors in favour of {'ELU' if gain > 0 else 'ReLU'}).",
        on="which half is meant: means and noise do not go together here.",
        figures=[
            Figure(
                charts.lines(
                    {n: (NOISES, e.mean(axis=0)) for n, e in errors.items()},
                    "Test error with noise", "noise / standard deviation of pixels",
                    "share wrong",
                ),
                f"Mean of {seeds} seeds.",
            ),
            Figure(
                charts.lines(
                    {n: (range(1, 5), m) for n, m in average.items()},
                    "How far outputs are from zero mean", "layer", "|mean| / standard deviation",
                )
            ),
        ],
    )  # fmt: skip
