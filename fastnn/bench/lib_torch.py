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

Convert = Callable[[Array], Array]

# How a kind of parameter gets from our layout to PyTorch's, and back.
Ways = tuple[Convert, Convert]
_SAME: Ways = (lambda a: a, lambda a: a)
_OIHW: Ways = (lambda w: w.transpose(0, 3, 1, 2), lambda w: w.transpose(0, 2, 3, 1))


def _flattened(shape: tuple[int, ...]) -> Ways:
    h, w, c = shape
    return (
        lambda a: a.reshape(-1, h, w, c).transpose(0, 3, 1, 2).reshape(len(a), -1),
        lambda a: a.reshape(-1, c, h, w).transpose(0, 2, 3, 1).reshape(len(a), -1),
    )


def _act(fn: str) -> Any:
    if fn == "identity":
        return lambda x: x
    found = getattr(torch if fn in ("relu", "sigmoid", "tanh") else F, fn, None)
    if found is None:
        raise UnsupportedError(f"no activation {fn}")
    return found


class _Act(torch.nn.Module):
    def __init__(self, fn: str) -> None:
        super().__init__()
        self.fn = _act(fn)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fn(x)


class _Mean(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


class _Residual(torch.nn.Module):
    def __init__(self, body: torch.nn.Module, shortcut: torch.nn.Module, fn: str) -> None:
        super().__init__()
        self.body, self.shortcut, self.fn = body, shortcut, _act(fn)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fn(self.body(x) + self.shortcut(x))


def build(layers: Layers, fn: str, shape: tuple[int, ...]) -> tuple[torch.nn.Module, list[Ways]]:
    """Return the layers as modules, and how each parameter is converted."""
    model, ways, flat = torch.nn.Sequential(), [], _SAME
    for layer in layers:
        kind, depth = layer[0], shape[-1]
        if kind == "conv":
            _, out, kernel, stride, pad, groups, bias = layer
            model.append(torch.nn.Conv2d(depth, out, kernel, stride, pad, groups=groups, bias=bias))
            ways += [_OIHW, *[_SAME] * bias]
        elif kind == "norm":
            model.append(torch.nn.BatchNorm2d(depth, NORM_EPSILON))
            ways += [_SAME, _SAME]
        elif kind == "act":
            model.append(_Act(fn))
        elif kind == "pool":
            model.append(torch.nn.MaxPool2d(layer[1], layer[2]))
        elif kind == "mean":
            model.append(_Mean())
        elif kind == "flatten":
            model.append(torch.nn.Flatten())
            flat = _flattened(shape)  # the next linear layer sees channels first
        elif kind == "linear":
            model.append(torch.nn.Linear(depth, layer[1]))
            ways += [flat, _SAME]
            flat = _SAME
        else:
            body, inner = build(layer[1], fn, shape)
            shortcut, outer = build(layer[2], fn, shape)
            model.append(_Residual(body, shortcut, fn))
            ways += inner + outer
        shape = shape_after(layer, shape)
    return model, ways


def open_library(threads: int, tuned: bool = False, compiled: bool = False) -> Library:
    """Set the number of threads."""
    torch.set_num_threads(threads)
    if compiled and torch.backends.cpu.get_cpu_capability() == "AVX2":
        # Held to AVX2 by ATen's switch alone, its compiler still writes for the CPU: wrong results.
        from torch._inductor import config as inductor

        inductor.cpp.simdlen = 256
    return Torch(tuned, compiled)


class Torch(Library):
    """PyTorch on the CPU."""

    def __init__(self, tuned: bool, compiled: bool) -> None:
        self.tuned, self.compiled = tuned, compiled
        self.versions = {"torch": torch.__version__}
        self.uses = f"ATen {torch.backends.cpu.get_cpu_capability()}"

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
        x, dy, fn = torch.from_numpy(d["x"]), torch.from_numpy(d["dy"]), _act(a["fn"])
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

    def norm_relu(self, a: Args, d: Data) -> Job:
        x, dy = self._image(d["x"]), self._image(d["dy"])
        g, b = torch.from_numpy(d["g"]), torch.from_numpy(d["b"])
        mean, var = torch.zeros_like(g), torch.ones_like(g)

        def forward() -> torch.Tensor:
            return F.relu(F.batch_norm(x, mean, var, g, b, training=True, eps=NORM_EPSILON))

        if a["direction"] == BACKWARD:
            return _backward(forward, {"dx": x, "dg": g, "db": b}, dy, _to_nhwc)
        return Job(forward, lambda: {"y": _to_nhwc(forward())})

    def _sgd(self, params: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(params, lr=LEARNING_RATE, momentum=MOMENTUM, fused=self.tuned)

    def sgd(self, a: Args, d: Data) -> Job:
        return _optimizer(d, self._sgd)

    def adam(self, a: Args, d: Data) -> Job:
        return _optimizer(
            d,
            lambda p: torch.optim.Adam(
                p, lr=LEARNING_RATE, betas=BETAS, eps=ADAM_EPSILON, fused=self.tuned
            ),
        )

    def _model(self, a: Args, d: Data) -> tuple[torch.nn.Module, dict[str, Convert], torch.Tensor]:
        """Return the network, how its parameters are converted back, and its input."""
        net = NETS[a["net"]]
        model, ways = build(net.layers, a["fn"], net.input_shape)
        names = list(parameters(net))
        with torch.no_grad():
            for p, name, (there, _) in zip(model.parameters(), names, ways, strict=True):
                p.copy_(torch.from_numpy(np.ascontiguousarray(there(d[name]))))
            running = [b for b in model.buffers() if b.ndim]
            for b, name in zip(running, statistics(net), strict=True):
                if name in d:
                    b.copy_(torch.from_numpy(d[name]))
        if d["x"].ndim == 2:
            x = torch.from_numpy(d["x"])
        else:
            x = self._image(d["x"])
            if self.tuned:
                to: Any = model.to  # its types know no memory format
                model = to(memory_format=torch.channels_last)
        return model, {name: back for name, (_, back) in zip(names, ways, strict=True)}, x

    def step(self, a: Args, d: Data) -> Job:
        model, back, x = self._model(a, d)
        params = list(model.parameters())
        labels = torch.from_numpy(d["labels"])
        optimizer = self._sgd(params)

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
            losses = [float(run().detach()) for _ in range(a["checked"])]
            updates = {
                f"update {name}": convert(p.detach().numpy()) - d[name]
                for p, (name, convert) in zip(params, back.items(), strict=True)
            }
            return {"losses": np.array(losses), **updates}

        return Job(run, outputs)

    def infer(self, a: Args, d: Data) -> Job:
        model, _, x = self._model(a, d)
        model.eval()

        def run() -> Any:
            with torch.inference_mode():
                return model(x)

        return _plain(run, "logits")


def _optimizer(d: Data, make: Callable[[Any], torch.optim.Optimizer]) -> Job:
    params = [torch.nn.Parameter(torch.tensor(row)) for row in d["p"]]
    for p, g in zip(params, d["g"], strict=True):
        p.grad = torch.from_numpy(g)
    optimizer = make(params)

    def outputs() -> Data:
        for _ in range(CHECKED_STEPS):
            optimizer.step()
        return {"update": np.stack([p.detach().numpy() for p in params]) - d["p"]}

    return Job(optimizer.step, outputs)


def _to_nhwc(t: torch.Tensor) -> Array:
    image: Array = (t.permute(0, 2, 3, 1) if t.ndim == 4 else t).detach().numpy()
    return image


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
