"""Adadelta: gradients scaled by the ratio of running means of steps and of gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import _core
from .optimizer import Optimizer, check_number, penalties


class Adadelta(Optimizer):
    """Adadelta: gradients scaled by the ratio of running means of steps and of gradients.

    g = gradient + weight_decay p + l1 sign(p)
    v = rho v + (1 - rho) g²
    x = √(a + eps) / √(v + eps) g
    a = rho a + (1 - rho) x²
    p = p - lr x

    Source: Zeiler, "ADADELTA: an adaptive learning rate method", 2012, algorithm 1.

    Parameters
    ----------
    params : iterable of Parameters, or of dicts (groups)
    lr : float
    rho : float
        From 0 to 1.
    eps : float
    weight_decay : float
        Strength of the L2 penalty, as a gradient.
    maximize : bool
        Follow the gradient instead of its negative.
    l1 : float
        Strength of the L1 penalty, as a gradient; with weight_decay, the elastic net.

    Raises
    ------
    TypeError, ValueError
        If an option is of another type, NaN, infinite or out of range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        l1: float = 0,
    ) -> None:
        options = {
            "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay,
            "maximize": maximize, "l1": l1,
        }  # fmt: skip
        self.check_options(options)
        super().__init__(params, options)

    def check_options(self, group: dict[str, Any]) -> None:
        for option in ("lr", "eps", "weight_decay", "l1"):
            check_number("Adadelta", option, group[option])
        check_number("Adadelta", "rho", group["rho"], high=1.0)

    def rule(self, group: dict[str, Any]) -> _core.UpdateRule:
        return _core.UpdateRule(
            "Adadelta", ("square_avg", "acc_delta"), {}, **penalties(group), eps=group["eps"],
            beta2=group["rho"],
        )  # fmt: skip
