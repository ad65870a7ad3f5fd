"""Depthwise convolutions: both gradients in one pass, at every width, border and vector tail."""

import numpy as np
import pytest

import fastnn as fnn
import fastnn.functional as F
from fastnn import _core

TARGETS = _core.runnable_targets()


def data(n, h, w, c, stride):
    """x, weight and dy in float32."""
    rng = np.random.default_rng(n + h + 7 * w + 11 * c + stride)
    shapes = (n, h, w, c), (c, 3, 3, 1), (n, (h - 1) // stride + 1, (w - 1) // stride + 1, c)
    return [rng.standard_normal(s).astype(np.float32) for s in shapes]


def gradients(x, weight, dy, stride, need_dx=True, need_dw=True):
    """y, dx, dw and dbias; None for those that were not asked for."""
    x, weight = fnn.tensor(x, requires_grad=need_dx), fnn.tensor(weight, requires_grad=need_dw)
    bias = fnn.zeros(weight.shape[0])
    bias.requires_grad = need_dw
    y = F.conv2d(x, weight, bias, stride=stride, padding=1, groups=weight.shape[0])
    y.backward(fnn.tensor(dy))
    return [y.numpy()] + [t.grad.numpy() if t.grad is not None else None for t in (x, weight, bias)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("w", [1, 2, 3, 4, 7, 8, 11, 15, 16])
def test_one_pass_agrees_with_separate_ones(w, stride, target):
    _core.set_target(target)
    x, weight, dy = data(3, 5, w, 19, stride)
    _, dx, dw, db = gradients(x, weight, dy, stride)
    only_dx = gradients(x, weight, dy, stride, need_dw=False)[1]
    _, _, only_dw, only_db = gradients(x, weight, dy, stride, need_dx=False)
    assert dx.tobytes() == only_dx.tobytes()
    np.testing.assert_allclose(dw, only_dw, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(db, only_db, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(40, 6, 5, 17), (1, 67, 64, 16), (2, 33, 31, 40)])
def test_bits_do_not_depend_on_threads(shape, stride, target):
    _core.set_target(target)
    x, weight, dy = data(*shape, stride)
    fnn.set_num_threads(1)
    alone = gradients(x, weight, dy, stride)
    for threads in (2, 3):
        fnn.set_num_threads(threads)
        for a, b in zip(alone, gradients(x, weight, dy, stride), strict=True):
            assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("stride", [1, 2])
def test_a_channel_does_not_depend_on_its_neighbours(stride, target):
    _core.set_target(target)
    x, weight, dy = data(2, 9, 10, 43, stride)
    whole = gradients(x, weight, dy, stride)
    for c in (slice(0, 3), slice(5, 24), slice(40, 43)):
        part = gradients(x[..., c].copy(), weight[c].copy(), dy[..., c].copy(), stride)
        for got, all_of_them, axis in zip(part, whole, (3, 3, 0, 0), strict=True):
            np.testing.assert_array_equal(got, all_of_them.take(range(c.start, c.stop), axis))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_reach_what_sees_them_and_nothing_else(bad, stride, target):
    _core.set_target(target)
    n, h, w, c = 2, 7, 9, 17
    x, weight, dy = data(n, h, w, c, stride)
    for i, j in ((0, 0), (0, w - 1), (h - 1, 3), (4, 4), (h - 1, w - 1)):
        spoilt = x.copy()
        spoilt[1, i, j, 16] = bad
        y, dx, dw, db = gradients(spoilt, weight, dy, stride)
        taps = [
            (r, s)
            for r in range(3)
            for s in range(3)
            if 0 <= i + 1 - r < stride * dy.shape[1]
            and (i + 1 - r) % stride == 0
            and 0 <= j + 1 - s < stride * dy.shape[2]
            and (j + 1 - s) % stride == 0
        ]
        seen = np.zeros((c, 3, 3, 1), bool)
        hit = np.zeros(y.shape, bool)
        for r, s in taps:
            seen[16, r, s] = True
            hit[1, (i + 1 - r) // stride, (j + 1 - s) // stride, 16] = True
        np.testing.assert_array_equal(~np.isfinite(dw), seen)
        np.testing.assert_array_equal(~np.isfinite(y), hit)
        assert np.isfinite(dx).all() and np.isfinite(db).all()

        o, q = min(i // stride, dy.shape[1] - 1), min(j // stride, dy.shape[2] - 1)
        spoilt = dy.copy()
        spoilt[1, o, q, 16] = bad
        _, dx, dw, db = gradients(x, weight, spoilt, stride)
        seen, hit = np.zeros((c, 3, 3, 1), bool), np.zeros(x.shape, bool)
        for r in range(3):
            for s in range(3):
                at = stride * o + r - 1, stride * q + s - 1
                if 0 <= at[0] < h and 0 <= at[1] < w:
                    seen[16, r, s] = hit[1, at[0], at[1], 16] = True
        np.testing.assert_array_equal(~np.isfinite(dw), seen)
        np.testing.assert_array_equal(~np.isfinite(dx), hit)
        np.testing.assert_array_equal(np.flatnonzero(~np.isfinite(db)), [16])


@pytest.mark.parametrize("stride", [1, 2])
def test_the_gradient_of_a_shared_input_is_the_sum(stride):
    x, weight, dy = data(2, 6, 5, 9, stride)
    _, dx, dw, _ = gradients(x, weight, dy, stride)
    shared, w = fnn.tensor(x, requires_grad=True), fnn.tensor(weight, requires_grad=True)
    y = F.conv2d(shared, w, None, stride=stride, padding=1, groups=9)
    ((y * fnn.tensor(dy)).sum() + (shared * 3.0).sum()).backward()
    np.testing.assert_allclose(shared.grad.numpy(), dx + 3.0, rtol=1e-6)
    np.testing.assert_array_equal(w.grad.numpy(), dw)


def test_an_empty_batch_gives_zeros():
    x, weight, dy = data(0, 4, 5, 3, 1)
    _, dx, dw, db = gradients(x, weight, dy, 1)
    assert dx.shape == (0, 4, 5, 3) and not dw.any() and not db.any()
