"""SGD against its formula; groups, state, errors."""

import math

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim

RNG = np.random.default_rng(5)


def reference(p, gradients, lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
    b = None
    for g in gradients:
        g = g + weight_decay * p
        if momentum:
            b = g if b is None else momentum * b + (1 - dampening) * g
            g = g + momentum * b if nesterov else b
        p = p - lr * g
    return p


OPTIONS = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "dampening": 0.5},
    {"weight_decay": 0.1},
    {"momentum": 0.9, "weight_decay": 0.1, "nesterov": True},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_follow_the_formula(options, dtype):
    shapes = [(3,), (4, 5), (1,), (70, 33), (2, 3, 3, 2)]
    starts = [RNG.standard_normal(s).astype(dtype) for s in shapes]
    gradients = [[RNG.standard_normal(s).astype(dtype) for s in shapes] for _ in range(4)]
    params = [nn.Parameter(fnn.tensor(a)) for a in starts]
    optimizer = optim.SGD(params, lr=0.1, **options)
    for step in gradients:
        for p, g in zip(params, step, strict=True):
            p.grad = fnn.tensor(g)
        optimizer.step()
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    for i, p in enumerate(params):
        expected = reference(starts[i], [step[i] for step in gradients], 0.1, **options)
        np.testing.assert_allclose(p.numpy(), expected, rtol=tolerance, atol=tolerance)


def test_parameters_without_gradient_wait_and_start_their_momentum_later():
    a, b = nn.Parameter(fnn.ones(2)), nn.Parameter(fnn.ones(2))
    optimizer = optim.SGD([a, b], lr=1.0, momentum=0.5)
    a.grad = fnn.ones(2)
    optimizer.step()
    assert b.tolist() == [1.0, 1.0]
    assert b not in optimizer.state
    b.grad = fnn.ones(2)
    optimizer.step()
    assert a.tolist() == [1 - 1 - 1.5] * 2
    assert b.tolist() == [0.0, 0.0]


def test_groups_and_mixed_dtypes():
    a, b = nn.Parameter(fnn.ones(2)), nn.Parameter(fnn.ones(2, dtype="float64"))
    c = nn.Parameter(fnn.ones(2))
    optimizer = optim.SGD([{"params": [a, b]}, {"params": c, "lr": 1.0}], lr=0.5, momentum=0.9)
    for p in (a, b, c):
        p.grad = fnn.ones_like(p)
    optimizer.step()
    assert (a.tolist(), b.tolist(), c.tolist()) == ([0.5] * 2, [0.5] * 2, [0.0] * 2)
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.step()
    assert a.tolist() == [0.5] * 2
    assert "momentum=0.9" in repr(optimizer)


def test_step_counts_as_modification():
    p = nn.Parameter(fnn.ones(2))
    optimizer = optim.SGD([p], lr=0.1)
    loss = (p * p).sum()
    p.grad = fnn.ones(2)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified in place"):
        loss.backward()
    optimizer.zero_grad()
    assert p.grad is None


def test_state_goes_on_where_it_was():
    def trained(steps, optimizer, p):
        for i in steps:
            p.grad = fnn.full(3, float(i))
            optimizer.step()

    p = nn.Parameter(fnn.ones(3))
    optimizer = optim.SGD([p], lr=0.1, momentum=0.9)
    trained(range(3), optimizer, p)
    q = nn.Parameter(p.detach().clone())
    again = optim.SGD([q], lr=7.0)
    again.load_state_dict(optimizer.state_dict())
    trained(range(3, 6), optimizer, p)
    trained(range(3, 6), again, q)
    np.testing.assert_array_equal(p.numpy(), q.numpy())
    assert again.param_groups[0]["lr"] == 0.1


