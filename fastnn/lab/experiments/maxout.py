# SPDX-License-Identifier: BSD-3-Clause
"""Maxout: no dead units, twice the parameters."""

from __future__ import annotations

import math

from ... import init, nn
from .. import charts
from ..registry import Figure, Result, experiment, verdict
from ..setting import Lab
from ..training import fit, mlp, sgd, stuck_share

SOME, FAR = 0.1, -20.0


@experiment(
    section="Activation functions",
    order=12,
    title="Maxout",
    claim="Maxout units do not die where ReLUs do, but they double the parameters.",
    method="Networks with three hidden layers: ReLU, ReLU with about as many parameters as "
    "maxout, and maxout with two pieces. Counted are parameters, and hidden units none of whose "
    "weights get a gradient from the training images: at a start with all biases at "
    f"{FAR:g}, far off the data, and after training from a usual start with learning rates from "
    "low to too high.",
    rule="Confirmed if the hidden layers of maxout have 1.95 to 2.05 times the parameters of those "
    f"with ReLU, and from the bad start ReLU has {SOME:.0%} of such units or more while maxout has "
    "none, there and at the learning rates at which none explodes. Refuted if maxout has such "
    "units or other numbers of parameters.",
)
def run(lab: Lab) -> Result:
    data = lab.images(*lab.pick((256, 50), (3000, 500), (10000, 1000)))
    width = lab.pick(20, 80, 100)
    rates = lab.pick((0.03, 0.3), (0.01, 0.03, 0.06, 0.1, 0.3), (0.003, 0.01,
                     0.03, 0.06, 0.1, 0.2, 0.3))  # fmt: skip
    size = math.prod(data.shape)

    def parameters(units: int, pieces: int) -> int:
        return pieces * units * (size + 1 + 2 * (units + 1)) + 10 * (units + 1)

    goal = parameters(width, 2)
    wide = min(range(width, 3 * width), key=lambda units: abs(parameters(units, 1) - goal))
    makers = {
        "relu": lambda: mlp(data.shape, [width] * 3),
        "relu, wider": lambda: mlp(data.shape, [wide] * 3),
        "maxout": lambda: network(data.shape, width),
    }
    stuck: dict[str, dict[float, float]] = {n: {} for n in makers}
    errors: dict[str, dict[float, float]] = {n: {} for n in makers}
    counts = {n: sum(p.numel() for p in make().parameters()) for n, make in makers.items()}
    far = {name: stuck_share(shifted(make()), data) for name, make in makers.items()}
    for name, make in makers.items():
        for rate in rates:
            lab.progress(f"{name}, rate {rate:g}")
            model = make()
            trace = fit(model, data, lab.pick(1, 3, 6), sgd(model, rate), seed=lab.seed)
            stuck[name][rate] = math.nan if trace.diverged else stuck_share(model, data)
            errors[name][rate] = trace.test_error[-1]
    head = 10 * width + 10
    ratio = (counts["maxout"] - head) / (counts["relu"] - head)
    told = [r for r in rates if all(math.isfinite(s[r]) for s in stuck.values())]
    most = {n: max((s[r] for r in told), default=0.0) for n, s in stuck.items()}
    best = {n: min(e.values()) for n, e in errors.items()}
    right = 1.95 <= ratio <= 2.05
    return Result(
        measured={
            "parameters": counts, "hidden layers, maxout over ReLU": ratio,
            "share of units without a gradient, bad start": far,
            "largest share after training where none explodes": most,
            "test error at the best rate": best,
            "share of units without a gradient, by learning rate": {
                n: {f"{r:g}": v for r, v in s.items()} for n, s in stuck.items()
            },
        },
        verdict=verdict(
            right and far["relu"] >= SOME and far["maxout"] == most["maxout"] == 0,
            not right or far["maxout"] > 0 or most["maxout"] > 0
        ),
        finding=f"Maxout has {ratio:.2f} times the parameters in its hidden layers. From "
        f"the bad start {far['relu']:.0%} of the ReLU units get no gradient, of maxout "
        f"{far['maxout']:.0%}; after training up to {most['relu']:.1%} and {most['maxout']:.1%}. "
        f"Best test errors: ReLU {best['relu']:.1%}, ReLU with as many parameters "
        f"{best['relu, wider']:.1%}, maxout {best['maxout']:.1%}.",
        on="the start: where no ReLU is dead there is nothing to compare.",
        figures=[
            Figure(
                charts.lines(
                    {n: (rates, e.values()) for n, e in stuck.items()},
                    "Units without a gradient", "learning rate", "share", log_x=True,
                )
            ),
            Figure(
                charts.lines(
                    {n: (rates, e.values()) for n, e in errors.items()}, "Test error",
                    "learning rate", "share wrong", log_x=True,
                ),
                "ReLU, wider, has about as many parameters as maxout.",
            ),
        ],
    )  # fmt: skip


def network(shape: tuple[int, ...], width: int) -> nn.Sequential:
    """Three hidden layers of maxout units."""
    layers: list[nn.Module] = [nn.Flatten()]
    size = math.prod(shape)
    for _ in range(3):
        layers.append(nn.Maxout(size, width))
        size = width
    model = nn.Sequential(*layers, nn.Linear(size, 10))
    init.init_model(model, "maxout")
    return model


def shifted(model: nn.Sequential) -> nn.Sequential:
    """The model with the biases of its hidden layers far below 0."""
    for layer in list(model)[:-1]:
        if isinstance(layer, nn.Linear | nn.Maxout):
            init.constant_(layer.bias, FAR)  # type: ignore[arg-type]
    return model
