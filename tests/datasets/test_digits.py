"""The digits of scikit-learn, and what happens without it."""

import sys

import numpy as np
import pytest

from fastnn.datasets import digits


def test_digits():
    pytest.importorskip("sklearn")
    from sklearn.datasets import load_digits

    (x_train, y_train), (x_test, y_test) = digits()
    assert x_train.shape == (1437, 8, 8, 1) and x_test.shape == (360, 8, 8, 1)
    assert x_train.dtype == x_test.dtype == np.uint8
    assert y_train.dtype == y_test.dtype == np.int64
    original = load_digits()
    images = np.concatenate([x_train, x_test])[..., 0]
    np.testing.assert_allclose(images * (16 / 255), original.images, atol=0.5 * 16 / 255)
    assert images.max() == 255
    np.testing.assert_array_equal(np.concatenate([y_train, y_test]), original.target)


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"pip install 'fastnn-cpu\[sklearn\]'"):
        digits()
