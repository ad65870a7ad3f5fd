"""Initializers: distributions, fans, determinism, errors."""

import math

import numpy as np
import pytest

import fastnn as fnn
from fastnn import init, nn


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("draw", "shape", "std", "bound"),
    [
        (lambda t: init.normal_(t, 1.0, 0.2), (200, 300), 0.2, None),
        (lambda t: init.uniform_(t, 0.0, 2.0), (200, 300), 2 / math.sqrt(12), 1.0),
        (init.xavier_uniform_, (200, 300), math.sqrt(2 / 500), math.sqrt(6 / 500)),
        (lambda t: init.xavier_normal_(t, 2.0), (200, 300), 2 * math.sqrt(2 / 500), None),
        # A convolution weight: (out, kh, kw, in / groups): fan_in 3 5 40, fan_out 3 5 100.
        (init.kaiming_normal_, (100, 3, 5, 40), math.sqrt(2 / 600), None),
        (lambda t: init.kaiming_uniform_(t, mode="fan_out"), (100, 3, 5, 40), math.sqrt(2 / 1500),
         math.sqrt(6 / 1500)),
        (init.xavier_normal_, (100, 3, 5, 40), math.sqrt(2 / 2100), None),
        (lambda t: init.kaiming_normal_(t, nonlinearity="linear"), (200, 300), math.sqrt(1 / 300),
         None),
    ],
)  # fmt: skip
def test_moments_and_bounds(draw, shape, std, bound, dtype):
    fnn.manual_seed(1)
    t = fnn.zeros(shape, dtype=dtype)
    assert draw(t) is t
    values = t.numpy()
    assert values.std() == pytest.approx(std, rel=0.02)
    mean = 1.0 if values.mean() > 0.5 else 0.0
    assert values.mean() == pytest.approx(mean, abs=5 * std / math.sqrt(values.size))
    if bound is not None:
        assert np.abs(values - mean).max() <= bound * (1 + 1e-6)
        assert np.abs(values - mean).max() > 0.99 * bound


def test_gains_keep_the_second_moment_of_a_gaussian():
    z = np.random.default_rng(0).standard_normal((400_000, 2))
    for name, f in {
        "relu": lambda a: np.maximum(a[:, 0], 0),
        "leaky_relu": lambda a: np.where(a[:, 0] > 0, a[:, 0], 0.01 * a[:, 0]),
        "prelu": lambda a: np.where(a[:, 0] > 0, a[:, 0], 0.25 * a[:, 0]),
        "elu": lambda a: np.where(a[:, 0] > 0, a[:, 0], np.expm1(a[:, 0])),
        "maxout": lambda a: a.max(1),
        "softplus": lambda a: np.logaddexp(0, a[:, 0]),
        "relu6": lambda a: np.clip(a[:, 0], 0, 6),
    }.items():
        assert init.calculate_gain(name) ** 2 * (f(z) ** 2).mean() == pytest.approx(1, rel=0.01)


def test_same_seed_same_values_and_the_stream_moves_on():
    fnn.manual_seed(3)
    a, b = (init.normal_(fnn.zeros(50)).numpy() for _ in range(2))
    fnn.manual_seed(3)
    np.testing.assert_array_equal(a, init.normal_(fnn.zeros(50)).numpy())
    assert not np.array_equal(a, b)


def test_constants_and_parameters_in_place():
    p = nn.Parameter(fnn.zeros(3))
    assert init.ones_(p) is p
    assert p.tolist() == [1.0] * 3
    assert init.constant_(p, 0.5).tolist() == [0.5] * 3
    assert init.zeros_(p).tolist() == [0.0] * 3
    init.uniform_(p, 1.0, 2.0)
    assert p.requires_grad
    assert p.is_leaf


@pytest.mark.parametrize(
    ("activation", "std"),
    [("relu", math.sqrt(2 / 300)), ("tanh", 5 / 3 * math.sqrt(2 / 500)),
     ("sigmoid", 4 * math.sqrt(2 / 500)), ("identity", math.sqrt(2 / 500)),
     ("leaky_relu", math.sqrt(2 / 300 / 1.0001))],
)  # fmt: skip
def test_init_model(activation, std):
    fnn.manual_seed(0)
    model = nn.Sequential(nn.Linear(300, 200), nn.PReLU(200, 0.1), nn.Linear(200, 2, bias=False))
    assert init.init_model(model, activation, bias=0.25) is model
    assert model[0].weight.numpy().std() == pytest.approx(std, rel=0.02)
    assert set(model[0].bias.tolist()) == {0.25}
    assert np.ptp(model[1].weight.numpy()) == 0


def test_signals_keep_their_size_through_a_deep_relu_network():
    fnn.manual_seed(0)
    model = nn.Sequential(*(m for _ in range(20) for m in (nn.Linear(256, 256), nn.ReLU())))
    with fnn.no_grad():
        y = model(fnn.randn(64, 256)).numpy()
    assert 0.3 < np.mean(y**2) < 3


def test_errors():
    with pytest.raises(ValueError, match=r"elu.*tanh.*got 'swoosh'"):
        init.calculate_gain("swoosh")
    with pytest.raises(ValueError, match="two or more dimensions"):
        init.xavier_normal_(fnn.zeros(3))
    with pytest.raises(ValueError, match="two or more dimensions"):
        init.kaiming_normal_(fnn.zeros(0, 3))
    with pytest.raises(ValueError, match="fan_in"):
        init.kaiming_uniform_(fnn.zeros(2, 2), mode="fan")
    with pytest.raises(ValueError, match="std"):
        init.normal_(fnn.zeros(2), 0.0, -1.0)
    with pytest.raises(ValueError, match="a <= b"):
        init.uniform_(fnn.zeros(2), 1.0, math.nan)
    with pytest.raises(TypeError, match="int64"):
        init.zeros_(fnn.tensor([1]))
    with pytest.raises(TypeError, match="expected a Tensor, got ndarray"):
        init.normal_(np.zeros(3))


def test_nn_init_is_init():
    assert fnn.nn.init is fnn.init
