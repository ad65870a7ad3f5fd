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
from fastnn import _core, nn, optim
from fastnn.config import config

from .job import Job, Library, UnsupportedError
from .nets import NETS, NORM_EPSILON, Layers, parameters, shape_after, statistics
from .workloads import (
    ADAM_EPSILON,
    BACKWARD,
    BETAS,
    CHECKED_STEPS,
    LEARNING_RATE,
    MOMENTUM,
    Array,
)

Args = dict[str, Any]
Data = dict[str, Array]


def open_library(threads: int, compiled: bool = False) -> Library:
    """Set the number of threads. ``compiled`` steps and inference are recorded and replayed."""
    fnn.set_num_threads(threads)
    return FastNN(threads, compiled)


def _find(module: Any, name: str) -> Any:
    """Return a function or class, or say that this version has none."""
    found = getattr(module, name, None)
    if found is None:
        raise UnsupportedError(f"this version has no {module.__name__}.{name}")
    return found


def build(layers: Layers, fn: str, shape: tuple[int, ...]) -> nn.Sequential:
    """Return the layers as modules; ``shape`` is that of one sample before them."""
    act = _activation(fn)
    made: list[nn.Module] = []
    for layer in layers:
        kind = layer[0]
        if kind == "conv":
            _, out, kernel, stride, pad, groups, bias = layer
            made.append(nn.Conv2d(shape[-1], out, kernel, stride, pad, groups=groups, bias=bias))
        elif kind == "norm":
            made.append(_find(nn, "BatchNorm2d")(shape[-1], eps=NORM_EPSILON))
        elif kind == "act":
            made.append(nn.activation.make(act))
        elif kind == "pool":
            made.append(nn.MaxPool2d(layer[1], layer[2]))
        elif kind == "mean":
            made += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        elif kind == "flatten":
            made.append(nn.Flatten())
        elif kind == "linear":
            made.append(nn.Linear(shape[-1], layer[1]))
        else:
            body, shortcut = (build(branch, fn, shape) for branch in layer[1:])
            made.append(nn.Residual(body, shortcut if layer[2] else None, act))
        shape = shape_after(layer, shape)
    return nn.Sequential(*made)


def _activation(fn: str) -> Any:
    if fn == "identity":
        return nn.Identity
    if fn not in nn.activation.names():
        raise UnsupportedError(f"this version has no activation {fn}")
    return fn


class FastNN(Library):
    """The library that all this is about."""

    def __init__(self, threads: int, compiled: bool) -> None:
        self.threads, self.compiled = threads, compiled
        self.versions = {"fastnn": fnn.__version__}
        shown = config()
        self.config = {name: str(shown[name]) for name in ("target", "compiler", "OpenMP")}
        self.uses = str(shown["target"])

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
        fn, backward = _find(F, a["fn"]), a["direction"] == BACKWARD
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

    def norm_relu(self, a: Args, d: Data) -> Job:
        backward = a["direction"] == BACKWARD
        norm = _find(nn, "BatchNorm2d")(a["channels"], eps=NORM_EPSILON)
        norm.load_state_dict({**norm.state_dict(), "weight": d["g"], "bias": d["b"]})
        model = nn.Sequential(norm, nn.ReLU())
        x = fnn.tensor(d["x"], requires_grad=backward)
        if backward:
            leaves = {"dx": x, "dg": norm.weight, "db": norm.bias}
            return _backward(lambda: model(x), leaves, fnn.tensor(d["dy"]))
        return _plain(lambda: _without_tape(model, x), "y")

    def sgd(self, a: Args, d: Data) -> Job:
        return self._optimizer(d, lambda p: optim.SGD(p, lr=LEARNING_RATE, momentum=MOMENTUM))

    def adam(self, a: Args, d: Data) -> Job:
        adam = _find(optim, "Adam")
        return self._optimizer(
            d, lambda p: adam(p, lr=LEARNING_RATE, betas=BETAS, eps=ADAM_EPSILON)
        )

    def _optimizer(self, d: Data, make: Callable[[Any], Any]) -> Job:
        params = [nn.Parameter(fnn.tensor(row)) for row in d["p"]]
        for p, g in zip(params, d["g"], strict=True):
            p.grad = fnn.tensor(g)
        optimizer = make(params)

        def outputs() -> Data:
            for _ in range(CHECKED_STEPS):
                optimizer.step()
            return {"update": np.stack([_numpy(p) for p in params]) - d["p"]}

        return Job(optimizer.step, outputs)

    def _model(self, a: Args, d: Data) -> tuple[nn.Sequential, dict[str, Any]]:
        """Return the network with the parameters of ``d``, and these by name."""
        net = NETS[a["net"]]
        model = build(net.layers, a["fn"], net.input_shape)
        values = dict(zip(parameters(net), model.parameters(), strict=True))
        keys = dict(zip(parameters(net), dict(model.named_parameters()), strict=True))
        running = [key for key in model.state_dict() if "running_" in key]
        keys |= dict(zip(statistics(net), running, strict=True))
        given = {key: d[name] for name, key in keys.items() if name in d}
        model.load_state_dict({**model.state_dict(), **given})
        return model, values

    def step(self, a: Args, d: Data) -> Job:
        model, values = self._model(a, d)
        optimizer = optim.SGD(values.values(), lr=LEARNING_RATE, momentum=MOMENTUM)
        x, labels = fnn.tensor(d["x"]), d["labels"]

        def run() -> Any:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), labels)
            loss.backward()
            optimizer.step()
            return loss

        if self.compiled:
            targets = fnn.tensor(labels)
            replay = _find(fnn, "compile")(model, F.cross_entropy, optimizer, fullgraph=True)

            def run() -> Any:
                return replay(x, targets)

        def outputs() -> Data:
            losses = [float(run()) for _ in range(a["checked"])]
            updates = {f"update {name}": _numpy(p) - d[name] for name, p in values.items()}
            return {"losses": np.array(losses), **updates}

        return Job(run, outputs)

    def infer(self, a: Args, d: Data) -> Job:
        model = self._model(a, d)[0].eval()
        model = _find(nn, "fold_batch_norm")(model)  # as ONNX Runtime does when it loads a model
        x = fnn.tensor(d["x"])
        if self.compiled:
            predict = _find(fnn, "compile")(model, fullgraph=True)
            return _plain(lambda: predict(x), "logits")
        return _plain(lambda: _without_tape(model, x), "logits")


def _without_tape(model: nn.Module, x: Any) -> Any:
    with fnn.no_grad():
        return model(x)


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
