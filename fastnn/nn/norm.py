"""Normalization layers; channels are the last axis."""

from __future__ import annotations

import math
from typing import Any

from ..creation import ones, zeros
from ..ops import batch_norm_act, group_norm, layer_norm
from ..ops.activation import number
from ..ops.norm import sizes
from ..tensor import Tensor, as_tensor
from .linear import count
from .module import Module, Parameter


class _BatchNorm(Module):
    """What BatchNorm1d and BatchNorm2d share."""

    _ndims: tuple[int, ...]
    _expected: str

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        kind = type(self).__name__
        self.num_features = count(kind, "num_features", num_features)
        self.eps = _eps(kind, eps)
        self.momentum = None if momentum is None else number(kind, "momentum", momentum)
        if self.momentum is not None and not 0.0 <= self.momentum <= 1.0:
            raise ValueError(f"{kind}: momentum must be in [0, 1] or None, got {momentum}")
        self.affine = bool(affine)
        self.track_running_stats = bool(track_running_stats)
        self.weight = Parameter(ones(self.num_features)) if self.affine else None
        self.bias = Parameter(zeros(self.num_features)) if self.affine else None
        track = self.track_running_stats
        self.register_buffer("running_mean", zeros(self.num_features) if track else None)
        self.register_buffer("running_var", ones(self.num_features) if track else None)
        self.register_buffer("num_batches_tracked", zeros((), dtype="int64") if track else None)

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def forward(self, x: Any) -> Tensor:
        return self.forward_act(x, None)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of forward(x) for an x of this one."""
        return shape

    def forward_act(
        self, x: Any, act: tuple[str, float, float] | None, residual: Any = None
    ) -> Tensor:
        """activation(forward(x) + residual) in one pass over memory; the same bits."""
        kind = type(self).__name__
        x = as_tensor(x, kind)
        if x.ndim not in self._ndims or x.shape[-1] != self.num_features:
            expected = self._expected.format(self.num_features)
            raise ValueError(f"{kind}: x must be {expected}, got shape {x.shape}")
        tracked, mean, var = self.num_batches_tracked, self.running_mean, self.running_var
        training = self.training or mean is None
        momentum = 0.0 if tracked is None else self.momentum
        return batch_norm_act(
            x,
            mean,
            var,
            self.weight,
            self.bias,
            training,
            momentum,
            self.eps,
            act,
            residual,
            tracked,
        )

    def config(self) -> dict[str, Any]:
        names = ("num_features", "eps", "momentum", "affine", "track_running_stats")
        return {name: getattr(self, name) for name in names}


class BatchNorm1d(_BatchNorm):
    """Batch normalization of (N, C) or (N, L, C): see `functional.batch_norm`.

    In training mode with the batch's statistics, otherwise with the running ones.

    Parameters
    ----------
    num_features : int
        C, the size of the last axis.
    eps : float
    momentum : float or None
        Share of a new batch in the running statistics; None: their mean over all batches.
    affine : bool
        Whether there are a learned weight (ones at first) and bias (zeros).
    track_running_stats : bool
        False: the batch's statistics always.

    Attributes
    ----------
    weight, bias, running_mean, running_var : (C,) or None
    num_batches_tracked : int64 of shape () or None

    Notes
    -----
    Ioffe & Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal
    Covariate Shift", 2015.
    """

    _ndims = (2, 3)
    _expected = "(N, {0}) or (N, L, {0})"


class BatchNorm2d(_BatchNorm):
    """Batch normalization of channels-last images (N, H, W, C): see `functional.batch_norm`.

    Parameters, attributes and source: as in `BatchNorm1d`.
    """

    _ndims = (4,)
    _expected = "(N, H, W, {0})"


class LayerNorm(Module):
    """Layer normalization over the last axes: see `functional.layer_norm`.

    Parameters
    ----------
    normalized_shape : int or sequence of int
    eps : float
    elementwise_affine : bool
        Whether there are a learned weight (ones at first) and, with `bias`, a bias (zeros).
    bias : bool

    Attributes
    ----------
    weight, bias : normalized_shape, or None

    Notes
    -----
    Ba, Kiros & Hinton, "Layer Normalization", 2016.
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:
        self.normalized_shape = sizes("LayerNorm", normalized_shape)
        self.eps = _eps("LayerNorm", eps)
        self.elementwise_affine = bool(elementwise_affine)
        shape, affine = self.normalized_shape, self.elementwise_affine
        self.weight = Parameter(ones(shape)) if affine else None
        self.bias = Parameter(zeros(shape)) if affine and bias else None

    def forward(self, x: Any) -> Tensor:
        return layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def config(self) -> dict[str, Any]:
        return {
            "normalized_shape": list(self.normalized_shape),
            "eps": self.eps,
            "elementwise_affine": self.elementwise_affine,
            "bias": self.bias is not None,
        }


class GroupNorm(Module):
    """Group normalization of (N, ..., C): see `functional.group_norm`.

    Parameters
    ----------
    num_groups : int
        Divides num_channels.
    num_channels : int
        C, the size of the last axis.
    eps : float
    affine : bool
        Whether there are a learned weight (ones at first) and bias (zeros).

    Attributes
    ----------
    weight, bias : (C,) or None

    Notes
    -----
    Wu & He, "Group Normalization", 2018.
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True
    ) -> None:
        self.num_groups = count("GroupNorm", "num_groups", num_groups)
        self.num_channels = count("GroupNorm", "num_channels", num_channels)
        if self.num_channels % self.num_groups:
            raise ValueError(
                f"GroupNorm: num_groups must divide num_channels, got {num_groups}, {num_channels}"
            )
        self.eps = _eps("GroupNorm", eps)
        self.affine = bool(affine)
        self.weight = Parameter(ones(self.num_channels)) if self.affine else None
        self.bias = Parameter(zeros(self.num_channels)) if self.affine else None

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x, "GroupNorm")
        if x.ndim < 2 or x.shape[-1] != self.num_channels:
            raise ValueError(
                f"GroupNorm: x must be (N, ..., {self.num_channels}), got shape {x.shape}"
            )
        return group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def config(self) -> dict[str, Any]:
        names = ("num_groups", "num_channels", "eps", "affine")
        return {name: getattr(self, name) for name in names}


def _eps(owner: str, eps: Any) -> float:
    eps = number(owner, "eps", eps)
    if not 0.0 < eps < math.inf:
        raise ValueError(f"{owner}: eps must be positive and finite, got {eps}")
    return eps
