# SPDX-License-Identifier: BSD-3-Clause
"""Random search against a grid with the same number of trials."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import search
from ...random import manual_seed
from .. import charts
from ..registry import Figure, Result, experiment, verdict
from ..setting import Lab
from ..training import fit, mean_loss, mlp, sgd

WON, LOST = 2 / 3, 1 / 3
TRIALS = 9


@experiment(
    section="Hyperparameter optimization",
    order=1,
    title="Random search against a grid",
    claim="With the same number of trials random search finds better hyperparameters than a grid, "
    "because it tries more values of the one that matters.",
    method=f"A network is trained with {TRIALS} settings of learning rate (around 0.01) and weight "
    "decay (around 0.0001), four decades of each on logarithmic scales: a grid of 3 by 3, and "
    "random draws. Repeated with other seeds for draws and networks and, since a grid would be "
    "lucky always or never, with both ranges moved by up to a decade, half the grid's step. "
    "Compared is the lowest loss on held-out images that each search found.",
    rule="Confirmed if random search finds the lower loss in at least two thirds of the "
    "repetitions. Refuted if in a third of them or fewer.",
)
def run(lab: Lab) -> Result:
    data = lab.images(*lab.pick((128, 100), (1000, 500), (4000, 1000)))
    repeats = lab.pick(2, 9, 15)
    best: dict[str, list[float]] = {"grid": [], "random": []}
    tried: dict[str, list[tuple[float, float]]] = {"grid": [], "random": []}
    for repeat in range(repeats):
        lr, decay = 10 ** lab.rng(repeat).uniform(-1, 1, 2)
        space = {
            "lr": search.log_uniform(1e-4 * lr, lr),
            "weight_decay": search.log_uniform(1e-6 * decay, 1e-2 * decay),
        }

        def objective(config: dict[str, Any], report: Any, repeat: int = repeat) -> float:
            manual_seed(lab.seed + repeat)
            model = mlp(data.shape, [30])
            optimizer = sgd(model, config["lr"], weight_decay=config["weight_decay"])
            trace = fit(
                model, data, lab.pick(1, 2, 3), optimizer, check=50, test=False, every=10,
                seed=lab.seed + repeat,
            )  # fmt: skip
            value = mean_loss(model, data.x_test, data.y_test)
            return min(value, 100.0) if not trace.diverged and math.isfinite(value) else 100.0

        options: Any = {"seed": lab.seed + repeat, "progress": False, "abandon": None}
        for name, found in (
            ("grid", search.grid(objective, space, TRIALS, **options)),
            ("random", search.random(objective, space, TRIALS, **options)),
        ):
            lab.progress(f"{name} {repeat + 1} of {repeats}")
            best[name].append(float(found.best.value or 0.0))
            tried[name] += [(t.config["lr"], float(t.value or 0.0)) for t in found.trials]
    wins = float(np.mean([r < g for r, g in zip(best["random"], best["grid"], strict=True)]))
    mean = {name: float(np.mean(values)) for name, values in best.items()}
    spread = {name: float(np.std(values)) for name, values in best.items()}
    values = {name: len({round(math.log10(lr), 6) for lr, _ in t[:TRIALS]}) for name, t in
              tried.items()}  # fmt: skip
    plot = charts.Plot(
        "Held-out loss of all trials", "learning rate", "cross-entropy", log_x=True, log_y=True
    )
    for name, points in reversed(tried.items()):  # the few of the grid on top
        plot.points(name, *zip(*[(lr, v) for lr, v in points if v < 100], strict=True))
    return Result(
        measured={
            "share of repetitions that random search won": wins, "lowest loss, mean": mean,
            "lowest loss, standard deviation": spread,
            "learning rates tried in a search": values, "repetitions": repeats,
        },
        verdict=verdict(wins >= WON, wins <= LOST),
        finding=f"Random search won {wins:.0%} of {repeats} repetitions; the lowest loss was "
        f"{mean['random']:.3f} on average, with the grid {mean['grid']:.3f}. A grid of {TRIALS} "
        f"tries {values['grid']} learning rates, random search {values['random']}.",
        on="where the grid's points happen to lie.",
        figures=[
            Figure(plot.svg(), "All repetitions; the trials differ in weight decay, too."),
            Figure(
                charts.lines(
                    {n: (range(1, repeats + 1), sorted(v)) for n, v in reversed(best.items())},
                    "Lowest loss of each search", "repetition, sorted", "cross-entropy",
                )
            ),
        ],
    )  # fmt: skip
