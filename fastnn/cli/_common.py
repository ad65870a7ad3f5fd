# SPDX-License-Identifier: BSD-3-Clause
"""What the subcommands share: types of options, files that they write, a learning-rate schedule."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..report import write_text


def whole(least: int) -> Callable[[str], int]:
    """The type of an option: an integer of at least `least`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(
                f"must be an integer of at least {least}, got {text!r}"
            )
        return value

    return parse


def port(text: str) -> int:
    """The type of an option: a TCP port."""
    value = whole(0)(text)
    if value > 65535:
        raise argparse.ArgumentTypeError(f"must be at most 65535, got {text!r}")
    return value


def real(positive: bool) -> Callable[[str], float]:
    """The type of an option: a finite number, positive or at least 0."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < 0 or (positive and value == 0):
            wanted = "a positive number" if positive else "a number of at least 0"
            raise argparse.ArgumentTypeError(f"must be {wanted}, got {text!r}")
        return value

    return parse


def output_file(text: str) -> Path:
    """The type of an option: a file that can be written, checked before any work."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a directory")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no directory {path.parent}")
    return path


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON, atomically."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def cosine_decay(optimizer: Any) -> Callable[[Any], None]:
    """A hook for `Trainer(before_step=...)`: the learning rate falls to 0 along half a cosine wave.

    Source: Loshchilov and Hutter, "SGDR", 2017, equation 5, without restarts.
    """
    start = [group["lr"] for group in optimizer.param_groups]

    def before_step(trainer: Any) -> None:
        factor = 0.5 * (1.0 + math.cos(math.pi * trainer.progress_made))
        for group, lr in zip(optimizer.param_groups, start, strict=True):
            group["lr"] = lr * factor

    return before_step
