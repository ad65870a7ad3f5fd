# SPDX-License-Identifier: BSD-3-Clause
"""What experiments share: networks, a training loop that tells all, statistics of units."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import functional as F
from .. import init, nn, optim
from ..autograd import no_grad
from ..plan import CompiledStep
from ..tensor import Tensor, from_numpy
from .setting import Images

Array = NDArray[Any]
SMOOTH = 0.9  # of the running mean of the losses by which learning rates are compared


@dataclass
class Trace:
    """What happened in a training: a loss for each step, errors (0 to 1) after each epoch."""

    losses: list[float] = field(default_factory=list)
    epochs: list[float] = field(default_factory=list)
    train_error: list[float] = field(default_factory=list)
    test_error: list[float] = field(default_factory=list)
    diverged: bool = False

    @property
    def loss(self) -> float:
        """The running mean of the loss at the end; infinite if it exploded."""
        if self.diverged:
            return math.inf
        return smoothed(self.losses)[-1]


def smoothed(losses: Sequence[float]) -> list[float]:
    """Running mean, as if the first loss had been there for ever."""
    means, mean = [], losses[0] if losses else math.nan
    for loss in losses:
        mean = SMOOTH * mean + (1 - SMOOTH) * loss
        means.append(mean)
    return means


def fit(
    model: nn.Module,
    data: Images,
    epochs: float,
    optimizer: Any,
    *,
    batch: int = 64,
    loss: Callable[[Any, Any], Tensor] = F.cross_entropy,
    every: float = 1.0,
    check: int = 2000,
    test: bool = True,
    seed: int = 0,
    on_step: Callable[[int], object] | None = None,
    stop: Callable[[Trace], bool] | None = None,
) -> Trace:
    """Trains, and measures the errors on the first `check` images after every `every` epochs.

    `on_step(step)` is called between the gradients and the update; `stop(trace)`, after each
    measurement, ends the training. A loss that is NaN, infinite or 100 times the first one ends
    it, too.
    """
    trace = Trace()
    step = CompiledStep(model, loss, optimizer)
    rng = np.random.default_rng([seed, 1])
    n = len(data.x)
    per_epoch = max(1, n // batch)
    total, pause = max(1, round(epochs * per_epoch)), max(1, round(every * per_epoch))
    order = rng.permutation(n)
    model.train()
    for i in range(total):
        at = i % per_epoch
        if i and at == 0:
            order = rng.permutation(n)
        chosen = order[at * batch : (at + 1) * batch]
        value = step.backward(data.x[chosen], data.y[chosen])
        if not math.isfinite(value) or (trace.losses and value > 100 * (trace.losses[0] + 1)):
            trace.diverged = True
        else:
            trace.losses.append(value)
            if on_step is not None:
                on_step(i)
            optimizer.step()
        if trace.diverged or (i + 1) % pause == 0 or i + 1 == total:
            trace.epochs.append((i + 1) / per_epoch)
            trace.train_error.append(error(model, data.x[:check], data.y[:check]))
            if test:
                trace.test_error.append(error(model, data.x_test, data.y_test))
            if trace.diverged or (stop is not None and stop(trace)):
                break
    return trace


def outputs(model: Any, x: Array, batch: int = 500) -> Array:
    """What the model answers in eval mode, in NumPy."""
    training = model.training
    model.eval()
    with no_grad():
        parts = [model(from_numpy(x[i : i + batch])).numpy() for i in range(0, len(x), batch)]
    model.train(training)
    return np.concatenate(parts)


def error(model: Any, x: Array, y: Array) -> float:
    """Share of wrong answers."""
    return float((outputs(model, x).argmax(axis=1) != y).mean())


def mean_loss(model: Any, x: Array, y: Array) -> float:
    """Mean cross-entropy, in eval mode."""
    return float(F.cross_entropy(from_numpy(outputs(model, x)), y).item())


def sgd(model: nn.Module, lr: float, momentum: float = 0.9, **options: Any) -> optim.SGD:
    """SGD with momentum."""
    return optim.SGD(model.parameters(), lr=lr, momentum=momentum, **options)


def best_rate(
    train: Callable[[float], Trace], rates: Iterable[float]
) -> tuple[float, dict[float, Trace]]:
    """The learning rate after which the training loss is lowest, and what each one did."""
    traces = {rate: train(rate) for rate in rates}
    return min(traces, key=lambda rate: traces[rate].loss), traces


def convnet(shape: Sequence[int], activation: str, width: int = 16) -> nn.Sequential:
    """Four 3x3 convolutions (w, w, 2w, 2w), pooling after the first three, and a linear layer."""
    layers: list[nn.Module] = []
    inputs, side = shape[2], shape[0]
    for i, outputs_ in enumerate((width, width, 2 * width, 2 * width)):
        layers += conv_layer(inputs, outputs_, activation)
        inputs = outputs_
        if i < 3:
            layers.append(nn.MaxPool2d(2))
            side //= 2
    head = nn.Linear(side * side * inputs, 10)
    model = nn.Sequential(*layers, nn.Flatten(), head)
    init.init_model(model, activation)
    init.normal_(head.weight, 0.0, 0.01)
    return model


def conv_layer(inputs: int, outputs: int, activation: str) -> list[nn.Module]:
    """A 3x3 convolution with its activation; with maxout, the larger of two convolutions."""
    if activation == "maxout":
        return [nn.Conv2d(inputs, 2 * outputs, 3, padding=1), MaxoutPairs()]
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.activation.make(activation)]


class MaxoutPairs(nn.Module):
    """The larger of each two neighbouring channels."""

    def forward(self, x: Any) -> Tensor:
        return F.maxout(x, 2)


def mlp(
    shape: Sequence[int], hidden: Sequence[int], activation: str = "relu", norm: bool = False
) -> nn.Sequential:
    """Fully connected layers, with batch normalization before each activation if wanted."""
    layers: list[nn.Module] = [nn.Flatten()]
    size = math.prod(shape)
    for width in hidden:
        layers.append(nn.Linear(size, width))
        layers += [nn.BatchNorm1d(width)] if norm else []
        layers.append(nn.activation.make(activation))
        size = width
    model = nn.Sequential(*layers, nn.Linear(size, 10))
    init.init_model(model, activation)
    return model


def activations(model: nn.Sequential, x: Array, kind: Any = None) -> list[Array]:
    """The outputs of the layers of a kind (a class or tuple; default all), one after the other."""
    found = []
    with no_grad():
        signal: Any = from_numpy(x)
        for layer in model:
            signal = layer(signal)
            if kind is None or isinstance(layer, kind):
                found.append(signal.numpy())
    return found


def dead_share(model: nn.Sequential, x: Array) -> float:
    """Share of ReLU units (channels) that are 0 for every image."""
    dead = units = 0
    signals = activations(model, x, nn.ReLU)
    for signal in signals:
        fired = (signal > 0).reshape(-1, signal.shape[-1]).any(axis=0)
        dead += int((~fired).sum())
        units += fired.size
    return dead / units


def gradients(model: nn.Sequential, x: Array, y: Array, kind: Any) -> list[Array]:
    """Gradients of the loss with respect to the outputs of the layers of a kind, in their order."""
    found: dict[int, Array] = {}

    def keep(i: int, gradient: Tensor) -> None:
        found[i] = gradient.numpy().copy()

    signal: Any = from_numpy(x)
    for i, layer in enumerate(model):
        signal = layer(signal)
        if isinstance(layer, kind):
            signal.register_hook(partial(keep, i))
    F.cross_entropy(signal, y).backward()
    model.zero_grad()
    return [found[i] for i in sorted(found)]


def stuck_share(model: nn.Sequential, data: Images, check: int = 5000) -> float:
    """Share of hidden units whose weights all get a gradient of exactly 0 from the images."""
    F.cross_entropy(model(from_numpy(data.x[:check])), data.y[:check]).backward()
    layers = [m for m in model if isinstance(m, nn.Linear | nn.Maxout)][:-1]
    stuck: list[Array] = []
    for layer in layers:
        gradient = layer.weight.grad.numpy()
        units = layer.out_features
        stuck.append((gradient.reshape(units, -1) == 0).all(axis=1))
    model.zero_grad()
    return float(np.concatenate(stuck).mean())
