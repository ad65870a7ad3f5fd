# SPDX-License-Identifier: BSD-3-Clause
"""The arrays that a workload works on: seeded, so that every process has the same."""

from __future__ import annotations

import math

import numpy as np

from .nets import NETS, parameters, statistics
from .workloads import Array, Workload


def inputs(work: Workload) -> dict[str, Array]:
    """Return the same seeded arrays in every process."""
    rng = np.random.default_rng(12345)

    def normal(*shape: int, scale: float = 1.0) -> Array:
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(scale)

    def positive(*shape: int) -> Array:
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)

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
    if work.kind == "norm_relu":
        images = (a["batch"], a["size"], a["size"], a["channels"])
        x, g = normal(*images, scale=2.0) + 1, positive(a["channels"])
        b = normal(a["channels"])
        _leave_the_kink(x, g, b)
        return {"x": x, "g": g, "b": b, "dy": normal(*images)}
    if work.kind == "cross_entropy":
        labels = rng.integers(0, a["classes"], a["batch"])
        return {"x": normal(a["batch"], a["classes"], scale=3.0), "labels": labels}
    if work.kind in ("sgd", "adam"):
        each = a["count"] // a["tensors"]
        return {"p": normal(a["tensors"], each), "g": normal(a["tensors"], each)}
    if work.kind in ("step", "infer"):
        net = NETS[a["net"]]
        arrays = {"x": normal(a["batch"], *net.input_shape)}
        if work.kind == "step":
            arrays["labels"] = rng.integers(0, net.classes, a["batch"])
        for name, shape in parameters(net).items():
            if name[0] == "w":
                arrays[name] = normal(*shape, scale=math.sqrt(2.0 / math.prod(shape[1:])))
            else:
                arrays[name] = positive(*shape) if name[0] == "g" else normal(*shape, scale=0.1)
        if work.kind == "infer":
            for name, shape in statistics(net).items():
                arrays[name] = positive(*shape) if name[0] == "v" else normal(*shape, scale=0.1)
        return arrays
    raise ValueError(f"inputs: unknown kind of workload {work.kind!r}")


def _leave_the_kink(x: Array, g: Array, b: Array) -> None:
    """Move x where its batch norm is nearly 0: rounding would decide the side of ReLU's kink."""
    axes = tuple(range(x.ndim - 1))
    exact = x.astype(np.float64)
    norm = (exact - exact.mean(axis=axes)) / exact.std(axis=axes) * g + b
    near = np.abs(norm) < 1e-4
    x[near] += np.copysign(np.float32(2e-3), norm[near])
