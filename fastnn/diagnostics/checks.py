# SPDX-License-Identifier: BSD-3-Clause
"""Checks before training: of a model on a batch, of its first loss, of what it can learn.

All of them work on a copy: the model, its mode and the random stream are as before afterwards.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .. import functional as F
from .. import nn, optim
from ..autograd import no_grad
from ..random import get_rng_state, manual_seed, set_rng_state
from ..tensor import Tensor, as_tensor
from .monitor import Monitor

__all__ = ["Check", "CheckReport", "check_model", "initial_loss_check", "overfit_check"]

_BATCH = 512  # samples that the activations are looked at with
_SMALL = 8  # and those for derivatives
_DIRECTIONS = 3
_RTOL = 1e-4  # of directional derivatives in float64; a wrong gradient is off by percents


class Check(NamedTuple):
    """One question: its name, whether the answer is good, and the answer."""

    name: str
    ok: bool
    text: str


@dataclass
class CheckReport:
    """The answers; true if all are good. `str()` has a line for each.

    Attributes
    ----------
    checks : list of Check
    losses : list of float
        Of `overfit_check`, before each step.
    """

    checks: list[Check] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether all answers are good."""
        return all(check.ok for check in self.checks)

    def __bool__(self) -> bool:
        return self.ok

    def add(self, name: str, ok: bool, text: str) -> None:
        """One more answer."""
        self.checks.append(Check(name, bool(ok), text))

    def __str__(self) -> str:
        return "\n".join(
            f"{'ok  ' if check.ok else 'FAIL'} {check.name}: {check.text}" for check in self.checks
        )


def check_model(
    model: nn.Module, x: Any, y: Any, loss: Callable[[Any, Any], Tensor] | None = None
) -> CheckReport:
    """Looks for what would spoil a training before it starts.

    Checked are, in training mode: the shape of the outputs, and that they are finite; the gradient
    of the loss, in float64 along random directions; that every parameter has one; activations,
    gradients and inputs, with the rules of `Monitor`; the first loss; and that a small step against
    the gradient lowers it.

    Parameters
    ----------
    model : nn.Module
    x, y : Tensor or array
        A batch of float inputs and its targets; a few hundred samples show more than a few.
    loss : callable, optional
        ``loss(outputs, targets)``, by default cross-entropy with integer labels.

    Returns
    -------
    CheckReport

    Raises
    ------
    TypeError, ValueError
        If model or data are of the wrong kind. What the model raises for x is a failed check.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn as fnn
    >>> from fastnn.diagnostics import check_model
    >>> fnn.manual_seed(0)
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.standard_normal((256, 8), dtype=np.float32), rng.integers(0, 3, 256)
    >>> print(check_model(fnn.models.mlp(8, (16,), 3), x, y))
    ok   forward: outputs (256, 3), all finite; the loss is 1.1
    ok   gradients: agree with differences in float64 along 3 directions
    ok   parameters: all 4 have a gradient
    ok   activations and inputs: nothing unusual
    ok   first loss: 1.1, that of a guess is log(3) = 1.1
    ok   first step: lowers the loss
    """
    x, y = _batch("check_model", model, x, y, _BATCH)
    loss = F.cross_entropy if loss is None else loss
    report = CheckReport()
    with _kept_stream():
        trial = _copy(model).train()
        try:
            with no_grad(), np.errstate(all="ignore"):
                outputs = trial(Tensor(x._array))
                value = float(loss(outputs, y))
        except (TypeError, ValueError, RuntimeError) as error:
            report.add("forward", False, str(error))
            return report
        bad = [name for name, p in trial.named_parameters() if not np.isfinite(p.numpy()).all()]
        bad += ["outputs"] * (not np.isfinite(outputs.numpy()).all())
        bad += ["the loss"] * (not math.isfinite(value))
        state = f"not all finite: {', '.join(bad)}" if bad else "all finite"
        report.add("forward", not bad, f"outputs {outputs.shape}, {state}; the loss is {value:.3g}")
        if bad:
            return report
        _check_gradients(report, model, Tensor(x._array), y, loss)
        _check_start(report, model, x, y, loss)
    return report


