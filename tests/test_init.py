"""Initializers: distributions, fans, determinism, errors."""

import math
from statistics import NormalDist

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
    levels = np.linspace(0.02, 0.98, 33)
    if bound is None:
        quantiles = [NormalDist(mean, std).inv_cdf(level) for level in levels]
    else:
        quantiles = mean + bound * (2 * levels - 1)
        assert np.abs(values - mean).max() <= bound * (1 + 1e-6)
        assert np.abs(values - mean).max() > 0.99 * bound
    np.testing.assert_allclose(np.quantile(values, levels), quantiles, atol=0.05 * std)


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


@pytest.mark.parametrize("groups", [1, 4])
def test_init_model_counts_the_inputs_of_a_transposed_convolution(groups):
    fnn.manual_seed(0)
    layer = nn.ConvTranspose2d(16, 64, 4, stride=2, groups=groups)
    std = math.sqrt(2 / (16 / groups * 4 * 4 / 4))
    assert layer.weight.numpy().std() == pytest.approx(std, rel=0.02)
    init.init_model(layer, "relu", bias=0.25)
    assert layer.weight.numpy().std() == pytest.approx(std, rel=0.02)
    y = layer(fnn.randn(4, 9, 9, 16)).numpy()[:, 3:-3, 3:-3]
    assert y.mean() == pytest.approx(0.25, abs=0.1)
    assert y.std() == pytest.approx(math.sqrt(2), rel=0.1)


def test_signals_keep_their_size_through_a_deep_relu_network():
    fnn.manual_seed(0)
    model = nn.Sequential(*(m for _ in range(20) for m in (nn.Linear(256, 256), nn.ReLU())))
    with fnn.no_grad():
        y = model(fnn.randn(64, 256)).numpy()
    assert 0.3 < np.mean(y**2) < 3


