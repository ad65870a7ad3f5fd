"""Checks before training: healthy models pass, each broken one fails where it is broken."""

import re

import numpy as np
import pytest

import fastnn as fnn
from fastnn import functional as F
from fastnn import init, nn, optim
from fastnn.diagnostics import Monitor, check_model, find_lr, initial_loss_check, overfit_check
from fastnn.tensor import record

MODELS = {
    "mlp": lambda: fnn.models.mlp(784, (32, 16)),
    "mlp with tanh": lambda: fnn.models.mlp(784, (32, 16), activation="tanh"),
    "lenet5": lambda: fnn.models.lenet5(),
    "batch norm and dropout": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(784, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3),
        nn.Linear(32, 10, bias=True),
    ),
}  # fmt: skip


def digits(n=300):
    (images, labels), _ = fnn.datasets.mnist_small()
    return fnn.data.Normalize.fit(images)(images[:n]), labels[:n]


def state(model):
    return [t.numpy().tobytes() for t in [*model.parameters(), *model.buffers()]]


def failed(report):
    return {check.name for check in report.checks if not check.ok}


def small_scores(model):
    init.normal_(model[-1].weight, 0.0, 0.01)
    return model


class Doubled(nn.Module):
    """The identity, with a gradient that is twice as large as it should be."""

    def forward(self, x):
        return record("doubled", x._array, (x,), lambda dy: ((fnn.Tensor(dy) * 2)._array,))


class Blind(nn.Module):
    """A layer that forgets what it was given."""

    def __init__(self):
        self.unused = nn.Parameter(fnn.ones(3))

    def forward(self, x):
        return x


# --- check_model ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_healthy_models_pass_and_stay_as_they_are(name):
    fnn.manual_seed(0)
    model = small_scores(MODELS[name]())
    x, y = digits()
    before, stream = state(model), fnn.get_rng_state()
    model.eval()
    report = check_model(model, x, y)
    assert report and report.ok, str(report)
    assert [check.name for check in report.checks] == [
        "forward", "gradients", "parameters", "activations and inputs", "first loss", "first step"
    ]  # fmt: skip
    assert state(model) == before and not model.training and fnn.get_rng_state() == stream
    assert all(p.grad is None for p in model.parameters())
    assert str(report).count("ok  ") == 6


def mlp_with(position, layer):
    layers = list(fnn.models.mlp(784, (32, 16)))
    return nn.Sequential(*layers[:position], layer, *layers[position:])


def of_inf():
    model = fnn.models.mlp(784, (32,))
    with fnn.no_grad():
        model[1].weight[3, 4] = np.inf
    return model


def without_hidden_weights():
    model = fnn.models.mlp(784, (32, 16))
    init.zeros_(model[1].weight)
    return model


@pytest.mark.parametrize(
    ("make", "x", "names", "text"),
    [
        (lambda: mlp_with(3, Doubled()), None, {"gradients"}, r"off by \d.*most in 1\."),
        (lambda: mlp_with(2, Blind()), None, {"parameters"}, "2.unused got no gradient"),
        (of_inf, None, {"forward"}, "not all finite: 1.weight"),
        (lambda: fnn.models.mlp(100, (32,)), None, {"forward"}, "784"),
        (without_hidden_weights, None, {"symmetric"}, "same weights"),
        (lambda: fnn.models.mlp(784, (32,)), lambda x: 100 * x, {"inputs unscaled", "first loss"},
         "not scaled"),
        (lambda: fnn.models.mlp(784, (32,)), lambda x: x + 3, {"inputs not centred"}, "positive"),
    ],
)  # fmt: skip
def test_broken_models_fail_where_they_are_broken(make, x, names, text):
    fnn.manual_seed(0)
    images, labels = digits()
    report = check_model(make(), images if x is None else x(images).astype(np.float32), labels)
    assert not report and failed(report) == names, str(report)
    assert re.search(text, str(report)), str(report)


def test_another_loss_and_a_monitor_on_the_model():
    fnn.manual_seed(0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 5), dtype=np.float32)
    y = np.stack([x.sum(1), x[:, 0]], 1)
    model = fnn.models.mlp(5, (16,), 2)
    monitor = Monitor(model)
    report = check_model(model, x, y, F.mse_loss)
    assert report, str(report)
    assert "first loss" not in {check.name for check in report.checks}
    assert monitor.records == [] and monitor.observing


# --- the first loss, and learning by heart --------------------------------------------------------


def test_initial_loss():
    fnn.manual_seed(0)
    x, y = digits()
    model = fnn.models.mlp(784, (32,))
    (check,) = initial_loss_check(model, x, y).checks
    assert check.ok and ", that of a guess is log(10) = 2.3" in check.text
    init.normal_(model[-1].weight, 0.0, 2.0)
    (check,) = initial_loss_check(model, x, y).checks
    assert not check.ok and "smaller (0.01)" in check.text
    confident = lambda outputs, y: F.cross_entropy(outputs, y) * 0.01  # noqa: E731
    (check,) = initial_loss_check(model, x, y, confident).checks
    assert not check.ok and "trained already" in check.text


