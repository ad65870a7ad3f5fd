# SPDX-License-Identifier: BSD-3-Clause
"""Ranges and choices: what they draw, their grids, what they refuse."""

import math

import numpy as np
import pytest

from fastnn import search
from fastnn.search._space import check_space, sample, trial_seed


def draws(values, n=4000):
    rng = np.random.default_rng(0)
    return np.array([values.sample(rng) for _ in range(n)])


def test_log_uniform_draws_evenly_in_the_logarithm():
    x = np.log10(draws(search.log_uniform(1e-4, 1)))
    counts, _ = np.histogram(x, 4, (-4, 0))
    assert x.min() >= -4 and x.max() <= 0
    assert np.abs(counts - 1000).max() < 120


def test_uniform_and_integer_draw_evenly_and_reach_both_ends():
    counts, _ = np.histogram(draws(search.uniform(-2, 2)), 4, (-2, 2))
    assert np.abs(counts - 1000).max() < 120
    values, counts = np.unique(draws(search.integer(3, 6)), return_counts=True)
    assert values.tolist() == [3, 4, 5, 6] and np.abs(counts - 1000).max() < 120
    whole = draws(search.integer(1, 64, log=True))
    assert whole.min() == 1 and whole.max() == 64
    assert 0.4 < (whole <= 8).mean() < 0.6


def test_grids_have_both_ends_and_equal_steps():
    assert search.uniform(0, 1).grid(3) == [0.0, 0.5, 1.0]
    assert search.uniform(0, 1).grid(1) == [0.5]
    assert np.allclose(search.log_uniform(1e-4, 1).grid(5), [1e-4, 1e-3, 1e-2, 1e-1, 1])
    assert search.log_uniform(1e-4, 1).grid(5)[::4] == [1e-4, 1.0]  # not an ulp outside
    assert search.integer(1, 3).grid(9) == [1, 2, 3]
    assert search.choice(["b", "a"]).grid(1) == ["b", "a"]
    assert all(type(v) is int for v in search.integer(8, 64, log=True).grid(4))


def test_places_and_narrower_ranges():
    lr = search.log_uniform(1e-4, 1)
    assert math.isclose(lr.place(1e-2), 0.5)
    narrow = lr.narrowed([1e-2, 1e-1], 0.05)
    assert math.isclose(narrow.low, 10**-2.2) and math.isclose(narrow.high, 10**-0.8)
    assert lr.narrowed([1e-4, 1], 0.05) == lr
    assert search.choice(["a", "b", "c"]).narrowed(["c", "a", "c"], 0.05).options == ("a", "c")


def test_a_trial_depends_on_seed_and_number_only():
    space = check_space("t", {"x": search.uniform(0, 1), "y": [1, 2, 3]})
    assert sample(space, 0, 7) == sample(space, 0, 7)
    assert len({sample(space, s, i)["x"] for s in (0, 1) for i in range(50)}) == 100
    assert len({trial_seed(s, i) for s in (0, 1) for i in range(50)}) == 100


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: search.log_uniform(0, 1), ValueError, "log_uniform: low must be positive"),
        (lambda: search.log_uniform(-1, 1), ValueError, "got -1"),
        (lambda: search.integer(0, 8, log=True), ValueError, "integer: low must be positive"),
        (lambda: search.uniform(2, 1), ValueError, "low must not be above high, got 2 and 1"),
        (lambda: search.uniform(0, math.inf), ValueError, "high must be finite, got inf"),
        (lambda: search.uniform("0", 1), TypeError, "low must be a number, got '0'"),
        (lambda: search.integer(0.5, 2), TypeError, "low must be an int, got 0.5"),
        (lambda: search.choice([]), ValueError, "options must not be empty"),
        (lambda: search.choice("relu"), TypeError, "options must be a list, got 'relu'"),
        (lambda: search.choice([1, 1]), ValueError, "1 stands there twice"),
        (lambda: search.choice([len]), TypeError, "choose among names"),
        (lambda: check_space("f", {}), ValueError, "f: the search space is empty"),
        (lambda: check_space("f", [1]), TypeError, "must map names"),
        (lambda: check_space("f", {"lr": 0.1}), TypeError, r"space\['lr'\] must be log_uniform"),
        (lambda: check_space("f", {1: [2]}), TypeError, "a name in space must be text"),
    ],
)
def test_bad_spaces(make, error, message):
    with pytest.raises(error, match=message):
        make()
