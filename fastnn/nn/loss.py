"""Losses as modules; the formulas are in `fastnn.functional`."""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..tensor import Tensor, as_tensor
from .module import Module


class _Loss(Module):
    def __init__(self, reduction: str) -> None:
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(
                f"{type(self).__name__}: reduction must be 'mean', 'sum' or 'none', "
                f"got {reduction!r}"
            )
        self.reduction = reduction

    def config(self) -> dict[str, Any]:
        return {"reduction": self.reduction}


class _WeightedLoss(_Loss):
    """A loss with an optional weight for each class."""

    weight: Tensor | None

    def __init__(self, weight: Any, reduction: str) -> None:
        super().__init__(reduction)
        if weight is not None:
            weight = as_tensor(weight, type(self).__name__, "weight").detach()
        self.register_buffer("weight", weight)

    def config(self) -> dict[str, Any]:
        weight = None if self.weight is None else self.weight.tolist()
        return {"weight": weight, "reduction": self.reduction}


class CrossEntropyLoss(_WeightedLoss):
    """Softmax and negative log-likelihood of labels or probabilities of classes.

    See `functional.cross_entropy`.
    """

    def __init__(
        self, weight: Any = None, reduction: str = "mean", label_smoothing: float = 0.0
    ) -> None:
        super().__init__(weight, reduction)
        if not 0.0 <= label_smoothing <= 1.0:
            raise ValueError(
                f"CrossEntropyLoss: label_smoothing must be in [0, 1], got {label_smoothing}"
            )
        self.label_smoothing = float(label_smoothing)

    def forward(self, x: Any, target: Any) -> Tensor:
        return ops.cross_entropy(x, target, self.weight, self.reduction, self.label_smoothing)

    def config(self) -> dict[str, Any]:
        return {**super().config(), "label_smoothing": self.label_smoothing}


class NLLLoss(_WeightedLoss):
    """Negative log-likelihood from log-probabilities: see `functional.nll_loss`."""

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(weight, reduction)

    def forward(self, x: Any, target: Any) -> Tensor:
        return ops.nll_loss(x, target, self.weight, self.reduction)


class MultiMarginLoss(_WeightedLoss):
    """Multiclass hinge loss: see `functional.multi_margin_loss`."""

    def __init__(
        self, p: int = 1, margin: float = 1.0, weight: Any = None, reduction: str = "mean"
    ) -> None:
        super().__init__(weight, reduction)
        if p not in (1, 2):
            raise ValueError(f"MultiMarginLoss: p must be 1 or 2, got {p}")
        self.p, self.margin = int(p), float(margin)

    def forward(self, x: Any, target: Any) -> Tensor:
        return ops.multi_margin_loss(x, target, self.p, self.margin, self.weight, self.reduction)

    def config(self) -> dict[str, Any]:
        return {"p": self.p, "margin": self.margin, **super().config()}


class MSELoss(_Loss):
    """(x - target)^2: see `functional.mse_loss`."""

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, x: Any, target: Any) -> Tensor:
        return ops.mse_loss(x, target, self.reduction)


class L1Loss(_Loss):
    """|x - target|: see `functional.l1_loss`."""

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, x: Any, target: Any) -> Tensor:
        return ops.l1_loss(x, target, self.reduction)


class SmoothL1Loss(_Loss):
    """Squared near 0, |x - target| beyond beta: see `functional.smooth_l1_loss`."""

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        if not 0 <= beta < math.inf:
            raise ValueError(f"SmoothL1Loss: beta must be finite and not negative, got {beta}")
        self.beta = float(beta)

    def forward(self, x: Any, target: Any) -> Tensor:
        return ops.smooth_l1_loss(x, target, self.reduction, self.beta)

    def config(self) -> dict[str, Any]:
        return {**super().config(), "beta": self.beta}


class BCEWithLogitsLoss(_WeightedLoss):
    """Sigmoid and binary cross-entropy: see `functional.binary_cross_entropy_with_logits`."""

    pos_weight: Tensor | None

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__(weight, reduction)
        if pos_weight is not None:
            pos_weight = as_tensor(pos_weight, "BCEWithLogitsLoss", "pos_weight").detach()
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, x: Any, target: Any) -> Tensor:
        return ops.binary_cross_entropy_with_logits(
            x, target, self.weight, self.reduction, self.pos_weight
        )

    def config(self) -> dict[str, Any]:
        pos_weight = None if self.pos_weight is None else self.pos_weight.tolist()
        return {**super().config(), "pos_weight": pos_weight}
