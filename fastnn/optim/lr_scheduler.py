"""Learning-rate schedules: the rate as a function of the number of calls of `step`.

Each sets the rate of every group when it is made and anew in `step`, from the rate that the group
had when its first schedule was made; what the rate was in between does not matter.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .optimizer import Optimizer, check_number

__all__ = [
    "ConstantLR", "CosineAnnealingLR", "ExponentialLR", "LRScheduler", "LinearLR", "MultiStepLR",
    "OneCycleLR", "ReduceLROnPlateau", "SequentialLR", "StepLR",
]  # fmt: skip


class LRScheduler:
    """Base class: subclasses set their options and define `lr_at`.

    Parameters
    ----------
    optimizer : Optimizer

    Attributes
    ----------
    base_lrs : list of float
        The rate of each group at the start.
    last_epoch : int
        Calls of `step` so far.
    unit : "epoch" or "step"
        What `Trainer` calls `step` after.
    """

    unit = "epoch"

    def __init__(self, optimizer: Optimizer) -> None:
        name = type(self).__name__
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"{name}: optimizer must be an Optimizer, got {type(optimizer).__name__}"
            )
        self.optimizer = optimizer
        initial = optimizer._initial_lrs
        self.base_lrs: list[float] = [
            initial.setdefault(i, group["lr"]) for i, group in enumerate(optimizer.param_groups)
        ]
        self.last_epoch = 0
        self._set(0)

    def lr_at(self, epoch: int, base: float) -> float:
        """The rate after `epoch` calls of `step`, of a group that began with `base`."""
        raise NotImplementedError(f"{type(self).__name__}: lr_at is not defined")

    def _set(self, epoch: int) -> None:
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = float(self.lr_at(epoch, base))

    def _check_groups(self) -> None:
        made, now = len(self.base_lrs), len(self.optimizer.param_groups)
        if made != now:
            raise ValueError(
                f"{type(self).__name__}: was made for {made} parameter groups, the optimizer now "
                f"has {now}; make it anew"
            )

    def step(self) -> None:
        """Sets the next rate.

        Raises
        ------
        ValueError
            If the optimizer has other parameter groups than when the schedule was made.
        """
        self._check_groups()
        self._set(self.last_epoch + 1)
        self.last_epoch += 1

    def get_last_lr(self) -> list[float]:
        """The present rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Where the schedule is: JSON values. Options are the constructor's."""
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes on where the schedule was that `state_dict` describes, and sets its rate.

        Raises
        ------
        ValueError
            If it is the state of another kind of schedule or of other groups; nothing was changed.
        """
        self._restore(state_dict)
        self._set(self.last_epoch)

    def _restore(self, state: Mapping[str, Any]) -> None:
        name = f"{type(self).__name__}.load_state_dict"
        expected = self.state_dict()
        if not isinstance(state, Mapping) or set(state) != set(expected):
            got = sorted(state) if isinstance(state, Mapping) else type(state).__name__
            raise ValueError(f"{name}: expected {sorted(expected)}, got {got}")
        if len(state["base_lrs"]) != len(self.base_lrs):
            raise ValueError(
                f"{name}: expected {len(self.base_lrs)} groups, got {len(state['base_lrs'])}"
            )
        _whole(name, "last_epoch", state["last_epoch"], 0)
        for key, value in state.items():
            if key != "parts":
                setattr(self, key, list(value) if key == "base_lrs" else value)


class StepLR(LRScheduler):
    """lr = base · gamma^⌊t / step_size⌋.

    Parameters
    ----------
    optimizer : Optimizer
    step_size : int
    gamma : float
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        self.step_size = _whole("StepLR", "step_size", step_size, 1)
        self.gamma = check_number("StepLR", "gamma", gamma)
        super().__init__(optimizer)

    def lr_at(self, epoch: int, base: float) -> float:
        return base * self.gamma ** (epoch // self.step_size)


class MultiStepLR(LRScheduler):
    """lr = base · gamma^(milestones that t has reached).

    Parameters
    ----------
    optimizer : Optimizer
    milestones : iterable of int
    gamma : float
    """

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1) -> None:
        self.milestones = sorted(_whole("MultiStepLR", "milestones", m, 0) for m in milestones)
        self.gamma = check_number("MultiStepLR", "gamma", gamma)
        super().__init__(optimizer)

    def lr_at(self, epoch: int, base: float) -> float:
        return base * self.gamma ** bisect_right(self.milestones, epoch)


