"""Averages of weights."""

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn
from fastnn.optim import swa_utils


class Counter(nn.Module):
    """A weight and two buffers."""

    def __init__(self):
        self.weight = nn.Parameter(fnn.zeros(3))
        self.register_buffer("mean", fnn.zeros(2))
        self.register_buffer("count", fnn.tensor(0))

    def forward(self, x):
        return x * self.weight


def fill(model, value):
    with fnn.no_grad():
        model.weight.fill_(value)
        model.mean.fill_(value)
        model.count.fill_(int(value))


@pytest.mark.parametrize("use_buffers", [False, True])
@pytest.mark.parametrize("decay", [None, 0.75])
def test_averages(decay, use_buffers):
    model = Counter()
    kind = None if decay is None else swa_utils.get_ema_multi_avg_fn(decay)
    average = swa_utils.AveragedModel(model, kind, use_buffers)
    values, expected = [2.0, 6.0, 1.0, 7.0], None
    for value in values:
        fill(model, value)
        average.update_parameters(model)
        expected = value if expected is None else 0.75 * expected + 0.25 * value
    expected = np.mean(values) if decay is None else expected
    np.testing.assert_allclose(average.module.weight.numpy(), expected, rtol=1e-6)
    last = expected if use_buffers else values[-1]
    np.testing.assert_allclose(average.module.mean.numpy(), last, rtol=1e-6)
    assert average.module.count.item() == 7
    assert average.n_averaged.item() == 4
    assert model.weight.tolist() == [7.0] * 3
    np.testing.assert_allclose(average(fnn.ones(3)).numpy(), expected, rtol=1e-6)


def test_state_goes_through_a_state_dict():
    model = Counter()
    average, again = swa_utils.AveragedModel(model), swa_utils.AveragedModel(model)
    for value in (1.0, 2.0):
        fill(model, value)
        average.update_parameters(model)
    again.load_state_dict(average.state_dict())
    fill(model, 6.0)
    for a in (average, again):
        a.update_parameters(model)
        assert a.module.weight.tolist() == [3.0] * 3


@pytest.mark.parametrize("momentum", [0.1, None])
def test_statistics_are_taken_anew(momentum):
    """As the mean over the batches of means and variances that each batch has."""
    fnn.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4, momentum=momentum), nn.ReLU(), nn.Linear(4, 2),
        nn.BatchNorm1d(2), nn.Dropout(0.0),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    model(fnn.from_numpy(100 + rng.standard_normal((8, 3), dtype=np.float32)))  # forgotten
    model.eval()
    before = {k: t.numpy().copy() for k, t in model.named_parameters()}
    batches = [rng.standard_normal((n, 3), dtype=np.float32) * n for n in (4, 9, 6)]
    swa_utils.update_bn([(x, None) for x in batches], model)
    w, b = (p.numpy().astype(np.float64) for p in (model[0].weight, model[0].bias))
    hidden = [x @ w.T + b for x in batches]
    norm = model[1]
    means = np.mean([h.mean(0) for h in hidden], axis=0)
    variances = np.mean([h.var(0, ddof=1) for h in hidden], axis=0)
    np.testing.assert_allclose(norm.running_mean.numpy(), means, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(norm.running_var.numpy(), variances, rtol=1e-5)
    assert norm.num_batches_tracked.item() == model[4].num_batches_tracked.item() == 3
    assert norm.momentum == momentum and model[4].momentum == 0.1
    assert not model.training
    for name, p in model.named_parameters():
        np.testing.assert_array_equal(p.numpy(), before[name])
    swa_utils.update_bn(iter(()), nn.Linear(2, 2))  # nothing to do


def test_an_average_with_its_own_statistics_is_used_for_inference():
    fnn.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    average = swa_utils.AveragedModel(model)
    x = fnn.randn(50, 3)
    for _ in range(3):
        with fnn.no_grad():
            model[0].weight.copy_(fnn.randn(4, 3))
        model(x)
        average.update_parameters(model)
    swa_utils.update_bn([x], average)
    y = average.eval()(x).numpy()
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(0, ddof=1), 1, rtol=1e-3)


def test_errors():
    with pytest.raises(TypeError, match="model must be a Module, got int"):
        swa_utils.AveragedModel(3)
    with pytest.raises(TypeError, match="multi_avg_fn must be callable"):
        swa_utils.AveragedModel(Counter(), 0.9)
    with pytest.raises(ValueError, match="decay must be finite"):
        swa_utils.get_ema_multi_avg_fn(1.5)
    average = swa_utils.AveragedModel(Counter())
    with pytest.raises(RuntimeError, match="unexpected"):
        average.update_parameters(nn.Linear(2, 2))
