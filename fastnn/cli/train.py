# SPDX-License-Identifier: BSD-3-Clause
"""``fastnn train``: train a model on one of the image sets, evaluate it, save it."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from .. import datasets, models, nn, optim
from ..config import config, set_num_threads
from ..creation import zeros
from ..data import Compose, RandomCrop, RandomHorizontalFlip
from ..io import save
from ..optim import lr_scheduler
from ..preprocessing import Standardize
from ..random import manual_seed
from ..train import Trainer
from ._common import output_file, port, real, whole, write_json

_EPILOG = """examples:
  fastnn train --data mnist_small --epochs 5
  fastnn train --data mnist --root data/mnist --model lenet5 --save lenet5.safetensors
  fastnn train --data cifar10 --download --model cifar_quick --activation elu --json run.json
  fastnn train --watch
  fastnn train --optimizer adamw --lr 0.002 --schedule onecycle

schedules of the learning rate, from --lr:
  cosine       falls to 0 along half a cosine wave, step by step (the default)
  linear       falls to 0 in a line, step by step
  onecycle     rises to --lr from a 25th, falls to nothing; momentum does the opposite
  step         a tenth after each third of the epochs
  exponential  falls by the same factor in each epoch, to a hundredth in all
  plateau      a tenth whenever the training loss has not improved for two epochs
  constant     stays

With another optimizer than sgd, learning rate and weight decay are the optimizer's own defaults.
What else is not given depends on the data set:
"""

OPTIMIZERS: dict[str, Any] = {
    kind.__name__.lower(): kind
    for kind in (
        optim.SGD, optim.Adam, optim.AdamW, optim.NAdam, optim.RMSprop, optim.Adagrad,
        optim.Adadelta,
    )
}  # fmt: skip
LOG = Path("fastnn-train.jsonl")
SCHEDULES = ("cosine", "linear", "onecycle", "step", "exponential", "plateau", "constant")


@dataclass(frozen=True)
class Recipe:
    """Settings that train the usual model of a data set well."""

    classes: tuple[str, ...]
    model: str
    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    crop: int = 0  # training images are shifted by up to so many pixels ...
    flip: bool = False  # ... and mirrored


_DIGITS = tuple("0123456789")
_CLOTHES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
_OBJECTS = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
RECIPES = {
    "mnist_small": Recipe(_DIGITS, "lenet5", 10, 32, 0.02, 5e-4, crop=2),
    "mnist": Recipe(_DIGITS, "lenet5", 3, 32, 0.02, 5e-4),
    "fashion_mnist": Recipe(_CLOTHES, "lenet5", 10, 32, 0.02, 5e-4, flip=True),
    "cifar10": Recipe(_OBJECTS, "cifar_quick", 10, 64, 0.02, 1e-3, flip=True),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``fastnn train``."""
    parser.description = "Train a model on images, evaluate it on the test images, save it."
    parser.epilog = _EPILOG + "".join(
        f"  {name:14}--model {r.model} --epochs {r.epochs} --batch-size {r.batch_size} "
        f"--lr {r.lr:g} --weight-decay {r.weight_decay:g}\n"
        for name, r in RECIPES.items()
    )
    data = parser.add_argument_group("data")
    data.add_argument("--data", choices=RECIPES, default="mnist_small", help="image set")
    data.add_argument(
        "--root", metavar="DIR", help="where its files are (default: FASTNN_DATA, ~/.cache/fastnn)"
    )
    data.add_argument("--download", action="store_true", help="fetch files that are missing")
    model = parser.add_argument_group("model")
    model.add_argument("--model", choices=models.names(), help="default: the data set's")
    model.add_argument(
        "--activation", choices=nn.activation.names(), default="relu", help="default: relu"
    )
    training = parser.add_argument_group("training")
    training.add_argument("--epochs", type=whole(1), metavar="N")
    training.add_argument("--batch-size", type=whole(1), metavar="N")
    training.add_argument(
        "--optimizer", choices=OPTIMIZERS, default="sgd", help="update rule (default: sgd)"
    )
    training.add_argument(
        "--schedule", choices=SCHEDULES, default="cosine", help="see below (default: cosine)"
    )
    training.add_argument("--lr", type=real(True), metavar="X", help="learning rate at the start")
    training.add_argument(
        "--momentum", type=real(False), metavar="X", help="of sgd (default: 0.9) and rmsprop (0)"
    )
    training.add_argument("--weight-decay", type=real(False), metavar="X")
    training.add_argument("--seed", type=whole(0), metavar="N", default=0)
    training.add_argument("--threads", type=whole(1), metavar="N", help="default: usable cores")
    output = parser.add_argument_group("output")
    output.add_argument("--save", type=output_file, metavar="FILE", help="weights, safetensors")
    output.add_argument("--json", type=output_file, metavar="FILE", help="settings and history")
    output.add_argument(
        "--watch", type=port, metavar="PORT", nargs="?", const=0,
        help="show the training on a page of the browser, of this computer only (default: any "
        "free port)",
    )  # fmt: skip
    output.add_argument(
        "--log", type=output_file, metavar="FILE",
        help=f"append what a Monitor sees, for fastnn watch (default with --watch: {LOG})",
    )  # fmt: skip
    output.add_argument("--no-progress", action="store_true", help="no progress bars")