def test_a_wrong_state_changes_nothing():
    p = nn.Parameter(fnn.ones(3))
    optimizer = optim.SGD([p], lr=0.1, momentum=0.9)
    p.grad = fnn.ones(3)
    optimizer.step()
    good = optimizer.state_dict()
    group = good["param_groups"][0]
    for state, message in (
        ({"state": {}, "param_groups": []}, r"groups of \[1\] parameters, got \[\]"),
        ({"state": {}, "param_groups": [{**group, "params": [0, 1]}]}, r"got \[2\]"),
        ({"state": {}, "param_groups": [{**group, "lr": math.nan}]}, "lr must be finite"),
        ({"state": {}, "param_groups": [{**group, "beta": 1}]}, "expected options"),
        ({"state": {3: {}}, "param_groups": [group]}, "parameter 3 of 1"),
        ({"state": {}, "param_groups": 3}, "not the groups and the state of an optimizer"),
        ({"state": {}, "param_groups": [3]}, "not the groups and the state"),
        ({"state": {"x": {}}, "param_groups": [group]}, "not the groups and the state"),
        ({"state": {0: 3}, "param_groups": [group]}, "not the groups and the state"),
        ({"state": {0: {"momentum_buffer": np.zeros(4, np.float32)}}, "param_groups": [group]},
         r"shape \(3,\), got"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            optimizer.load_state_dict(state)
    with pytest.raises(TypeError, match="param_groups"):
        optimizer.load_state_dict({})
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert optimizer.state[p]["momentum_buffer"].tolist() == [1.0] * 3


@pytest.mark.parametrize("name", ["lr", "momentum", "weight_decay"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -0.1])
def test_numbers_out_of_range(name, value):
    with pytest.raises(ValueError, match=f"SGD: {name} must be finite and at least 0, got"):
        optim.SGD([fnn.zeros(1)], **{name: value})


def test_errors():
    p = nn.Parameter(fnn.ones(1))
    with pytest.raises(ValueError, match="empty"):
        optim.SGD([])
    with pytest.raises(ValueError, match="occurs twice"):
        optim.SGD([p, p])
    with pytest.raises(ValueError, match="occurs twice"):
        optim.SGD([{"params": [p]}, {"params": [p]}])
    with pytest.raises(TypeError, match="iterable"):
        optim.SGD(p)
    with pytest.raises(TypeError, match="must be a Tensor, got int"):
        optim.SGD([3])
    with pytest.raises(TypeError, match="int64"):
        optim.SGD([fnn.tensor([1])])
    with pytest.raises(ValueError, match="not a leaf"):
        optim.SGD([p * 2])
    with pytest.raises(TypeError, match="lr must be a number, got str"):
        optim.SGD([p], lr="0.1")
    with pytest.raises(ValueError, match="unknown option 'rate'"):
        optim.SGD([{"params": [p], "rate": 1}])
    with pytest.raises(ValueError, match="nesterov needs momentum"):
        optim.SGD([p], nesterov=True)
    optimizer = optim.SGD([p])
    optimizer.param_groups[0]["lr"] = math.nan
    p.grad = fnn.ones(1)
    with pytest.raises(ValueError, match="lr must be finite"):
        optimizer.step()
    assert p.item() == 1.0


@pytest.mark.parametrize("name", ["lr", "momentum", "dampening", "weight_decay"])
def test_options_changed_between_steps_are_checked(name):
    p = nn.Parameter(fnn.ones(2))
    sgd = optim.SGD([p], lr=0.1)
    p.grad = fnn.ones(2)
    sgd.param_groups[0][name] = math.nan
    with pytest.raises(ValueError, match=f"SGD: {name} must be finite"):
        sgd.step()
    assert p.tolist() == [1.0, 1.0]


def test_a_gradient_that_is_no_tensor_is_an_error():
    p = nn.Parameter(fnn.ones(2))
    p.grad = np.ones(2, np.float32)
    with pytest.raises(TypeError, match="grad must be a Tensor, got ndarray"):
        optim.SGD([p], lr=0.1).step()
