"""What the models share.

Every model takes `activation` as a name ("relu"), a class or a function that makes a layer, and is
initialized for it: Kaiming for the ReLU family, Xavier for sigmoid and tanh, zero biases. The
weights of the last layer start small, so that the first loss is that of a guess, log(num_classes):
larger ones start with confident wrong answers, whose gradients kill ReLU units.
"""

from __future__ import annotations

from typing import Any

from .. import init, nn

_LOGIT_STD = 0.01


def finish(activation: Any, *layers: nn.Module) -> nn.Sequential:
    """The model, initialized; its last layer gives the logits."""
    model = nn.Sequential(*layers)
    made = nn.activation.make(activation)
    # A layer of the user's own keeps the layers' start.
    if (name := nn.activation.name_of(made)) is not None:
        init.init_model(model, name)
    init.normal_(layers[-1].weight, 0.0, _LOGIT_STD)  # type: ignore[attr-defined]
    return model


def images(in_channels: int, least: int = 1) -> nn.Input:
    """The door of a model that takes images of many sizes."""
    return nn.Input((None, None, in_channels), least)


def conv(
    inputs: int, outputs: int, kernel: int, activation: Any, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """Convolution that keeps the size (but for the stride), batch norm, activation (or None)."""
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return layers if activation is None else [*layers, nn.activation.make(activation)]
