# SPDX-License-Identifier: BSD-3-Clause
"""fastnn, through its public API.

Backward kernels are timed as PyTorch's are: an untimed forward pass, then ``y.backward(dy)``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

import fastnn as fnn
import fastnn.functional as F
from fastnn import _core, models, nn, optim
from fastnn.config import config

from .job import Job, Library
from .workloads import BACKWARD, CHECKED_STEPS, LEARNING_RATE, MOMENTUM, NETS, Array, weight_shapes

Args = dict[str, Any]
Data = dict[str, Array]

_ACTS = {"relu": F.relu, "sigmoid": F.sigmoid, "tanh": F.tanh, "elu": F.elu}


def open_library(threads: int) -> Library:
    """Set the number of threads."""
    fnn.set_num_threads(threads)
    return FastNN(threads)


class FastNN(Library):
    """The library that all this is about."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.versions = {"fastnn": fnn.__version__}
        shown = config()
        self.config = {name: str(shown[name]) for name in ("target", "compiler", "OpenMP")}

    def peak(self, seconds: float) -> float:
        """Return the FMA operations per second of all threads together, in registers."""

        def loop(_: int) -> float:
            flops, start, iterations = 0.0, time.perf_counter(), 100_000
            while time.perf_counter() - start < seconds:
                flops += _core.run_peak(iterations)
            return flops / (time.perf_counter() - start)

        with ThreadPoolExecutor(self.threads) as pool:
            return sum(pool.map(loop, range(self.threads)))

    def matmul(self, a: Args, d: Data) -> Job:
        x, y = fnn.tensor(d["a"]), fnn.tensor(d["b"])
        return _plain(lambda: x @ y, "c")

    def linear(self, a: Args, d: Data) -> Job:
        x, w = fnn.tensor(d["x"]), fnn.tensor(d["w"])
        return _plain(lambda: F.linear(x, w), "y")

    def conv(self, a: Args, d: Data) -> Job:
        backward = a["direction"] == BACKWARD
        x = fnn.tensor(d["x"], requires_grad=backward and a["need_dx"])
        w = fnn.tensor(d["w"], requires_grad=backward)

        def forward() -> Any:
            return F.conv2d(x, w, stride=a["stride"], padding=a["pad"], groups=a["groups"])

        if not backward:
            return _plain(forward, "y")
        leaves = {"dx": x, "dw": w} if a["need_dx"] else {"dw": w}
        return _backward(forward, leaves, fnn.tensor(d["dy"]))

    def activation(self, a: Args, d: Data) -> Job:
        fn, backward = _ACTS[a["fn"]], a["direction"] == BACKWARD
        x = fnn.tensor(d["x"], requires_grad=backward)
        if not backward:
            return _plain(lambda: fn(x), "y")
        return _backward(lambda: fn(x), {"dx": x}, fnn.tensor(d["dy"]))

    def max_pool(self, a: Args, d: Data) -> Job:
        backward = a["direction"] == BACKWARD
        x = fnn.tensor(d["x"], requires_grad=backward)
        if not backward:
            return _plain(lambda: F.max_pool2d(x, 2), "y")
        return _backward(lambda: F.max_pool2d(x, 2), {"dx": x}, fnn.tensor(d["dy"]))

    def cross_entropy(self, a: Args, d: Data) -> Job:
        labels, backward = d["labels"], a["direction"] == BACKWARD
        x = fnn.tensor(d["x"], requires_grad=backward)
        if not backward:
            return _plain(lambda: F.cross_entropy(x, labels), "loss")
        return _backward(lambda: F.cross_entropy(x, labels), {"dx": x}, None)

    def sgd(self, a: Args, d: Data) -> Job:
        params = [nn.Parameter(fnn.tensor(row)) for row in d["p"]]
        for p, g in zip(params, d["g"], strict=True):
            p.grad = fnn.tensor(g)
        optimizer = optim.SGD(params, lr=LEARNING_RATE, momentum=MOMENTUM)

        def outputs() -> Data:
            for _ in range(CHECKED_STEPS):
                optimizer.step()
            return {"update": np.stack([_numpy(p) for p in params]) - d["p"]}

        return Job(optimizer.step, outputs)

    def step(self, a: Args, d: Data) -> Job:
        net = NETS[a["net"]]
        act = nn.Identity if a["fn"] == "identity" else a["fn"]
        model = getattr(models, net.model)(**net.model_args, activation=act)
        names = [f"{kind}{i}" for i in range(len(weight_shapes(net))) for kind in "wb"]
        keys = list(model.state_dict())
        if len(keys) != len(names):
            raise RuntimeError(f"{net.model} must have {len(names)} parameters, got {keys}")
        model.load_state_dict({k: d[name] for k, name in zip(keys, names, strict=True)})
        optimizer = optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
        x, labels = fnn.tensor(d["x"]), d["labels"]

        def run() -> Any:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), labels)
            loss.backward()
            optimizer.step()
            return loss

        def outputs() -> Data:
            losses = [run().item() for _ in range(CHECKED_STEPS)]
            params = model.parameters()
            updates = {
                f"update {name}": _numpy(p) - d[name] for name, p in zip(names, params, strict=True)
            }
            return {"losses": np.array(losses), **updates}

        return Job(run, outputs)


def _numpy(t: Any) -> Array:
    return np.array(t.detach().numpy())


def _plain(run: Callable[[], Any], name: str) -> Job:
    return Job(run, lambda: {name: _numpy(run())})


def _backward(forward: Callable[[], Any], leaves: dict[str, Any], dy: Any) -> Job:
    y = forward()

    def prepare() -> None:
        nonlocal y
        for leaf in leaves.values():
            leaf.grad = None
        y = forward()

    def run() -> None:
        y.backward(dy)

    def outputs() -> Data:
        prepare()
        run()
        return {name: _numpy(leaf.grad) for name, leaf in leaves.items()}

    return Job(run, outputs, prepare)