class ExponentialLR(LRScheduler):
    """lr = base · gamma^t."""

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        self.gamma = check_number("ExponentialLR", "gamma", gamma)
        super().__init__(optimizer)

    def lr_at(self, epoch: int, base: float) -> float:
        return base * self.gamma**epoch


class ConstantLR(LRScheduler):
    """lr = base · factor while t < total_iters, then base."""

    def __init__(self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5) -> None:
        self.factor = check_number("ConstantLR", "factor", factor, high=1.0)
        self.total_iters = _whole("ConstantLR", "total_iters", total_iters, 0)
        super().__init__(optimizer)

    def lr_at(self, epoch: int, base: float) -> float:
        return base * (self.factor if epoch < self.total_iters else 1.0)


class LinearLR(LRScheduler):
    """lr = base · f, where f goes in a line from start_factor to end_factor: a warm-up.

    Parameters
    ----------
    optimizer : Optimizer
    start_factor, end_factor : float
        From 0 to 1, start_factor not 0.
    total_iters : int
        After so many steps f stays.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
    ) -> None:
        self.start_factor = check_number("LinearLR", "start_factor", start_factor, high=1.0)
        if start_factor == 0:
            raise ValueError("LinearLR: start_factor must be positive, got 0")
        self.end_factor = check_number("LinearLR", "end_factor", end_factor, high=1.0)
        self.total_iters = _whole("LinearLR", "total_iters", total_iters, 1)
        super().__init__(optimizer)

    def lr_at(self, epoch: int, base: float) -> float:
        done = min(epoch, self.total_iters) / self.total_iters
        return base * (self.start_factor + (self.end_factor - self.start_factor) * done)


class CosineAnnealingLR(LRScheduler):
    """lr = eta_min + (base - eta_min) (1 + cos(π t / T_max)) / 2.

    Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017,
    equation 5.

    Parameters
    ----------
    optimizer : Optimizer
    T_max : int
        Steps from the base rate to eta_min; after it the rate rises again.
    eta_min : float
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        self.T_max = _whole("CosineAnnealingLR", "T_max", T_max, 1)
        self.eta_min = check_number("CosineAnnealingLR", "eta_min", eta_min)
        super().__init__(optimizer)

    def lr_at(self, epoch: int, base: float) -> float:
        wave = 0.5 * (1.0 + math.cos(math.pi * epoch / self.T_max))
        return self.eta_min + (base - self.eta_min) * wave


