# SPDX-License-Identifier: BSD-3-Clause
"""What is measured: every workload once, with its inputs, its work and its target.

Inputs and outputs are canonical NumPy arrays, channels last: images (N, H, W, C), convolution
weights (K, kh, kw, C / groups), linear weights (out, in). Each library converts at its edges.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LEARNING_RATE = 1e-3
MOMENTUM = 0.9
CHECKED_STEPS = 3  # so that a wrong momentum shows in the compared updates

FORWARD, BACKWARD = "forward", "backward"
ACTIVATIONS = ("relu", "sigmoid", "tanh", "elu")

IN_CACHE, IN_MEMORY = 32 * 1024, 4 * 1024 * 1024  # floats


@dataclass(frozen=True)
class Workload:
    """One thing to measure.

    ``kind`` names the method of a library that does it and ``args`` are that method's arguments.
    ``flops`` and ``bytes`` count the work in one call (bytes: what must be read and written
    once). ``target`` is the least ratio of the best peer's time to ours.
    """

    name: str
    kind: str
    args: dict[str, Any] = field(default_factory=dict)
    group: str = "kernels"
    flops: float = 0.0
    bytes: float = 0.0
    target: float | None = None
    tolerance: float = 1e-4  # largest difference, relative to the largest value …
    floor: float = 0.0  # … plus this

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def rate(self, seconds: float) -> tuple[float, str]:
        """Return the speed and its unit: GFLOP/s where arithmetic counts, GB/s elsewhere."""
        if self.flops:
            return self.flops / seconds * 1e-9, "GFLOP/s"
        return self.bytes / seconds * 1e-9, "GB/s"


# --- kernels --------------------------------------------------------------------------------------


def matmul(m: int, n: int, k: int, target: float | None = None) -> Workload:
    """C (m, n) = A (m, k) B (k, n)."""
    return Workload(
        f"matmul {m}×{n}×{k}", "matmul", {"m": m, "n": n, "k": k}, "matmul",
        flops=2.0 * m * n * k, target=target,
    )  # fmt: skip


def linear(batch: int, out: int, features: int, target: float | None = None) -> Workload:
    """Y (batch, out) = X (batch, features) Wᵀ, a linear layer without bias."""
    return Workload(
        f"linear {batch}×{out}×{features}", "linear",
        {"batch": batch, "out": out, "features": features}, "matmul",
        flops=2.0 * batch * out * features, target=target,
    )  # fmt: skip


def conv(
    batch: int,
    size: int,
    channels: int,
    out: int,
    kernel: int,
    *,
    stride: int = 1,
    pad: int | None = None,
    groups: int = 1,
    direction: str = FORWARD,
    target: float | None = None,
) -> Workload:
    """A square convolution without bias; backward gives the gradients of data and weights.

    A first layer (3 or fewer channels) needs no gradient of its data; its backward is the
    weights' alone, for every library.
    """
    pad = (kernel - 1) // 2 if pad is None else pad
    width = (size + 2 * pad - kernel) // stride + 1
    first = channels <= 3
    flops = 2.0 * batch * width * width * out * kernel * kernel * (channels // groups)
    if direction == BACKWARD and not first:
        flops *= 2
    what = "depthwise" if groups == channels and groups > 1 else "conv"
    part = "weights only" if direction == BACKWARD and first else direction
    args = {
        "batch": batch, "size": size, "channels": channels, "out": out, "kernel": kernel,
        "stride": stride, "pad": pad, "groups": groups, "direction": direction,
        "need_dx": not first,
    }  # fmt: skip
    return Workload(
        f"{what} {kernel}×{kernel} s{stride} {channels}→{out}@{size}² b{batch}, {part}",
        "conv", args, "conv", flops=flops, target=target,
    )  # fmt: skip


def activation(
    fn: str, size: int, direction: str = FORWARD, target: float | None = None
) -> Workload:
    """An elementwise function: forward reads x, writes y; backward reads two, writes dx."""
    count = f"{size // 1024} K" if size < 1 << 20 else f"{size >> 20} M"
    return Workload(
        f"{fn} {count}, {direction}", "activation",
        {"fn": fn, "size": size, "direction": direction}, "activations",
        bytes=4.0 * size * (2 if direction == FORWARD else 3), target=target, tolerance=2e-6,
    )  # fmt: skip


def max_pool(
    batch: int, size: int, channels: int, direction: str = FORWARD, target: float | None = None
) -> Workload:
    """Max-pool 2×2, stride 2."""
    elements = 4.0 * batch * size * size * channels
    return Workload(
        f"max-pool 2×2 {channels}@{size}² b{batch}, {direction}", "max_pool",
        {"batch": batch, "size": size, "channels": channels, "direction": direction}, "pool",
        bytes=elements * (1.25 if direction == FORWARD else 1.5), target=target, tolerance=0.0,
    )  # fmt: skip


def cross_entropy(
    batch: int, classes: int, direction: str = FORWARD, target: float | None = None
) -> Workload:
    """Softmax cross-entropy, mean over the batch."""
    return Workload(
        f"softmax cross-entropy {batch}×{classes}, {direction}", "cross_entropy",
        {"batch": batch, "classes": classes, "direction": direction}, "loss",
        bytes=4.0 * batch * classes * (1 if direction == FORWARD else 2), target=target,
    )  # fmt: skip


def sgd(count: int, tensors: int = 10, target: float | None = None) -> Workload:
    """One SGD step with momentum over ``count`` parameters in equal tensors."""
    return Workload(
        f"SGD momentum, {count / 1e6:g} M parameters", "sgd",
        {"count": count, "tensors": tensors}, "optimizer",
        bytes=20.0 * count, target=target,
    )  # fmt: skip


# --- whole steps ----------------------------------------------------------------------------------

# A layer is ("conv", out, kernel, pad), ("pool", 2), ("linear", out), ("act",) or ("flatten",).
Layer = tuple[Any, ...]


@dataclass(frozen=True)
class Net:
    """A network as a list of layers, and the model of fastnn that it is."""

    input_shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    model: str
    model_args: dict[str, Any] = field(default_factory=dict)
    classes: int = 10


def _mlp(features: int, hidden: tuple[int, ...]) -> Net:
    layers: list[Layer] = []
    for width in hidden:
        layers += [("linear", width), ("act",)]
    return Net(
        (features,), (*layers, ("linear", 10)), "mlp",
        {"in_features": features, "hidden": hidden, "num_classes": 10},
    )  # fmt: skip


_QUICK_BLOCKS = ((32, 5, 2), (32, 5, 2), (64, 5, 2))

NETS: dict[str, Net] = {
    "tiny_mlp": _mlp(64, (64,)),
    "mlp": _mlp(784, (512, 256)),
    "cifar_quick": Net(
        (32, 32, 3),
        (
            *(layer for b in _QUICK_BLOCKS for layer in (("conv", *b), ("act",), ("pool", 2))),
            ("flatten",), ("linear", 64), ("act",), ("linear", 10),
        ),
        "cifar_quick", {"num_classes": 10, "in_channels": 3},
    ),
}  # fmt: skip


def trace(net: Net) -> list[tuple[Layer, tuple[int, ...], tuple[int, ...]]]:
    """Return each layer with the shapes of one sample before and after it."""
    shape, steps = net.input_shape, []
    for layer in net.layers:
        before = shape
        if layer[0] == "conv":
            _, out, kernel, pad = layer
            shape = (shape[0] + 2 * pad - kernel + 1, shape[1] + 2 * pad - kernel + 1, out)
        elif layer[0] == "pool":
            shape = (shape[0] // layer[1], shape[1] // layer[1], shape[2])
        elif layer[0] == "flatten":
            shape = (math.prod(shape),)
        elif layer[0] == "linear":
            shape = (layer[1],)
        steps.append((layer, before, shape))
    return steps


def weight_shapes(net: Net) -> list[tuple[int, ...]]:
    """Return the shapes of the weights in order; each is followed by a bias of shape[0]."""
    shapes: list[tuple[int, ...]] = []
    for layer, before, _ in trace(net):
        if layer[0] == "conv":
            shapes.append((layer[1], layer[2], layer[2], before[-1]))
        elif layer[0] == "linear":
            shapes.append((layer[1], before[0]))
    return shapes


def step(
    net: str, batch: int, fn: str = "relu", target: float | None = None, group: str = "steps"
) -> Workload:
    """A training step: forward, cross-entropy, backward, SGD with momentum, data in memory."""
    flops, first = 0.0, True
    for layer, before, after in trace(NETS[net]):
        if layer[0] in ("conv", "linear"):
            taps = before[-1] * (layer[2] ** 2 if layer[0] == "conv" else 1)
            work = 2.0 * batch * math.prod(after) * taps
            flops += work * (2 if first else 3)  # the first layer needs no gradient of its data
            first = False
    name = f"{net} step, batch {batch}" + ("" if fn == "relu" else f", {fn}")
    # A value that rounds over a kink, or to another maximum, flips a whole gradient; and an
    # update is known to half an ulp of its weight.
    return Workload(
        name, "step", {"net": net, "batch": batch, "fn": fn}, group,
        flops=flops, target=target, tolerance=1e-2, floor=2e-7,
    )  # fmt: skip


# --- inputs ---------------------------------------------------------------------------------------


def inputs(work: Workload) -> dict[str, Array]:
    """Return the same seeded arrays in every process."""
    rng = np.random.default_rng(12345)

    def normal(*shape: int, scale: float = 1.0) -> Array:
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(scale)

    a = work.args
    if work.kind == "matmul":
        return {"a": normal(a["m"], a["k"]), "b": normal(a["k"], a["n"])}
    if work.kind == "linear":
        return {"x": normal(a["batch"], a["features"]), "w": normal(a["out"], a["features"])}
    if work.kind == "conv":
        width = (a["size"] + 2 * a["pad"] - a["kernel"]) // a["stride"] + 1
        depth = a["channels"] // a["groups"]
        return {
            "x": normal(a["batch"], a["size"], a["size"], a["channels"]),
            "w": normal(a["out"], a["kernel"], a["kernel"], depth, scale=0.1),
            "dy": normal(a["batch"], width, width, a["out"]),
        }
    if work.kind == "activation":
        return {"x": normal(a["size"], scale=2.0), "dy": normal(a["size"])}
    if work.kind == "max_pool":
        half = a["size"] // 2
        return {
            "x": normal(a["batch"], a["size"], a["size"], a["channels"]),
            "dy": normal(a["batch"], half, half, a["channels"]),
        }
    if work.kind == "cross_entropy":
        labels = rng.integers(0, a["classes"], a["batch"])
        return {"x": normal(a["batch"], a["classes"], scale=3.0), "labels": labels}
    if work.kind == "sgd":
        each = a["count"] // a["tensors"]
        return {"p": normal(a["tensors"], each), "g": normal(a["tensors"], each)}
    if work.kind == "step":
        net = NETS[a["net"]]
        arrays = {
            "x": normal(a["batch"], *net.input_shape),
            "labels": rng.integers(0, net.classes, a["batch"]),
        }
        for i, shape in enumerate(weight_shapes(net)):
            arrays[f"w{i}"] = normal(*shape, scale=math.sqrt(2.0 / math.prod(shape[1:])))
            arrays[f"b{i}"] = normal(shape[0], scale=0.1)
        return arrays
    raise ValueError(f"inputs: unknown kind of workload {work.kind!r}")


# --- the suite ------------------------------------------------------------------------------------


def _convs(quick: bool) -> list[Workload]:
    rows: list[tuple[tuple[int, int, int, int, int], dict[str, Any], float]] = [
        ((32, 32, 32, 32, 3), {}, 0.8),
        ((32, 16, 64, 64, 3), {}, 0.8),
        ((32, 8, 128, 128, 3), {}, 0.8),
        ((32, 16, 32, 32, 5), {}, 0.8),
        ((32, 32, 3, 32, 5), {}, 0.8),
        ((8 if quick else 32, 227, 3, 96, 11), {"stride": 4, "pad": 0}, 0.8),
        ((32, 32, 64, 128, 3), {"stride": 2}, 0.7),
        ((32, 14, 256, 256, 1), {}, 0.8),
        ((32, 32, 64, 64, 3), {"groups": 64}, 1.0),
    ]
    return [
        conv(*shape, direction=direction, target=target, **extra)
        for shape, extra, target in rows
        for direction in (FORWARD, BACKWARD)
    ]


def _activations() -> list[Workload]:
    targets = {"relu": (1.0, 1.0), "sigmoid": (1.0, 0.9), "tanh": (2.0, 0.9), "elu": (2.0, 0.9)}
    return [
        activation(fn, size, direction, target if size == IN_MEMORY else 1.0)
        for size in (IN_CACHE, IN_MEMORY)
        for fn in ACTIVATIONS
        for direction, target in zip((FORWARD, BACKWARD), targets[fn], strict=True)
    ]


def suite(quick: bool = False) -> list[Workload]:
    """Return every row with a target; ``quick`` shrinks the largest of them."""
    both = (FORWARD, BACKWARD)
    return [
        step("tiny_mlp", 32, target=1.5),
        step("mlp", 128, target=0.8),
        step("cifar_quick", 128, target=0.7),
        *(matmul(n, n, n, target=0.85) for n in ((512, 1024) if quick else (512, 1024, 2048))),
        *(linear(*s, target=0.9) for s in ((64, 512, 784), (128, 10, 256), (32, 64, 64))),
        *_convs(quick),
        *_activations(),
        *(max_pool(128, 32, 32, d, target=1.0) for d in both),
        *(cross_entropy(128, c, d, target=1.0) for c in (10, 1000) for d in both),
        sgd(1_000_000 if quick else 10_000_000, target=1.0),
    ]


def question(quick: bool = False) -> list[Workload]:
    """What ReLU costs against sigmoid in a whole step; identity shows the rest of the step."""
    batch = 32 if quick else 128
    fns = ("relu", "sigmoid", "identity")
    return [step("cifar_quick", batch, fn, group="question") for fn in fns]
