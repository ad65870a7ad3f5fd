# SPDX-License-Identifier: BSD-3-Clause
"""The 10-layer, 500-unit network on which initializations are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np

from ... import nn
from ...tensor import Tensor, from_numpy
from .. import charts
from ..registry import Figure
from ..setting import Array, Lab


@dataclass
class Signals:
    """Of each layer, from the first: outputs, and gradients with respect to them and weights."""

    outputs: list[Array]
    gradients: list[Array]
    weight_gradients: list[float]

    @property
    def means(self) -> list[float]:
        return [float(a.mean(dtype=np.float64)) for a in self.outputs]

    @property
    def deviations(self) -> list[float]:
        return [float(a.std(dtype=np.float64)) for a in self.outputs]

    @property
    def gradient_deviations(self) -> list[float]:
        return [float(a.std(dtype=np.float64)) for a in self.gradients]

    @property
    def saturated(self) -> list[float]:
        """Share of outputs of more than 0.99 in size."""
        return [float((np.abs(a) > 0.99).mean()) for a in self.outputs]

    def measured(self) -> dict[str, list[float]]:
        """For the results."""
        return {
            "mean, layer by layer": self.means,
            "standard deviation, layer by layer": self.deviations,
            "standard deviation of the gradient, layer by layer": self.gradient_deviations,
            "norm of the weights' gradient, layer by layer": self.weight_gradients,
        }


def signals(
    lab: Lab, activation: str, start: Callable[[Tensor], object], norm: bool = False
) -> Signals:
    """Random inputs through 10 layers of 500 units, and a random gradient back."""
    width, depth, samples = lab.pick((40, 10, 50), (500, 10, 256), (500, 10, 1000))
    layers: list[nn.Module] = []
    linears = []
    for _ in range(depth):
        linear = nn.Linear(width, width, bias=False)
        start(linear.weight)
        linears.append(linear)
        layers += [linear, *([nn.BatchNorm1d(width)] if norm else [])]
        layers.append(nn.activation.make(activation))
    rng = lab.rng(3)
    signal: Tensor = from_numpy(rng.standard_normal((samples, width), dtype=np.float32))
    outputs: list[Array] = []
    gradients: dict[int, Array] = {}

    def keep(i: int, gradient: Tensor) -> None:
        gradients[i] = gradient.numpy().copy()

    for layer in layers:
        signal = layer(signal)
        if type(layer) is type(layers[-1]):
            outputs.append(signal.numpy())
            signal.register_hook(partial(keep, len(outputs)))
    signal.backward(rng.standard_normal((samples, width), dtype=np.float32))
    norms = [float(np.linalg.norm(m.weight.grad.numpy().astype(float))) for m in linears]
    return Signals(outputs, [gradients[i] for i in sorted(gradients)], norms)


def figures(found: dict[str, Signals], shown: Iterable[str] | None = None) -> list[Figure]:
    """Means and deviations, forward and backward, of several networks, and histograms of some."""
    drawn = []
    for title, log, values in (
        ("Outputs: spread", True, {n: s.deviations for n, s in found.items()}),
        ("Outputs: mean", False, {n: s.means for n, s in found.items()}),
        ("Gradients: spread", True, {n: s.gradient_deviations for n, s in found.items()}),
    ):
        series = {n: (range(1, len(v) + 1), v) for n, v in values.items()}
        ylabel = "standard deviation" if log else "mean"
        caption = "From right to left: the gradient starts at the last layer."
        drawn.append(
            Figure(
                charts.lines(series, title, "layer", ylabel, log_y=log),
                caption if title.startswith("Gradients") else "",
            )
        )
    for name in found if shown is None else shown:
        for kind, arrays in (
            ("Outputs", found[name].outputs), ("Gradients", found[name].gradients),
        ):  # fmt: skip
            rows = {f"layer {i}": a for i, a in enumerate(arrays, 1)}
            drawn.append(
                Figure(
                    charts.histograms(rows, f"{kind}: {name}", kind.lower()[:-1]),
                    "Each row is scaled to its highest bar; σ: standard deviation.",
                )
            )
    return drawn
