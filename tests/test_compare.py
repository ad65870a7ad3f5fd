"""The comparators must reject what is wrong: a test of the tests."""

from __future__ import annotations

import numpy as np
import pytest
from cases import CASES, OPS
from compare import assert_close, assert_close_sum, assert_ulp

RIGHT = np.random.default_rng(0).standard_normal((4, 4)) + 3


def close(actual, expected):
    assert_close(actual, expected, rtol=1e-6, atol=1e-6, dtype=np.float32)


def close_sum(actual, expected):
    assert_close_sum(actual, expected, np.abs(expected), 100, dtype=np.float32)


def ulps(actual, expected):
    assert_ulp(actual, expected, 4)


def planted(value):
    wrong = RIGHT.astype(np.float32)
    wrong[2, 1] = value
    return wrong


WRONG = {
    "one value off": planted(RIGHT[2, 1] * (1 + 1e-4)),
    "one NaN": planted(np.nan),
    "one inf": planted(np.inf),
    "one sign": planted(-RIGHT[2, 1]),
    "all zeros": np.zeros((4, 4), dtype=np.float32),
    "all NaN": np.full((4, 4), np.nan, dtype=np.float32),
    "transposed": RIGHT.T.astype(np.float32),
    "float64": RIGHT,
    "integers": RIGHT.astype(np.int32),
    "flat": RIGHT.ravel().astype(np.float32),
    "would broadcast": RIGHT[:1].astype(np.float32),
    "scalar": np.float32(3),
    "empty": np.zeros((0, 4), dtype=np.float32),
    "list": RIGHT.tolist(),
    "nothing": None,
}


@pytest.mark.parametrize("check", [close, close_sum, ulps])
def test_right_passes(check):
    check(RIGHT.astype(np.float32), RIGHT)


@pytest.mark.parametrize("check", [close, close_sum, ulps])
@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_fails(check, wrong):
    with pytest.raises(AssertionError):
        check(WRONG[wrong], RIGHT)


@pytest.mark.parametrize("check", [close, close_sum, ulps])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_special_value_must_match_itself(check, value):
    expected = np.array([1.0, value, 2.0])
    check(expected.astype(np.float32), expected)
    for other in {0.0, 3e38, np.inf, -np.inf} - {value}:
        with pytest.raises(AssertionError):
            check(np.array([1.0, other, 2.0], dtype=np.float32), expected)


@pytest.mark.parametrize("check", [close, ulps])
def test_overflow_of_the_dtype_is_infinity(check):
    check(np.array([np.inf, -np.inf], dtype=np.float32), np.array([1e39, -1e200]))
    with pytest.raises(AssertionError):
        check(np.array([3.4e38], dtype=np.float32), np.array([1e39]))


def test_dtype_defaults_to_that_of_expected():
    assert_close(RIGHT, RIGHT, rtol=0, atol=0)
    with pytest.raises(AssertionError, match="expected dtype float64, got float32"):
        assert_close(RIGHT.astype(np.float32), RIGHT, rtol=1, atol=1)


def test_nan_tolerance_does_not_pass():
    for rtol, atol in [(np.nan, 0), (0, np.nan)]:
        with pytest.raises(AssertionError):
            assert_close(RIGHT, RIGHT, rtol=rtol, atol=atol)


def test_message_names_the_worst_element():
    wrong = RIGHT.copy()
    wrong[1, 2] += 1
    wrong[3, 0] += 5
    with pytest.raises(AssertionError) as failure:
        assert_close(wrong, RIGHT, rtol=0, atol=1e-3, name="conv2d dx")
    for part in ("conv2d dx", "(3, 0)", repr(wrong[3, 0]), repr(RIGHT[3, 0]), "0.001", "2 of 16"):
        assert part in str(failure.value)


def test_bound_of_a_sum_follows_its_magnitude():
    eps = np.finfo(np.float32).eps
    off = np.array([100 * eps], dtype=np.float32)
    assert_close_sum(off, np.zeros(1), np.array([10.0]), 100, dtype=np.float32)
    with pytest.raises(AssertionError):
        assert_close_sum(off, np.zeros(1), np.array([1.0]), 100, dtype=np.float32)
    with pytest.raises(AssertionError):
        assert_close_sum(off, np.zeros(1), np.array([10.0]), 1, dtype=np.float32)


@pytest.mark.parametrize(("value", "spacing"), [(1.0, 2**-23), (1.99, 2**-23), (1e-40, 2**-149)])
def test_ulp_is_the_spacing_of_the_dtype(value, spacing):
    expected = np.array([float(np.float32(value))])
    assert_ulp((expected + 3 * spacing).astype(np.float32), expected, 3)
    with pytest.raises(AssertionError):
        assert_ulp((expected + 4 * spacing).astype(np.float32), expected, 3)


def test_table_rows_are_distinct_and_their_data_varies():
    names = [str(c) for c in CASES]
    assert len(set(names)) == len(names)
    for case in CASES:
        for array in case.arrays(np.float32):
            if array.size > 30 and array.dtype.kind == "f":
                assert array.std() > 0, case


def flawed(array: np.ndarray) -> list[np.ndarray]:
    """A right result made wrong: zeros, one element off, one NaN, another shape or dtype."""
    other = np.float32 if array.dtype == np.float64 else np.float64
    one_off = array.copy()
    one_off.flat[array.size // 2] += np.abs(array).max() * 0.5
    one_nan = array.copy()
    one_nan.flat[-1] = np.nan
    return [np.zeros_like(array), one_off, one_nan, array[None], array.astype(other)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("op", OPS)
def test_every_row_rejects_wrong_results(op, dtype):
    for case in CASES:
        truth = case.truth(dtype) if case.op == op else None
        if truth is None or not (np.abs(truth.y) > 1e-9).any():
            continue
        truth.check_value(truth.y.astype(dtype), str(case))
        for wrong in flawed(truth.y.astype(dtype)):
            with pytest.raises(AssertionError):
                truth.check_value(wrong, str(case))
        right = [None if g is None else np.asarray(g, dtype=dtype) for g in truth.grads]
        truth.check_grads(right, str(case))
        for i, grad in enumerate(right):
            if grad is None or not (np.abs(grad) > 1e-9).any():
                continue
            for wrong in flawed(grad):
                with pytest.raises(AssertionError):
                    truth.check_grads([*right[:i], wrong, *right[i + 1 :]], str(case))
