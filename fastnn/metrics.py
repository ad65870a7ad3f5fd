# SPDX-License-Identifier: BSD-3-Clause
"""How good predictions are: accuracy, top-k, confusion, per-class report, ROC-AUC, calibration.

Every function takes what a model gives (scores of shape (N, C), or labels (N,) where it says so)
and then the targets: integer labels (N,), from 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Calibration", "ClassificationReport", "accuracy", "calibration", "classification_report",
    "confusion_matrix", "roc_auc", "top_k_accuracy",
]  # fmt: skip

Array = NDArray[Any]


def accuracy(outputs: Any, targets: Any) -> float:
    """The share of samples whose highest score, or label, is the target.

    Parameters
    ----------
    outputs : array, (N, C) scores or (N,) labels
        Of equal scores the first counts.
    targets : array of int, (N,)

    Raises
    ------
    TypeError, ValueError
        Labels that are not integers or not from 0 to C-1, lengths that differ, no samples, NaN.

    Examples
    --------
    >>> accuracy([[0.9, 0.1], [0.2, 0.8]], [0, 0])
    0.5
    """
    predicted, targets, _ = _labels("accuracy", outputs, targets)
    return float((predicted == targets).mean())


def top_k_accuracy(outputs: Any, targets: Any, k: int = 5) -> float:
    """The share of samples whose target is among the k highest of the scores (N, C).

    Of equal scores the first counts as higher. Raises as `accuracy`, and ValueError unless
    1 <= k <= C.
    """
    scores, targets = _scores("top_k_accuracy", outputs, targets)
    classes = scores.shape[1]
    if isinstance(k, bool) or not isinstance(k, int | np.integer):
        raise TypeError(f"top_k_accuracy: k must be an int, got {k!r}")
    if not 1 <= k <= classes:
        raise ValueError(f"top_k_accuracy: k must be from 1 to {classes} classes, got {k}")
    own = np.take_along_axis(scores, targets[:, None], axis=1)
    before = np.arange(classes) < targets[:, None]
    rank = ((scores > own) | ((scores == own) & before)).sum(axis=1)
    return float((rank < k).mean())


def confusion_matrix(outputs: Any, targets: Any, num_classes: int | None = None) -> Array:
    """Counts of samples, int64 (C, C): one row for each target, one column for each prediction.

    Parameters
    ----------
    outputs : array, (N, C) scores or (N,) labels
    targets : array of int, (N,)
    num_classes : int, optional
        C. Default: that of the scores, or the highest label and one.

    Raises
    ------
    TypeError, ValueError
        As `accuracy`.
    """
    op = "confusion_matrix"
    if num_classes is not None:
        _check_count(op, "num_classes", num_classes)
    predicted, targets, classes = _labels(op, outputs, targets, num_classes)
    flat = np.bincount(targets * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes)


@dataclass(frozen=True, eq=False)
class ClassificationReport:
    """Per class: how many of its predictions are right, how many of its samples are found.

    ``str(report)`` is a table.

    Attributes
    ----------
    names : list of str
    precision, recall, f1 : arrays of float, (C,)
        Right / predicted, right / samples, and their harmonic mean; 0 where nothing was predicted,
        or there is no sample.
    support : array of int, (C,)
        Samples of each class.
    accuracy : float
    macro, weighted : dict
        Means of precision, recall and f1 over classes, and weighted with the support.
    """

    names: list[str]
    precision: Array
    recall: Array
    f1: Array
    support: Array
    accuracy: float
    macro: dict[str, float]
    weighted: dict[str, float]

    def __str__(self) -> str:
        kinds = ("precision", "recall", "f1")
        total = int(self.support.sum())
        rows = [["class", *kinds, "support"]]
        for i, name in enumerate(self.names):
            figures = [f"{getattr(self, kind)[i]:.3f}" for kind in kinds]
            rows.append([name, *figures, str(self.support[i])])
        for name, means in (("macro mean", self.macro), ("weighted mean", self.weighted)):
            rows.append([name, *(f"{means[kind]:.3f}" for kind in kinds), str(total)])
        rows.append(["accuracy", "", "", f"{self.accuracy:.3f}", str(total)])
        width = max(len(row[0]) for row in rows)
        return "\n".join(
            row[0].ljust(width) + "".join(cell.rjust(11) for cell in row[1:]) for row in rows
        )


def classification_report(
    outputs: Any, targets: Any, names: Sequence[str] | None = None
) -> ClassificationReport:
    """Precision, recall, F1 and support of each class, and their means.

    Parameters
    ----------
    outputs : array, (N, C) scores or (N,) labels
    targets : array of int, (N,)
    names : sequence of str, optional
        Of the classes. Default: their numbers.

    Raises
    ------
    TypeError, ValueError
        As `accuracy`; if there are fewer names than classes.
    """
    op = "classification_report"
    names = None if names is None else list(names)
    classes = None if names is None or np.ndim(_array(outputs)) == 2 else len(names)
    predicted, targets, classes = _labels(op, outputs, targets, classes)
    if names is not None and len(names) != classes:
        raise ValueError(f"{op}: {classes} classes need as many names, got {len(names)}")
    counts = confusion_matrix(predicted, targets, classes)
    right, support = np.diag(counts).astype(float), counts.sum(axis=1)
    precision, recall = _ratio(right, counts.sum(axis=0)), _ratio(right, support)
    f1 = _ratio(2 * right, support + counts.sum(axis=0))
    figures = {"precision": precision, "recall": recall, "f1": f1}
    return ClassificationReport(
        [str(i) for i in range(classes)] if names is None else [str(name) for name in names],
        precision, recall, f1, support, float(right.sum() / support.sum()),
        {name: float(values.mean()) for name, values in figures.items()},
        {name: float((values * support).sum() / support.sum()) for name, values in figures.items()},
    )  # fmt: skip


def roc_auc(outputs: Any, targets: Any) -> float:
    """The area under the ROC curve: how often a sample of a class scores above one of another.

    AUC = (R - p (p + 1) / 2) / (p q), with R the sum of the ranks of the p positive samples' scores
    among all p + q (equal scores share the mean of their ranks).

    Parameters
    ----------
    outputs : array
        (N,) or (N, 1) scores of class 1; (N, 2); or (N, C), where the result is the mean over
        classes, each against all others. Scores are taken as they are: with more than two classes,
        give probabilities, since logits are not comparable between samples. Of two columns the
        difference counts, or of probabilities their ratio, which tells the smallest apart.
    targets : array of int, (N,)

    Raises
    ------
    TypeError, ValueError
        As `accuracy`; if a class, or all others, have no sample.

    Examples
    --------
    >>> roc_auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.75
    """
    op = "roc_auc"
    scores = _array(outputs)
    single = scores.ndim == 1 or (scores.ndim == 2 and scores.shape[1] == 1)
    if single:
        scores = np.stack([scores.reshape(-1)] * 2, axis=1)
    scores, targets = _scores(op, scores, targets)
    if single:
        return _auc(op, scores[:, 1], targets == 1, 1)
    if scores.shape[1] == 2:
        pairs = scores.astype(float)
        if _are_probabilities(pairs):
            with np.errstate(divide="ignore"):
                pairs = np.log(np.maximum(pairs, 0.0))
        return _auc(op, pairs[:, 1] - pairs[:, 0], targets == 1, 1)
    areas = [_auc(op, scores[:, c], targets == c, c) for c in range(scores.shape[1])]
    return float(np.mean(areas))


def _auc(op: str, scores: Array, positive: Array, name: int) -> float:
    p = int(positive.sum())
    q = len(scores) - p
    if not p or not q:
        raise ValueError(f"{op}: targets has {p} samples of class {name} and {q} of others")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[place]
    return float((ranks[positive].sum() - p * (p + 1) / 2) / (p * q))


@dataclass(frozen=True, eq=False)
class Calibration:
    """How well confidence and accuracy agree, by bins of confidence.

    Attributes
    ----------
    ece : float
        Expected calibration error: the mean of |accuracy - confidence| over samples' bins.
    edges : array, (bins + 1,)
        Bin i has confidences above edges[i], up to edges[i + 1].
    confidence, accuracy : arrays, (bins,)
        Means over the bin's samples; NaN where there is none.
    count : array of int, (bins,)
    """

    ece: float
    edges: Array
    confidence: Array
    accuracy: Array
    count: Array


def calibration(probabilities: Any, targets: Any, bins: int = 15) -> Calibration:
    """Expected calibration error and the bins of a reliability diagram.

    ECE = sum over bins of (n_b / N) |accuracy_b - confidence_b|; confidence is the highest
    probability of a sample.

    Source: Guo et al., "On calibration of modern neural networks", ICML 2017, section 2.

    Parameters
    ----------
    probabilities : array, (N, C)
        From 0 to 1, with sum 1: softmax of the outputs.
    targets : array of int, (N,)
    bins : int
        Of equal width, from 0 to 1.

    Raises
    ------
    TypeError, ValueError
        As `accuracy`; if these are no probabilities, or bins < 1.

    Examples
    --------
    >>> calibration([[0.9, 0.1], [0.9, 0.1]], [0, 1]).ece.__round__(3)
    0.4
    """
    op = "calibration"
    p, targets = _scores(op, probabilities, targets)
    _check_count(op, "bins", bins)
    p = p.astype(float)
    if not _are_probabilities(p):
        raise ValueError(f"{op}: expected probabilities with sum 1; take softmax of the outputs")
    confident = np.minimum(p.max(axis=1), 1.0)
    right = p.argmax(axis=1) == targets
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.searchsorted(edges[1:-1], confident, side="left")
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(place, confident, bins) / count
        share = np.bincount(place, right, bins) / count
    ece = float(np.nansum(np.abs(share - confidence) * count) / len(p))
    return Calibration(ece, edges, confidence, share, count)


def _are_probabilities(p: Array) -> bool:
    """Whether each row is not negative and has the sum 1, up to rounding."""
    return bool(p.min() >= -1e-6 and (np.abs(p.sum(axis=1) - 1) <= 1e-3).all())


def _ratio(part: Array, whole: Array) -> Array:
    """part / whole, 0 where the whole is 0."""
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def _array(values: Any) -> Array:
    return np.asarray(values.detach() if hasattr(values, "detach") else values)


def _scores(op: str, outputs: Any, targets: Any) -> tuple[Array, Array]:
    """Checked scores (N, C) and targets."""
    scores, targets = _array(outputs), _array(targets)
    if scores.dtype.kind not in "fiu":
        raise TypeError(f"{op}: scores must be numbers, got {scores.dtype}")
    if scores.ndim != 2:
        raise ValueError(f"{op}: scores must have shape (N, C), got {scores.shape}")
    _check_labels(op, "targets", targets, scores.shape[1], len(scores))
    if np.isnan(scores).any():
        raise ValueError(f"{op}: scores has NaN")
    return scores, targets.astype(np.int64)


def _labels(
    op: str, outputs: Any, targets: Any, classes: int | None = None
) -> tuple[Array, Array, int]:
    """Checked labels that are predicted, targets, and the number of classes."""
    outputs, targets = _array(outputs), _array(targets)
    if outputs.ndim == 2:
        scores, targets = _scores(op, outputs, targets)
        if classes not in (None, scores.shape[1]):
            raise ValueError(f"{op}: num_classes is {classes}, outputs has {scores.shape[1]}")
        return scores.argmax(axis=1), targets, scores.shape[1]
    for name, labels in (("outputs", outputs), ("targets", targets)):
        _check_labels(op, name, labels, classes, len(targets) if targets.ndim else None)
    if classes is None:
        classes = int(max(outputs.max(), targets.max())) + 1
    return outputs.astype(np.int64), targets.astype(np.int64), classes


def _check_count(op: str, name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{op}: {name} must be an int, got {value!r}")
    if value < 1:
        raise ValueError(f"{op}: {name} must be at least 1, got {value}")


def _check_labels(
    op: str, name: str, labels: Array, classes: int | None, length: int | None
) -> None:
    if labels.ndim != 1:
        wanted = "(N, C) or (N,)" if name == "outputs" else "(N,)"
        raise ValueError(f"{op}: {name} must have shape {wanted}, got {labels.shape}")
    if labels.dtype.kind not in "iu" and labels.size:
        raise TypeError(f"{op}: {name} must be integer labels, got {labels.dtype}")
    if len(labels) != length:
        raise ValueError(f"{op}: {name} has {len(labels)} samples, expected {length}")
    if not len(labels):
        raise ValueError(f"{op}: there are no samples")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or (classes is not None and high >= classes):
        limit = "at least 0" if classes is None else f"from 0 to {classes - 1}"
        raise ValueError(f"{op}: {name} must be {limit}, got {low if low < 0 else high}")
