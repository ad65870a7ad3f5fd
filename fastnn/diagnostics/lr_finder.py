# SPDX-License-Identifier: BSD-3-Clause
"""find_lr: the learning-rate range test (Smith, Cyclical Learning Rates, 2017, section 3.3)."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .. import functional as F
from .. import nn, optim
from ..data import ArrayDataset, DataLoader
from ..random import get_rng_state, manual_seed, set_rng_state
from ..tensor import Tensor, from_numpy

__all__ = ["LRFinding", "find_lr"]

_SMOOTH = 0.9  # how much of the running mean a step keeps
_DIVERGED = 4.0  # times the best loss


class LRFinding(NamedTuple):
    """What `find_lr` measured.

    lrs and losses are those of each step, smoothed; suggestion is the rate at which the loss falls
    fastest, None if it does not fall.
    """

    lrs: list[float]
    losses: list[float]
    suggestion: float | None


def find_lr(
    model: nn.Module,
    optimizer: optim.Optimizer,
    data: Any,
    loss: Callable[[Any, Any], Tensor] | None = None,
    *,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 100,
    batch_size: int = 64,
    seed: int = 0,
    preprocess: Callable[[Any], Any] | None = None,
) -> LRFinding:
    """Trains with a rate that grows from step to step, until the loss runs away.

    Afterwards weights, buffers, the optimizer with its rates, mode and the random stream are as
    before.

    Parameters
    ----------
    model : nn.Module
    optimizer : optim.Optimizer
        Of its parameters. Groups keep the ratios of their rates; not `LBFGS`.
    data : (inputs, targets), ArrayDataset or DataLoader
        Gone through as often as it takes.
    loss : callable, optional
        By default cross-entropy.
    low, high : float
        The first and the last rate, of the first group.
    steps : int
        At least 10.
    batch_size, seed : int
        Of the shuffled batches, unless data is a DataLoader.
    preprocess : callable, optional
        Applied to the inputs of each batch.

    Returns
    -------
    LRFinding

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind or out of range.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"find_lr: model must be a Module, got {type(model).__name__}")
    if not isinstance(optimizer, optim.Optimizer) or isinstance(optimizer, optim.LBFGS):
        raise TypeError(f"find_lr: optimizer cannot be {type(optimizer).__name__}")
    if not 0.0 < low < high < math.inf:
        raise ValueError(f"find_lr: expected 0 < low < high, got {low} and {high}")
    if steps < 10:
        raise ValueError(f"find_lr: steps must be at least 10, got {steps}")
    if isinstance(data, tuple | list) and len(data) == 2:
        data = ArrayDataset(*data)
    if isinstance(data, ArrayDataset):
        data = DataLoader(data, batch_size, shuffle=True, seed=seed)
    if not isinstance(data, DataLoader):
        raise TypeError(
            "find_lr: data must be (inputs, targets), an ArrayDataset or a DataLoader, got "
            f"{type(data).__name__}"
        )
    loss = F.cross_entropy if loss is None else loss
    base = optimizer.param_groups[0]["lr"] or 1.0
    shares = [group["lr"] / base or 1.0 for group in optimizer.param_groups]
    lrs: list[float] = []
    losses: list[float] = []
    mean = 0.0
    with _restored(model, optimizer), np.errstate(all="ignore"):
        manual_seed(seed)
        model.train()
        batches: Any = _forever(data)
        with contextlib.closing(batches):
            for i in range(steps):
                lr = low * (high / low) ** (i / (steps - 1))
                for group, share in zip(optimizer.param_groups, shares, strict=True):
                    group["lr"] = lr * share
                x, y = next(batches)
                optimizer.zero_grad()
                value = loss(model(from_numpy(x if preprocess is None else preprocess(x))), y)
                mean = _SMOOTH * mean + (1.0 - _SMOOTH) * float(value)
                smooth = mean / (1.0 - _SMOOTH ** (i + 1))
                if not math.isfinite(smooth):
                    break
                lrs.append(lr)
                losses.append(smooth)
                if smooth > _DIVERGED * min(losses):
                    break
                value.backward()
                optimizer.step()
    return LRFinding(lrs, losses, _steepest(lrs, losses))


def _steepest(lrs: list[float], losses: list[float]) -> float | None:
    """The rate at which the loss falls fastest, before its minimum."""
    if len(losses) < 3:
        return None
    end = int(np.argmin(losses))
    if end < 2 or losses[end] > 0.95 * losses[0]:
        return None
    return lrs[int(np.argmin(np.gradient(losses[: end + 1])))]


def _forever(loader: DataLoader) -> Iterator[Any]:
    """Batches of one epoch after the other."""
    epoch = 0
    while True:
        loader.set_epoch(epoch)
        batches: Any = iter(loader)
        with contextlib.closing(batches):
            yield from batches
        epoch += 1


@contextlib.contextmanager
def _restored(model: nn.Module, optimizer: optim.Optimizer) -> Iterator[None]:
    """Puts everything back; hooks of a Monitor do not see what goes on meanwhile."""
    tensors = [*model.parameters(), *model.buffers()]
    tensors += [p for group in optimizer.param_groups for p in group["params"]]
    values = [(tensor, tensor.numpy().copy(), tensor.grad) for tensor in dict.fromkeys(tensors)]
    state = copy.deepcopy(optimizer.state_dict())
    modes = [(module, module.training, module._hooks) for module in model.modules()]
    stream = get_rng_state()
    for module, _, _ in modes:
        module._hooks = None
    try:
        yield
    finally:
        for tensor, value, gradient in values:
            np.copyto(tensor.numpy(), value)
            tensor._array.touch()
            tensor.grad = gradient
        optimizer.load_state_dict(state)
        for module, training, hooks in modes:
            module.training, module._hooks = training, hooks
        set_rng_state(stream)
