# SPDX-License-Identifier: BSD-3-Clause
"""PReLU: what slopes it learns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ... import init, nn
from ...random import manual_seed
from .. import charts
from ..registry import Figure, Result, experiment, verdict
from ..setting import Array, Lab
from ..training import Trace, best_rate, conv_layer, convnet, fit, mean_loss, sgd

MOVED = 0.05
RATES = (0.01, 0.003, 0.03)


@experiment(
    section="Activation functions",
    order=10,
    title="The slopes that PReLU learns",
    claim="PReLU learns negative slopes of its own, different from layer to layer, and the network "
    "fits the training images at least as well as with ReLU.",
    method="The four-layer ConvNet with a slope for each channel, which all start at 0.25, and the "
    "same with ReLU, with the same order of images and number of epochs, each at the best of three "
    "learning rates.",
    rule=f"Confirmed if in some layer the slopes move by more than {MOVED:g} on average and the "
    "training loss is not above ReLU's. Refuted if they hardly move, or if the loss is more than "
    "a tenth above ReLU's.",
)
def run(lab: Lab) -> Result:
    data = lab.images(*lab.pick((256, 50), (3000, 500), (10000, 2000)))
    width, epochs, every = lab.pick(4, 8, 16), lab.pick(1, 5, 8), lab.pick(1, 10, 25)
    makers: dict[str, Callable[[], nn.Sequential]] = {
        "prelu": lambda: channelwise(data.shape, width),
        "relu": lambda: convnet(data.shape, "relu", width),
    }
    models: dict[str, dict[float, nn.Sequential]] = {name: {} for name in makers}
    histories: dict[float, dict[str, list[float]]] = {}
    best = {}
    for name, make in makers.items():

        def train(rate: float, name: str = name, make: Any = make) -> Trace:
            lab.progress(f"{name}, rate {rate:g}")
            manual_seed(lab.seed)
            model = models[name][rate] = make()
            history: dict[str, list[float]] = histories.setdefault(rate, {})

            def keep(step: int) -> None:
                if step % every == 0:
                    for i, slopes in enumerate(layers(model), 1):
                        history.setdefault(f"layer {i}", []).append(float(slopes.mean()))

            return fit(
                model, data, epochs, sgd(model, rate), seed=lab.seed, on_step=keep, test=False
            )

        best[name], _ = best_rate(train, lab.pick(RATES[:1], RATES, RATES))
    model, history = models["prelu"][best["prelu"]], histories[best["prelu"]]
    sample = data.x[:5000], data.y[:5000]
    loss = {name: mean_loss(models[name][best[name]], *sample) for name in makers}
    slopes = {f"layer {i}": s for i, s in enumerate(layers(model), 1)}
    mean = {name: float(s.mean()) for name, s in slopes.items()}
    moved = max(float(abs(s - 0.25).mean()) for s in slopes.values())
    return Result(
        measured={
            "mean slope": mean,
            "lowest slope": {n: float(s.min()) for n, s in slopes.items()},
            "highest slope": {n: float(s.max()) for n, s in slopes.items()},
            "mean distance from the start, largest of the layers": moved,
            "training loss": loss, "best learning rate": best,
        },
        verdict=verdict(
            moved > MOVED and loss["prelu"] <= loss["relu"],
            moved <= MOVED or loss["prelu"] > 1.1 * loss["relu"],
        ),
        finding="Mean slopes after training: "
        + ", ".join(f"{v:.2f} in {n}" for n, v in mean.items())
        + f". Training loss {loss['prelu']:.3g} with PReLU, {loss['relu']:.3g} with ReLU.",
        on="the seed: the losses are too close to tell.",
        figures=[
            Figure(
                charts.lines(
                    {n: ([every * i for i in range(len(v))], v) for n, v in history.items()},
                    "Mean slope of each layer", "step", "slope",
                ),
                "0 would be ReLU, 1 no nonlinearity at all.",
            ),
            Figure(charts.histograms(slopes, "Slopes after training", "slope", 25)),
        ],
    )  # fmt: skip


def channelwise(shape: tuple[int, ...], width: int) -> nn.Sequential:
    """The four-layer ConvNet with a learned slope for each channel."""
    layers: list[nn.Module] = []
    inputs, side = shape[2], shape[0]
    for i, outputs in enumerate((width, width, 2 * width, 2 * width)):
        layers += [conv_layer(inputs, outputs, "relu")[0], nn.PReLU(outputs)]
        inputs = outputs
        if i < 3:
            layers.append(nn.MaxPool2d(2))
            side //= 2
    head = nn.Linear(side * side * inputs, 10)
    model = nn.Sequential(*layers, nn.Flatten(), head)
    init.init_model(model, "prelu")
    init.normal_(head.weight, 0.0, 0.01)
    return model


def layers(model: nn.Sequential) -> list[Array]:
    """Slopes of each layer."""
    return [m.weight.numpy().copy() for m in model if isinstance(m, nn.PReLU)]
