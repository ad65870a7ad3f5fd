# SPDX-License-Identifier: BSD-3-Clause
"""Metrics: by counting, and against scikit-learn where it is installed."""

import numpy as np
import pytest

import fastnn as fnn
from fastnn import metrics


def scores(n=200, classes=4, seed=0, ties=False):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    logits = rng.standard_normal((n, classes)) + 1.5 * np.eye(classes)[y]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return (np.round(p, 1) if ties else p), y


# --- by counting ----------------------------------------------------------------------------------


def test_accuracy_and_top_k():
    p, y = scores()
    order = [sorted(range(4), key=lambda c: (-row[c], c)) for row in p.tolist()]
    for k in (1, 2, 4):
        share = np.mean([target in best[:k] for best, target in zip(order, y, strict=True)])
        assert metrics.top_k_accuracy(p, y, k) == share
    assert metrics.accuracy(p, y) == metrics.top_k_accuracy(p, y, 1)
    assert metrics.accuracy(p.argmax(axis=1), y) == metrics.accuracy(fnn.from_numpy(p), y)
    ties = np.zeros((3, 4))
    assert metrics.accuracy(ties, [0, 0, 1]) == metrics.top_k_accuracy(ties, [0, 0, 1], 1) == 2 / 3


def test_confusion_matrix_counts_targets_in_rows():
    expected = [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert metrics.confusion_matrix([0, 1, 1], [0, 0, 1], 3).tolist() == expected
    assert metrics.confusion_matrix([0, 1, 1], [0, 0, 1]).shape == (2, 2)


def test_classification_report_by_hand():
    report = metrics.classification_report([0, 1, 1, 0, 0], [0, 0, 1, 1, 2], ["a", "b", "c"])
    assert np.allclose(report.precision, [1 / 3, 1 / 2, 0])
    assert np.allclose(report.recall, [1 / 2, 1 / 2, 0])
    assert np.allclose(report.f1, [0.4, 0.5, 0])
    assert report.support.tolist() == [2, 2, 1] and report.accuracy == 0.4
    assert np.isclose(report.macro["f1"], 0.3) and np.isclose(report.weighted["f1"], 0.36)
    lines = str(report).splitlines()
    assert lines[1].split() == ["a", "0.333", "0.500", "0.400", "2"]
    assert lines[-1].split() == ["accuracy", "0.400", "5"]


@pytest.mark.parametrize("ties", [False, True])
def test_roc_auc_is_the_share_of_ordered_pairs(ties):
    p, y = scores(80, 3, ties=ties)

    def pairs(values, positive):
        difference = values[positive][:, None] - values[~positive]
        return np.mean((difference > 0) + 0.5 * (difference == 0))

    expected = np.mean([pairs(p[:, c], y == c) for c in range(3)])
    assert np.isclose(metrics.roc_auc(p, y), expected, rtol=1e-12)
    binary = y % 2
    expected = pairs(p[:, 1], binary == 1)
    assert np.isclose(metrics.roc_auc(p[:, 1], binary), expected, rtol=1e-12)
    assert np.isclose(metrics.roc_auc(p[:, 1:2], binary), expected, rtol=1e-12)
    two = np.stack([1 - p[:, 1], p[:, 1]], axis=1)
    if not ties:
        assert np.isclose(metrics.roc_auc(two, binary), expected, rtol=1e-12)
        assert np.isclose(metrics.roc_auc(np.log(two) + p[:, :1], binary), expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64", "float32"])
def test_roc_auc_of_scores_of_any_type(dtype):
    first = {"uint8": 0, "int8": -128, "int64": 2**62, "float32": -4.0}[dtype]
    scores = (first + np.arange(6)).astype(dtype)
    assert metrics.roc_auc(scores, [0, 0, 0, 1, 1, 1]) == 1.0
    assert metrics.roc_auc(scores[::-1, None], [0, 0, 0, 1, 0, 1]) == 1 / 8


def test_roc_auc_tells_small_probabilities_apart():
    small = 10.0 ** -np.arange(17, 23)
    y = [1, 1, 1, 0, 0, 0]
    assert metrics.roc_auc(np.stack([1 - small, small], axis=1), y) == 1.0
    assert metrics.roc_auc(np.stack([small, 1 - small], axis=1), y) == 0.0
    assert metrics.roc_auc([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]], [0, 1, 0]) == 1.0


def test_calibration_by_hand():
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.45, 0.55], [0.4, 0.6], [1.0, 0.0]])
    found = metrics.calibration(p, [0, 1, 1, 1, 0], bins=5)
    assert found.edges.tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert found.count.tolist() == [0, 0, 2, 1, 2]  # an edge belongs to the bin below
    assert found.confidence[2:].tolist() == pytest.approx([0.575, 0.8, 0.95])
    assert found.accuracy[2:].tolist() == [1.0, 0.0, 1.0]
    assert np.isnan(found.accuracy[:2]).all()
    assert found.ece == pytest.approx((2 * 0.425 + 0.8 + 2 * 0.05) / 5)


