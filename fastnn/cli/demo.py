# SPDX-License-Identifier: BSD-3-Clause
"""``fastnn demo``: what ReLU costs against sigmoid, on real digits, with nothing else at hand.

One small ConvNet is trained twice on the bundled digits. The training steps and the element-wise
functions are then timed on their own, by turns, so that a disturbance hits all alike.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .. import _core, datasets, models, nn
from ..config import config
from ..data import Normalize, RandomCrop
from ..functional import cross_entropy
from ..optim import SGD
from ..random import manual_seed
from ..report import Page
from ..tensor import from_numpy
from ..train import Trainer
from ._common import cosine_decay, output_file, whole, write_json

_EPILOG = """examples:
  fastnn demo
  fastnn demo --epochs 3 --out /tmp/demo.html --json /tmp/demo.json
"""
ACTIVATIONS = ("relu", "sigmoid")
BATCH = 32
SHIFT = 2  # training digits are moved by up to so many pixels
# Of 0.01, 0.02, 0.05, 0.1, 0.2 and 0.5, the one after which each network was best on 1,000 training
# images that were held out, mean of two seeds.
LEARNING_RATES = {"relu": 0.02, "sigmoid": 0.2}
MOMENTUM = 0.9
THRESHOLDS = (0.90, 0.95, 0.97)
SIZES = {"in cache": 32 * 1024, "in memory": 4 * 1024 * 1024}  # floats


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``fastnn demo``."""
    parser.description = (
        "Train the same ConvNet on the bundled digits with ReLU and with sigmoid, and compare."
    )
    parser.epilog = _EPILOG
    parser.add_argument("--epochs", type=whole(1), metavar="N", default=20, help="default: 20")
    parser.add_argument("--seed", type=whole(0), metavar="N", default=0)
    parser.add_argument(
        "--out", type=output_file, metavar="FILE", default=Path("fastnn-demo.html"),
        help="the page (default: fastnn-demo.html)",
    )  # fmt: skip
    parser.add_argument("--json", type=output_file, metavar="FILE", help="all figures")
    parser.add_argument("--no-progress", action="store_true", help="no progress bars")


def run(args: argparse.Namespace) -> int:
    """Train both, measure, print the table, write the page."""
    train, test = datasets.mnist_small()
    normalize = Normalize.fit(train[0])
    nets: dict[str, dict[str, Any]] = {}
    for name in ACTIVATIONS:
        print(f"training with {name}", file=sys.stderr)
        manual_seed(args.seed)
        model = models.demo_convnet(activation=name)
        optimizer = SGD(model.parameters(), lr=LEARNING_RATES[name], momentum=MOMENTUM)
        trainer = Trainer(
            model, optimizer, preprocess=normalize, progress=not args.no_progress,
            before_step=cosine_decay(optimizer),
        )  # fmt: skip
        history = trainer.fit(
            train, args.epochs, BATCH, validation=test, seed=args.seed,
            transform=RandomCrop(train[0].shape[1:3], padding=SHIFT),
        )  # fmt: skip
        nets[name] = {"learning_rate": LEARNING_RATES[name], "history": history}
    print("measuring", file=sys.stderr)
    batch = from_numpy(normalize(train[0][:BATCH])), train[1][:BATCH]
    steps = step_times(batch)
    found = {
        "config": config(), "epochs": args.epochs, "seed": args.seed, "batch_size": BATCH,
        "networks": {name: {**net, **summary(net["history"], name, steps)}
                     for name, net in nets.items()},
        "step_seconds": steps,
        "element_wise": {place: element_costs(size) for place, size in SIZES.items()},
    }  # fmt: skip
    for title, (headers, rows) in tables(found).items():
        print(f"\n{title}\n{aligned([headers, *rows])}")
    page(found).write(args.out)
    print(f"\nwrote {args.out}")
    if args.json:
        write_json(args.json, found)
        print(f"wrote {args.json}")
    return 0


# --- measuring ------------------------------------------------------------------------------------


def by_turns(jobs: Mapping[str, Callable[[], object]], rounds: int, calls: int) -> dict[str, float]:
    """Median seconds of one call of each job, A B C A B C ...

    A turn begins with a call that does not count, so that each job finds its own data in the
    caches and not what the job before it left there.
    """
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for i in range(rounds + 2):
        for name, job in jobs.items():
            job()
            start = time.perf_counter()
            for _ in range(calls):
                job()
            if i >= 2:
                times[name].append((time.perf_counter() - start) / calls)
    return {name: statistics.median(values) for name, values in times.items()}


def step_times(batch: Any, rounds: int = 60) -> dict[str, float]:
    """Seconds of a training step on one batch in memory: ReLU, sigmoid, and no activation at all.

    A step is forward, loss, backward and SGD with momentum.
    """
    x, y = batch

    def job(activation: Any) -> Callable[[], object]:
        model = models.demo_convnet(activation=activation)
        optimizer = SGD(model.parameters(), lr=1e-4, momentum=MOMENTUM)

        def step() -> None:
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()

        return step

    jobs: dict[str, Callable[[], object]] = {name: job(name) for name in ACTIVATIONS}
    jobs["identity"] = job(nn.Identity)
    return by_turns(jobs, rounds, 4)


