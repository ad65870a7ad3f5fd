# SPDX-License-Identifier: BSD-3-Clause
"""L2, dropout, label smoothing and early stopping: what they do to the gap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ... import functional as F
from ... import nn
from ...random import manual_seed
from .. import charts
from ..registry import Figure, Result, experiment, verdict
from ..setting import Images, Lab
from ..training import Trace, error, fit, mean_loss, mlp, sgd

METHODS: dict[str, tuple[float, ...]] = {
    "none": (0.0,),
    "L2": (1e-4, 1e-3, 1e-2),
    "dropout": (0.2, 0.5, 0.7),
    "label smoothing": (0.05, 0.1, 0.3),
    "early stopping": (0.0,),
}


@dataclass
class Outcome:
    """Of one training: errors and plain cross-entropies."""

    train: float
    test: float
    train_loss: float
    test_loss: float
    held_out: float
    trace: Trace


@experiment(
    section="Regularization",
    order=1,
    title="Regularization and the gap",
    claim="L2 penalty, dropout, label smoothing and early stopping each narrow the gap between "
    "training and test loss, and lower the test error.",
    method="A network far too large for its few training images is trained without "
    "regularization and with each kind, at three strengths, of which the one with the lowest error "
    "on held-out images counts (early stopping: the epoch). Means over the seeds; loss is plain "
    "cross-entropy; test images are other ones than the held-out ones.",
    rule="Confirmed if all four have a smaller gap of the losses and a lower test error than none. "
    "Refuted if none of the four has.",
)
def run(lab: Lab) -> Result:
    few = lab.pick(100, 500, 2000)
    images = lab.images(few, lab.pick(100, 1000, 4000))
    half = len(images.x_test) // 2
    data = Images(images.x, images.y, images.x_test[:half], images.y_test[:half])
    test = images.x_test[half:], images.y_test[half:]
    found: dict[str, list[Outcome]] = {name: [] for name in METHODS}
    chosen: dict[str, list[float]] = {name: [] for name in METHODS}
    for seed in range(lab.pick(1, 3, 3)):
        for name, strengths in METHODS.items():
            lab.progress(f"{name}, seed {seed}")
            tried = {s: train(lab, data, test, name, s, seed) for s in strengths}
            best = min(tried, key=lambda s: tried[s].held_out)
            found[name].append(tried[best])
            chosen[name].append(best)
    mean: dict[str, dict[str, float]] = {
        name: {
            key: float(np.mean([getattr(o, key) for o in outcomes]))
            for key in ("train", "test", "train_loss", "test_loss")
        }
        for name, outcomes in found.items()
    }
    gap = {name: m["test_loss"] - m["train_loss"] for name, m in mean.items()}
    kinds = [name for name in METHODS if name != "none"]
    good = [gap[name] < gap["none"] and mean[name]["test"] < mean["none"]["test"] for name in kinds]
    return Result(
        measured={
            "test minus training loss": gap,
            "training error": {n: m["train"] for n, m in mean.items()},
            "test error": {n: m["test"] for n, m in mean.items()},
            "strengths chosen, by seed": chosen,
        },
        verdict=verdict(all(good), not any(good)),
        finding=f"On {few} images the loss on test images exceeds that on training images by "
        + ", ".join(f"{gap[n]:.2f} ({n})" for n in METHODS)
        + ". Test errors: " + ", ".join(f"{mean[n]['test']:.1%} ({n})" for n in METHODS) + ".",
        on="the kind: a smaller gap alone is no better answer.",
        figures=[
            Figure(
                charts.bars(
                    {
                        "training": {n: 100 * m["train"] for n, m in mean.items()},
                        "test": {n: 100 * m["test"] for n, m in mean.items()},
                    },
                    "Errors", "% wrong",
                )
            ),
            Figure(charts.bars({n: max(g, 0.0) for n, g in gap.items()},
                               "Test loss minus training loss", "cross-entropy")),
            Figure(
                charts.lines(
                    {n: (o[0].trace.epochs, o[0].trace.test_error) for n, o in found.items()},
                    "Error on held-out images, first seed", "epoch", "share wrong",
                ),
                "Early stopping keeps the weights of the epoch that is lowest here.",
            ),
        ],
    )  # fmt: skip


def train(
    lab: Lab, data: Images, test: tuple[Any, Any], name: str, strength: float, seed: int
) -> Outcome:
    """One training; for early stopping, the weights that were best on the held-out images."""
    manual_seed(lab.seed + seed)
    plain = mlp(data.shape, lab.pick([30, 30], [300, 300], [300, 300]))
    model = with_dropout(plain, strength) if name == "dropout" else plain
    decay = strength if name == "L2" else 0.0
    smoothing = strength if name == "label smoothing" else 0.0
    loss: Callable[..., Any] = partial(F.cross_entropy, label_smoothing=smoothing)
    best: dict[str, Any] = {"error": 2.0, "state": None}

    def keep(trace: Trace) -> bool:
        if name == "early stopping" and trace.test_error[-1] < best["error"]:
            state = {k: np.array(v) for k, v in model.state_dict().items()}
            best.update(error=trace.test_error[-1], state=state)
        return False

    trace = fit(
        model, data, lab.pick(2, 25, 25), sgd(model, 0.02, weight_decay=decay), batch=32,
        loss=loss, seed=lab.seed + seed, stop=keep,
    )  # fmt: skip
    if best["state"] is not None:
        model.load_state_dict(best["state"])
    held_out = error(model, data.x_test, data.y_test)
    return Outcome(
        error(model, data.x, data.y), error(model, *test), mean_loss(model, data.x, data.y),
        mean_loss(model, *test), held_out, trace,
    )  # fmt: skip


def with_dropout(model: nn.Sequential, share: float) -> nn.Sequential:
    """The same layers, with dropout after each activation."""
    layers: list[nn.Module] = []
    for layer in model:
        layers.append(layer)
        if isinstance(layer, nn.ReLU):
            layers.append(nn.Dropout(share))
    return nn.Sequential(*layers)