def test_calibration_of_honest_probabilities_is_good():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), 20000)
    y = (rng.random((20000, 1)) > p.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    assert metrics.calibration(p, y).ece < 0.02
    sharp = p**4 / (p**4).sum(axis=1, keepdims=True)
    assert metrics.calibration(sharp, y).ece > 0.1


# --- against scikit-learn -------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_agreement_with_scikit_learn(seed):
    theirs = pytest.importorskip("sklearn.metrics")
    p, y = scores(150, 4, seed)
    labels = p.argmax(axis=1)
    assert metrics.accuracy(p, y) == theirs.accuracy_score(y, labels)
    assert np.isclose(metrics.top_k_accuracy(p, y, 2), theirs.top_k_accuracy_score(y, p, k=2))
    assert (metrics.confusion_matrix(p, y) == theirs.confusion_matrix(y, labels)).all()
    assert np.isclose(metrics.roc_auc(p, y), theirs.roc_auc_score(y, p, multi_class="ovr"))
    one = (y == 1).astype(int)
    assert np.isclose(metrics.roc_auc(p[:, 1], one), theirs.roc_auc_score(one, p[:, 1]))
    pixels = (255 * p[:, 1]).astype(np.uint8)
    assert np.isclose(metrics.roc_auc(pixels, one), theirs.roc_auc_score(one, pixels))
    report = metrics.classification_report(p, y)
    found = theirs.precision_recall_fscore_support(y, labels)
    for ours, their in zip(
        (report.precision, report.recall, report.f1, report.support), found, strict=True
    ):
        assert np.allclose(ours, their)
    for average, means in (("macro", report.macro), ("weighted", report.weighted)):
        expected = theirs.precision_recall_fscore_support(y, labels, average=average)[:3]
        assert np.allclose([means["precision"], means["recall"], means["f1"]], expected)


# --- bad input ------------------------------------------------------------------------------------

P, Y = scores(6, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: metrics.accuracy(P, Y[:5]), ValueError, "targets has 5 samples, expected 6"),
        (lambda: metrics.accuracy([0, 1], [0]), ValueError, "outputs has 2 samples, expected 1"),
        (lambda: metrics.accuracy([], []), ValueError, "there are no samples"),
        (lambda: metrics.accuracy([0.5], [0]), TypeError, "outputs must be integer labels"),
        (lambda: metrics.accuracy(P, Y * 1.0), TypeError, "targets must be integer labels"),
        (lambda: metrics.accuracy(P, Y + 3), ValueError, "targets must be from 0 to 2, got"),
        (lambda: metrics.accuracy(P * np.nan, Y), ValueError, "accuracy: scores has NaN"),
        (lambda: metrics.accuracy([0], [-1]), ValueError, "targets must be at least 0, got -1"),
        (lambda: metrics.accuracy(P[None], Y), ValueError, r"must have shape \(N, C\) or \(N,\)"),
        (lambda: metrics.accuracy(P, Y[:, None]), ValueError, r"targets must have shape \(N,\)"),
        (lambda: metrics.top_k_accuracy(P, Y, 4), ValueError, "k must be from 1 to 3 classes"),
        (lambda: metrics.top_k_accuracy(Y, Y), ValueError, r"scores must have shape \(N, C\)"),
        (lambda: metrics.confusion_matrix(P, Y, 2), ValueError, "num_classes is 2, outputs has 3"),
        (lambda: metrics.confusion_matrix(Y, Y, 1), ValueError, "must be from 0 to 0"),
        (lambda: metrics.confusion_matrix(Y, Y, "3"), TypeError, "num_classes must be an int"),
        (lambda: metrics.classification_report(P, Y, ["a"]), ValueError, "3 classes need as many"),
        (lambda: metrics.roc_auc(P, Y * 0), ValueError, "0 of others"),
        (lambda: metrics.roc_auc(P[:, 1], Y * 0 + 2), ValueError, "from 0 to 1, got 2"),
        (lambda: metrics.calibration(P * 2, Y), ValueError, "expected probabilities with sum 1"),
        (lambda: metrics.calibration(P, Y, 0), ValueError, "bins must be at least 1"),
        (lambda: metrics.calibration([["a"]], [0]), TypeError, "scores must be numbers"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