def element_costs(size: int) -> dict[str, dict[str, dict[str, float]]]:
    """Cost of each function on `size` float32: {function: {direction: {ns, gb_per_s}}}.

    Forward reads x and writes y; backward reads y and dy and writes dx. Bytes are counted so.
    """
    rng = np.random.default_rng(0)
    x = _core.from_buffer(rng.standard_normal(size, dtype=np.float32) * 2)
    dy = _core.from_buffer(rng.standard_normal(size, dtype=np.float32))
    jobs: dict[str, Callable[[], object]] = {}
    for name in ACTIVATIONS:
        op = _core.UNARY[name][0]
        y = _core.unary_fwd(op, x, 0.0, 0.0)
        jobs[f"{name} forward"] = partial(_core.unary_fwd, op, x, 0.0, 0.0)
        jobs[f"{name} backward"] = partial(_core.unary_bwd, op, dy, y, 0.0, 0.0)
    times = by_turns(jobs, rounds=25, calls=max(2, (1 << 20) // size))
    result: dict[str, dict[str, dict[str, float]]] = {name: {} for name in ACTIVATIONS}
    for job, seconds in times.items():
        name, direction = job.split()
        width = 8 if direction == "forward" else 12
        result[name][direction] = {
            "ns": seconds / size * 1e9, "gb_per_s": width * size / seconds * 1e-9
        }  # fmt: skip
    return result


def summary(history: list[dict[str, float]], name: str, steps: dict[str, float]) -> dict[str, Any]:
    """The figures of one network's row."""
    reached = {
        f"epochs_to_{threshold:.0%}": next(
            (r["epoch"] for r in history if r["validation_accuracy"] >= threshold), None
        )
        for threshold in THRESHOLDS
    }
    return {
        "test_accuracy": history[-1]["validation_accuracy"],
        **reached,
        "ms_per_step": steps[name] * 1e3,
        "activation_share": 1.0 - steps["identity"] / steps[name],
    }


# --- showing --------------------------------------------------------------------------------------


def tables(found: Mapping[str, Any]) -> dict[str, tuple[list[str], list[list[str]]]]:
    """{title: (headers, rows)} of the two tables."""
    to = [f"epochs to {threshold:.0%}" for threshold in THRESHOLDS]
    networks = [
        [
            name, f"{net['test_accuracy']:.1%}",
            *(str(net[key.replace(" ", "_")] or "–") for key in to),
            f"{net['ms_per_step']:.2f}", f"{net['activation_share']:.1%}",
        ]
        for name, net in found["networks"].items()
    ]  # fmt: skip
    costs = [
        [
            place, name, *(
                f"{functions[name][direction][unit]:.3g}"
                for unit in ("ns", "gb_per_s") for direction in ("forward", "backward")
            ),
        ]
        for place, functions in found["element_wise"].items()
        for name in ACTIVATIONS
    ]  # fmt: skip
    return {
        "Training on 5,000 digits": (
            ["network", "test accuracy", *to, "ms per step", "activations' share"], networks
        ),
        "Cost per element": (
            [
                "data", "function", "ns forward", "ns backward", "GB/s forward", "GB/s backward"
            ],
            costs,
        ),
    }  # fmt: skip


def aligned(rows: list[list[str]]) -> str:
    """A table as text: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def page(found: Mapping[str, Any]) -> Page:
    """The report."""
    out = Page("What ReLU costs against sigmoid")
    networks = found["networks"]
    out.text(
        "One small ConvNet is trained twice from the same seed on 5,000 bundled MNIST digits, with "
        "ReLU and with sigmoid, and tested after each epoch on 1,000 others. Training digits are "
        f"moved at random by up to {SHIFT} pixels. It learns with SGD, batches of "
        f"{found['batch_size']}, momentum {MOMENTUM}, and a learning rate that falls to 0 along "
        "half a cosine wave. Each network starts from the rate that suits it, chosen on "
        "held-out training images: "
        + ", ".join(f"{net['learning_rate']:g} with {name}" for name, net in networks.items())
        + "."
    )
    titles = tables(found)
    (training, (headers, rows)), (cost, (cost_headers, cost_rows)) = titles.items()
    out.heading(training)
    out.table(headers, rows)
    out.text(
        "A step is forward, loss, backward and the update of the weights, on one batch in memory: "
        "median, ReLU, sigmoid and identity timed by turns. The activations' share is the part of "
        "a step that goes away when the identity takes the activation's place; a negative share is "
        "noise. Most activations are computed inside the convolution before them, which costs no "
        "pass over memory."
    )
    for key, title, unit in (
        ("loss", "Training loss", "cross-entropy"),
        ("validation_accuracy", "Test accuracy", "share of 1,000 digits"),
    ):
        out.line_chart(
            {
                name: ([r["epoch"] for r in net["history"]], [r[key] for r in net["history"]])
                for name, net in networks.items()
            },
            title, "epoch", unit, log_y=key == "loss",
        )  # fmt: skip
    out.heading(cost)
    out.table(cost_headers, cost_rows)
    places = found["element_wise"]
    out.bar_chart(
        [f"{name} {direction}, {place}" for place in places for name in ACTIVATIONS
         for direction in ("forward", "backward")],
        {"ns per element": [
            places[place][name][direction]["ns"] for place in places for name in ACTIVATIONS
            for direction in ("forward", "backward")
        ]},
        "Cost of the function alone", "ns per element",
    )  # fmt: skip
    out.text(
        "In cache: 32 K floats; in memory: 4 M floats; all threads. Forward reads x and writes y "
        "(8 bytes an element); backward reads y and dy and writes dx (12 bytes)."
    )
    out.heading("Machine")
    out.table(
        ["", ""],
        [[k, ", ".join(v) if isinstance(v, list) else str(v)] for k, v in found["config"].items()],
    )
    return out
