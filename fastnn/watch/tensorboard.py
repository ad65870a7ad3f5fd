# SPDX-License-Identifier: BSD-3-Clause
"""The log of a Monitor as event files of TensorBoard."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from ..diagnostics.log import Entry, Log

__all__ = ["write_tensorboard"]

_SCALARS = {"mean_loss": "loss/training", "accuracy": "accuracy/batch", "lr": "learning_rate",
            "gradient_norm": "gradient_norm"}  # fmt: skip
_EPOCH = {"accuracy": "accuracy/training", "validation_loss": "loss/validation",
          "validation_accuracy": "accuracy/validation"}  # fmt: skip


def write_tensorboard(log: Log, directory: str | os.PathLike[str]) -> None:
    """Writes a run as an event file: curves, figures and histograms of each layer, advice as text.

    Parameters
    ----------
    log : Log
        What `diagnostics.read_log` gives.
    directory : str or path
        Is made if it is not there. What it has stays, and TensorBoard shows both.

    Raises
    ------
    ImportError
        Without tensorboardX, which ``pip install 'fastnn-cpu[tensorboard]'`` brings.
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise ImportError(
            "write_tensorboard needs tensorboardX: pip install 'fastnn-cpu[tensorboard]'"
        ) from None
    start = float(log.header.get("time", 0))
    clock = {r["step"]: start + (r.get("seconds") or 0.0) for r in log.records}
    with SummaryWriter(os.fspath(directory)) as writer:
        said = ""
        for record in log.records:
            step, when = record["step"], clock[record["step"]]
            for name, value in _scalars(record):
                writer.add_scalar(name, value, step, when)
            for name, figures in _figures(record):
                _histogram(writer, name, figures, step, when)
            advice = "\n\n".join(item["text"] for item in record.get("advice", []))
            if advice != said:
                writer.add_text("advice", advice or "No problems found.", step, when)
                said = advice
        for epoch in log.epochs:
            step = epoch["step"]
            when = max((t for s, t in clock.items() if s <= step), default=start)
            for key, name in _EPOCH.items():
                if epoch.get(key) is not None:
                    writer.add_scalar(name, epoch[key], step, when)


def _scalars(record: Entry) -> Iterator[tuple[str, float]]:
    for key, name in _SCALARS.items():
        if record.get(key) is not None:
            yield name, record[key]
    for layer, entry in record["layers"].items():
        found = {"update_ratio": entry.get("update_ratio")}
        for what in ("activation", "gradient"):
            for key in ("mean", "std", "dead", "saturated"):
                found[f"{what}_{key}"] = entry.get(what, {}).get(key)
        for name, value in found.items():
            if value is not None:
                yield f"{name}/{layer or 'model'}", value


def _figures(record: Entry) -> Iterator[tuple[str, Entry]]:
    for layer, entry in record["layers"].items():
        for what in ("activation", "gradient"):
            if "hist" in entry.get(what, {}):
                yield f"{what}/{layer or 'model'}", entry[what]


def _histogram(writer: Any, name: str, figures: Entry, step: int, when: float) -> None:
    hist = figures["hist"]
    counts, low, high = hist["counts"], hist["from"], hist["to"]
    count, mean, std = sum(counts), figures.get("mean") or 0.0, figures.get("std") or 0.0
    if not count or figures.get("min") is None:
        return
    limits = [low + (high - low) * (i + 1) / len(counts) for i in range(len(counts))]
    writer.add_histogram_raw(
        name, min=figures["min"], max=figures["max"], num=count, sum=mean * count,
        sum_squares=(std * std + mean * mean) * count, bucket_limits=limits, bucket_counts=counts,
        global_step=step, walltime=when,
    )  # fmt: skip
