# SPDX-License-Identifier: BSD-3-Clause
"""What ``fastnn bench`` measures: the rows against peers, and the questions among ourselves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .nets import NETS, inference, trace, train_step
from .workloads import (
    BACKWARD,
    FORWARD,
    IN_CACHE,
    IN_MEMORY,
    Workload,
    activation,
    adam,
    conv,
    cross_entropy,
    goals,
    linear,
    matmul,
    max_pool,
    norm_relu,
    sgd,
)

BOTH = (FORWARD, BACKWARD)
WITH_TARGETS = ("relu", "sigmoid", "tanh", "elu", "softplus", "silu", "gelu")
ACTIVATIONS = (
    *WITH_TARGETS, "leaky_relu", "selu", "celu", "mish", "softsign", "logsigmoid", "hardtanh",
    "hardsigmoid", "hardswish", "relu6",
)  # fmt: skip
SIGMOID_LOSS = 0.05  # what a network may lose with sigmoid in ReLU's place

SHARES = "cifar_quick"  # the network in whose step each activation's share is measured
# The other networks in which sigmoid takes ReLU's place, with their batches.
NETWORKS = {"resnet20": 128, "vgg": 32, "alexnet": 32, "mobilenet_v1": 32}


@dataclass(frozen=True)
class Suite:
    """``rows`` are measured against the peers.

    The other workloads are checked against PyTorch and NumPy and timed against each other,
    group by group: ``costs`` of every activation alone, ``shares`` of every activation in one
    network's step, other ``networks`` with ReLU and sigmoid, ``layers`` of one network one by one.
    """

    rows: list[Workload]
    networks: list[list[Workload]]
    shares: list[list[Workload]]
    costs: list[list[Workload]]
    layers: list[list[Workload]]

    @property
    def groups(self) -> dict[str, list[list[Workload]]]:
        return {name: getattr(self, name) for name in ("costs", "shares", "networks", "layers")}

    @property
    def names(self) -> list[str]:
        inner = [w.name for groups in self.groups.values() for group in groups for w in group]
        return list(dict.fromkeys([w.name for w in self.rows] + inner))


def suite(quick: bool = False) -> Suite:
    """Return what is measured; ``quick`` is a choice that takes less than a minute."""
    return _quick() if quick else _full()


def _full() -> Suite:
    return Suite(
        rows=[
            *_steps(), *_inference(),
            *(matmul(n, n, n, **goals(0.85, 1.05)) for n in (512, 1024, 2048)),
            *(linear(*shape, **goals(0.9, 1.3))
              for shape in ((64, 512, 784), (128, 10, 256), (32, 64, 64))),
            *_convs(), *_activations(),
            *(max_pool(128, 32, 32, d, **goals(1.0, 2.0)) for d in BOTH),
            *(norm_relu(128, 16, 32, d, **goals(1.0, 2.0)) for d in BOTH),
            *(cross_entropy(128, c, d, **goals(1.0, 2.0)) for c in (10, 1000) for d in BOTH),
            sgd(10_000_000, **goals(1.0)), adam(10_000_000, **goals(1.0, 2.0)),
        ],
        networks=[_relu_and_sigmoid(net, batch) for net, batch in NETWORKS.items()],
        shares=[[train_step(SHARES, 128, fn) for fn in (*ACTIVATIONS, "identity")]],
        costs=_costs(ACTIVATIONS),
        layers=[_layer(SHARES, 128, i) for i in range(_count_activations(SHARES))],
    )  # fmt: skip


def _quick() -> Suite:
    rows = [
        *_steps()[:2],
        train_step(SHARES, 32, **goals(0.7, 1.7, PyTorch=2.3)),
        train_step("resnet20", 16, **goals(None, 2.0, PyTorch=2.5)),
    ]
    rows += [inference("resnet20", 1, **goals(**{"ONNX Runtime": 1.2}))]
    rows += [matmul(512, 512, 512, **goals(0.85, 1.05)), linear(64, 512, 784, **goals(0.9, 1.3))]
    rows += [w for w in _convs() if "32→32" in w.name or "depthwise" in w.name]
    names = [f"{fn} {size}, {FORWARD}" for fn in ("relu", "sigmoid") for size in ("32 K", "4 M")]
    rows += [w for w in _activations() if w.name in (*names, f"gelu 4 M, {FORWARD}")]
    rows += [max_pool(128, 32, 32, FORWARD, **goals(1.0, 2.0))]
    rows += [norm_relu(128, 16, 32, FORWARD, **goals(1.0, 2.0))]
    rows += [cross_entropy(128, 10, FORWARD, **goals(1.0, 2.0))]
    rows += [adam(1_000_000, **goals(1.0, 2.0))]
    few = ("relu", "sigmoid", "tanh")
    return Suite(
        rows,
        networks=[],
        shares=[[train_step(SHARES, 32, fn) for fn in (*few, "identity")]],
        costs=_costs(few),
        layers=[_layer(SHARES, 32, i) for i in (0, 1)],
    )


def _steps() -> list[Workload]:
    return [
        train_step("tiny_mlp", 32, **goals(1.5, 3.0)),
        train_step("mlp", 128, **goals(0.8, 1.4)),
        train_step("cifar_quick", 128, **goals(0.7, 1.7, PyTorch=2.3)),
        train_step("resnet20", 128, **goals(None, 2.0, PyTorch=2.5)),
        train_step("vgg", 32, **goals(None, 2.0, PyTorch=2.3)),
        train_step("alexnet", 32, **goals(None, 1.6)),
        train_step("mobilenet_v1", 32, **goals(None, 2.0)),
    ]


def _inference() -> list[Workload]:
    target = goals(**{"ONNX Runtime": 1.2})
    return [inference(net, n, **target) for net in ("resnet20", "cifar_quick") for n in (1, 128)]


def _convs() -> list[Workload]:
    # shape, more arguments, foundation, target forward, target backward
    rows: list[tuple[tuple[int, int, int, int, int], dict[str, Any], float, float, float]] = [
        ((32, 32, 32, 32, 3), {}, 0.8, 2.0, 2.0),
        ((32, 16, 64, 64, 3), {}, 0.8, 2.0, 2.0),
        ((32, 8, 128, 128, 3), {}, 0.8, 2.0, 2.0),
        ((32, 16, 32, 32, 5), {}, 0.8, 1.6, 1.6),
        ((32, 32, 3, 32, 5), {}, 0.8, 1.0, 1.6),
        ((32, 227, 3, 96, 11), {"stride": 4, "pad": 0}, 0.8, 1.1, 2.0),
        ((32, 32, 64, 128, 3), {"stride": 2}, 0.7, 1.1, 1.1),
        ((32, 14, 256, 256, 1), {}, 0.8, 1.15, 1.15),
        ((32, 32, 64, 64, 3), {"groups": 64}, 1.0, 2.5, 4.0),
    ]
    return [
        conv(*shape, direction=direction, **(extra | goals(foundation, target)))
        for shape, extra, foundation, forward, backward in rows
        for direction, target in zip(BOTH, (forward, backward), strict=True)
    ]


def _activations() -> list[Workload]:
    forward = {
        "relu": goals(1.0, copy=0.9), "sigmoid": goals(1.0, 1.7),
        "silu": goals(2.0, 1.7), "gelu": goals(2.0, 1.7),
    }  # fmt: skip
    rows = []
    for size in (IN_CACHE, IN_MEMORY):
        for fn in WITH_TARGETS:
            for direction in BOTH:
                if size == IN_CACHE:
                    target = goals(1.0, 2.0)
                elif direction == FORWARD:
                    target = forward.get(fn, goals(2.0, 4.0))
                else:
                    target = goals(1.0 if fn == "relu" else 0.9, copy=0.9)
                rows.append(activation(fn, size, direction, **target))
    return rows


def _relu_and_sigmoid(net: str, batch: int) -> list[Workload]:
    return [train_step(net, batch, fn) for fn in ("relu", "sigmoid")]


def _costs(fns: tuple[str, ...]) -> list[list[Workload]]:
    return [
        [activation(fn, size, direction) for fn in fns]
        for size in (IN_CACHE, IN_MEMORY)
        for direction in BOTH
    ]


def _count_activations(net: str) -> int:
    return sum(step.kind == "act" for step in trace(NETS[net]))


def _layer(net: str, batch: int, which: int) -> list[Workload]:
    """Return a network's layer before its activation number ``which``, and that activation."""
    steps = trace(NETS[net])
    place = [i for i, step in enumerate(steps) if step.kind == "act"][which]
    step, size = steps[place - 1], batch * math.prod(steps[place].after)
    acts = [activation(fn, size, d) for fn in ("relu", "sigmoid") for d in BOTH]
    if step.kind == "linear":
        return [linear(batch, step.after[0], step.before[0]), *acts]
    _, out, kernel, stride, pad, groups, _ = step.layer
    channels = step.before[2]
    return [
        conv(batch, step.before[0], channels, out, kernel, stride=stride, pad=pad, groups=groups,
             direction=d)
        for d in BOTH
    ] + acts  # fmt: skip
