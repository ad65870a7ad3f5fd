"""Stochastic gradient descent."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from .. import _core
from ..tensor import Tensor
from .optimizer import Optimizer, check_number


class SGD(Optimizer):
    r"""Stochastic gradient descent with momentum, in one pass over all parameters.

    g = gradient + weight_decay p
    b = g in the first step, then momentum b + (1 - dampening) g
    p = p - lr (g + momentum b if nesterov else b)

    Without momentum, p = p - lr g. (Sutskever et al., 2013; the form is PyTorch's.)

    Parameters
    ----------
    params : iterable of Parameters, or of dicts (groups)
    lr : float
    momentum, dampening : float
    weight_decay : float
        Strength of the L2 penalty, as a gradient.
    nesterov : bool
        Needs momentum and no dampening.

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
    ) -> None:
        options = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
        }
        self.check_options(options)
        self._checked: tuple[Any, ...] = ()
        super().__init__(params, options)

    def check_options(self, group: Mapping[str, Any]) -> None:
        for name in ("lr", "momentum", "weight_decay"):
            check_number("SGD", name, group[name])
        check_number("SGD", "dampening", group["dampening"], -math.inf)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError(
                "SGD: nesterov needs momentum and no dampening, got "
                f"momentum={group['momentum']}, dampening={group['dampening']}"
            )

    def step(self) -> None:
        """Changes every parameter that has a gradient."""
        state = self.state
        for group in self.param_groups:
            lr, momentum, decay = group["lr"], group["momentum"], group["weight_decay"]
            options = (lr, momentum, decay, group["dampening"], group["nesterov"])
            if options != self._checked:  # they may have been changed since the last step
                self.check_options(group)
                self._checked = options
            # Parameters, gradients and momentum buffers of one dtype, new or used, take one call.
            batches: dict[Any, tuple[list[Any], list[Any], list[Any]]] = {}
            for p in group["params"]:
                grad = p.grad
                if grad is None:
                    continue
                if not isinstance(grad, Tensor):
                    raise TypeError(f"SGD: .grad must be a Tensor, got {type(grad).__name__}")
                array = p._array
                buffer, first = None, False
                if momentum:
                    own = state.get(p)
                    first = own is None
                    if own is None:
                        own = {"momentum_buffer": Tensor(_core.full(array.shape, array.dtype, 0.0))}
                        state[p] = own
                    buffer = own["momentum_buffer"]._array
                key = (array.dtype, first)
                batch = batches.get(key)
                if batch is None:
                    batch = batches[key] = ([], [], [])
                batch[0].append(array)
                batch[1].append(grad._array)
                batch[2].append(buffer)
            for (_, first), (arrays, grads, buffers) in batches.items():
                _core.sgd(
                    arrays,
                    grads,
                    buffers,
                    lr,
                    momentum,
                    group["dampening"],
                    decay,
                    group["nesterov"],
                    first,
                )
