# SPDX-License-Identifier: BSD-3-Clause
"""What the exponential costs, for each element and in the steps of networks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from ... import functional as F
from ... import models, optim
from ...autograd import no_grad
from ...config import get_num_threads, set_num_threads
from ...plan import CompiledStep
from ...tensor import from_numpy
from .. import charts
from ..registry import Figure, Result, experiment, verdict
from ..setting import Lab

NAMES = ("relu", "leaky_relu", "elu", "tanh", "sigmoid")
CURVED = ("tanh", "sigmoid")
DEARER, MINOR, MAJOR = 1.2, 0.1, 0.25
NETS: dict[str, tuple[Any, tuple[int, ...], int]] = {
    "mlp": (partial(models.mlp, 784), (28, 28, 1), 64),
    "lenet5": (models.lenet5, (28, 28, 1), 64),
    "cifar_quick": (models.cifar_quick, (32, 32, 3), 32),
    "resnet20": (models.resnet20, (32, 32, 3), 16),
}


@experiment(
    section="Activation functions",
    order=3,
    title="What the exponential costs",
    claim="Sigmoid and tanh cost more than ReLU for each element, because of the exponential, but "
    "that is a minor part of a network's training step.",
    method="On one thread, the shortest of many forward passes over 32,768 floats, for each "
    "function in turn. Then whole training steps (forward, loss, backward, update) of four "
    "networks, with ReLU, tanh and sigmoid in turn: how much of the step the dearer function adds "
    "to that with ReLU.",
    rule=f"Confirmed if sigmoid and tanh cost at least {DEARER:g} times as much as ReLU for each "
    f"element and add less than {MINOR:.0%} to the steps of all networks. Refuted if they cost no "
    f"more, or add more than {MAJOR:.0%} to the step of most networks.",
)
def run(lab: Lab) -> Result:
    size = 32768
    x = from_numpy(lab.rng().standard_normal(size, dtype=np.float32) * 2)
    jobs: dict[str, Callable[[], object]] = {n: partial(getattr(F, n), x) for n in NAMES}
    with no_grad():
        seconds = shortest(jobs, lab.pick(3, 100, 300), 10)
    each = {name: t / size * 1e9 for name, t in seconds.items()}
    steps, extra = {}, {}
    for net, (make, shape, batch) in NETS.items():
        lab.progress(net)
        if net == "resnet20" and lab.size == "tiny":
            continue
        kinds = {name: step(lab, make, shape, batch, name) for name in ("relu", *CURVED)}
        took = shortest(kinds, lab.pick(2, 15, 60), 1)
        steps[net] = {name: 1e3 * t for name, t in took.items()}
        extra[net] = {name: 1 - took["relu"] / took[name] for name in CURVED}
    ratios = {name: each[name] / each["relu"] for name in CURVED}
    most = {net: max(values.values()) for net, values in extra.items()}
    decided = verdict(
        all(r >= DEARER for r in ratios.values()) and max(most.values()) < MINOR,
        max(ratios.values()) <= 1 or sum(v > MAJOR for v in most.values()) > len(most) / 2,
    )
    return Result(
        measured={
            "ns per element, forward": each,
            "times ReLU": ratios,
            "ms per step": steps,
            "part of the step that ReLU would save": extra,
        },
        verdict=decided,
        finding=f"An element costs {each['relu']:.2f} ns with ReLU, {each['tanh']:.2f} with tanh "
        f"and {each['sigmoid']:.2f} with sigmoid ({ratios['sigmoid']:.1f} times). Of the training "
        "steps ReLU would save at most "
        + ", ".join(f"{max(v, 0):.1%} in {net}" for net, v in most.items())
        + ".",
        on="the network: the more multiplications there are for each activation, the less it "
        "matters.",
        figures=[
            Figure(
                charts.bars(each, "Cost of an element", "ns"),
                f"Forward, {size:,} floats in cache, one thread.",
            ),
            Figure(
                charts.bars(
                    {k: {n: s[k] for n, s in steps.items()} for k in ("relu", *CURVED)},
                    "Cost of a training step", "ms",
                ),
                "Shortest of many steps, compiled, one thread.",
            ),
        ],
    )  # fmt: skip


def step(lab: Lab, make: Any, shape: tuple[int, ...], batch: int, name: str) -> Any:
    """A training step of a network as a call."""
    model = make(activation=name)
    rng = lab.rng(2)
    x = rng.standard_normal((batch, *shape), dtype=np.float32)
    y = rng.integers(0, 10, batch)
    compiled = CompiledStep(model, F.cross_entropy, optim.SGD(model.parameters(), lr=1e-4))
    return partial(compiled, x, y)


def shortest(jobs: Mapping[str, Callable[[], object]], rounds: int, calls: int) -> dict[str, float]:
    """Seconds of the shortest call of each job on one thread, by turns.

    CPU time of one thread hardly minds what else the machine does.
    """
    best = dict.fromkeys(jobs, np.inf)
    threads = get_num_threads()
    set_num_threads(1)
    try:
        for i in range(rounds + 1):
            for name, job in jobs.items():
                start = time.thread_time()
                for _ in range(calls):
                    job()
                if i:  # the first turn fills caches and records the steps
                    best[name] = min(best[name], (time.thread_time() - start) / calls)
    finally:
        set_num_threads(threads)
    return best