def run(args: argparse.Namespace) -> int:
    """Train, evaluate, save, report."""
    if args.momentum is not None and args.optimizer not in ("sgd", "rmsprop"):
        print(
            f"fastnn train: error: --momentum: {args.optimizer} has none; only sgd and rmsprop do",
            file=sys.stderr,
        )
        return 2
    recipe = RECIPES[args.data]
    options = optimizer_options(args, recipe)
    settings = {
        "data": args.data,
        "model": args.model or recipe.model,
        "activation": args.activation,
        "epochs": args.epochs or recipe.epochs,
        "batch_size": args.batch_size or recipe.batch_size,
        "optimizer": args.optimizer,
        **options,
        "schedule": args.schedule,
        "seed": args.seed,
    }
    if args.threads is not None:
        set_num_threads(args.threads)
    train, test = load(args.data, args.root, args.download)
    print(
        f"{args.data}: {len(train[0])} training and {len(test[0])} test images, "
        f"{settings['model']} with {settings['activation']}",
        file=sys.stderr,
    )
    manual_seed(args.seed)
    trainer, augment = make_trainer(settings, options, train[0], progress=not args.no_progress)
    model, preprocess = trainer.model, cast(Standardize, trainer.preprocess)
    log = args.log or (LOG if args.watch is not None else None)
    with _monitor(trainer, log, args.watch):
        start = time.perf_counter()
        trainer.fit(
            train, settings["epochs"], settings["batch_size"], seed=args.seed, transform=augment
        )
        seconds = time.perf_counter() - start
    measured = trainer.evaluate(test)
    speed = settings["epochs"] * len(train[0]) / seconds
    print(f"training: {seconds:.1f} s, {speed:,.0f} images/s")
    print(f"test: loss {measured['loss']:.4f}, accuracy {measured['accuracy']:.2%}")
    if args.save:
        metadata = {
            **settings, "classes": list(recipe.classes), "test_accuracy": measured["accuracy"],
            "mean": (preprocess.mean_ / 255).tolist(), "std": (preprocess.scale_ / 255).tolist(),
        }  # fmt: skip
        save(model, args.save, metadata, preprocessing=preprocess)
        print(f"saved {args.save}")
    if args.json:
        write_json(args.json, {
            "settings": settings, "config": config(), "history": trainer.history,
            "test": measured, "seconds": seconds,
        })  # fmt: skip
        print(f"saved {args.json}")
    if log:
        print(f"logged to {log}: 'fastnn watch {log}' shows it")
    return 0


