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


class Norm(nn.Module):
    """The running mean of batch normalization, without the rest."""

    def __init__(self):
        self.momentum = 0.1
        self.register_buffer("running_mean", fnn.full(2, np.nan))
        self.register_buffer("running_var", fnn.ones(2))
        self.register_buffer("num_batches_tracked", fnn.tensor(7))

    def forward(self, x):
        if self.training:
            self.num_batches_tracked += 1
            share = (
                1.0 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
            )
            self.running_mean += (x.mean(0) - self.running_mean) * share
        return x


def test_statistics_are_taken_anew():
    model = nn.Sequential(Norm(), nn.Linear(2, 1)).eval()
    batches = [np.full((4, 2), v, np.float32) for v in (1.0, 2.0, 6.0)]
    swa_utils.update_bn([(x, None) for x in batches], model)
    norm = model[0]
    assert norm.running_mean.tolist() == [3.0, 3.0]
    assert norm.momentum == 0.1 and not model.training
    swa_utils.update_bn(iter(()), nn.Linear(2, 2))  # nothing to do


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
