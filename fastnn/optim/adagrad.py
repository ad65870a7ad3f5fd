"""Adagrad: gradients over the root of the sum of their squares."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import _core
from .optimizer import Optimizer, check_number, penalties


class Adagrad(Optimizer):
    """Adagrad: gradients over the root of the sum of their squares.

    g = gradient + weight_decay p + l1 sign(p)
    s = s + g², from initial_accumulator_value
    p = p - lr / (1 + (k - 1) lr_decay) g / (√s + eps) in step k

    Source: Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and
    stochastic optimization", 2011.

    Parameters
    ----------
    params : iterable of Parameters, or of dicts (groups)
    lr : float
    lr_decay : float
    weight_decay : float
        Strength of the L2 penalty, as a gradient.
    initial_accumulator_value : float
        Where s begins, in each element.
    eps : float
    maximize : bool
        Follow the gradient instead of its negative.
    l1 : float
        Strength of the L1 penalty, as a gradient; with weight_decay, the elastic net.

    Raises
    ------
    TypeError, ValueError
        If an option is of another type, NaN, infinite or negative.
    """

    _counts = ("step",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
        l1: float = 0,
    ) -> None:
        options = {
            "lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "eps": eps,
            "maximize": maximize, "l1": l1,
        }  # fmt: skip
        self.check_options(options)
        super().__init__(params, options)

    def check_options(self, group: dict[str, Any]) -> None:
        for option in ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps", "l1"):
            check_number("Adagrad", option, group[option])

    def rule(self, group: dict[str, Any]) -> _core.UpdateRule:
        return _core.UpdateRule(
            "Adagrad", ("sum",), {"step": 0.0}, **penalties(group), eps=group["eps"],
            extra=group["lr_decay"], start=group["initial_accumulator_value"],
        )  # fmt: skip
