# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch: as it comes, or tuned (channels last, fused optimizer, optionally compiled).

Backward kernels are timed through the autograd API, as fastnn's are: an untimed forward pass,
then ``torch.autograd.grad``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from .job import Job, Library
from .workloads import BACKWARD, CHECKED_STEPS, LEARNING_RATE, MOMENTUM, NETS, Array, trace

Args = dict[str, Any]
Data = dict[str, Array]

_ACTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "elu": F.elu,
    "identity": lambda x: x,
}  # fmt: skip
_MODULES = {
    "relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid, "identity": torch.nn.Identity,
}  # fmt: skip


def open_library(threads: int, tuned: bool = False, compiled: bool = False) -> Library:
    """Set the number of threads."""
    torch.set_num_threads(threads)
    return Torch(tuned, compiled)


class Torch(Library):
    """PyTorch on the CPU."""

    def __init__(self, tuned: bool, compiled: bool) -> None:
        self.tuned, self.compiled = tuned, compiled
        self.versions = {"torch": torch.__version__}

    def _image(self, a: Array) -> torch.Tensor:
        """Convert from channels last; in memory it is only so when tuned."""
        t = torch.from_numpy(a).permute(0, 3, 1, 2)
        layout = torch.channels_last if self.tuned else torch.contiguous_format
        return t.contiguous(memory_format=layout)

    def matmul(self, a: Args, d: Data) -> Job:
        x, y = torch.from_numpy(d["a"]), torch.from_numpy(d["b"])
        return _plain(lambda: torch.mm(x, y), "c")

    def linear(self, a: Args, d: Data) -> Job:
        x, w = torch.from_numpy(d["x"]), torch.from_numpy(d["w"])
        return _plain(lambda: F.linear(x, w), "y")

    def conv(self, a: Args, d: Data) -> Job:
        x, w = self._image(d["x"]), self._image(d["w"])
        dy = self._image(d["dy"])

        def forward() -> torch.Tensor:
            return F.conv2d(x, w, None, a["stride"], a["pad"], groups=a["groups"])

        if a["direction"] != BACKWARD:
            return Job(forward, lambda: {"y": _to_nhwc(forward())})
        leaves = {"dx": x, "dw": w} if a["need_dx"] else {"dw": w}
        return _backward(forward, leaves, dy, _to_nhwc)

    def activation(self, a: Args, d: Data) -> Job:
        x, dy, fn = torch.from_numpy(d["x"]), torch.from_numpy(d["dy"]), _ACTS[a["fn"]]
        if a["direction"] != BACKWARD:
            return _plain(lambda: fn(x), "y")
        return _backward(lambda: fn(x), {"dx": x}, dy)

    def max_pool(self, a: Args, d: Data) -> Job:
        x, dy = self._image(d["x"]), self._image(d["dy"])

        def forward() -> torch.Tensor:
            return F.max_pool2d(x, 2)

        if a["direction"] != BACKWARD:
            return Job(forward, lambda: {"y": _to_nhwc(forward())})
        return _backward(forward, {"dx": x}, dy, _to_nhwc)

    def cross_entropy(self, a: Args, d: Data) -> Job:
        x, labels = torch.from_numpy(d["x"]), torch.from_numpy(d["labels"])
        if a["direction"] != BACKWARD:
            return _plain(lambda: F.cross_entropy(x, labels), "loss")
        return _backward(lambda: F.cross_entropy(x, labels), {"dx": x}, torch.ones(()))

    def _optimizer(self, params: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(params, lr=LEARNING_RATE, momentum=MOMENTUM, fused=self.tuned)

    def sgd(self, a: Args, d: Data) -> Job:
        params = [torch.nn.Parameter(torch.tensor(row)) for row in d["p"]]
        for p, g in zip(params, d["g"], strict=True):
            p.grad = torch.from_numpy(g)
        optimizer = self._optimizer(params)

        def outputs() -> Data:
            for _ in range(CHECKED_STEPS):
                optimizer.step()
            return {"update": np.stack([p.detach().numpy() for p in params]) - d["p"]}

        return Job(optimizer.step, outputs)

    def step(self, a: Args, d: Data) -> Job:
        net, model, flat = NETS[a["net"]], torch.nn.Sequential(), None
        # How each parameter gets from our layout to PyTorch's, and back.
        there: list[Callable[[Array], Array]] = []
        back: list[Callable[[Array], Array]] = []
        for layer, before, _ in trace(net):
            if layer[0] == "conv":
                model.append(torch.nn.Conv2d(before[-1], layer[1], layer[2], padding=layer[3]))
                there += [lambda w: w.transpose(0, 3, 1, 2), _same]
                back += [lambda w: w.transpose(0, 2, 3, 1), _same]
            elif layer[0] == "pool":
                model.append(torch.nn.MaxPool2d(layer[1]))
            elif layer[0] == "act":
                model.append(_MODULES[a["fn"]]())
            elif layer[0] == "flatten":
                model.append(torch.nn.Flatten())
                flat = before
            else:
                model.append(torch.nn.Linear(before[0], layer[1]))
                there += [_same if flat is None else _flat_to_nchw(flat), _same]
                back += [_same if flat is None else _flat_to_nhwc(flat), _same]
                flat = None
        names = [f"{kind}{i}" for i in range(len(there) // 2) for kind in "wb"]
        params = list(model.parameters())
        with torch.no_grad():
            for p, name, convert in zip(params, names, there, strict=True):
                p.copy_(torch.from_numpy(np.ascontiguousarray(convert(d[name]))))
        images = d["x"].ndim == 4
        x = self._image(d["x"]) if images else torch.from_numpy(d["x"])
        if self.tuned and images:
            for p in params:
                if p.ndim == 4:
                    p.data = p.data.contiguous(memory_format=torch.channels_last)
        labels = torch.from_numpy(d["labels"])
        optimizer = self._optimizer(params)

        def loss_of(x: torch.Tensor) -> torch.Tensor:
            return F.cross_entropy(model(x), labels)

        loss_fn = torch.compile(loss_of) if self.compiled else loss_of

        def run() -> torch.Tensor:
            optimizer.zero_grad()
            loss: torch.Tensor = loss_fn(x)
            loss.backward()
            optimizer.step()
            return loss

        def outputs() -> Data:
            losses = [float(run().detach()) for _ in range(CHECKED_STEPS)]
            updates = {
                f"update {name}": convert(p.detach().numpy()) - d[name]
                for p, name, convert in zip(params, names, back, strict=True)
            }
            return {"losses": np.array(losses), **updates}

        return Job(run, outputs)


def _same(a: Array) -> Array:
    return a


def _flat_to_nchw(shape: tuple[int, ...]) -> Callable[[Array], Array]:
    return lambda w: w.reshape(-1, *shape).transpose(0, 3, 1, 2).reshape(len(w), -1)


def _flat_to_nhwc(shape: tuple[int, ...]) -> Callable[[Array], Array]:
    h, w, c = shape
    return lambda a: a.reshape(-1, c, h, w).transpose(0, 2, 3, 1).reshape(len(a), -1)


def _to_nhwc(t: torch.Tensor) -> Array:
    result: Array = t.detach().permute(0, 2, 3, 1).numpy()
    return result


def _plain(run: Callable[[], torch.Tensor], name: str) -> Job:
    return Job(run, lambda: {name: run().numpy()})


def _backward(
    forward: Callable[[], torch.Tensor],
    leaves: dict[str, torch.Tensor],
    dy: torch.Tensor,
    convert: Callable[[torch.Tensor], Array] = lambda t: t.numpy(),
) -> Job:
    wanted = [t.requires_grad_() for t in leaves.values()]
    y = forward()

    def prepare() -> None:
        nonlocal y
        y = forward()

    def run() -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(y, wanted, dy)

    def outputs() -> Data:
        prepare()
        return {name: convert(g) for name, g in zip(leaves, run(), strict=True)}

    return Job(run, outputs, prepare)
