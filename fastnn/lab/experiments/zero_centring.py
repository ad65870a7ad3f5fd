# SPDX-License-Identifier: BSD-3-Clause
"""Inputs that are all positive: gradients of one sign, and a zig-zag descent."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import functional as F
from ... import nn, optim
from ...tensor import tensor
from .. import charts
from ..registry import Figure, Result, experiment, verdict
from ..setting import Array, Lab

SLOWER = 2.0
TARGET = 1e-3
RATES = tuple(2.0**k for k in range(-10, 3))


@experiment(
    section="Activation functions",
    order=2,
    title="Inputs that are not centred",
    claim="Where all inputs of a unit are positive, its weight gradients for one sample have all "
    "the same sign, and gradient descent takes a zig-zag path with many more steps.",
    method="A linear layer on inputs between 0 and 1 and on the same inputs minus their mean: how "
    "often all weights of a unit get gradients of one sign from a sample. Then a regression with "
    "two weights, of opposite signs, on both kinds of inputs: full-batch gradient descent, and "
    "descent sample by sample, each with its best learning rate among powers of 2; steps until "
    f"the mean squared error is below {TARGET:g} of that at the start.",
    rule="Confirmed if positive inputs give one sign always and centred inputs less than half as "
    f"often, and if centring saves a factor of {SLOWER:g} or more of the full-batch steps. "
    "Refuted if it saves nothing.",
)
def run(lab: Lab) -> Result:
    rng = lab.rng()
    positive = rng.uniform(0, 1, (256, 8))
    signs = {"positive": one_sign(positive), "centred": one_sign(positive - positive.mean(axis=0))}
    plane = rng.uniform(0.2, 1.2, (64, 2))
    inputs = {"positive": plane, "centred": plane - plane.mean(axis=0)}
    best = {name: fastest(x, lab.pick(200, 3000, 3000)) for name, x in inputs.items()}
    steps = {name: steps for name, (steps, _, _) in best.items()}
    gain = steps["positive"] / steps["centred"]
    decided = verdict(
        signs["positive"] == 1 and signs["centred"] < 0.5 and gain >= SLOWER, gain <= 1
    )
    paths = {name: single(x, lab.seed) for name, x in inputs.items()}
    turns = {name: share_of_allowed(path) for name, path in paths.items()}
    batch = charts.Plot("Path of full-batch descent", "weight 1", "weight 2")
    sample = charts.Plot("Path of descent sample by sample", "weight 1", "weight 2")
    for name in inputs:
        batch.path(name, *np.array(best[name][2]).T)
        sample.path(name, *np.array(paths[name][:40]).T)
    return Result(
        measured={
            "share of samples whose gradients have one sign": signs,
            "steps to the target": steps,
            "best learning rate": {name: rate for name, (_, rate, _) in best.items()},
            "steps saved, factor": gain,
            "share of single-sample steps with both weights in one direction": turns,
        },
        verdict=decided,
        finding=f"Positive inputs gave gradients of one sign in {signs['positive']:.0%} of the "
        f"cases, centred ones in {signs['centred']:.0%}. With two weights, descent needed "
        f"{steps['positive']} steps on positive and {steps['centred']} on centred inputs, a "
        f"factor of {gain:.1f}.",
        on="how far the inputs' mean is from 0, compared with their spread.",
        figures=[
            Figure(batch.svg(), "From (0, 0) to the best weights (1.5, -1), best learning rates."),
            Figure(
                sample.svg(),
                "The first 40 steps. On positive inputs each step moves both weights up or both "
                "down, although one has to rise and the other to fall.",
            ),
        ],
    )


def one_sign(x: Array) -> float:
    """Share of (sample, unit) pairs for which all weights' gradients have one sign."""
    rng = np.random.default_rng(1)
    same = []
    for row in x:
        layer = nn.Linear(x.shape[1], 4, bias=False).double()
        out = F.tanh(layer(tensor(row[None])))
        (out * tensor(rng.standard_normal((1, 4)))).sum().backward()
        g = layer.weight.grad.numpy()
        same += list((g > 0).all(axis=1) | (g < 0).all(axis=1))
    return float(np.mean(same))


GOAL = np.array([1.5, -1.0])


def descend(x: Array, rate: float, limit: int) -> tuple[int | None, list[Any]]:
    """Steps of full-batch descent to the target, and the path; None if they are too many."""
    w = tensor(np.zeros((2, 1)), requires_grad=True)
    goal = x @ GOAL[:, None]
    optimizer = optim.SGD([w], lr=rate)
    path, start = [np.zeros(2)], None
    for i in range(limit):
        optimizer.zero_grad()
        loss = F.mse_loss(tensor(x) @ w, tensor(goal))
        start = loss.item() if start is None else start
        if not loss.item() < 1e6 * start:
            return None, path
        if loss.item() < TARGET * start:
            return i, path
        loss.backward()
        optimizer.step()
        path.append(w.numpy()[:, 0].copy())
    return None, path


def fastest(x: Array, limit: int) -> tuple[int, float, list[Any]]:
    """Fewest steps over the learning rates, the rate, and the path."""
    best: tuple[int, float, list[Any]] = (limit, math.nan, [np.zeros(2)])
    for rate in RATES:
        steps, path = descend(x, rate, best[0])
        if steps is not None and steps < best[0]:
            best = steps, rate, path
    return best


def single(x: Array, seed: int, rate: float = 0.3) -> list[Array]:
    """The path of one pass of descent, a sample at a time."""
    w, path = np.zeros(2), [np.zeros(2)]
    for row in np.random.default_rng(seed).permutation(x):
        w = w - rate * (row @ (w - GOAL)) * row
        path.append(w)
    return path


def share_of_allowed(path: list[Array]) -> float:
    """Share of steps that move both weights up or both down."""
    steps = np.diff(np.array(path), axis=0)
    return float((steps[:, 0] * steps[:, 1] > 0).mean())
