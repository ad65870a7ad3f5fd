# SPDX-License-Identifier: BSD-3-Clause
"""What can be measured: a workload, its work, its targets; and the workloads of kernels.

Inputs and outputs are canonical NumPy arrays, channels last: images (N, H, W, C), convolution
weights (K, kh, kw, C / groups), linear weights (out, in). Each library converts at its edges.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

LEARNING_RATE = 1e-3
MOMENTUM = 0.9
BETAS, ADAM_EPSILON = (0.9, 0.999), 1e-8
CHECKED_STEPS = 3  # so that a wrong momentum shows in the compared updates

FORWARD, BACKWARD = "forward", "backward"

IN_CACHE, IN_MEMORY = 32 * 1024, 4 * 1024 * 1024  # floats

BEST = "best peer"  # the fastest library besides ours
COPY = "copy"  # not a library: memory moved as fast as the machine can


@dataclass(frozen=True)
class Workload:
    """One thing to measure.

    ``kind`` names the method of a library that does it and ``args`` are that method's arguments.
    ``flops`` and ``bytes`` count the work in one call (bytes: what must be read and written
    once). ``targets`` maps an opponent (`BEST`, `COPY` or a library's name) to the least ratio
    of its time to ours; ``foundation`` has those of the first release.
    """

    name: str
    kind: str
    args: dict[str, Any] = field(default_factory=dict)
    group: str = "kernels"
    flops: float = 0.0
    bytes: float = 0.0
    targets: dict[str, float] = field(default_factory=dict)
    foundation: dict[str, float] = field(default_factory=dict)
    metric: str = "max"  # which difference is judged: the largest, or the root mean square (rms)
    tolerance: float = 1e-4  # its bound, relative to the largest (rms) value …
    floor: float = 0.0  # … plus this

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def rate(self, seconds: float) -> tuple[float, str]:
        """Return the speed and its unit: GFLOP/s where arithmetic counts, GB/s elsewhere."""
        if self.flops:
            return self.flops / seconds * 1e-9, "GFLOP/s"
        return self.bytes / seconds * 1e-9, "GB/s"


def goals(
    foundation: float | None = None, target: float | None = None, **opponents: float
) -> dict[str, Any]:
    """Return the targets as arguments of a workload.

    ``target`` and ``foundation`` are against the best peer; ``copy=0.9`` against a copy.

    >>> goals(0.8, 2.0)
    {'foundation': {'best peer': 0.8}, 'targets': {'best peer': 2.0}}
    """
    return {
        "foundation": {} if foundation is None else {BEST: foundation},
        "targets": ({} if target is None else {BEST: target}) | opponents,
    }


# --- kernels --------------------------------------------------------------------------------------


def matmul(m: int, n: int, k: int, **more: Any) -> Workload:
    """C (m, n) = A (m, k) B (k, n)."""
    return Workload(
        f"matmul {m}×{n}×{k}", "matmul", {"m": m, "n": n, "k": k}, "matmul",
        flops=2.0 * m * n * k, bytes=4.0 * (m * k + k * n + m * n), **more,
    )  # fmt: skip


def linear(batch: int, out: int, features: int, **more: Any) -> Workload:
    """Y (batch, out) = X (batch, features) Wᵀ, a linear layer without bias."""
    return Workload(
        f"linear {batch}×{out}×{features}", "linear",
        {"batch": batch, "out": out, "features": features}, "matmul",
        flops=2.0 * batch * out * features,
        bytes=4.0 * (batch * features + out * features + batch * out), **more,
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
    **more: Any,
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
    moved = batch * size * size * channels + out * kernel * kernel * (channels // groups)
    if direction == BACKWARD and not first:
        moved *= 2  # x and w are read, their gradients written
    moved += batch * width * width * out
    what = "depthwise" if groups == channels and groups > 1 else "conv"
    part = "weights only" if direction == BACKWARD and first else direction
    args = {
        "batch": batch, "size": size, "channels": channels, "out": out, "kernel": kernel,
        "stride": stride, "pad": pad, "groups": groups, "direction": direction,
        "need_dx": not first,
    }  # fmt: skip
    return Workload(
        f"{what} {kernel}×{kernel} s{stride} {channels}→{out}@{size}² b{batch}, {part}",
        "conv", args, "conv", flops=flops, bytes=4.0 * moved, **more,
    )  # fmt: skip


def activation(fn: str, size: int, direction: str = FORWARD, **more: Any) -> Workload:
    """An elementwise function: forward reads x, writes y; backward reads two, writes dx."""
    count = f"{size // 1024} K" if size < 1 << 20 else f"{size >> 20} M"
    return Workload(
        f"{fn} {count}, {direction}", "activation",
        {"fn": fn, "size": size, "direction": direction}, "activations",
        bytes=4.0 * size * (2 if direction == FORWARD else 3), tolerance=2e-6, **more,
    )  # fmt: skip


def max_pool(
    batch: int, size: int, channels: int, direction: str = FORWARD, **more: Any
) -> Workload:
    """Max-pool 2×2, stride 2."""
    elements = 4.0 * batch * size * size * channels
    return Workload(
        f"max-pool 2×2 {channels}@{size}² b{batch}, {direction}", "max_pool",
        {"batch": batch, "size": size, "channels": channels, "direction": direction}, "pool",
        bytes=elements * (1.25 if direction == FORWARD else 1.5), tolerance=0.0, **more,
    )  # fmt: skip


def cross_entropy(batch: int, classes: int, direction: str = FORWARD, **more: Any) -> Workload:
    """Softmax cross-entropy, mean over the batch."""
    return Workload(
        f"softmax cross-entropy {batch}×{classes}, {direction}", "cross_entropy",
        {"batch": batch, "classes": classes, "direction": direction}, "loss",
        bytes=4.0 * batch * classes * (1 if direction == FORWARD else 2), **more,
    )  # fmt: skip


def sgd(count: int, tensors: int = 10, **more: Any) -> Workload:
    """One SGD step with momentum over ``count`` parameters in equal tensors."""
    return Workload(
        f"SGD momentum, {count / 1e6:g} M parameters", "sgd",
        {"count": count, "tensors": tensors}, "optimizer",
        bytes=20.0 * count, **more,
    )  # fmt: skip


def adam(count: int, tensors: int = 10, **more: Any) -> Workload:
    """One Adam step over ``count`` parameters in equal tensors."""
    return Workload(
        f"Adam, {count / 1e6:g} M parameters", "adam",
        {"count": count, "tensors": tensors}, "optimizer",
        bytes=28.0 * count, floor=6e-7, **more,  # half an ulp of a weight above 4, and then some
    )  # fmt: skip


def norm_relu(
    batch: int, size: int, channels: int, direction: str = FORWARD, **more: Any
) -> Workload:
    """Batch norm with the batch's statistics, then ReLU; backward to data, scale and shift."""
    elements = 4.0 * batch * size * size * channels
    return Workload(
        f"batch norm + ReLU {channels}@{size}² b{batch}, {direction}", "norm_relu",
        {"batch": batch, "size": size, "channels": channels, "direction": direction}, "norm",
        bytes=elements * (2 if direction == FORWARD else 3), **more,
    )  # fmt: skip
