"""L-BFGS: finds minima, goes on from a checkpoint, errors."""

import numpy as np
import pytest

import fastnn as fnn
from fastnn import functional as F
from fastnn import nn, optim


def closure_of(optimizer, loss):
    def closure():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    return closure


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_least_squares_have_a_known_solution(search):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((30, 5)), rng.standard_normal(30)
    model = nn.Linear(5, 1, bias=False).double()
    optimizer = optim.LBFGS(
        model.parameters(), max_iter=100, tolerance_change=1e-15, line_search_fn=search
    )
    target = fnn.tensor(b[:, None])
    optimizer.step(closure_of(optimizer, lambda: F.mse_loss(model(fnn.tensor(a)), target)))
    expected = np.linalg.lstsq(a, b, rcond=None)[0]
    np.testing.assert_allclose(model.weight.numpy()[0], expected, rtol=1e-6)


@pytest.mark.parametrize("history", [1, 3, 30])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_are_those_of_the_whole_matrix(history, dtype):
    """H as a matrix, from a multiple of the identity by the last BFGS updates."""
    rng = np.random.default_rng(2)
    root = rng.standard_normal((40, 40))
    hessian, linear = root @ root.T / 10 + np.eye(40), rng.standard_normal(40)
    x = rng.standard_normal(40)
    p = nn.Parameter(fnn.tensor(x.astype(dtype)))
    a, b = fnn.tensor(hessian.astype(dtype)), fnn.tensor(linear.astype(dtype))
    optimizer = optim.LBFGS(
        [p], lr=0.7, max_iter=1, history_size=history, tolerance_grad=0, tolerance_change=0
    )
    points, slopes = [], []
    for step in range(25):
        g = hessian @ x + linear
        points.append(x)
        slopes.append(g)
        pairs = [*zip(np.diff(points, axis=0), np.diff(slopes, axis=0), strict=True)][-history:]
        h = np.eye(40)
        if pairs:
            s, y = pairs[-1]
            h *= (s @ y) / (y @ y)
        for s, y in pairs:
            left = np.eye(40) - np.outer(s, y) / (s @ y)
            h = left @ h @ left.T + np.outer(s, s) / (s @ y)
        x = x - 0.7 * min(1.0, 1.0 / np.abs(g).sum() if step == 0 else 1.0) * h @ g
        optimizer.step(closure_of(optimizer, lambda: 0.5 * (p * (a @ p)).sum() + (b * p).sum()))
        # In float32 rounding feeds the next directions, so only the first steps are compared.
        if dtype == "float64" or step < 6:
            atol = 1e-9 if dtype == "float64" else 2e-5
            np.testing.assert_allclose(p.numpy(), x, rtol=0, atol=atol, err_msg=f"step {step}")


def test_rosenbrock():
    p = nn.Parameter(fnn.tensor([-1.2, 1.0], dtype="float64"))
    optimizer = optim.LBFGS([p], max_iter=100, line_search_fn="strong_wolfe")
    calls = []

    def loss():
        calls.append(1)
        return 100.0 * (p[1] - p[0] * p[0]) ** 2 + (1.0 - p[0]) ** 2

    assert optimizer.step(closure_of(optimizer, loss)).item() == pytest.approx(24.2)
    np.testing.assert_allclose(p.numpy(), 1.0, atol=1e-4)
    assert len(calls) < 80


def test_a_checkpoint_goes_on_bit_for_bit(tmp_path):
    rng = np.random.default_rng(1)
    x, t = fnn.tensor(rng.standard_normal((20, 4))), rng.integers(0, 3, 20)

    def made():
        fnn.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
        optimizer = optim.LBFGS(model.parameters(), max_iter=3, line_search_fn="strong_wolfe")
        return model, optimizer, closure_of(optimizer, lambda: F.cross_entropy(model(x), t))

    whole, optimizer, closure = made()
    for _ in range(4):
        optimizer.step(closure)
    first, optimizer, closure = made()
    for _ in range(2):
        optimizer.step(closure)
    fnn.save_checkpoint(tmp_path / "c.safetensors", first, optimizer)
    second, optimizer, closure = made()
    fnn.load_checkpoint(tmp_path / "c.safetensors", second, optimizer)
    for _ in range(2):
        optimizer.step(closure)
    for p, q in zip(whole.parameters(), second.parameters(), strict=True):
        np.testing.assert_array_equal(p.numpy(), q.numpy())


def test_evaluations_and_iterations_are_limited():
    p = nn.Parameter(fnn.tensor([-1.2, 1.0], dtype="float64"))
    optimizer = optim.LBFGS([p], lr=1e-3, max_iter=50, max_eval=4)
    calls = []

    def loss():
        calls.append(1)
        return (100.0 * (p[1] - p[0] * p[0]) ** 2 + (1.0 - p[0]) ** 2).sum()

    optimizer.step(closure_of(optimizer, loss))
    assert len(calls) == 4


def test_nothing_happens_at_a_minimum_or_without_gradients():
    p = nn.Parameter(fnn.zeros(3))
    optimizer = optim.LBFGS([p])
    optimizer.step(closure_of(optimizer, lambda: (p * p).sum()))
    optimizer.step(lambda: fnn.zeros(()))
    assert p.tolist() == [0.0] * 3


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"line_search_fn": "golden"}, ValueError, "strong_wolfe"),
        ({"max_iter": 0}, ValueError, "max_iter must be"),
        ({"max_iter": 2.5}, TypeError, "max_iter must be an int, got float"),
        ({"lr": -1}, ValueError, "LBFGS: lr"),
        ({"history_size": 0}, ValueError, "history_size"),
    ],
)
def test_errors(options, error, message):
    with pytest.raises(error, match=message):
        optim.LBFGS([fnn.zeros(1)], **options)


def test_more_errors():
    p = fnn.zeros(1)
    with pytest.raises(ValueError, match="one group"):
        optim.LBFGS([{"params": p}, {"params": fnn.zeros(1)}])
    optimizer = optim.LBFGS([p])
    with pytest.raises(TypeError, match="needs a closure"):
        optimizer.step()
    state = {"state": {0: {"step": np.zeros(2)}}, "param_groups": [{**optimizer.defaults,
             "params": [0]}]}  # fmt: skip
    with pytest.raises(ValueError, match="vectors of 1 floats"):
        optimizer.load_state_dict(state)