class OneCycleLR(LRScheduler):
    """One rise to max_lr and one fall far below the start, while momentum does the opposite.

    The rate begins with max_lr / div_factor and ends with max_lr / (div_factor final_div_factor).
    Call `step` after every step of the optimizer. Momentum is that of SGD and RMSprop, or Adam's
    beta1.

    Source: Smith and Topin, "Super-convergence: very fast training of neural networks using large
    learning rates", 2018.

    Parameters
    ----------
    optimizer : Optimizer
    max_lr : float, or list of float (one for each group)
    total_steps : int, optional
        Otherwise epochs · steps_per_epoch.
    epochs, steps_per_epoch : int, optional
    pct_start : float
        The part of the steps that rises, from 0 to 1.
    anneal_strategy : "cos" or "linear"
    cycle_momentum : bool
        Change momentum, too.
    base_momentum, max_momentum : float
    div_factor, final_div_factor : float
    three_phase : bool
        Fall to the start as long as it rose, and to the end afterwards.

    Raises
    ------
    ValueError
        If an option is out of range or the optimizer has no momentum to cycle; from `step`, after
        total_steps.
    """

    unit = "step"

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
    ) -> None:
        name = "OneCycleLR"
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError(f"{name}: give total_steps, or epochs and steps_per_epoch")
            total_steps = _whole(name, "epochs", epochs, 1) * _whole(
                name, "steps_per_epoch", steps_per_epoch, 1
            )
        self.total_steps = _whole(name, "total_steps", total_steps, 1)
        check_number(name, "pct_start", pct_start, high=1.0)
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"{name}: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}"
            )
        for option, value in (("div_factor", div_factor), ("final_div_factor", final_div_factor)):
            if check_number(name, option, value) == 0:
                raise ValueError(f"{name}: {option} must be positive, got 0")
        for option, value in (("base_momentum", base_momentum), ("max_momentum", max_momentum)):
            check_number(name, option, value, below=1.0)
        self._cosine = anneal_strategy == "cos"
        top = pct_start * self.total_steps - 1
        ends = [top, 2 * top, self.total_steps - 1] if three_phase else [top, self.total_steps - 1]
        # A level of rate (as a part of max_lr) and of momentum at the start and at each end.
        start, low, high = 1.0 / div_factor, base_momentum, max_momentum
        levels = [(start, high), (1.0, low), (start, high), (start / final_div_factor, high)]
        if not three_phase:
            del levels[2]
        self._knots = list(zip([0.0, *ends], levels, strict=True))
        if not isinstance(optimizer, Optimizer):
            super().__init__(optimizer)  # raises
        groups = optimizer.param_groups
        if cycle_momentum and not ({"momentum", "betas"} & set(groups[0])):
            raise ValueError(f"{name}: {type(optimizer).__name__} has no momentum to cycle")
        self.cycle_momentum = cycle_momentum
        peaks = max_lr if isinstance(max_lr, Sequence) else [max_lr] * len(groups)
        if len(peaks) != len(groups):
            raise ValueError(f"{name}: max_lr has {len(peaks)} rates for {len(groups)} groups")
        self.max_lrs = [check_number(name, "max_lr", peak) for peak in peaks]
        super().__init__(optimizer)

    def _levels(self, step: int) -> tuple[float, float]:
        """Rate (as a part of max_lr) and momentum."""
        for i, (end, after) in enumerate(self._knots[1:], 1):
            if step <= end or i == len(self._knots) - 1:
                begin, before = self._knots[i - 1]
                done = (step - begin) / (end - begin) if end != begin else 1.0
                if self._cosine:
                    done = 0.5 * (1.0 - math.cos(math.pi * done))
                return (
                    before[0] + (after[0] - before[0]) * done,
                    before[1] + (after[1] - before[1]) * done,
                )
        raise AssertionError

    def _set(self, epoch: int) -> None:
        if epoch > self.total_steps:
            raise ValueError(f"OneCycleLR: step {epoch} of {self.total_steps}")
        rate, momentum = self._levels(epoch)
        for group, peak in zip(self.optimizer.param_groups, self.max_lrs, strict=True):
            group["lr"] = peak * rate
            if self.cycle_momentum and "betas" in group:
                group["betas"] = (momentum, *group["betas"][1:])
            elif self.cycle_momentum:
                group["momentum"] = momentum


