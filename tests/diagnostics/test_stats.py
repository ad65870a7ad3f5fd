"""The statistics kernel: against NumPy, on every target, the same at any number of threads."""

import numpy as np
import pytest

import fastnn as fnn
from fastnn import _core
from fastnn.diagnostics.stats import Figures

SHAPES = [(0, 5), (7, 1), (1000, 37), (3, 5, 4, 17), (70000, 3), (2, 70001), ()]


def numbers(shape, dtype, seed=0):
    x = np.random.default_rng(seed).standard_normal(shape) * 2 + 0.5
    x = np.where(np.abs(x) < 0.2, 0.0, x).astype(dtype)
    if x.size > 6:
        x.flat[4:7] = np.nan, np.inf, -np.inf
    return np.asarray(x)


@pytest.fixture(params=_core.runnable_targets())
def target(request):
    before = _core.current_target()
    _core.set_target(request.param)
    yield request.param
    _core.set_target(before)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_figures_histogram_and_units(target, shape, dtype):
    x = numbers(shape, dtype)
    out, fired = _core.stats(fnn.from_numpy(x)._array, 32, -4.0, 4.0, -1.0, 3.0, True)
    good = x[np.isfinite(x)].astype(np.float64)
    count, mean, m2, low, high = np.asarray(out)[:5]
    assert count == good.size
    if good.size:
        rtol = 1e-5 if dtype == "float32" else 1e-12
        assert np.isclose(mean, good.mean(), rtol, rtol)
        assert np.isclose(m2, ((good - good.mean()) ** 2).sum(), rtol, 1e-20)
        assert (low, high) == (good.min(), good.max())
    expected = [
        (x == 0).sum(),
        (x > 0).sum(),
        ((x <= -1) | (x >= 3)).sum(),
        (~np.isfinite(x)).sum(),
    ]
    assert list(np.asarray(out)[5:9]) == expected
    bins = np.clip(np.floor((good + 4) * 4), 0, 31).astype(int)
    np.testing.assert_array_equal(np.asarray(out)[9:], np.bincount(bins, minlength=32))
    columns = x.reshape(-1, x.shape[-1]) if x.ndim else x.reshape(1, 1)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(np.asarray(fired), ((columns > -1) & (columns < 3)).any(0))


@pytest.mark.parametrize("shape", [(1,), (7,), (3, 17), (5, 33, 3), (129, 65)], ids=str)
def test_figures_of_views_and_of_parts(shape):
    x = np.random.default_rng(0).standard_normal(shape)
    wide = np.repeat(x, 2, axis=-1)[..., ::2]
    for view in (x, x[::-1], np.ascontiguousarray(x.T).T, wide):
        whole = Figures(fnn.from_numpy(view)._array)
        expected = [x.mean(), x.std(), x.min(), x.max(), np.linalg.norm(x), (x > 0).mean()]
        names = ("mean", "std", "min", "max", "norm", "positive")
        np.testing.assert_allclose([whole.entry()[n] for n in names], expected, 1e-12, 1e-15)
        joined = Figures(fnn.from_numpy(view[:2])._array, range=whole.range)
        joined.join(Figures(fnn.from_numpy(view[2:])._array, range=whole.range))
        np.testing.assert_allclose([joined.entry()[n] for n in names], expected, 1e-12, 1e-15)
        if joined.range == whole.range:
            assert joined.entry()["hist"] == whole.entry()["hist"]


def test_a_large_mean_does_not_cancel():
    x = (1e4 + np.random.default_rng(0).standard_normal(300000)).astype(np.float32)
    out = np.asarray(_core.stats(fnn.from_numpy(x)._array)[0])
    assert np.isclose(out[2] / out[0], x.astype(np.float64).var(), 1e-4)


def test_the_number_of_threads_changes_no_bit():
    x = fnn.from_numpy(numbers((3000, 333), "float32"))._array
    before, found = fnn.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            fnn.set_num_threads(threads)
            out, fired = _core.stats(x, 32, -4.0, 4.0, 0.0, np.inf, True)
            found.append((np.asarray(out).tobytes(), np.asarray(fired).tobytes()))
    finally:
        fnn.set_num_threads(before)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ((129,), ValueError, "bins must be 0 to 128, got 129"),
        ((8, 1.0, 1.0), ValueError, "end must be above start"),
        ((8, 0.0, np.inf), ValueError, "both finite"),
        ((8, np.nan, 1.0), ValueError, "both finite"),
    ],
)
def test_bad_arguments(arguments, error, match):
    with pytest.raises(error, match=match):
        _core.stats(fnn.ones(3)._array, *arguments)


def test_integers_are_refused():
    with pytest.raises(TypeError, match="stats: x must be float32 or float64, got int64"):
        _core.stats(fnn.zeros(3, dtype="int64")._array)