def _monitor(
    trainer: Trainer, log: Path | None, page: int | None
) -> contextlib.AbstractContextManager[Any]:
    """What watches the training, as long as it lasts; on a page, too, if that has a port."""
    if log is None:
        return contextlib.nullcontext()
    from ..diagnostics import Monitor

    trainer.monitor = Monitor(trainer.model, trainer.optimizer, log=log)
    if page is not None:
        print(f"watch at {trainer.monitor.serve(page).url}", file=sys.stderr)
    return trainer.monitor


def make_trainer(
    settings: Mapping[str, Any], options: Mapping[str, Any], images: Any, progress: bool,
    **hooks: Any,
) -> tuple[Trainer, Any]:  # fmt: skip
    """A trainer of what `settings` names, and the augmentation of its data set's recipe, if any.

    `settings` has data, model, activation, epochs, batch_size, optimizer, schedule; `options` are
    those of the optimizer.
    """
    recipe = RECIPES[settings["data"]]
    classes = len(recipe.classes)
    model = build(settings["model"], images.shape[1:], classes, settings["activation"])
    augment: list[Any] = []
    augment += [RandomCrop(images.shape[1:3], recipe.crop)] if recipe.crop else []
    augment += [RandomHorizontalFlip()] if recipe.flip else []
    optimizer = OPTIMIZERS[settings["optimizer"]](model.parameters(), **options)
    steps = -(-len(images) // settings["batch_size"])
    scheduler, unit = schedule(settings["schedule"], optimizer, settings["epochs"], steps)
    trainer = Trainer(
        model, optimizer, preprocess=Standardize(per="channel").fit(images), progress=progress,
        scheduler=scheduler, schedule_by=unit, **hooks,
    )  # fmt: skip
    return trainer, Compose(*augment) if augment else None


def load(name: str, root: str | None, download: bool) -> Any:
    """(x_train, y_train), (x_test, y_test) of a data set by name."""
    if name == "mnist_small":
        return datasets.mnist_small()
    return getattr(datasets, name)(root, download)


def build(name: str, shape: tuple[int, ...], classes: int, activation: str) -> nn.Module:
    """A model by name, for images of this shape (H, W, C); ValueError if they do not fit."""
    inputs = {"in_features": math.prod(shape)} if name == "mlp" else {"in_channels": shape[-1]}
    model = models.get(name, num_classes=classes, activation=activation, **inputs)
    try:
        model.summary(shape)
    except ValueError as error:
        raise ValueError(f"--model {name} does not fit the images: {error}") from None
    return model


def optimizer_options(args: argparse.Namespace, recipe: Recipe) -> dict[str, Any]:
    """What the optimizer is made with: what was given, otherwise the recipe's or its own."""
    usual = OPTIMIZERS[args.optimizer]([zeros(1)]).defaults
    options = {name: usual[name] for name in ("lr", "weight_decay", "momentum") if name in usual}
    if args.optimizer == "sgd":
        options = {"lr": recipe.lr, "weight_decay": recipe.weight_decay, "momentum": 0.9}
    return {
        name: value if getattr(args, name) is None else getattr(args, name)
        for name, value in options.items()
    }


def schedule(name: str, optimizer: optim.Optimizer, epochs: int, steps: int) -> tuple[Any, str]:
    """A schedule by name for so many epochs of so many steps, and whether it goes by epoch or step.

    Its options are those that `fastnn train --help` describes.
    """
    group, total = optimizer.param_groups[0], epochs * steps
    if name == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, total), "step"
    if name == "linear":
        return lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total), "step"
    if name == "onecycle":
        cycles = "betas" in group or group.get("momentum", 0) > 0
        peak = group["lr"]
        return lr_scheduler.OneCycleLR(optimizer, peak, total, cycle_momentum=cycles), "step"
    if name == "step":
        return lr_scheduler.StepLR(optimizer, max(1, -(-epochs // 3))), "epoch"
    if name == "exponential":
        return lr_scheduler.ExponentialLR(optimizer, 0.01 ** (1.0 / epochs)), "epoch"
    if name == "plateau":
        return lr_scheduler.ReduceLROnPlateau(optimizer, patience=2), "epoch"
    return None, "epoch"
