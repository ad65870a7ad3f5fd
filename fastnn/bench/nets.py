# SPDX-License-Identifier: BSD-3-Clause
"""The networks that are measured, each a list of layers that every library builds in its own way.

Layers: ("conv", out, kernel, stride, pad, groups, bias), ("norm",), ("act",), ("pool", size,
stride) for the maximum, ("mean",) over the image, ("flatten",), ("linear", out), and
("residual", body, shortcut): the activation of the sum of two branches, of which the body comes
first in every order of parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .workloads import CHECKED_STEPS, Workload

Layer = tuple[Any, ...]
Layers = tuple[Layer, ...]

NORM_EPSILON = 1e-5
WITH_PARAMETERS = ("conv", "norm", "linear")


@dataclass(frozen=True)
class Net:
    """A network: the shape of one sample, its layers, and how the tables call it."""

    title: str
    input_shape: tuple[int, ...]
    layers: Layers
    classes: int = 10

    @property
    def has_convolutions(self) -> bool:
        return len(self.input_shape) == 3


@dataclass(frozen=True)
class Step:
    """A layer of a network (no residual: its branches' layers come one by one).

    ``index`` counts the layers with parameters; the others carry the next one's.
    """

    layer: Layer
    before: tuple[int, ...]
    after: tuple[int, ...]
    index: int

    @property
    def kind(self) -> str:
        return str(self.layer[0])


def conv(
    out: int, kernel: int, stride: int = 1, pad: int | None = None, groups: int = 1,
    bias: bool = False,
) -> Layer:  # fmt: skip
    """A square convolution, padded to keep the size if ``pad`` is not given."""
    return ("conv", out, kernel, stride, (kernel - 1) // 2 if pad is None else pad, groups, bias)


def _conv_norm_act(out: int, kernel: int, stride: int = 1, groups: int = 1) -> Layers:
    return conv(out, kernel, stride, groups=groups), ("norm",), ("act",)


def _mlp(title: str, features: int, hidden: tuple[int, ...]) -> Net:
    dense = (layer for width in hidden for layer in (("linear", width), ("act",)))
    return Net(title, (features,), (*dense, ("linear", 10)))


def _cifar_quick() -> Net:
    blocks = ((conv(out, 5, bias=True), ("act",), ("pool", 2, 2)) for out in (32, 32, 64))
    dense = (("flatten",), ("linear", 64), ("act",), ("linear", 10))
    return Net("cifar_quick", (32, 32, 3), (*(y for b in blocks for y in b), *dense))


def _resnet20() -> Net:
    layers: list[Layer] = [*_conv_norm_act(16, 3)]
    channels = 16
    for out in (16, 32, 64):
        for _ in range(3):
            stride = 1 if out == channels else 2
            body = (*_conv_norm_act(out, 3, stride), conv(out, 3), ("norm",))
            shortcut = () if out == channels else (conv(out, 1, stride), ("norm",))
            layers.append(("residual", body, shortcut))
            channels = out
    return Net("ResNet-20", (32, 32, 3), (*layers, ("mean",), ("linear", 10)))


def _vgg() -> Net:
    layers: list[Layer] = []
    for out in (64, 128, 256):
        layers += [*_conv_norm_act(out, 3), *_conv_norm_act(out, 3), ("pool", 2, 2)]
    return Net("VGG-style", (32, 32, 3), (*layers, ("flatten",), ("linear", 10)))


def _alexnet() -> Net:
    """Krizhevsky (2014), "One weird trick", without dropout."""
    pool = ("pool", 3, 2)
    layers = (
        conv(64, 11, 4, 2, bias=True), ("act",), pool,
        conv(192, 5, bias=True), ("act",), pool,
        *(y for out in (384, 256, 256) for y in (conv(out, 3, bias=True), ("act",))), pool,
        ("flatten",), ("linear", 4096), ("act",), ("linear", 4096), ("act",), ("linear", 1000),
    )  # fmt: skip
    return Net("AlexNet", (224, 224, 3), layers, classes=1000)


def _mobilenet() -> Net:
    """Howard et al. (2017), table 1, width 0.25."""
    layers: list[Layer] = [*_conv_norm_act(8, 3, 2)]
    channels = 8
    for out, stride in (
        (16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2), (256, 1)
    ):  # fmt: skip
        layers += [*_conv_norm_act(channels, 3, stride, groups=channels), *_conv_norm_act(out, 1)]
        channels = out
    return Net("MobileNet-v1 (0.25)", (64, 64, 3), (*layers, ("mean",), ("linear", 10)))


NETS: dict[str, Net] = {
    "tiny_mlp": _mlp("tiny_mlp", 64, (64,)),
    "mlp": _mlp("mlp", 784, (512, 256)),
    "cifar_quick": _cifar_quick(),
    "resnet20": _resnet20(),
    "vgg": _vgg(),
    "alexnet": _alexnet(),
    "mobilenet_v1": _mobilenet(),
}


def trace(net: Net) -> list[Step]:
    """Return the layers in the order of their parameters, with the shapes of one sample."""
    steps: list[Step] = []

    def add(layer: Layer, before: tuple[int, ...]) -> None:
        index = sum(s.kind in WITH_PARAMETERS for s in steps)
        steps.append(Step(layer, before, shape_after(layer, before), index))

    def walk(layers: Layers, shape: tuple[int, ...]) -> None:
        for layer in layers:
            after = shape_after(layer, shape)
            if layer[0] == "residual":
                walk(layer[1], shape)
                walk(layer[2], shape)
                add(("act",), after)
            else:
                add(layer, shape)
            shape = after

    walk(net.layers, net.input_shape)
    return steps


def shape_after(layer: Layer, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of one sample after the layer."""
    if layer[0] == "conv":
        _, out, kernel, stride, pad, *_ = layer
        return (*((s + 2 * pad - kernel) // stride + 1 for s in shape[:2]), out)
    if layer[0] == "pool":
        return (*((s - layer[1]) // layer[2] + 1 for s in shape[:2]), shape[2])
    if layer[0] == "mean":
        return shape[2:]
    if layer[0] == "flatten":
        return (math.prod(shape),)
    if layer[0] == "linear":
        return (layer[1],)
    if layer[0] == "residual":
        for inner in layer[1]:
            shape = shape_after(inner, shape)
    return shape


def parameters(net: Net) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the parameters in order: weights w, biases b, scales g of a norm."""
    shapes: dict[str, tuple[int, ...]] = {}
    for step in trace(net):
        i, depth, out = step.index, step.before[-1], step.after[-1]
        if step.kind == "conv":
            _, _, kernel, _, _, groups, bias = step.layer
            shapes[f"w{i}"] = (out, kernel, kernel, depth // groups)
            if bias:
                shapes[f"b{i}"] = (out,)
        elif step.kind == "linear":
            shapes |= {f"w{i}": (out, depth), f"b{i}": (out,)}
        elif step.kind == "norm":
            shapes |= {f"g{i}": (out,), f"b{i}": (out,)}
    return shapes


def statistics(net: Net) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the running means m and variances v in order."""
    norms = [step for step in trace(net) if step.kind == "norm"]
    return {f"{kind}{s.index}": s.after[-1:] for s in norms for kind in "mv"}


def forward_flops(net: Net, batch: int) -> tuple[float, float]:
    """Return the flops of convolutions and linear layers: of all, and of the first one."""
    work = []
    for step in trace(net):
        if step.kind == "conv":
            _, _, kernel, _, _, groups, _ = step.layer
            taps = kernel * kernel * step.before[-1] // groups
        elif step.kind == "linear":
            taps = step.before[-1]
        else:
            continue
        work.append(2.0 * batch * math.prod(step.after) * taps)
    return sum(work), work[0]


def train_step(net: str, batch: int, fn: str = "relu", **more: Any) -> Workload:
    """A training step: forward, cross-entropy, backward, SGD with momentum, data in memory."""
    total, first = forward_flops(NETS[net], batch)
    name = f"{NETS[net].title} step, batch {batch}" + ("" if fn == "relu" else f", {fn}")
    # A value that rounds over a kink, or to another maximum, flips a whole gradient, and many or
    # normalized layers multiply that: there one step is compared, in the root mean square. An
    # update is known to half an ulp of its weight. The first layer needs no gradient of its data.
    deep = bool(statistics(NETS[net])) or len(parameters(NETS[net])) > 12
    args = {"net": net, "batch": batch, "fn": fn, "checked": 1 if deep else CHECKED_STEPS}
    return Workload(
        name, "step", args, "steps", flops=3 * total - first, metric="rms" if deep else "max",
        tolerance=5e-2 if deep else 1e-2, floor=2e-7, **more,
    )  # fmt: skip


def inference(net: str, batch: int, fn: str = "relu", **more: Any) -> Workload:
    """The logits of a batch, with running statistics and without a tape."""
    return Workload(
        f"{NETS[net].title} inference, batch {batch}", "infer",
        {"net": net, "batch": batch, "fn": fn}, "inference",
        flops=forward_flops(NETS[net], batch)[0], tolerance=1e-3, **more,
    )  # fmt: skip
