# SPDX-License-Identifier: BSD-3-Clause
"""Saturation: what gradient comes through stacked sigmoids, tanhs and ReLUs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import functional as F
from ... import init, nn
from ...tensor import tensor
from .. import charts
from ..registry import Figure, Result, experiment, verdict
from ..setting import Lab

NAMES = ("sigmoid", "tanh", "relu")
POINTS = (-10.0, 0.0, 10.0)
FLAT = 1e-3
LOST = 1e-3
GAINS = {"sigmoid": 4.0, "tanh": 1.0, "relu": math.sqrt(2)}


@experiment(
    section="Activation functions",
    order=1,
    title="Saturated units and the gradient",
    claim="At inputs far from 0 sigmoid and tanh pass practically no gradient, and in a deep stack "
    "little arrives below, while ReLU passes it on.",
    method="The derivatives at -10, 0 and 10. Then stacks of linear layers (100 units, weights "
    "that suit the activation) followed by the activation: Gaussian inputs multiplied by a scale, "
    "a random gradient at the top, and the ratio of its root mean square at the bottom to the top.",
    rule=f"Confirmed if sigmoid and tanh have slopes below {FLAT:g} at both -10 and 10 and pass "
    f"less than {LOST:g} of the gradient through the deepest stack at the largest scale, and ReLU "
    "passes at least a tenth there. Refuted if sigmoid and tanh pass a tenth too.",
)
def run(lab: Lab) -> Result:
    slopes = {name: dict(zip(map(str, POINTS), slope(name, POINTS), strict=True)) for name in NAMES}
    depths = lab.pick([1, 3], [1, 2, 4, 8, 12, 16, 20], [1, 2, 4, 8, 12, 16, 20])
    scales = (0.1, 1.0, 10.0, 100.0)
    passed = {
        name: {s: [through(lab, name, depth, s) for depth in depths] for s in scales}
        for name in NAMES
    }
    worst = {name: passed[name][scales[-1]][-1] for name in NAMES}
    curved = ("sigmoid", "tanh")
    flat = all(slopes[n][str(p)] < FLAT for n in curved for p in (-10.0, 10.0))
    decided = verdict(
        flat and all(worst[n] < LOST for n in curved) and worst["relu"] >= 0.1,
        all(worst[n] >= 0.1 for n in curved),
    )
    x = np.linspace(-10, 10, 201)
    figures = [
        Figure(
            charts.lines({n: (x, slope(n, x)) for n in NAMES}, "Slope", "x", "derivative"),
            "A sigmoid passes a quarter of the gradient at best.",
        )
    ]
    for scale in (1.0, scales[-1]):
        figures.append(
            Figure(
                charts.lines(
                    {n: (depths, passed[n][scale]) for n in NAMES},
                    f"Gradient that arrives, inputs times {scale:g}",
                    "layers",
                    "bottom / top",
                    log_y=True,
                ),
                "Root mean square of the gradient at the bottom of the stack over that at the top.",
            )
        )
    s, t = slopes["sigmoid"], slopes["tanh"]
    return Result(
        measured={
            "slope at x": slopes,
            f"gradient that passes {depths[-1]} layers, by input scale": {
                n: {f"{k:g}": v[-1] for k, v in passed[n].items()} for n in NAMES
            },
        },
        verdict=decided,
        finding=f"At x = 10 the slope of sigmoid is {s['10.0']:.2g}, of tanh {t['10.0']:.2g}, of "
        f"ReLU 1; at -10 they are {s['-10.0']:.2g}, {t['-10.0']:.2g} and 0, at 0 {s['0.0']:.2g} "
        f"and {t['0.0']:.2g}. Through {depths[-1]} layers, with inputs times {scales[-1]:g}, "
        f"sigmoid passes {worst['sigmoid']:.2g} of the gradient, tanh {worst['tanh']:.2g}, ReLU "
        f"{worst['relu']:.2g}.",
        on="depth and weights more than on the inputs: only the first layer sees these, and a "
        "bounded activation brings the next layers back to where their slope is good.",
        figures=figures,
    )


def slope(name: str, x: Any) -> list[float]:
    """The derivative of an activation at each x."""
    points = tensor(np.asarray(x, np.float64), requires_grad=True)
    getattr(F, name)(points).sum().backward()
    return [float(v) for v in points.grad.numpy()]


def through(lab: Lab, name: str, depth: int, scale: float, width: int = 100) -> float:
    """What part of a gradient comes through `depth` layers, root mean square."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        linear = nn.Linear(width, width)
        init.normal_(linear.weight, 0.0, GAINS[name] / math.sqrt(width))
        init.zeros_(linear.bias)  # type: ignore[arg-type]
        layers += [linear, nn.activation.make(name)]
    rng = lab.rng()
    x = tensor((rng.standard_normal((64, width)) * scale).astype(np.float32), requires_grad=True)
    top = rng.standard_normal((64, width)).astype(np.float32)
    nn.Sequential(*layers)(x).backward(top)
    bottom = x.grad.numpy().astype(np.float64)
    return float(np.sqrt((bottom**2).mean() / (top.astype(np.float64) ** 2).mean()))
