"""Comparing a result with its oracle: strict about shape, dtype, NaN and infinity.

Every check asks `not (error <= tolerance)`, so a NaN never passes by accident.
"""

from __future__ import annotations

import numpy as np


def _prepare(actual, expected, dtype, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Check type, shape and the class (NaN, +inf, -inf, finite) of every element."""
    if not isinstance(actual, np.ndarray | np.generic):
        raise AssertionError(f"{name}: expected an array, got {type(actual).__name__}")
    actual, expected = np.asarray(actual), np.asarray(expected)
    dtype = expected.dtype if dtype is None else np.dtype(dtype)
    if actual.dtype != dtype:
        raise AssertionError(f"{name}: expected dtype {dtype}, got {actual.dtype}")
    if actual.shape != expected.shape:
        raise AssertionError(f"{name}: expected shape {expected.shape}, got {actual.shape}")
    with np.errstate(over="ignore", under="ignore"):
        rounded = expected.astype(dtype)  # what is infinite in this dtype counts as infinite
    same_class = np.where(
        np.isnan(rounded),
        np.isnan(actual),
        np.where(np.isinf(rounded), actual == rounded, np.isfinite(actual)),
    )
    if not same_class.all():
        at = _first(~same_class)
        raise AssertionError(
            f"{name}: NaN/inf mismatch at {at}: got {actual[at]!r}, expected {expected[at]!r} "
            f"({np.count_nonzero(~same_class)} of {actual.size} elements)"
        )
    return actual, expected


def _first(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(mask.argmax()), mask.shape))


def _check(actual, expected, tolerance, name: str) -> None:
    finite = np.isfinite(actual)
    error = np.zeros(actual.shape)
    error[finite] = np.abs(actual[finite].astype(np.float64) - expected[finite])
    tolerance = np.broadcast_to(np.asarray(tolerance, dtype=np.float64), actual.shape)
    bad = ~(error <= tolerance) & finite
    if bad.any():
        excess = np.where(bad, error / np.maximum(tolerance, np.finfo(np.float64).tiny), -1)
        at = _first(excess == excess.max()) if np.isfinite(excess).all() else _first(bad)
        raise AssertionError(
            f"{name}: worst at {at}: got {actual[at]!r}, expected {expected[at]!r}, "
            f"error {error[at]:.3g} > tolerance {tolerance[at]:.3g} "
            f"({np.count_nonzero(bad)} of {actual.size} elements)"
        )


def assert_close(actual, expected, *, rtol: float, atol, name: str = "", dtype=None) -> None:
    """|actual - expected| <= atol + rtol·|expected|; atol may be an array of bounds.

    `dtype` is what `actual` must have (default: the dtype of `expected`).
    """
    actual, expected = _prepare(actual, expected, dtype, name)
    with np.errstate(invalid="ignore", over="ignore"):
        _check(actual, expected, atol + rtol * np.abs(expected), name)


def assert_close_sum(actual, expected, magnitude, terms, *, c=2.0, name="", dtype=None) -> None:
    """|actual - expected| <= c·√terms·eps·magnitude, the error bound of a sum of products.

    `magnitude` is the same sum with absolute values (Σ|a||b|), `terms` how many were added up.
    """
    actual, expected = _prepare(actual, expected, dtype, name)
    bound = c * np.sqrt(np.maximum(terms, 1)) * np.finfo(actual.dtype).eps * magnitude
    _check(actual, expected, bound + np.finfo(actual.dtype).tiny, name)


def ulp(expected: np.ndarray, dtype) -> np.ndarray:
    """Spacing of `dtype` at each float64 value, denormals included."""
    info = np.finfo(dtype)
    exponent = np.frexp(np.asarray(expected, dtype=np.float64))[1] - 1
    return np.ldexp(1.0, np.maximum(exponent, info.minexp) - info.nmant)


def assert_ulp(actual, expected64, max_ulp: float, *, name="", dtype=np.float32) -> None:
    """|actual - expected| <= max_ulp spacings of `dtype` at the expected value."""
    actual, expected = _prepare(actual, np.asarray(expected64, dtype=np.float64), dtype, name)
    _check(actual, expected, max_ulp * ulp(np.where(np.isfinite(expected), expected, 0), dtype),
           name)
