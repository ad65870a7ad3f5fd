"""Limits of gradients and of weights."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from .. import _core
from ..tensor import Tensor
from .optimizer import check_number


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scales all gradients together, in place, so that their norm is at most `max_norm`.

    The norm is (Σ |g|^norm_type)^(1 / norm_type) over all elements of all gradients; they are
    multiplied by max_norm / (norm + 1e-6) where that is less than 1.

    Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks",
    2013, section 3.2.

    Parameters
    ----------
    parameters : Tensor, or iterable of Tensors
        Those without a gradient are left out.
    max_norm : float
    norm_type : float
        Positive; math.inf is the largest absolute value.
    error_if_nonfinite : bool
        Raise where the norm is NaN or infinite, instead of spreading that to all gradients.

    Returns
    -------
    Tensor
        The norm before scaling, without dimensions.

    Raises
    ------
    RuntimeError
        As `error_if_nonfinite` says; nothing was changed.

    Examples
    --------
    >>> import fastnn as fnn
    >>> w = fnn.nn.Parameter(fnn.ones(2))
    >>> w.grad = fnn.tensor([3.0, 4.0])
    >>> clip_grad_norm_([w], 1.0).item()
    5.0
    >>> w.grad.numpy().round(3).tolist()
    [0.6000000238418579, 0.800000011920929]
    """
    name = "clip_grad_norm_"
    limit = check_number(name, "max_norm", max_norm)
    if norm_type != math.inf:
        check_number(name, "norm_type", norm_type)
    if norm_type == 0:
        raise ValueError(f"{name}: norm_type must be positive, got 0")
    grads = _gradients(name, parameters)
    p = float(norm_type)
    singles, doubles = _core.grad_norm(name, grads, p)
    if singles == 0.0 or doubles == 0.0:
        norm = singles + doubles
    elif p == math.inf:
        norm = math.nan if math.isnan(singles + doubles) else max(singles, doubles)
    else:
        norm = (singles**p + doubles**p) ** (1.0 / p)
    if error_if_nonfinite and not math.isfinite(norm):
        raise RuntimeError(f"{name}: the norm of the gradients is {norm}")
    factor = limit / (norm + 1e-6)
    if not factor >= 1.0:
        _core.apply_rule(name, "scale", factor, grads)
    dtype = "float64" if any(g.dtype == "float64" for g in grads) else "float32"
    return Tensor(_core.full((), dtype, norm))


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limits every element of every gradient, in place, to [-clip_value, clip_value].

    NaN stays NaN.
    """
    name = "clip_grad_value_"
    bound = check_number(name, "clip_value", clip_value)
    _core.apply_rule(name, "clamp", bound, _gradients(name, parameters))


def max_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float) -> None:
    """Scales, in place, the weights of every unit whose Euclidean norm exceeds `max_norm` to it.

    A unit's weights are w[i], all that lead to output i; tensors of one dimension (biases) are left
    as they are. To be called after each step of the optimizer.

    Source: Srebro and Shraibman, "Rank, trace-norm and max-norm", 2005; Srivastava et al.,
    "Dropout", 2014, section 5.1.

    Examples
    --------
    >>> import fastnn as fnn
    >>> layer = fnn.nn.Linear(2, 1)
    >>> with fnn.no_grad():
    ...     _ = layer.weight.copy_(fnn.tensor([[3.0, 4.0]]))
    >>> max_norm_(layer.parameters(), 2.5)
    >>> layer.weight.tolist()
    [[1.5, 2.0]]
    """
    limit = check_number("max_norm_", "max_norm", max_norm)
    for p in _tensors("max_norm_", parameters):
        if p.ndim > 1:
            _core.max_norm(p._array, limit)


def _tensors(name: str, parameters: Any) -> list[Tensor]:
    if not isinstance(parameters, Tensor | Iterable):
        raise TypeError(
            f"{name}: parameters must be Tensors, such as model.parameters(), "
            f"got {type(parameters).__name__}"
        )
    tensors = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    for p in tensors:
        if not isinstance(p, Tensor):
            raise TypeError(f"{name}: parameters must be Tensors, got {type(p).__name__}")
    return tensors


def _gradients(name: str, parameters: Any) -> list[_core.Array]:
    grads = [p.grad for p in _tensors(name, parameters) if p.grad is not None]
    return [grad._array for grad in _tensors(f"{name}: gradients of", grads)]
