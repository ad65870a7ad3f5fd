# SPDX-License-Identifier: BSD-3-Clause
"""The sanity checks before training: the first loss, and a tiny batch learned by heart."""

from __future__ import annotations

import math

from ... import functional as F
from ... import init
from .. import charts
from ..registry import Figure, Result, experiment, verdict
from ..setting import Array, Lab
from ..training import convnet, error, sgd

LEARNED = 0.01
CLOSE = 0.05


@experiment(
    section="Babysitting the learning process",
    order=2,
    title="The first loss, and a tiny batch",
    claim="The first loss of a sound network is log(classes), and it can be trained to no loss on "
    "20 images, while networks with a bug cannot: two checks that take seconds.",
    method="A ConvNet is trained on 20 images without regularization. The same with three planted "
    "bugs: all weights start at 0; labels are mixed anew in each step, as by a broken loader; the "
    "gradient's sign is wrong.",
    rule=f"Confirmed if the sound network's first loss is within {CLOSE:.0%} of log(10), its last "
    f"below {LEARNED:g} with no error, and every bug leaves a loss above {LEARNED:g}. Refuted if "
    "the sound one does not get there.",
)
def run(lab: Lab) -> Result:
    data = lab.images(20, 1)
    steps = lab.pick(30, 200, 300)
    curves = {
        "sound": learn(lab, data.x, data.y, steps),
        "zero weights": learn(lab, data.x, data.y, steps, zero=True),
        "mixed labels": learn(lab, data.x, data.y, steps, mixed=True),
        "wrong sign": learn(lab, data.x, data.y, steps, sign=-1.0),
    }
    first, last = curves["sound"][0][0], {n: c[-1] for n, (c, _) in curves.items()}
    wrong = {n: e for n, (_, e) in curves.items()}
    passed = last["sound"] < LEARNED and wrong["sound"] == 0
    caught = all(not v < LEARNED for n, v in last.items() if n != "sound")
    near = abs(first / math.log(10) - 1) < CLOSE
    return Result(
        measured={
            "first loss": first, "log(10)": math.log(10), "last loss": last,
            "share wrong at the end": wrong,
        },
        verdict=verdict(near and passed and caught, not passed),
        finding=f"The first loss is {first:.3f}, log(10) is {math.log(10):.3f}. After {steps} "
        f"steps on 20 images the sound network's loss is {last['sound']:.2g}; with bugs: "
        + ", ".join(
            f"{n} {v:.3g}" if math.isfinite(v) else f"{n} exploded"
            for n, v in last.items() if n != "sound"
        ) + ".",
        on="the bug: not every one shows here.",
        figures=[
            Figure(
                charts.lines(
                    {n: (range(len(c)), c) for n, (c, _) in curves.items()},
                    "Loss on 20 images", "step", "cross-entropy", log_y=True,
                    y_range=(1e-4, 1e2),
                ),
                "Each line is one network; a line that ends early has exploded.",
            )
        ],
    )  # fmt: skip


def learn(
    lab: Lab, x: Array, y: Array, steps: int,
    zero: bool = False, mixed: bool = False, sign: float = 1.0,
) -> tuple[list[float], float]:  # fmt: skip
    """Losses of training on one batch, and the error at the end."""
    from ...random import manual_seed

    manual_seed(lab.seed)
    model = convnet(x.shape[1:], "relu", lab.pick(4, 8, 8))
    if zero:
        for parameter in model.parameters():
            init.zeros_(parameter)
    optimizer, rng = sgd(model, 0.01), lab.rng()
    losses = []
    for _ in range(steps):
        labels = rng.permutation(y) if mixed else y
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        losses.append(float(loss.item()))
        if not math.isfinite(losses[-1]):
            break
        (loss * sign).backward()
        optimizer.step()
    return losses, error(model, x, y)