def _check_gradients(report: CheckReport, model: nn.Module, x: Tensor, y: Any, loss: Any) -> None:
    """Gradients against differences, whether they are there, and what a step along them does."""
    trial = _copy(model).double().train()
    rng = np.random.default_rng(0)
    for p in trial.parameters():  # off kinks that many starts sit on, as biases of 0 do
        values = p.numpy()
        values += (
            1e-3
            * max(0.01, math.sqrt(float(np.mean(values**2))))
            * rng.standard_normal(values.shape)
        )
    rows = slice(0, min(_SMALL, x.shape[0]))
    x64 = as_tensor(x.numpy()[rows].astype(np.float64), "check_model")
    targets = y[rows] if y.dtype.kind != "f" else y[rows].astype(np.float64)
    stream = get_rng_state()

    def value() -> Tensor:
        set_rng_state(stream)  # the same dropout each time
        return loss(trial(x64), targets)

    value().backward()
    named = list(trial.named_parameters())
    missing = [n for n, p in named if p.grad is None or not np.any(p.grad.numpy())]
    known = [(n, p, p.grad.numpy()) for n, p in named if p.grad is not None]

    def moved(directions: list[Any], step: float) -> float:
        """The loss after a step along the directions."""
        with no_grad():
            for (_, p, _), d in zip(known, directions, strict=True):
                p.numpy()[...] += step * d
            after = float(value())
            for (_, p, _), d in zip(known, directions, strict=True):
                p.numpy()[...] -= step * d
        return after

    def error(directions: list[Any]) -> float:
        """How far the derivative along them is off, relatively; the smallest of a few steps."""
        slope = sum(float(np.vdot(g, d)) for (_, _, g), d in zip(known, directions, strict=True))
        found = []
        for step in (1e-4, 1e-5, 1e-6):  # a kink that one of them meets is no error
            numeric = (moved(directions, step) - moved(directions, -step)) / (2 * step)
            found.append(abs(numeric - slope) / max(abs(numeric), abs(slope), 1e-7))
        return min(found)

    def draw(only: int | None = None) -> list[Any]:
        """Directions of unit length, in the space of all parameters or of one."""
        parts = [
            rng.standard_normal(p.shape) if only in (None, i) else np.zeros(p.shape)
            for i, (_, p, _) in enumerate(known)
        ]
        length = math.sqrt(sum(float(np.vdot(d, d)) for d in parts))
        return [d / length for d in parts]

    worst = max((error(draw()) for _ in range(_DIRECTIONS)), default=0.0) if known else 0.0
    if worst <= _RTOL:
        text = f"agree with differences in float64 along {_DIRECTIONS} directions"
    else:
        off = {name: error(draw(i)) for i, (name, _, _) in enumerate(known)}
        name = max(off, key=lambda n: off[n])
        text = (
            f"are off by {worst:.1%} from differences in float64; most in {name} ({off[name]:.1%})"
        )
    report.add("gradients", worst <= _RTOL, text)
    report.add(
        "parameters", not missing,
        f"{', '.join(missing)} got no gradient, or only zeros" if missing
        else f"all {len(named)} have a gradient",
    )  # fmt: skip
    gradient = [g for _, _, g in known]
    size = math.sqrt(sum(float(np.vdot(g, g)) for g in gradient))
    weights = math.sqrt(sum(float(np.vdot(p.numpy(), p.numpy())) for _, p, _ in known))
    before = float(value())
    lower = size > 0.0 and any(
        moved(gradient, -step * weights / size) < before for step in (1e-3, 1e-5)
    )
    report.add("first step", lower, "lowers the loss" if lower else "does not lower the loss")


def _check_start(report: CheckReport, model: nn.Module, x: Tensor, y: Any, loss: Any) -> None:
    """What the rules of a Monitor say of the first forward and backward pass."""
    trial = _copy(model).train()
    step = report.checks.pop()  # comes last
    with np.errstate(all="ignore"), Monitor(trial) as monitor:
        outputs = trial(x)
        value = loss(outputs, y)
        value.backward()
        monitor.step(value)
    advice = [item for item in monitor.advice() if item.rule != "initial_loss"]
    for item in advice:
        report.add(item.rule.replace("_", " "), False, item.text)
    if not advice:
        report.add("activations and inputs", True, "nothing unusual")
    if value._node is not None and value._node.name == "cross_entropy":
        _check_first_loss(report, float(value), outputs.shape[1])
    report.checks.append(step)


def _check_first_loss(report: CheckReport, value: float, classes: int) -> None:
    guess = math.log(classes)
    good = 0.5 * guess <= value <= guess + max(guess, 1.0)
    text = f"{value:.3g}, that of a guess is log({classes}) = {guess:.3g}"
    if value < 0.5 * guess:
        text += ": is the model trained already, or do the inputs hold the labels?"
    elif not good:
        text += ": start the weights of the last layer smaller (0.01), and scale the inputs"
    report.add("first loss", good, text)


