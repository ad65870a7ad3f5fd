"""Winograd backward weights: lots, pieces and runs of tiles, and what borders on them."""

import numpy as np
import pytest
import reference as ref

import fastnn as fnn
import fastnn.functional as F
from fastnn import _core

TARGETS = _core.runnable_targets()


def data(n, h, w, c, k, r, padding, shift=0.0):
    """x and dy in float32."""
    rng = np.random.default_rng(n + h + 7 * w + 11 * c + 13 * k + r)
    x = rng.standard_normal((n, h, w, c)) + shift
    dy = rng.standard_normal((n, h + 2 * padding - r + 1, w + 2 * padding - r + 1, k))
    return x.astype(np.float32), dy.astype(np.float32)


def gradients(x, dy, r, padding):
    """dw and dbias."""
    weight = fnn.zeros(dy.shape[-1], r, r, x.shape[-1])
    bias = fnn.zeros(dy.shape[-1])
    weight.requires_grad = bias.requires_grad = True
    y = F.conv2d(fnn.tensor(x), weight, bias, padding=padding, algo="winograd")
    y.backward(fnn.tensor(dy))
    return weight.grad.numpy(), bias.grad.numpy()


def oracle(x, dy, r, padding):
    """dw in float64, as one product over the pixels for each tap."""
    n, oh, ow, k = dy.shape
    x = np.pad(x.astype(np.float64), ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    rows = dy.astype(np.float64).reshape(-1, k).T
    dw = np.empty((k, r, r, x.shape[-1]))
    for i in range(r):
        for j in range(r):
            dw[:, i, j] = rows @ x[:, i : i + oh, j : j + ow].reshape(n * oh * ow, -1)
    return dw


SHAPES = [  # n, h, w, c, k, r, padding
    (20, 32, 32, 16, 16, 3, 1),  # several lots of tiles
    (6, 26, 24, 32, 17, 5, 2),
    (1, 9, 150, 17, 5, 3, 1),  # pieces and runs that end inside a row of tiles
    (2, 5, 77, 5, 40, 5, 1),
    (2, 1, 1, 33, 1, 3, 1),
    (1, 1, 1, 1, 16, 3, 3),
    (3, 4, 5, 64, 96, 3, 0),
    (2, 7, 6, 17, 33, 3, 2),
    (2, 13, 10, 160, 24, 3, 3),
    (1, 5, 5, 9, 7, 5, 0),
    (2, 6, 3, 256, 20, 5, 4),
    (9, 32, 33, 16, 24, 5, 2),  # more tiles of 8 than one sum takes
    (3, 5, 9, 17, 33, 5, 2),  # maps too small for them
    (4, 1, 1, 9, 16, 5, 3),
]


def test_the_oracle_is_the_gradient():
    x, dy = data(2, 5, 6, 3, 4, 3, 1)
    _, vjp = ref.conv2d(x.astype(float), np.zeros((4, 3, 3, 3)), padding=1)
    np.testing.assert_allclose(oracle(x, dy, 3, 1), vjp(dy.astype(float))[1], rtol=1e-12)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_errors_and_bits_at_any_number_of_threads(shape, target):
    _core.set_target(target)
    *_, r, padding = shape
    x, dy = data(*shape)
    want = oracle(x, dy, r, padding)
    fnn.set_num_threads(1)
    got, bias = gradients(x, dy, r, padding)
    rms, error = np.sqrt(np.mean(want**2)), np.abs(got - want)
    assert np.sqrt(np.mean(error**2)) <= 3e-6 * rms
    assert error.max() <= 4e-5 * rms
    np.testing.assert_allclose(bias, dy.sum((0, 1, 2), dtype=np.float64), atol=1e-3)
    for threads in (2, 3, 4):
        fnn.set_num_threads(threads)
        assert gradients(x, dy, r, padding)[0].tobytes() == got.tobytes()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("r", [3, 5])
def test_errors_of_biased_inputs_follow_the_sum_of_absolute_products(r, target):
    _core.set_target(target)
    x, dy = data(8, 14, 13, 32, 24, r, r // 2, shift=100.0)
    error = np.abs(gradients(x, dy, r, r // 2)[0] - oracle(x, dy, r, r // 2))
    assert error.max() <= 1e-6 * oracle(np.abs(x), np.abs(dy), r, r // 2).max()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("r", [3, 5])
def test_a_channel_does_not_depend_on_its_neighbours(r, target):
    _core.set_target(target)
    x, dy = data(5, 9, 10, 75, 41, r, 1)
    whole, _ = gradients(x, dy, r, 1)
    for c, k in ((slice(0, 5), slice(30, 41)), (slice(40, 75), slice(3, 20))):
        part, _ = gradients(np.ascontiguousarray(x[..., c]), np.ascontiguousarray(dy[..., k]), r, 1)
        np.testing.assert_array_equal(part, whole[k][..., c])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("r", [3, 5])
def test_nan_reaches_all_taps_that_see_it(r, target):
    _core.set_target(target)
    x, dy = data(3, 9, 11, 17, 20, r, r // 2)
    clean, _ = gradients(x, dy, r, r // 2)
    for array, i, axis in ((x, 16, 3), (dy, 19, 0)):
        kept = array[1, 4, 5, i]
        array[1, 4, 5, i] = np.nan
        dw, _ = gradients(x, dy, r, r // 2)
        array[1, 4, 5, i] = kept
        assert np.isnan(dw.take(i, axis)).all()
        np.testing.assert_array_equal(np.delete(dw, i, axis), np.delete(clean, i, axis))
