"""Shapes that nobody thought of: random geometries against the oracles, on every target."""

import numpy as np
import pytest
import reference
from compare import assert_close
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import fastnn as fnn
import fastnn.functional as F
from fastnn import _core

FEW = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(params=_core.runnable_targets(), autouse=True)
def target(request):
    before = _core.current_target()
    _core.set_target(request.param)
    yield request.param
    _core.set_target(before)


def check(op, oracle, arrays, rng):
    """Value and gradients of op(*tensors) against oracle(*arrays), in float64."""
    tensors = [fnn.tensor(a, requires_grad=True) for a in arrays]
    y = op(*tensors)
    expected, vjp = oracle(*arrays)
    assert_close(y.numpy(), np.asarray(expected), rtol=1e-10, atol=1e-10, name="y")
    dy = rng.normal(size=y.shape)
    y.backward(dy)
    for i, (tensor, gradient) in enumerate(zip(tensors, vjp(dy), strict=True)):
        assert_close(
            tensor.grad.numpy(), np.asarray(gradient), rtol=1e-10, atol=1e-10, name=f"input {i}"
        )


@FEW
@given(st.data())
def test_conv2d(data):
    draw = data.draw
    size = st.integers(1, 12)
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    c, k = groups * draw(st.integers(1, 9)), groups * draw(st.integers(1, 20))
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    stride = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    padding = draw(st.tuples(st.integers(0, 6), st.integers(0, 6)))
    dilation = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    n, h, w = draw(st.tuples(st.integers(1, 3), size, size))
    for edge, pad, kern, dil in zip((h, w), padding, kernel, dilation, strict=True):
        assume(edge + 2 * pad >= dil * (kern - 1) + 1)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    arrays = [
        rng.normal(size=(n, h, w, c)),
        rng.normal(size=(k, *kernel, c // groups)),
        rng.normal(size=k),
    ]  # fmt: skip
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    check(
        lambda x, w, b: F.conv2d(x, w, b, **options),
        lambda x, w, b: reference.conv2d(x, w, b, **options),
        arrays,
        rng,
    )


@FEW
@given(st.integers(1, 80), st.integers(1, 80), st.integers(1, 400), st.integers(0, 99))
def test_linear(m, n, k, seed):
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=(m, k)), rng.normal(size=(n, k)), rng.normal(size=n)]
    check(F.linear, reference.linear, arrays, rng)


@FEW
@given(st.data())
def test_pooling(data):
    draw = data.draw
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    n, h, w, c = draw(st.tuples(*[st.integers(1, hi) for hi in (2, 11, 11, 40)]))
    assume(h + 2 * padding[0] >= kernel[0] and w + 2 * padding[1] >= kernel[1])
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = rng.normal(size=(n, h, w, c))
    for name in ("max_pool2d", "avg_pool2d"):
        ours, oracle = getattr(F, name), getattr(reference, name)
        check(
            lambda x, f=ours: f(x, kernel, stride, padding),
            lambda x, f=oracle: f(x, kernel, stride, padding),
            [x],
            rng,
        )
    out = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    check(
        lambda x: F.adaptive_avg_pool2d(x, out),
        lambda x: reference.adaptive_avg_pool2d(x, out),
        [x],
        rng,
    )


@FEW
@given(st.data())
def test_broadcasting(data):
    draw = data.draw
    full = draw(st.lists(st.integers(1, 5), min_size=0, max_size=5))
    shapes = []
    for _ in range(2):
        shape = [size if draw(st.booleans()) else 1 for size in full]
        shapes.append(shape[draw(st.integers(0, len(shape))) :])
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    arrays = [rng.uniform(0.5, 2.0, size=shape) for shape in shapes]
    for op, oracle in (
        (lambda a, b: a + b, reference.add),
        (lambda a, b: a - b, reference.sub),
        (lambda a, b: a * b, reference.mul),
        (lambda a, b: a / b, reference.div),
    ):
        check(op, oracle, arrays, rng)


@FEW
@given(st.data())
def test_reductions(data):
    draw = data.draw
    shape = draw(st.lists(st.integers(1, 7), min_size=1, max_size=5))
    axes = draw(st.lists(st.integers(0, len(shape) - 1), unique=True, min_size=1))
    keepdim = draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = rng.normal(size=shape)
    check(
        lambda t: t.sum(tuple(axes), keepdim),
        lambda a: reference.sum_(a, tuple(axes), keepdim),
        [x],
        rng,
    )
    order = draw(st.permutations(range(len(shape))))
    moved = fnn.tensor(x).permute(order).numpy()
    np.testing.assert_array_equal(moved, x.transpose(order))