@pytest.mark.parametrize(
    ("options", "ok", "text"),
    [
        ({"weight_decay": 1e-3}, True, "raises the loss from 2.3"),
        ({"l1": 1e-4}, True, "raises the loss from 2.3"),
        ({}, False, "has no penalty"),
        ({"weight_decay": 10.0}, False, "and rules it"),
    ],
)
def test_the_loss_rises_with_regularization(options, ok, text):
    fnn.manual_seed(0)
    model = fnn.models.mlp(784, (32,))
    optimizer = optim.SGD(model.parameters(), lr=0.1, **options)
    check = initial_loss_check(model, *digits(), optimizer=optimizer).checks[1]
    assert (check.name, check.ok) == ("regularization", ok) and text in check.text


def test_overfit_check():
    fnn.manual_seed(0)
    x, y = digits()
    model = small_scores(MODELS["batch norm and dropout"]())
    before = state(model)
    report = overfit_check(model, x, y)
    assert report and "20 samples went from 2.3" in str(report)
    assert len(report.losses) == 300 and report.losses[-1] < 0.05 * report.losses[0]
    assert state(model) == before
    with fnn.no_grad():
        model[1].weight[:] = np.float32(0)
    model[1].weight.requires_grad_(False)
    model[1].bias.requires_grad_(False)
    same = np.zeros_like(x)  # all samples alike, labels not
    report = overfit_check(model, same, y, steps=100)
    assert not report and "labels belong to the inputs" in str(report)


# --- find_lr --------------------------------------------------------------------------------------


def test_find_lr_suggests_a_rate_that_trains_and_restores_everything():
    fnn.manual_seed(0)
    x, y = digits(1000)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(784, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10)
    )
    optimizer = optim.SGD(model.parameters(), lr=0.123, momentum=0.9)
    F.cross_entropy(model(fnn.from_numpy(x[:64])), y[:64]).backward()
    optimizer.step()
    momentum = [s["momentum_buffer"].numpy().copy() for s in optimizer.state.values()]
    before, stream = state(model), fnn.get_rng_state()
    monitor = Monitor(model)
    found = find_lr(model, optimizer, (x, y))
    assert state(model) == before and fnn.get_rng_state() == stream
    assert optimizer.param_groups[0]["lr"] == 0.123
    for a, b in zip(momentum, optimizer.state.values(), strict=True):
        np.testing.assert_array_equal(a, b["momentum_buffer"].numpy())
    monitor.step(1.0)
    assert monitor.records == []  # it did not look at the test
    monitor.close()
    assert len(found.lrs) == len(found.losses) <= 100
    assert found.lrs == sorted(found.lrs) and found.lrs[0] == 1e-6
    assert 1e-3 < found.suggestion < 1.0
    assert found == find_lr(model, optimizer, (x, y))
    for group in optimizer.param_groups:
        group["lr"] = found.suggestion
    history = fnn.Trainer(model, optimizer, progress=False).fit((x, y), 6)
    assert history[-1]["loss"] < 0.5


def test_find_lr_keeps_the_ratios_of_groups_and_stops_when_it_diverges():
    fnn.manual_seed(0)
    x, y = digits(200)
    model = fnn.models.mlp(784, (16,))
    seen = []

    class Spy(optim.SGD):
        def step(self, closure=None):
            seen.append([group["lr"] for group in self.param_groups])
            return super().step(closure)

    first, *rest = model.parameters()
    optimizer = Spy([{"params": [first], "lr": 0.1}, {"params": rest, "lr": 0.01}], lr=0.1)
    found = find_lr(model, optimizer, (x, y), low=1e-4, high=1e4, steps=60)
    assert len(found.lrs) < 60 and np.isfinite(found.losses).all()
    assert np.allclose([b / a for a, b in seen], 0.1)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.01]


def test_find_lr_without_a_fall_suggests_nothing():
    x, y = digits(200)
    model = fnn.models.mlp(784, (16,))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    assert find_lr(model, optimizer, (x, y), low=1e-12, high=1e-10, steps=20).suggestion is None


# --- bad input ------------------------------------------------------------------------------------


def some_model():
    return fnn.models.mlp(4, (3,), 2)


def some_optimizer():
    return optim.SGD(some_model().parameters(), lr=0.1)


X, Y = np.ones((6, 4), np.float32), np.zeros(6, np.int64)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: check_model(3, X, Y), TypeError, "check_model: model must be a Module, got int"),
        (lambda: check_model(some_model(), X, Y[:5]), ValueError, "as many samples"),
        (lambda: check_model(some_model(), X[:0], Y[:0]), ValueError, "as many samples"),
        (lambda: check_model(some_model(), X.astype(np.uint8), Y), TypeError, "got uint8"),
        (lambda: overfit_check(some_model(), X, Y, samples=0), ValueError, "at least 1, got 0"),
        (lambda: initial_loss_check(nn.Flatten(), X[:, :1], Y), ValueError, r"\(N, classes\)"),
        (lambda: find_lr(3, some_optimizer(), (X, Y)), TypeError, "model must be a Module"),
        (lambda: find_lr(some_model(), 3, (X, Y)), TypeError, "optimizer cannot be int"),
        (lambda: find_lr(some_model(), some_optimizer(), 3), TypeError, "data must be .*got int"),
        (lambda: find_lr(some_model(), some_optimizer(), (X, Y), low=1, high=0.1), ValueError,
         "0 < low < high"),
        (lambda: find_lr(some_model(), some_optimizer(), (X, Y), steps=3), ValueError,
         "at least 10"),
    ],
)  # fmt: skip
def test_bad_arguments(call, error, match):
    with pytest.raises(error, match=match):
        call()
