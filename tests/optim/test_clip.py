"""Clipping of gradients, and norms of weights, against NumPy in float64."""

import math

import numpy as np
import pytest

import fastnn as fnn
from fastnn import _core, nn, optim

SHAPES = [(5, 7), (), (0,), (50_001,), (16_384,)]


@pytest.fixture(params=_core.runnable_targets())
def target(request):
    before = _core.current_target()
    _core.set_target(request.param)
    yield request.param
    _core.set_target(before)


def with_gradients(arrays):
    params = [nn.Parameter(fnn.zeros(g.shape, dtype=g.dtype)) for g in arrays]
    for p, g in zip(params, arrays, strict=True):
        p.grad = fnn.tensor(g)
    return params


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("p", [1, 2.0, 3.0, math.inf])
def test_norm(p, dtype, target):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s).astype(dtype) for s in SHAPES]
    flat = np.concatenate([a.ravel() for a in arrays]).astype(np.float64)
    expected = np.linalg.norm(flat, p)
    threads = fnn.get_num_threads()
    norms = []
    try:
        for count in (1, 2):
            fnn.set_num_threads(count)
            params = with_gradients(arrays)
            norms.append(optim.clip_grad_norm_(params, 0.5, p).item())
    finally:
        fnn.set_num_threads(threads)
    assert norms[0] == norms[1]
    tolerance = 1e-6 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(norms[0], expected, rtol=tolerance)
    for param, g in zip(params, arrays, strict=True):
        wanted = g * (0.5 / (expected + 1e-6))
        np.testing.assert_allclose(param.grad.numpy(), wanted, rtol=3 * tolerance)


def test_both_dtypes_count_and_small_norms_are_left_alone():
    a = with_gradients([np.array([3.0], np.float32), np.array([4.0])])
    before = [p.grad.tolist() for p in a]
    norm = optim.clip_grad_norm_(a, 10.0)
    assert norm.item() == 5.0 and norm.dtype == np.float64 and norm.shape == ()
    assert [p.grad.tolist() for p in a] == before
    assert optim.clip_grad_norm_([nn.Parameter(fnn.ones(1))], 1.0).item() == 0.0
    assert optim.clip_grad_norm_(a, 1.0, math.inf).item() == 4.0


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_squares_that_leave_the_range(scale, target):
    g = np.full(1000, scale, np.float32)
    norm = optim.clip_grad_norm_(with_gradients([g]), 1e35).item()
    np.testing.assert_allclose(norm, scale * math.sqrt(1000), rtol=1e-6)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, math.inf])
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("at", [0, 77, 20_000])
def test_norms_that_are_not_finite(value, p, at, target):
    g = np.ones(20_001, np.float32)
    g[at] = value
    params = with_gradients([g, np.ones(3, np.float32)])
    with pytest.raises(RuntimeError, match=f"the norm of the gradients is {value}"):
        optim.clip_grad_norm_(params, 1.0, p, error_if_nonfinite=True)
    assert params[1].grad.tolist() == [1.0] * 3
    norm = optim.clip_grad_norm_(params, 1.0, p).item()
    assert math.isnan(norm) if math.isnan(value) else norm == math.inf
    assert np.isnan(params[0].grad.numpy()[at])


def test_values(target):
    g = np.array([-9.0, -1.0, 0.25, 3.0, math.nan, math.inf, -math.inf] * 5, np.float32)
    params = with_gradients([g, g[:3].astype(np.float64)])
    optim.clip_grad_value_(params, 1)
    np.testing.assert_array_equal(params[0].grad.numpy(), np.clip(g, -1, 1))
    assert params[1].grad.tolist() == [-1.0, -1.0, 0.25]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_max_norm(dtype, target):
    rng = np.random.default_rng(1)
    for shape in [(6, 5), (3, 2, 2, 70), (0, 3), (2, 40_000)]:
        w = rng.standard_normal(shape).astype(dtype)
        p, bias = nn.Parameter(fnn.tensor(w)), nn.Parameter(fnn.full(3, 9.0))
        limit = 0.9 * float(np.sqrt(np.prod(shape[1:])))
        optim.max_norm_([p, bias], limit)
        norms = np.sqrt((w.astype(np.float64) ** 2).sum(tuple(range(1, w.ndim))))
        factor = np.minimum(1.0, limit / np.maximum(norms, 1e-30))
        expected = w * factor.reshape(-1, *[1] * (len(shape) - 1))
        tolerance = 1e-6 if dtype == "float32" else 1e-13
        np.testing.assert_allclose(p.numpy(), expected, rtol=tolerance)
        same = norms <= limit
        np.testing.assert_array_equal(p.numpy()[same], w[same])
        assert bias.tolist() == [9.0] * 3


def test_clipping_counts_as_modification():
    p = nn.Parameter(fnn.ones((2, 2)))
    loss = (p * p).sum()
    optim.max_norm_(p, 0.1)
    with pytest.raises(RuntimeError, match="modified in place"):
        loss.backward()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda p: optim.clip_grad_norm_(p, -1), ValueError, "clip_grad_norm_: max_norm"),
        (lambda p: optim.clip_grad_norm_(p, 1, 0), ValueError, "norm_type must be positive"),
        (lambda p: optim.clip_grad_norm_(p, 1, math.nan), ValueError, "norm_type"),
        (lambda p: optim.clip_grad_norm_([1], 1), TypeError, "must be Tensors, got int"),
        (lambda p: optim.clip_grad_value_(p, math.nan), ValueError, "clip_value"),
        (lambda p: optim.clip_grad_value_(p, "1"), TypeError, "must be a number, got str"),
        (lambda p: optim.max_norm_(p, math.inf), ValueError, "max_norm_: max_norm"),
        (lambda p: optim.max_norm_(fnn.zeros((2, 2), dtype="int64"), 1), TypeError, "float"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call(nn.Parameter(fnn.ones((2, 2))))


def test_a_model_is_not_its_parameters():
    model = nn.Linear(2, 2)
    for call in (
        lambda: optim.clip_grad_norm_(model, 1.0),
        lambda: optim.clip_grad_value_(model, 1.0),
        lambda: optim.max_norm_(model, 1.0),
        lambda: optim.SGD(model),
    ):
        with pytest.raises(TypeError, match=r"such as model\.parameters\(\), got Linear"):
            call()
    with pytest.raises(TypeError, match=r"SGD: params must be an iterable .* got dict"):
        optim.SGD({"params": model.parameters()})
