"""Averages of weights over training: stochastic weight averaging and moving averages."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

from .. import _core
from ..autograd import no_grad
from ..nn.module import Module
from ..tensor import Tensor, from_numpy, tensor
from .optimizer import check_number

Average = Callable[[list[Tensor], list[Tensor], int], None]


def get_swa_multi_avg_fn() -> Average:
    """The mean of all weights so far: a = a + (p - a) / (n + 1)."""

    def average(averaged: list[Tensor], current: list[Tensor], num_averaged: int) -> None:
        _lerp(averaged, current, 1.0 / (num_averaged + 1))

    return average


def get_ema_multi_avg_fn(decay: float = 0.999) -> Average:
    """An exponential moving average: a = decay a + (1 - decay) p."""
    check_number("get_ema_multi_avg_fn", "decay", decay, high=1.0)

    def average(averaged: list[Tensor], current: list[Tensor], num_averaged: int) -> None:
        _lerp(averaged, current, 1.0 - decay)

    return average


class AveragedModel(Module):
    """A copy of a model that holds an average of the weights which the model has had.

    Sources: Izmailov et al., "Averaging weights leads to wider optima and better generalization",
    2018; Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992.

    Parameters
    ----------
    model : Module
    multi_avg_fn : callable, optional
        ``multi_avg_fn(averaged, current, num_averaged)`` changes the Tensors of the list `averaged`
        in place. Default: `get_swa_multi_avg_fn()`, the mean; `get_ema_multi_avg_fn(decay)` is the
        moving average.
    use_buffers : bool
        Average float buffers, too; otherwise all buffers are copied.

    Attributes
    ----------
    module : Module
        The copy.
    n_averaged : Tensor
        How many weights the average has seen.

    Examples
    --------
    >>> import fastnn as fnn
    >>> model = fnn.nn.Linear(1, 1, bias=False)
    >>> average = AveragedModel(model)
    >>> for value in (1.0, 2.0, 6.0):
    ...     with fnn.no_grad():
    ...         _ = model.weight.fill_(value)
    ...     average.update_parameters(model)
    >>> average.module.weight.item()
    3.0
    """

    def __init__(
        self, model: Module, multi_avg_fn: Average | None = None, use_buffers: bool = False
    ) -> None:
        if not isinstance(model, Module):
            raise TypeError(f"AveragedModel: model must be a Module, got {type(model).__name__}")
        if multi_avg_fn is not None and not callable(multi_avg_fn):
            raise TypeError(
                f"AveragedModel: multi_avg_fn must be callable, got {type(multi_avg_fn).__name__}"
            )
        self.module = copy.deepcopy(model)
        self.module.zero_grad()
        self.register_buffer("n_averaged", tensor(0))
        self.multi_avg_fn = multi_avg_fn or get_swa_multi_avg_fn()
        self.use_buffers = use_buffers

    n_averaged: Tensor

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Takes the model's present weights into the average; the first time, copies them.

        Raises
        ------
        RuntimeError
            If the model's parameters or buffers are not those of the copy.
        """
        self.module.check_state_dict(model.state_dict())
        averaged: list[Tensor] = [*self.module.parameters()]
        current: list[Tensor] = [*model.parameters()]
        copied: list[Tensor] = []
        sources: list[Tensor] = []
        for mine, its in zip(self.module.buffers(), model.buffers(), strict=True):
            averages = self.use_buffers and mine.dtype.kind == "f"
            (averaged if averages else copied).append(mine)
            (current if averages else sources).append(its)
        seen = int(self.n_averaged.item())
        if seen == 0:
            copied, sources = [*averaged, *copied], [*current, *sources]
        with no_grad():
            for mine, its in zip(copied, sources, strict=True):
                mine.copy_(its.detach())
            if seen:
                self.multi_avg_fn(averaged, current, seen)
            self.n_averaged.fill_(seen + 1)


def update_bn(loader: Iterable[Any], model: Module) -> None:
    """Takes the running statistics of batch normalization layers anew, from all of `loader`.

    They belong to the weights that they were taken with, and not to an average. Does nothing where
    the model has no such layer.

    Parameters
    ----------
    loader : iterable
        Of batches of inputs, or of tuples that begin with them.
    model : Module
    """
    norms: list[Any] = [m for m in model.modules() if getattr(m, "running_mean", None) is not None]
    if not norms:
        return
    training, momenta = model.training, [m.momentum for m in norms]
    for norm in norms:
        norm.running_mean.zero_()
        norm.running_var.fill_(1)
        norm.num_batches_tracked.zero_()
        norm.momentum = None  # the mean of all batches
    model.train()
    try:
        with no_grad():
            for batch in loader:
                x = batch[0] if isinstance(batch, tuple | list) else batch
                model(x if isinstance(x, Tensor) else from_numpy(x))
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.train(training)


def _lerp(averaged: list[Tensor], current: list[Tensor], weight: float) -> None:
    arrays, others = [a._array for a in averaged], [c._array for c in current]
    _core.apply_rule("AveragedModel", "lerp", weight, arrays, others)