class SequentialLR(LRScheduler):
    """One schedule after the other: schedulers[i] from milestones[i - 1] on, counted from there.

    Parameters
    ----------
    optimizer : Optimizer
    schedulers : sequence of LRScheduler
        Of the same optimizer.
    milestones : sequence of int
        Increasing; one less than schedules.

    Examples
    --------
    >>> import fastnn as fnn
    >>> optimizer = fnn.optim.SGD([fnn.ones(1)], lr=0.5)
    >>> warm = LinearLR(optimizer, start_factor=0.5, total_iters=2)
    >>> schedule = SequentialLR(optimizer, [warm, CosineAnnealingLR(optimizer, 2)], [2])
    >>> rates = []
    >>> for _ in range(5):
    ...     rates += schedule.get_last_lr()
    ...     schedule.step()
    >>> rates
    [0.25, 0.375, 0.5, 0.25, 0.0]
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int]
    ) -> None:
        name = "SequentialLR"
        if not schedulers:
            raise ValueError(f"{name}: give at least one schedule")
        for s in schedulers:
            if not isinstance(s, LRScheduler) or isinstance(s, ReduceLROnPlateau):
                raise TypeError(f"{name}: cannot run a {type(s).__name__}")
            if s.optimizer is not optimizer:
                raise ValueError(f"{name}: all schedulers must be of its optimizer")
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"{name}: {len(schedulers)} schedulers need {len(schedulers) - 1} milestones, "
                f"got {len(milestones)}"
            )
        self.milestones = [_whole(name, "milestones", m, 1) for m in milestones]
        if sorted(set(self.milestones)) != self.milestones:
            raise ValueError(f"{name}: milestones must increase, got {self.milestones}")
        self.schedulers = list(schedulers)
        self.unit = self.schedulers[0].unit
        super().__init__(optimizer)

    def _set(self, epoch: int) -> None:
        i = bisect_right(self.milestones, epoch)
        self.schedulers[i]._set(epoch - self.milestones[i - 1] if i else epoch)

    def state_dict(self) -> dict[str, Any]:
        """As `LRScheduler`."""
        return {**super().state_dict(), "parts": [s.state_dict() for s in self.schedulers]}

    def _restore(self, state: Mapping[str, Any]) -> None:
        parts = state.get("parts", []) if isinstance(state, Mapping) else []
        if len(parts) != len(self.schedulers):
            raise ValueError(
                f"SequentialLR.load_state_dict: expected {len(self.schedulers)} schedules, "
                f"got {len(parts)}"
            )
        super()._restore(state)
        for scheduler, part in zip(self.schedulers, parts, strict=True):
            scheduler._restore(part)


class ReduceLROnPlateau(LRScheduler):
    """Multiplies the rate by factor when a figure has not improved for patience epochs.

    Parameters
    ----------
    optimizer : Optimizer
    mode : "min" or "max"
        Whether less or more is better.
    factor : float
        Less than 1.
    patience : int
        Epochs without improvement that are borne.
    threshold : float
        What counts as improvement: a part of the best figure ("rel") or a difference ("abs").
    threshold_mode : "rel" or "abs"
    cooldown : int
        Epochs after a reduction in which none are counted.
    min_lr : float, or list of float (one for each group)
    eps : float
        Smaller changes of the rate are left out.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        name = "ReduceLROnPlateau"
        if mode not in ("min", "max"):
            raise ValueError(f"{name}: mode must be 'min' or 'max', got {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(
                f"{name}: threshold_mode must be 'rel' or 'abs', got {threshold_mode!r}"
            )
        self.mode, self.threshold_mode = mode, threshold_mode
        self.factor = check_number(name, "factor", factor, below=1.0)
        self.patience = _whole(name, "patience", patience, 0)
        self.threshold = check_number(name, "threshold", threshold)
        self.cooldown = _whole(name, "cooldown", cooldown, 0)
        self.eps = check_number(name, "eps", eps)
        self.best: float | None = None
        self.num_bad_epochs = self.cooldown_counter = 0
        super().__init__(optimizer)
        groups = len(optimizer.param_groups)
        least = min_lr if isinstance(min_lr, Sequence) else [min_lr] * groups
        if len(least) != groups:
            raise ValueError(f"{name}: min_lr has {len(least)} rates for {groups} groups")
        self.min_lrs = [check_number(name, "min_lr", lr) for lr in least]

    def _set(self, epoch: int) -> None:
        """The rate depends on what was measured."""

    def step(self, metrics: Any = None) -> None:
        """Takes the figure of an epoch into account.

        Parameters
        ----------
        metrics : float
            NaN counts as no improvement.
        """
        if metrics is None:
            raise TypeError("ReduceLROnPlateau: step needs the figure that is watched")
        current = float(metrics)
        self._check_groups()
        self.last_epoch += 1
        if self._is_better(current):
            self.best, self.num_bad_epochs = current, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group, least in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
                reduced = max(group["lr"] * self.factor, least)
                if group["lr"] - reduced > self.eps:
                    group["lr"] = reduced
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def _is_better(self, current: float) -> bool:
        if self.best is None:
            return math.isfinite(current)
        sign = 1.0 if self.mode == "max" else -1.0
        margin = self.threshold * (self.best if self.threshold_mode == "rel" else 1.0)
        bound = self.best + sign * margin
        return current > bound if self.mode == "max" else current < bound

    def state_dict(self) -> dict[str, Any]:
        """As `LRScheduler`; the rates themselves are in the optimizer's state."""
        own = ("best", "num_bad_epochs", "cooldown_counter")
        return {**super().state_dict(), **{name: getattr(self, name) for name in own}}


def _whole(owner: str, name: str, value: Any, low: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{owner}: {name} must be an int, got {type(value).__name__}")
    if value < low:
        raise ValueError(f"{owner}: {name} must be at least {low}, got {value}")
    return int(value)
