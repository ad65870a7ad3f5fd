"""RMSprop: gradients over the root of a running mean of their squares."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import _core
from .optimizer import Optimizer, check_number, penalties


class RMSprop(Optimizer):
    """RMSprop: gradients over the root of a running mean of their squares.

    g = gradient + weight_decay p + l1 sign(p)
    v = alpha v + (1 - alpha) g²
    if centered: a = alpha a + (1 - alpha) g, and v - a² takes the place of v below
    p = p - lr g / (√v + eps); with momentum, b = momentum b + g / (√v + eps), p = p - lr b

    Sources: Tieleman and Hinton, "Neural networks for machine learning", 2012, lecture 6.5;
    centered: Graves, "Generating sequences with recurrent neural networks", 2013, section 4.2.

    Parameters
    ----------
    params : iterable of Parameters, or of dicts (groups)
    lr : float
    alpha : float
        From 0 to 1.
    eps : float
    weight_decay : float
        Strength of the L2 penalty, as a gradient.
    momentum : float
    centered : bool
        Divide by the standard deviation of the gradients.
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
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
        l1: float = 0,
    ) -> None:
        options = {
            "lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay,
            "momentum": momentum, "centered": centered, "maximize": maximize, "l1": l1,
        }  # fmt: skip
        self.check_options(options)
        super().__init__(params, options)

    def check_options(self, group: dict[str, Any]) -> None:
        for option in ("lr", "eps", "weight_decay", "momentum", "l1"):
            check_number("RMSprop", option, group[option])
        check_number("RMSprop", "alpha", group["alpha"], high=1.0)

    def rule(self, group: dict[str, Any]) -> _core.UpdateRule:
        momentum = "momentum_buffer" if group["momentum"] else None
        return _core.UpdateRule(
            "RMSprop", ("square_avg", momentum, "grad_avg" if group["centered"] else None), {},
            **penalties(group), eps=group["eps"], beta1=group["momentum"], beta2=group["alpha"],
        )  # fmt: skip
