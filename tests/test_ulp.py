"""Functions in float32 stay within 4 ulp of the truth, on every CPU target."""

from __future__ import annotations

import numpy as np
import pytest
from ulp import Ulp, find_compiler

import fastnn as fnn
import fastnn.functional as F
from fastnn import _core

LIMIT = 4.0
CALLS = {
    "sigmoid": lambda x: F.sigmoid(x),
    "tanh": lambda x: F.tanh(x),
    "exp": lambda x: x.exp(),
    "elu": lambda x: F.elu(x),
    "silu": lambda x: F.silu(x),
    "gelu": lambda x: F.gelu(x),
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "mish": lambda x: F.mish(x),
    "softplus": lambda x: F.softplus(x),
    "logsigmoid": lambda x: F.logsigmoid(x),
    "softsign": lambda x: F.softsign(x),
    "hardsigmoid": lambda x: F.hardsigmoid(x),
    "hardswish": lambda x: F.hardswish(x),
}
EVERY = ("sigmoid", "tanh", "exp")  # the others: every 7th float
CHUNK = 1 << 20
BLOCKS = 211  # on every target: a block of vectors, single vectors, and a part of one


@pytest.fixture(scope="module")
def ulp(tmp_path_factory) -> Ulp:
    if find_compiler() is None:
        pytest.skip("needs a C compiler")
    return Ulp(tmp_path_factory.mktemp("ulp"))


@pytest.fixture(autouse=True)
def same_target_afterwards():
    before = _core.current_target()
    yield
    _core.set_target(before)


def check(ulp: Ulp, function: str, x: np.ndarray) -> None:
    """Every target against one computation of the truth."""
    truth = ulp.truth(function, x)
    for target in _core.runnable_targets():
        _core.set_target(target)
        y = CALLS[function](fnn.from_numpy(x)).numpy()
        error, at = ulp.max_error(truth, y)
        assert error <= LIMIT, (
            f"{function} on {target}: {error:.3g} ulp at x = {x[at]!r} ({float(x[at]).hex()}): "
            f"got {y[at]!r}, expected {truth[at]!r}"
        )


@pytest.mark.parametrize("function", CALLS)
def test_every_977th_float(ulp, function):
    check(ulp, function, ulp.fill(0, 977, (1 << 32) // 977))


@pytest.mark.slow
@pytest.mark.parametrize("function", CALLS)
def test_every_float(ulp, function):
    step = 1 if function in EVERY else 7
    for first in range(0, 1 << 32, CHUNK * step):
        count = min(CHUNK, ((1 << 32) - first + step - 1) // step)
        check(ulp, function, ulp.fill(first, step, count))


@pytest.mark.parametrize(
    ("function", "x", "expected"),
    [
        ("exp", np.inf, np.inf), ("exp", -np.inf, 0), ("exp", 0, 1), ("exp", -0.0, 1),
        ("tanh", np.inf, 1), ("tanh", -np.inf, -1), ("tanh", 0, 0),
        ("sigmoid", np.inf, 1), ("sigmoid", -np.inf, 0), ("sigmoid", 0, 0.5),
        ("elu", np.inf, np.inf), ("elu", -np.inf, -1), ("elu", 0, 0),
        ("silu", np.inf, np.inf), ("silu", -np.inf, 0), ("silu", 0, 0),
        ("gelu", np.inf, np.inf), ("gelu", -np.inf, 0), ("gelu", 0, 0), ("gelu", 100, 100),
        ("gelu_tanh", np.inf, np.inf), ("gelu_tanh", -np.inf, 0), ("gelu_tanh", 0, 0),
        ("mish", np.inf, np.inf), ("mish", -np.inf, 0), ("mish", 0, 0), ("mish", 3e38, 3e38),
        ("softplus", np.inf, np.inf), ("softplus", -np.inf, 0), ("softplus", 30, 30),
        ("logsigmoid", np.inf, 0), ("logsigmoid", -np.inf, -np.inf), ("logsigmoid", -1e4, -1e4),
        ("softsign", np.inf, 1), ("softsign", -np.inf, -1), ("softsign", 0, 0),
        ("hardsigmoid", np.inf, 1), ("hardsigmoid", -np.inf, 0), ("hardsigmoid", 0, 0.5),
        ("hardswish", np.inf, np.inf), ("hardswish", -np.inf, 0), ("hardswish", 1e4, 1e4),
    ],
)
def test_limits_are_exact(function, x, expected):
    for target in _core.runnable_targets():
        _core.set_target(target)
        for dtype in (np.float32, np.float64):
            y = CALLS[function](fnn.tensor(np.full(BLOCKS, x, dtype=dtype))).numpy()
            assert y.dtype == dtype and (y == dtype(expected)).all(), (target, dtype, y)


@pytest.mark.parametrize("function", ["tanh", "softsign"])
def test_odd_functions_keep_the_sign_of_zero(function):
    for target in _core.runnable_targets():
        _core.set_target(target)
        for dtype in (np.float32, np.float64):
            x = np.zeros(BLOCKS, dtype=dtype)
            x[::3] = -0.0
            y = CALLS[function](fnn.tensor(x)).numpy()
            assert (np.signbit(y) == np.signbit(x)).all(), (target, dtype)


@pytest.mark.parametrize(
    ("function", "low"), [("tanh", -1), ("sigmoid", 0), ("softsign", -1), ("hardsigmoid", 0)]
)
def test_bounded_functions_stay_within_their_bounds(ulp, function, low):
    x = ulp.fill(0, 977, (1 << 32) // 977)
    for target in _core.runnable_targets():
        _core.set_target(target)
        y = CALLS[function](fnn.from_numpy(x)).numpy()
        assert np.nanmin(y) == low and np.nanmax(y) == 1, (target, np.nanmin(y), np.nanmax(y))


def test_measure_finds_one_wrong_element(ulp):
    x = np.linspace(-5, 5, 10_001, dtype=np.float32)
    truth = ulp.truth("exp", x)
    y = truth.astype(np.float32)
    assert ulp.max_error(truth, y)[0] <= 0.5
    off = y.copy()
    off[1234] = np.nextafter(np.nextafter(off[1234], np.float32(9)), np.float32(9))
    error, at = ulp.max_error(truth, off)
    assert 1.5 <= error <= 2.5 and at == 1234
    for wrong in (np.nan, np.inf, 0.0):
        bad = y.copy()
        bad[77] = wrong
        error, at = ulp.max_error(truth, bad)
        assert error > 1e6 and at == 77


def test_measure_knows_denormals_and_overflow(ulp):
    x = np.array([-100.0, 88.8, 1000.0, np.nan], dtype=np.float32)
    truth = ulp.truth("exp", x)
    with np.errstate(over="ignore"):
        right = truth.astype(np.float32)
    assert ulp.max_error(truth, right)[0] <= 0.5
    for i, wrong in [(0, 0.0), (1, 3.4e38), (2, 3.4e38), (3, 1.0)]:
        bad = right.copy()
        bad[i] = wrong
        error, at = ulp.max_error(truth, bad)
        assert error > 4 and at == i


def test_fill_covers_bit_patterns(ulp):
    bits = ulp.fill(0xFFFFFFF0, 16, 3).view(np.uint32)
    assert bits.tolist() == [0xFFFFFFF0, 0, 16]