def initial_loss_check(
    model: nn.Module,
    x: Any,
    y: Any,
    loss: Callable[[Any, Any], Tensor] | None = None,
    optimizer: optim.Optimizer | None = None,
) -> CheckReport:
    """Whether an untrained classifier's loss is that of a guess, -log(1 / classes).

    Parameters
    ----------
    model : nn.Module
        With outputs (N, classes).
    x, y : Tensor or array
    loss : callable, optional
        By default cross-entropy; another one must have the same value for a guess.
    optimizer : optim.Optimizer, optional
        With an L1 or L2 penalty (`l1`, `weight_decay`): it must raise the loss, but not rule it.

    Returns
    -------
    CheckReport
    """
    x, y = _batch("initial_loss_check", model, x, y, _BATCH)
    report = CheckReport()
    with _kept_stream(), no_grad(), np.errstate(all="ignore"):
        outputs = _copy(model).train()(x)
        value = float((loss or F.cross_entropy)(outputs, y))
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        raise ValueError(
            f"initial_loss_check: outputs must be (N, classes), got shape {outputs.shape}"
        )
    _check_first_loss(report, value, outputs.shape[1])
    if optimizer is not None:
        penalty = 0.0
        for group in optimizer.param_groups:
            for p in group["params"]:
                values = p.numpy().astype(np.float64)
                penalty += 0.5 * group.get("weight_decay", 0.0) * float((values**2).sum())
                penalty += group.get("l1", 0.0) * float(np.abs(values).sum())
        text = f"the penalty raises the loss from {value:.3g} to {value + penalty:.3g}"
        if penalty == 0.0:
            text = "the optimizer has no penalty (or all weights are 0): the loss does not rise"
        elif penalty > value:
            text += ", and rules it: lower weight_decay or l1"
        report.add("regularization", 0.0 < penalty <= value, text)
    return report


def overfit_check(
    model: nn.Module,
    x: Any,
    y: Any,
    loss: Callable[[Any, Any], Tensor] | None = None,
    *,
    samples: int = 20,
    steps: int = 300,
    optimizer: Callable[[Any], optim.Optimizer] | None = None,
) -> CheckReport:
    """Whether a model can learn a few samples by heart; one that cannot has a bug.

    A copy of the model is trained on them, without dropout.

    Parameters
    ----------
    model : nn.Module
    x, y : Tensor or array
        The first `samples` of them are used.
    loss : callable, optional
        By default cross-entropy.
    samples, steps : int
    optimizer : callable, optional
        Makes one of parameters, by default ``Adam(lr=1e-3)``.

    Returns
    -------
    CheckReport
        True if the loss fell to 5% of what it was; `losses` has it before each step.
    """
    x, y = _batch("overfit_check", model, x, y, samples)
    loss = F.cross_entropy if loss is None else loss
    report = CheckReport()
    with _kept_stream():
        trial = _copy(model).train()
        for module in trial.modules():
            if isinstance(module, nn.Dropout):
                module.training = False
        update = (optimizer or (lambda parameters: optim.Adam(parameters, lr=1e-3)))(
            trial.parameters()
        )
        for _ in range(steps):
            update.zero_grad()
            value = loss(trial(x), y)
            report.losses.append(float(value))
            if not math.isfinite(report.losses[-1]):
                break
            value.backward()
            update.step()
    first, last = report.losses[0], report.losses[-1]
    ok = last < 0.05 * first
    text = f"the loss of {x.shape[0]} samples went from {first:.3g} to {last:.3g} in "
    text += f"{len(report.losses)} steps"
    if not ok:
        text += (
            ": check that the labels belong to the inputs, that gradients reach all layers "
            "(check_model), and the learning rate (find_lr)"
        )
    report.add("overfit a few samples", ok, text)
    return report


# --- what they share --------------------------------------------------------------------------


def _batch(where: str, model: Any, x: Any, y: Any, most: int) -> tuple[Tensor, Any]:
    """The first samples of a batch, as a Tensor of inputs and an array of targets."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"{where}: model must be a Module, got {type(model).__name__}")
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise ValueError(f"{where}: samples must be an int of at least 1, got {most}")
    inputs, targets = as_tensor(x, where), as_tensor(y, where, "y").numpy()
    if not inputs._array.dtype.startswith("float"):
        raise TypeError(f"{where}: x must be float32 or float64, got {inputs.dtype}")
    if not inputs.ndim or not targets.ndim or inputs.shape[0] != len(targets) or not len(targets):
        raise ValueError(
            f"{where}: x and y must be of as many samples, got shapes {inputs.shape} and "
            f"{targets.shape}"
        )
    return as_tensor(inputs.numpy()[:most], where), targets[:most]


def _copy(model: nn.Module) -> nn.Module:
    """A copy without hooks and gradients."""
    hooks = {id(module._hooks): None for module in model.modules() if module._hooks is not None}
    trial = copy.deepcopy(model, hooks)
    trial.zero_grad()
    return trial


@contextlib.contextmanager
def _kept_stream() -> Iterator[None]:
    """Restores the stream of random numbers."""
    stream = get_rng_state()
    manual_seed(0)
    try:
        yield
    finally:
        set_rng_state(stream)
