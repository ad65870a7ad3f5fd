# SPDX-License-Identifier: BSD-3-Clause
"""``fastnn search``: find hyperparameters of what ``fastnn train`` trains."""

from __future__ import annotations

import argparse
import functools
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import models, nn, search
from ..config import config, set_num_threads
from . import train
from ._common import output_file, real, whole, write_json

_EPILOG = """examples:
  fastnn search --data mnist_small --model mlp --trials 20
  fastnn search --method halving --trials 27 --epochs 9 --workers 2 --out mlp-search
  fastnn search --method coarse-to-fine --space lr=1e-4:1 --space activation=relu,elu,tanh
  fastnn search --method grid --space lr=1e-3:1e-1 --space batch_size=32,64 --json found.json
  fastnn search --trials 40 --out mlp-search --resume

Each trial trains on four fifths of the training images and is judged by its accuracy on the
others; the test images are not looked at. DIR/trials.jsonl gets a line when a trial has ended:
after a stop, the same command with --resume goes on from there. DIR/search.html is the report.

--space NAME=LOW:HIGH is a range, NAME=A,B,C a choice, of
  lr, weight_decay   logarithmic ranges
  momentum           an even range, of sgd and rmsprop
  batch_size         a logarithmic range of whole numbers
  activation, optimizer, schedule    choices
Default: lr=1e-4:1, weight_decay=1e-6:1e-2, batch_size=16,32,64,128. What is not searched is as in
'fastnn train'.
"""
_METHODS = {name.replace("_", "-"): name for name in search.METHODS}
_CHOICES = {
    "activation": nn.activation.names,
    "optimizer": lambda: list(train.OPTIMIZERS),
    "schedule": lambda: list(train.SCHEDULES),
}
_NUMBERS = ("lr", "weight_decay", "momentum", "batch_size")
_TOP = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``fastnn search``."""
    parser.description = "Search for the hyperparameters with which a model learns images best."
    parser.epilog = _EPILOG
    data = parser.add_argument_group("data and model")
    data.add_argument("--data", choices=train.RECIPES, default="mnist_small", help="image set")
    data.add_argument(
        "--root", metavar="DIR", help="where its files are (default: FASTNN_DATA, ~/.cache/fastnn)"
    )
    data.add_argument("--download", action="store_true", help="fetch files that are missing")
    data.add_argument("--model", choices=models.names(), help="default: the data set's")
    what = parser.add_argument_group("search")
    what.add_argument("--method", choices=_METHODS, default="random", help="default: random")
    what.add_argument(
        "--trials", type=whole(1), metavar="N", default=20,
        help="default: 20; with halving those of the first round",
    )  # fmt: skip
    what.add_argument(
        "--space", type=axis, action="append", metavar="NAME=VALUES", default=[],
        help="what is searched; may be repeated (see below)",
    )  # fmt: skip
    what.add_argument(
        "--epochs", type=whole(1), metavar="N", default=5,
        help="of a trial; with halving of the longest (default: 5)",
    )  # fmt: skip
    what.add_argument("--seed", type=whole(0), metavar="N", default=0)
    fixed = parser.add_argument_group("what is not searched")
    fixed.add_argument("--activation", choices=nn.activation.names(), default="relu")
    fixed.add_argument("--optimizer", choices=train.OPTIMIZERS, default="sgd")
    fixed.add_argument("--schedule", choices=train.SCHEDULES, default="cosine")
    fixed.add_argument("--batch-size", type=whole(1), metavar="N")
    fixed.add_argument("--lr", type=real(True), metavar="X")
    fixed.add_argument("--momentum", type=real(False), metavar="X")
    fixed.add_argument("--weight-decay", type=real(False), metavar="X")
    output = parser.add_argument_group("running and output")
    output.add_argument(
        "--workers", type=whole(1), metavar="N", default=1,
        help="processes, which share the threads (default: 1)",
    )  # fmt: skip
    output.add_argument("--threads", type=whole(1), metavar="N", help="default: usable cores")
    output.add_argument(
        "--out", type=Path, metavar="DIR", default=Path("fastnn-search"),
        help="log and report (default: fastnn-search)",
    )  # fmt: skip
    output.add_argument("--resume", action="store_true", help="go on with the log in DIR")
    output.add_argument("--json", type=output_file, metavar="FILE", help="all trials")
    output.add_argument("--no-progress", action="store_true", help="no progress bar")


def axis(text: str) -> tuple[str, search.Range | search.Choice]:
    """The type of --space: a name, and its range or choice."""
    name, _, values = text.partition("=")
    try:
        return name, _values(name, values)
    except (ValueError, TypeError) as error:
        raise argparse.ArgumentTypeError(f"{error} (in {text!r})") from None


def _values(name: str, text: str) -> search.Range | search.Choice:
    if name in _CHOICES:
        known, words = _CHOICES[name](), text.split(",")
        for word in words:
            if word not in known:
                raise ValueError(f"{name} must be of {', '.join(known)}, got {word!r}")
        return search.choice(words)
    if name not in _NUMBERS:
        raise ValueError(f"expected one of {', '.join((*_NUMBERS, *_CHOICES))}, got {name!r}")
    parts = text.split(":")
    if len(parts) == 2:
        low, high = (_number(name, part) for part in parts)
        if name == "batch_size":
            return search.integer(int(low), int(high), log=True)
        if name == "momentum":
            return search.uniform(low, high)
        return search.log_uniform(low, high)
    return search.choice([_number(name, part) for part in text.split(",")])


def _number(name: str, text: str) -> float:
    """A value of a hyperparameter; 0 only where that turns something off."""
    kind = int if name == "batch_size" else float
    try:
        value = kind(text)
    except ValueError:
        what = "whole numbers" if kind is int else "numbers"
        raise ValueError(f"expected {what}, LOW:HIGH or A,B,C, got {text!r}") from None
    if value < 0 or (value == 0 and name in ("lr", "batch_size")):
        raise ValueError(f"{name} must be positive, got {text}")
    return value


@dataclass(frozen=True)
class TrainAndValidate:
    """The objective: trains with a configuration, returns the accuracy on images held out."""

    settings: dict[str, Any]  # of train.make_trainer, and lr, momentum, weight_decay or None each
    root: str | None
    seed: int  # decides which images are held out

    def __call__(self, config: dict[str, Any], report: search.Report) -> float:
        epochs = int(report.budget or self.settings["epochs"])
        settings = {**self.settings, **config, "epochs": epochs}
        (x, y), held_out = split(self.settings["data"], self.root, self.seed)
        options = train.optimizer_options(
            argparse.Namespace(**settings), train.RECIPES[settings["data"]]
        )
        trainer, augment = train.make_trainer(
            settings, options, x, progress=False,
            after_epoch=lambda t: report(t.epoch, t.history[-1]["loss"]),
        )  # fmt: skip
        trainer.fit((x, y), epochs, settings["batch_size"], seed=report.seed, transform=augment)
        return trainer.evaluate(held_out)["accuracy"]


@functools.lru_cache(maxsize=1)
def split(data: str, root: str | None, seed: int) -> Any:
    """(images, labels) to train with, and a fifth of the training images that is held out."""
    x, y = train.load(data, root, False)[0]
    order = np.random.default_rng(seed).permutation(len(x))
    held, kept = np.split(order, [max(1, len(x) // 5)])
    return (x[kept], y[kept]), (x[held], y[held])


def run(args: argparse.Namespace) -> int:
    """Search, print the table, write the page."""
    recipe = train.RECIPES[args.data]
    settings = {
        "data": args.data, "model": args.model or recipe.model, "activation": args.activation,
        "epochs": args.epochs, "batch_size": args.batch_size or recipe.batch_size,
        "optimizer": args.optimizer, "schedule": args.schedule, "lr": args.lr,
        "momentum": args.momentum, "weight_decay": args.weight_decay,
    }  # fmt: skip
    space = dict(args.space) or {
        "lr": search.log_uniform(1e-4, 1.0),
        "weight_decay": search.log_uniform(1e-6, 1e-2),
        "batch_size": search.choice([16, 32, 64, 128]),
    }
    log = args.out / "trials.jsonl"
    problem = _wrong_usage(args, space, log)
    if problem:
        print(f"fastnn search: error: {problem}", file=sys.stderr)
        return 2
    if args.threads is not None:
        set_num_threads(args.threads)
    images = train.load(args.data, args.root, args.download)[0][0]  # errors of data and model now
    train.build(settings["model"], images.shape[1:], len(recipe.classes), args.activation)
    args.out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    found = search.run(
        TrainAndValidate(settings, args.root, args.seed), space, _METHODS[args.method],
        args.trials, seed=args.seed, workers=args.workers, log=log, resume=args.resume,
        maximize=True, progress=not args.no_progress, about=settings,
        abandon=search.Abandon(patience=max(2, args.epochs // 4)),
        **({"budget": args.epochs} if args.method == "halving" else {}),
    )  # fmt: skip
    seconds = time.perf_counter() - start
    title = f"Hyperparameters of {settings['model']} on {args.data}"
    found.save(args.out / "search.html", title, "validation accuracy")
    if args.json:
        write_json(args.json, {
            "settings": settings, "method": args.method, "seed": args.seed, "config": config(),
            "seconds": seconds, "best": found.best.describe() if found.counts()["done"] else None,
            "trials": [trial.describe() for trial in found.trials],
        })  # fmt: skip
    done = found.counts()["done"]
    print(found.table(_TOP if done else None))
    if done and len(found.trials) > min(_TOP, done):
        counts = ", ".join(f"{n} {state}" for state, n in found.counts().items() if n)
        print(f"({len(found.trials)} trials: {counts}; all are in {args.out / 'search.html'})")
    best = found.best  # ValueError, and exit code 1, if no trial is done
    print(f"\n{found.conclusion('validation accuracy')}\n\n{_command(args, settings, best)}")
    print(f"\nwrote {args.out / 'search.html'} and {log}")
    if args.json:
        print(f"wrote {args.json}")
    return 0


def _wrong_usage(args: argparse.Namespace, space: dict[str, Any], log: Path) -> str:
    """What is wrong with the options together, or nothing."""
    names = [name for name, _ in args.space]
    if len(set(names)) < len(names):
        return f"--space: {max(names, key=names.count)} is given twice"
    optimizers = space["optimizer"].options if "optimizer" in space else (args.optimizer,)
    without = [name for name in optimizers if name not in ("sgd", "rmsprop")]
    if without and ("momentum" in space or args.momentum is not None):
        return f"momentum: {without[0]} has none; only sgd and rmsprop do"
    if log.exists() and not args.resume:
        return f"--out: there is a search in {args.out}; go on with --resume, or take another DIR"
    if args.out.exists() and not args.out.is_dir():
        return f"--out: {args.out} is not a directory"
    return ""


def _command(args: argparse.Namespace, settings: dict[str, Any], best: search.Trial) -> str:
    """The `fastnn train` that trains with the best configuration on all training images."""
    wanted = {name: value for name, value in settings.items() if value is not None}
    words = ["fastnn train"]
    for name, value in {**wanted, **best.config}.items():
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        words.append(f"--{name.replace('_', '-')} {text}")
    if args.root:
        words.append(f"--root {args.root}")
    return " ".join(words)
