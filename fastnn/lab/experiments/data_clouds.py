# SPDX-License-Identifier: BSD-3-Clause
"""Original, centred, normalized, decorrelated and whitened data, and what descent makes of them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ... import functional as F
from ... import optim
from ...preprocessing import PCA, MeanImage, Standardize, Whiten
from ...tensor import tensor
from .. import charts
from ..registry import Figure, Result, experiment, verdict
from ..setting import Array, Lab

RATES = tuple(2.0**k for k in range(-14, 3))
TARGET = 1e-3
FASTER = 10.0
SLACK = 1.05


@experiment(
    section="Data preprocessing",
    order=1,
    title="Five clouds of the same data",
    claim="Each step of preprocessing, centring, normalization, decorrelation and whitening, makes "
    "gradient descent on correlated data faster.",
    method="Points of two correlated features with different scales, far from 0, are centred, then "
    "divided by their standard deviations, or instead rotated onto their principal axes, or "
    "whitened. On each a linear regression of the same target is learned by full-batch descent "
    "with the best learning rate among powers of 2; counted are the steps until the mean squared "
    f"error is {TARGET:g} of that at the start.",
    rule=f"Confirmed if no step of this order needs more than {SLACK:g} times the descent steps of "
    f"the one before, and white data at most 1 / {FASTER:g} of the original's. Refuted if white "
    "data need no fewer than the original.",
)
def run(lab: Lab) -> Result:
    rng = lab.rng()
    n = lab.pick(60, 150, 150)
    x = rng.standard_normal((n, 2)) @ np.array([[2.0, 0.9], [0.0, 0.5]]) + [3.0, 2.0]
    y = (x - x.mean(axis=0)) @ np.array([0.7, -1.2]) + 0.5
    panels = {
        "original": x,
        "centred": MeanImage().fit_transform(x),
        "normalized": Standardize().fit_transform(x),
        "decorrelated": PCA().fit_transform(x),
        "whitened": Whiten(eps=0.0).fit_transform(x),
    }
    limit = lab.pick(300, 20000, 20000)
    found = {name: fastest(cloud, y, limit) for name, cloud in panels.items()}
    steps = {name: s for name, (s, _) in found.items()}
    order = list(steps.values())
    better = all(b <= SLACK * a for a, b in pairwise(order))
    gain = steps["original"] / steps["whitened"]
    return Result(
        measured={
            "steps to the target": steps,
            "best learning rate": {name: r for name, (_, r) in found.items()},
            "condition number of the problem": {n: condition(c) for n, c in panels.items()},
        },
        verdict=verdict(better and gain >= FASTER, gain <= 1),
        finding="Steps of descent: "
        + ", ".join(f"{name} {s}" for name, s in steps.items())
        + f". White data need {gain:.0f} times fewer than the original.",
        on="the step: descent feels centring and equal scales along the axes that matter. A mere "
        "rotation leaves the shape of the valley, and with it the number of steps, as it was.",
        figures=[
            Figure(
                charts.clouds(panels, "The same points"),
                "Each square is as wide as its data need: ± half its width, around 0.",
            ),
            Figure(charts.bars(steps, "Steps of descent to the target", "steps", "{:.0f}")),
        ],
    )


def condition(x: Array) -> float:
    """Largest over smallest curvature of the squared error in weights and bias."""
    design = np.hstack([x, np.ones((len(x), 1))])
    return float(np.linalg.cond(design.T @ design))


def fastest(x: Array, y: Array, limit: int) -> tuple[int, float]:
    """Fewest steps over the learning rates, and the rate."""
    best = limit, float("nan")
    for rate in RATES:
        steps = descend(x, y, rate, best[0])
        if steps < best[0]:
            best = steps, rate
    return best


def descend(x: Array, y: Array, rate: float, limit: int) -> int:
    """Steps to the target, or `limit`."""
    design, goal = tensor(np.hstack([x, np.ones((len(x), 1))])), tensor(y[:, None])
    w = tensor(np.zeros((3, 1)), requires_grad=True)
    optimizer = optim.SGD([w], lr=rate)
    start = None
    for i in range(limit):
        optimizer.zero_grad()
        loss = F.mse_loss(design @ w, goal)
        value = loss.item()
        start = value if start is None else start
        if not value < 10 * start:
            return limit
        if value < TARGET * start:
            return i
        loss.backward()
        optimizer.step()
    return limit
