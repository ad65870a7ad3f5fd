"""Stochastic gradient descent."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from .. import _core
from .optimizer import Optimizer, check_number, penalties


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, in one pass over all parameters.

    g = gradient + weight_decay p + l1 sign(p)
    b = g in the first step, then momentum b + (1 - dampening) g
    p = p - lr (g + momentum b if nesterov else b)

    Without momentum, p = p - lr g.

    Sources: Robbins and Monro, "A stochastic approximation method", 1951; Polyak, "Some methods of
    speeding up the convergence of iteration methods", 1964 (momentum); Nesterov, 1983, in the form
    of Sutskever et al., "On the importance of initialization and momentum", 2013.

    Parameters
    ----------
    params : iterable of Parameters, or of dicts (groups)
    lr : float
    momentum, dampening : float
    weight_decay : float
        Strength of the L2 penalty, as a gradient.
    nesterov : bool
        Needs momentum and no dampening.
    maximize : bool
        Follow the gradient instead of its negative.
    l1 : float
        Strength of the L1 penalty, as a gradient; with weight_decay, the elastic net.

    Raises
    ------
    ValueError
        If a number is NaN, infinite or negative, a parameter occurs twice, or there are none.

    Examples
    --------
    >>> import fastnn as fnn
    >>> w = fnn.nn.Parameter(fnn.ones(1))
    >>> optimizer = fnn.optim.SGD([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.item()
    0.0
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        l1: float = 0,
    ) -> None:
        options = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov, "l1": l1, "maximize": maximize,
        }  # fmt: skip
        self.check_options(options)
        super().__init__(params, options)

    def check_options(self, group: dict[str, Any]) -> None:
        for name in ("lr", "momentum", "weight_decay", "l1"):
            check_number("SGD", name, group[name])
        check_number("SGD", "dampening", group["dampening"], -math.inf)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError(
                "SGD: nesterov needs momentum and no dampening, got "
                f"momentum={group['momentum']}, dampening={group['dampening']}"
            )

    def rule(self, group: dict[str, Any]) -> _core.UpdateRule:
        return _core.UpdateRule(
            "SGD", ("momentum_buffer",) if group["momentum"] else (), {}, **penalties(group),
            beta1=group["momentum"], beta2=group["dampening"], nesterov=group["nesterov"],
        )  # fmt: skip
