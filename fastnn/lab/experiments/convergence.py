# SPDX-License-Identifier: BSD-3-Clause
"""Epochs that a four-layer ConvNet needs with each activation, at its best learning rate."""

from __future__ import annotations

import math

from ...random import manual_seed
from .. import charts
from ..registry import Figure, Result, experiment, verdict
from ..setting import Images, Lab
from ..training import convnet, fit, sgd

NAMES = ("relu", "leaky_relu", "prelu", "elu", "maxout", "tanh", "sigmoid")
RATES = (0.01, 0.003, 0.03, 0.1)
MUCH, LITTLE, FACTOR = 4.0, 2.0, 6.0


@experiment(
    section="Activation functions",
    order=4,
    title="How fast each activation converges",
    claim="A network with ReLU converges about six times as fast as with sigmoid or tanh.",
    method="A ConvNet of four 3x3 convolutions is trained with each activation, initialized for "
    "it, with SGD and momentum 0.9. Counted are the epochs until the error on the first training "
    "images is down to the target (25% on CIFAR-10, as in the AlexNet paper; a stricter one on "
    "digits). Four learning rates train for three epochs (with --quick one); the two with lower "
    "losses go on until one is at the target or both are at the limit, "
    f"{FACTOR:g} times the epochs that ReLU needed and at most 40 (with --quick 8). A rate that "
    "starts slowly and wins in the end is missed.",
    rule=f"Confirmed if tanh and sigmoid both need at least {MUCH:g} times ReLU's epochs. Refuted "
    f"if one of them needs less than {LITTLE:g} times as many. An activation that does not get "
    "there within the limit counts with the limit.",
    slow=True,
)
def run(lab: Lab) -> Result:
    colour = lab.data == "cifar10"
    target = lab.pick(0.5, 0.03, 0.01) if not colour else lab.pick(0.5, 0.45, 0.25)
    most = lab.pick(1.0, 8.0, 40.0)
    data = lab.images(lab.pick(256, 2500, None), 100)
    found: dict[str, Run] = {}
    for name in NAMES:
        limit = min(most, FACTOR * found["relu"].epochs) if found else most
        found[name] = quickest(lab, data, name, target, limit)
    epochs = {name: r.epochs if r.done else math.inf for name, r in found.items()}
    counted = {n: r.epochs / found["relu"].epochs for n, r in found.items()}
    slow = (counted["tanh"], counted["sigmoid"])
    reached = found["relu"].done
    decided = verdict(reached and min(slow) >= MUCH, reached and min(slow) < LITTLE)

    def say(name: str) -> str:
        return f"{'' if found[name].done else 'more than '}{found[name].epochs:.3g}"

    return Result(
        measured={
            "target, training error": target,
            "epochs to the target": epochs,
            "epochs relative to ReLU (at least)": counted,
            "learning rate": {n: r.rate for n, r in found.items()},
        },
        verdict=decided,
        finding=f"Epochs to {target:.0%} training error: "
        + ", ".join(f"{name} {say(name)}" for name in NAMES)
        + f". Tanh needs {counted['tanh']:.1f} times as many as ReLU, sigmoid "
        f"{'' if found['sigmoid'].done else 'at least '}{counted['sigmoid']:.1f} times.",
        on="the activation: sigmoid and tanh differ. The factor also changes with initialization, "
        "size and data.",
        figures=[
            Figure(
                charts.lines(
                    {n: ([e for e, _ in r.curve], [v for _, v in r.curve])
                     for n, r in found.items()},
                    "Training error at the best learning rate", "epoch", "share wrong",
                ),
                f"Each line ends where the error reaches {target:.0%}, or at the limit.",
            )
        ],
        tables=[
            (
                "Epochs to the target",
                ["activation", "epochs", "times ReLU", "rate"],
                [[n, say(n), f"{counted[n]:.2f}", f"{found[n].rate:g}"] for n in NAMES],
            )
        ],
    )  # fmt: skip


class Run:
    """A training that can be continued."""

    def __init__(self, lab: Lab, data: Images, name: str, rate: float, target: float) -> None:
        manual_seed(lab.seed)
        self.lab, self.data, self.rate, self.target = lab, data, rate, target
        self.model = convnet(data.shape, name, lab.pick(4, 8, 16))
        self.optimizer = sgd(self.model, rate)
        self.curve: list[tuple[float, float]] = []  # epochs, error on training images
        self.epochs, self.loss, self.done = 0.0, math.inf, False

    def go_on(self, until: float) -> None:
        """Trains up to this epoch, if the target is not reached before and nothing explodes."""
        if self.done or until <= self.epochs or (self.curve and math.isinf(self.loss)):
            return
        trace = fit(
            self.model, self.data, until - self.epochs, self.optimizer, test=False,
            batch=self.lab.pick(32, 32, 64), every=self.lab.pick(1.0, 0.2, 0.25),
            check=self.lab.pick(100, 500, 2000), seed=self.lab.seed + round(100 * self.epochs),
            stop=lambda trace: trace.train_error[-1] <= self.target,
        )  # fmt: skip
        self.curve += [(self.epochs + e, v)
                       for e, v in zip(trace.epochs, trace.train_error, strict=True)]  # fmt: skip
        self.epochs, self.loss = self.curve[-1][0], trace.loss
        self.done = self.curve[-1][1] <= self.target and not trace.diverged


def quickest(lab: Lab, data: Images, name: str, target: float, limit: float) -> Run:
    """The run that reaches the target first, or has the lowest loss at the limit."""
    runs = [Run(lab, data, name, rate, target) for rate in RATES]
    for end in (min(limit, lab.pick(0.5, 1.0, 3.0)), limit):
        for run_ in runs:
            lab.progress(f"{name}, rate {run_.rate:g}, to epoch {end:g}")
            run_.go_on(min([end, *(r.epochs for r in runs if r.done)]))
        runs.sort(key=lambda r: (r.epochs, r.loss) if r.done else (math.inf, r.loss))
        if runs[0].done:
            return runs[0]
        runs = runs[:2]
    runs[0].epochs = limit
    return runs[0]
