# SPDX-License-Identifier: BSD-3-Clause
"""Update rules race in a ravine of two dimensions."""

from __future__ import annotations

import math

import numpy as np

from ...tensor import tensor
from .. import charts
from ..registry import Figure, Result, experiment, verdict
from ..setting import Array, Lab
from ._rules import RULES, Make

CURVATURE = 100.0
TARGET = 1e-4
RATES = tuple(10.0**k for k in np.arange(-4, 2.01, 0.25))
START = np.array([-1.0, 0.4])


@experiment(
    section="Update rules",
    order=1,
    title="A race in a ravine",
    claim="In a long and narrow valley, momentum and the rules with a rate of their own for each "
    "weight arrive in fewer steps than plain gradient descent.",
    method=f"A quadratic bowl in two dimensions whose curvatures differ by a factor of "
    f"{CURVATURE:g}, once along the axes and once turned by 45 degrees. Each rule descends from "
    f"the same point with learning rates from 0.0001 to 100; the fewest steps to {TARGET:g} of the "
    "starting height count, with the height staying below from then on.",
    rule="Confirmed if in both positions each rule needs at most half of the steps of plain "
    "descent. Refuted if in both positions plain descent needs the fewest.",
)
def run(lab: Lab) -> Result:
    limit = lab.pick(60, 1500, 1500)
    rates = RATES[:: lab.pick(6, 1, 1)]
    steps: dict[str, dict[str, int]] = {}
    figures = []
    for name, angle in (("along the axes", 0.0), ("turned by 45°", math.pi / 4)):
        c, s = math.cos(angle), math.sin(angle)
        turn = np.array([[c, -s], [s, c]])
        matrix = turn @ np.diag([1.0, CURVATURE]) @ turn.T
        plot = charts.Plot(f"Paths, {name}", "x", "y", x_range=(-1.5, 0.5), y_range=(-1.3, 0.7))
        for height in (0.02, 0.2, 1.0):
            t = np.linspace(0, 2 * math.pi, 120)
            ring = turn @ np.stack([np.cos(t), np.sin(t) / math.sqrt(CURVATURE)]) * height**0.5
            plot.guide(*ring)
        steps[name] = {}
        for rule, (make, _) in RULES.items():
            lab.progress(f"{name}, {rule}")
            tried = [descend(make, rate, matrix, turn @ START, limit) for rate in rates]
            count, path = min(tried, key=lambda found: found[0])
            steps[name][rule] = count
            if rule in ("SGD", "momentum", "RMSprop", "Adam"):
                plot.path(rule, *np.array(path[:60]).T)
        figures.append(Figure(plot.svg(), "The first 60 steps of four rules; rings: same height."))
    others = [rule for rule in RULES if rule != "SGD"]
    faster = all(2 * steps[n][r] <= steps[n]["SGD"] for n in steps for r in others)
    slower = all(min(s.values()) == s["SGD"] for s in steps.values())
    straight, turned = steps.values()
    figures.append(Figure(charts.bars(steps, "Steps to the target", "steps", "{:.0f}")))
    return Result(
        measured={"steps to the target": steps, "most steps": limit},
        verdict=verdict(faster, slower),
        finding="Steps along the axes and turned: "
        + ", ".join(f"{r} {straight[r]} and {turned[r]}" for r in RULES)
        + ".",
        on="the rule and the axes: rates for each weight help where the valley lies along an "
        "axis; momentum does not care.",
        figures=figures,
    )


def descend(
    make: Make, rate: float, matrix: Array, start: Array, limit: int
) -> tuple[int, list[Array]]:
    """Steps after which the height stays below the target (or `limit`), and the path."""
    w = tensor(start, requires_grad=True)
    optimizer = make([w], lr=rate)
    path = [start.copy()]
    heights = [float(start @ matrix @ start) / 2]
    for _ in range(limit):
        x = path[-1]
        w.grad = tensor(matrix @ x)
        optimizer.step()
        path.append(w.numpy().copy())
        heights.append(float(path[-1] @ matrix @ path[-1]) / 2)
        if not heights[-1] < 1e3 * heights[0]:
            return limit, path
        if len(heights) > 20 and max(heights[-20:]) < TARGET * heights[0]:
            break
    above = [i for i, h in enumerate(heights) if not h < TARGET * heights[0]]
    return min(limit, above[-1] + 1), path