# The moments of a normal distribution cut off at [a, b], from their integrals.
@pytest.mark.parametrize(
    ("mean", "std", "a", "b"),
    [(0, 1, -2, 2), (1, 0.02, 0.96, 1.04), (0, 1, 1, 1.5), (0, 1, 6, math.inf), (3, 2, -9, -1),
     (0, 1, -math.inf, math.inf), (0, 1e-3, -2, 2)],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_trunc_normal(mean, std, a, b, dtype):
    fnn.manual_seed(2)
    t = fnn.zeros(200, 300, dtype=dtype)
    assert init.trunc_normal_(t, mean, std, a, b) is t
    values = t.numpy().astype(np.float64)
    assert a <= values.min()
    assert values.max() <= b
    x = np.linspace(max(a, mean - 9 * std), min(b, mean + 9 * std), 200_001)
    density = np.exp(-(((x - mean) / std) ** 2) / 2)
    expected = (x * density).sum() / density.sum()
    spread = math.sqrt(((x - expected) ** 2 * density).sum() / density.sum())
    assert values.mean() == pytest.approx(expected, abs=5 * spread / math.sqrt(values.size))
    assert values.std() == pytest.approx(spread, rel=0.03)
    cdf = np.cumsum(density) / density.sum()
    quantiles = np.interp(np.linspace(0.05, 0.95, 19), cdf, x)
    np.testing.assert_allclose((values[..., None] < quantiles).mean((0, 1)),
                               np.linspace(0.05, 0.95, 19), atol=0.011)  # fmt: skip


def test_trunc_normal_keeps_its_bounds_in_float32():
    fnn.manual_seed(0)
    t = init.trunc_normal_(fnn.zeros(2000), 0.0, 1.0, 0.1, 0.1 + 1e-8 + 2e-9)
    assert (t.numpy().astype(np.float64) >= 0.1).all()
    assert len(init.trunc_normal_(fnn.zeros(0))) == 0


@pytest.mark.parametrize("shape", [(30, 50), (50, 30), (8, 3, 3, 4), (100, 3, 3, 4), (200, 200)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_orthogonal(shape, dtype):
    fnn.manual_seed(0)
    t = fnn.zeros(shape, dtype=dtype)
    assert init.orthogonal_(t, 1.5) is t
    w = t.numpy().reshape(shape[0], -1)
    product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    atol = 3e-6 if dtype == "float32" else 1e-14
    np.testing.assert_allclose(product, 2.25 * np.eye(len(product)), atol=atol)


def test_orthogonal_gives_the_same_bits_with_any_number_of_threads():
    found, threads = [], fnn.get_num_threads()
    try:
        for n in (1, 2):
            fnn.set_num_threads(n)
            fnn.manual_seed(0)
            found.append(init.orthogonal_(fnn.zeros(300, 400)).numpy())
    finally:
        fnn.set_num_threads(threads)
    np.testing.assert_array_equal(*found)


def test_orthogonal_matrices_are_uniform():
    """Both determinants, and a first element as of a random point on a sphere."""
    fnn.manual_seed(0)
    found = np.stack([init.orthogonal_(fnn.zeros(3, 3)).numpy() for _ in range(2000)])
    assert (np.linalg.det(found) > 0).mean() == pytest.approx(0.5, abs=0.06)
    for i in range(3):
        for j in range(3):
            element = found[:, i, j]  # uniform on [-1, 1] for 3 dimensions
            assert element.mean() == pytest.approx(0, abs=0.06)
            assert element.std() == pytest.approx(1 / math.sqrt(3), rel=0.05)


def deep(activation):
    """A network whose usual weights do not suit."""
    act = nn.activation.make
    hidden = [layer for _ in range(6) for layer in (nn.Linear(40, 40), act(activation))]
    return nn.Sequential(
        nn.Conv2d(2, 8, 3), act(activation), nn.BatchNorm2d(8), nn.Conv2d(8, 12, 3), nn.Flatten(),
        nn.Maxout(12 * 36, 40), nn.Dropout(), *hidden, nn.Linear(40, 3, bias_init=0.1),
    )  # fmt: skip


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
def test_lsuv_gives_every_layer_the_wanted_deviation(activation):
    fnn.manual_seed(0)
    model = deep(activation)
    x = 30 * np.random.default_rng(0).standard_normal((64, 10, 10, 2), dtype=np.float32) + 5
    assert init.lsuv_(model, x, std=2.0, tol=0.01) is model
    assert model.training
    seen = []
    layers = [m for m in model if isinstance(m, nn.Linear | nn.Conv2d | nn.Maxout)]
    for layer in layers:
        layer.register_forward_hook(lambda m, a, y: seen.append(y.numpy().std()))
    with fnn.no_grad():
        model.eval()(x)
    assert len(seen) == len(layers) == 10
    np.testing.assert_allclose(seen, 2.0, rtol=0.011)
    assert np.all(model[2].running_mean.numpy() == 0)
    w = model[-1].weight.numpy()
    np.testing.assert_allclose(w @ w.T / (w @ w.T)[0, 0], np.eye(3), atol=1e-5)
    assert model[-1].bias.tolist() == [pytest.approx(0.1)] * 3


def test_lsuv_names_a_layer_whose_outputs_are_constant():
    model = nn.Sequential({"first": nn.Linear(3, 3), "dead": nn.ReLU(), "last": nn.Linear(3, 2)})
    init.constant_(model.first.bias, -100.0)
    with pytest.raises(ValueError, match=r"outputs of last have a standard deviation of 0\.0"):
        init.lsuv_(model, fnn.randn(9, 3))
    with pytest.raises(ValueError, match="outputs of first have a standard deviation of nan"):
        init.lsuv_(model, fnn.full((9, 3), np.nan))
    with pytest.raises(ValueError, match="std, tol and max_iter must be positive"):
        init.lsuv_(model, fnn.randn(9, 3), tol=0)
    assert model.training
    assert not model.first.has_hooks()


def test_agrees_with_pytorch():
    """Gains, and standard deviations in PyTorch's layout of the same weight."""
    torch = pytest.importorskip("torch")
    theirs = torch.nn.init
    for name, param in [
        ("linear", None), ("sigmoid", None), ("tanh", None), ("relu", None), ("leaky_relu", None),
        ("leaky_relu", 0.3),
    ]:  # fmt: skip
        assert init.calculate_gain(name, param) == pytest.approx(theirs.calculate_gain(name, param))
    torch.manual_seed(0)
    fnn.manual_seed(0)
    for name, options in [
        ("xavier_uniform_", {"gain": 0.7}), ("xavier_normal_", {}), ("kaiming_uniform_", {"a": 1}),
        ("kaiming_normal_", {"mode": "fan_out", "nonlinearity": "relu"}),
        ("trunc_normal_", {"std": 0.5, "a": -0.5, "b": 1.0}), ("orthogonal_", {"gain": 2.0}),
        ("normal_", {"std": 0.01}), ("uniform_", {"a": -1.0}),
    ]:  # fmt: skip
        ours = getattr(init, name)(fnn.zeros(100, 3, 5, 40), **options).numpy()
        weight = getattr(theirs, name)(torch.zeros(100, 40, 3, 5), **options).numpy()
        assert ours.std() == pytest.approx(weight.std(), rel=0.02)
        assert ours.mean() == pytest.approx(weight.mean(), abs=0.02 * float(weight.std()))
        levels = np.linspace(0.02, 0.98, 33)
        found, wanted = np.quantile(ours, levels), np.quantile(weight, levels)
        np.testing.assert_allclose(found, wanted, atol=0.06 * float(weight.std()))
        if "uniform" in name or "trunc" in name:
            assert ours.min() == pytest.approx(weight.min(), rel=0.01)
            assert ours.max() == pytest.approx(weight.max(), rel=0.01)


def test_errors():
    with pytest.raises(ValueError, match="std > 0 and a < b"):
        init.trunc_normal_(fnn.zeros(2), a=1.0, b=1.0)
    with pytest.raises(ValueError, match="more than 8 std"):
        init.trunc_normal_(fnn.zeros(2), a=8.5, b=9.0)
    with pytest.raises(ValueError, match="two or more dimensions"):
        init.orthogonal_(fnn.zeros(3))
    with pytest.raises(ValueError, match=r"elu.*tanh.*got 'swoosh'"):
        init.calculate_gain("swoosh")
    with pytest.raises(ValueError, match="two or more dimensions"):
        init.xavier_normal_(fnn.zeros(3))
    with pytest.raises(ValueError, match="two or more dimensions"):
        init.kaiming_normal_(fnn.zeros(0, 3))
    with pytest.raises(ValueError, match=r"xavier_uniform_: gain must be .* at least 0, got -1"):
        init.xavier_uniform_(fnn.zeros(2, 3), -1.0)
    with pytest.raises(ValueError, match="kaiming_normal_: a must be finite, got nan"):
        init.kaiming_normal_(fnn.zeros(2, 3), math.nan)
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
