# SPDX-License-Identifier: BSD-3-Clause
"""PReLU: what slopes it learns."""

from __future__ import annotations

from ... import init, nn
from .. import charts
from ..registry import Figure, Result, experiment, verdict
from ..setting import Array, Lab
from ..training import conv_layer, convnet, fit, mean_loss, sgd

MOVED = 0.05


@experiment(
    section="Activation functions",
    order=10,
    title="The slopes that PReLU learns",
    claim="PReLU learns negative slopes of its own, different from layer to layer, and the network "
    "fits the training images at least as well as with ReLU.",
    method="The four-layer ConvNet with a slope for each channel, which all start at 0.25, and the "
    "same with ReLU, with the same learning rate, order of images and number of epochs.",
    rule=f"Confirmed if in some layer the slopes move by more than {MOVED:g} on average and the "
    "training loss is not above ReLU's. Refuted if they hardly move, or if the loss is more than "
    "a tenth above ReLU's.",
)
def run(lab: Lab) -> Result:
    data = lab.images(*lab.pick((256, 50), (3000, 500), (20000, 2000)))
    width = lab.pick(4, 8, 16)
    lab.progress("prelu")
    model = channelwise(data.shape, width)
    rate, epochs = 0.03, lab.pick(1, 5, 8)
    history: dict[str, list[float]] = {}

    def keep(step: int) -> None:
        if step % lab.pick(1, 10, 50) == 0:
            for i, slopes in enumerate(layers(model), 1):
                history.setdefault(f"layer {i}", []).append(float(slopes.mean()))

    fit(model, data, epochs, sgd(model, rate), seed=lab.seed, on_step=keep, test=False)
    lab.progress("relu")
    relu = convnet(data.shape, "relu", width)
    fit(relu, data, epochs, sgd(relu, rate), seed=lab.seed, test=False)
    sample = data.x[:5000], data.y[:5000]
    loss = {"prelu": mean_loss(model, *sample), "relu": mean_loss(relu, *sample)}
    slopes = {f"layer {i}": s for i, s in enumerate(layers(model), 1)}
    mean = {name: float(s.mean()) for name, s in slopes.items()}
    moved = max(float(abs(s - 0.25).mean()) for s in slopes.values())
    every = lab.pick(1, 10, 50)
    return Result(
        measured={
            "mean slope": mean,
            "lowest slope": {n: float(s.min()) for n, s in slopes.items()},
            "highest slope": {n: float(s.max()) for n, s in slopes.items()},
            "mean distance from the start, largest of the layers": moved,
            "training loss": loss,
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
