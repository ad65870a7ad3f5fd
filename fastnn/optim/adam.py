"""Adam, AdamW and NAdam: steps scaled by running means of gradients and of their squares."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import _core
from .optimizer import Optimizer, check_number, check_pair, penalties


class Adam(Optimizer):
    """Adam: a running mean of gradients over the root of that of their squares.

    g = gradient + weight_decay p + l1 sign(p)
    m = beta1 m + (1 - beta1) g
    v = beta2 v + (1 - beta2) g²
    p = p - lr m' / (√v' + eps), where m' = m / (1 - beta1^k), v' = v / (1 - beta2^k) in step k

    Source: Kingma and Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1. AMSGrad:
    Reddi, Kale and Kumar, "On the convergence of Adam and beyond", 2018.

    Parameters
    ----------
    params : iterable of Parameters, or of dicts (groups)
    lr : float
    betas : (float, float)
        From 0 to less than 1.
    eps : float
        Added to the denominator.
    weight_decay : float
        Strength of the L2 penalty, as a gradient.
    amsgrad : bool
        Take the largest v so far.
    maximize : bool
        Follow the gradient instead of its negative.
    decoupled_weight_decay : bool
        Instead of the penalty, p = (1 - lr weight_decay) p before the step, as AdamW has it.
    l1 : float
        Strength of the L1 penalty, as a gradient; with weight_decay, the elastic net.

    Raises
    ------
    TypeError, ValueError
        If an option is of another type, NaN, infinite or out of range.

    Examples
    --------
    >>> import fastnn as fnn
    >>> w = fnn.nn.Parameter(fnn.ones(1))
    >>> optimizer = fnn.optim.Adam([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> round(w.item(), 6)
    0.75
    """

    _counts = ("step",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        l1: float = 0,
    ) -> None:
        options = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "amsgrad": amsgrad, "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay, "l1": l1,
        }  # fmt: skip
        self.check_options(options)
        super().__init__(params, options)

    def check_options(self, group: dict[str, Any]) -> None:
        name = type(self).__name__
        for option in ("lr", "eps", "weight_decay", "l1"):
            check_number(name, option, group[option])
        check_pair(name, "betas", group["betas"])

    def rule(self, group: dict[str, Any]) -> _core.UpdateRule:
        beta1, beta2 = group["betas"] = tuple(group["betas"])
        return _core.UpdateRule(
            "Adam", ("exp_avg", "exp_avg_sq", "max_exp_avg_sq" if group["amsgrad"] else None),
            {"step": 0.0}, **penalties(group, group["decoupled_weight_decay"]),
            eps=group["eps"], beta1=beta1, beta2=beta2,
        )  # fmt: skip


class AdamW(Adam):
    """Adam with weight decay that is decoupled from the gradient.

    p = (1 - lr weight_decay) p, and then a step of `Adam` without L2 penalty.

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization", 2019, algorithm 2.

    Parameters
    ----------
    params : iterable of Parameters, or of dicts (groups)
    lr, betas, eps, amsgrad, maximize, l1
        As in `Adam`.
    weight_decay : float
        In units of 1 / lr.

    Raises
    ------
    TypeError, ValueError
        As `Adam`.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        l1: float = 0,
    ) -> None:
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad,
            maximize=maximize, decoupled_weight_decay=True, l1=l1,
        )  # fmt: skip


class NAdam(Optimizer):
    """Adam with Nesterov's momentum, which warms up.

    g, m, v' as in `Adam`; u(k) = beta1 (1 - 0.96^(k momentum_decay) / 2), q = u(1) … u(k)
    p = p - lr ((1 - u(k)) / (1 - q) g + u(k+1) / (1 - q u(k+1)) m) / (√v' + eps)

    Source: Dozat, "Incorporating Nesterov momentum into Adam", 2016.

    Parameters
    ----------
    params : iterable of Parameters, or of dicts (groups)
    lr, betas, eps, weight_decay, decoupled_weight_decay, maximize, l1
        As in `Adam`.
    momentum_decay : float

    Raises
    ------
    TypeError, ValueError
        If an option is of another type, NaN, infinite or out of range.
    """

    _counts = ("step", "mu_product")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        l1: float = 0,
    ) -> None:
        options = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize, "l1": l1,
        }  # fmt: skip
        self.check_options(options)
        super().__init__(params, options)

    def check_options(self, group: dict[str, Any]) -> None:
        for option in ("lr", "eps", "weight_decay", "momentum_decay", "l1"):
            check_number("NAdam", option, group[option])
        check_pair("NAdam", "betas", group["betas"])

    def rule(self, group: dict[str, Any]) -> _core.UpdateRule:
        beta1, beta2 = group["betas"] = tuple(group["betas"])
        return _core.UpdateRule(
            "NAdam", ("exp_avg", "exp_avg_sq"), {"step": 0.0, "mu_product": 1.0},
            **penalties(group, group["decoupled_weight_decay"]), eps=group["eps"],
            beta1=beta1, beta2=beta2, extra=group["momentum_decay"],
        )  # fmt: skip
