"""detect_anomaly: the first operation that computes NaN or infinity, forward or backward."""

import math

import numpy as np
import pytest

import fastnn as fnn
from fastnn import functional as F
from fastnn import nn, optim
from fastnn.diagnostics import AnomalyError, detect_anomaly


def net():
    fnn.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))


def images():
    return np.random.default_rng(0).standard_normal((2, 8, 8, 1), dtype=np.float32)


def test_forward_names_layer_operation_shape_and_index():
    model = net()
    with fnn.no_grad():
        model[3].weight[2, 5] = math.inf
    with detect_anomaly(), pytest.raises(AnomalyError) as found:
        model(fnn.from_numpy(np.abs(images()) + 1))
    error = found.value
    assert (error.layer, error.op, error.backward) == ("3 (Linear)", "linear", False)
    assert error.shape == (2, 3) and error.index[1] == 2 and not math.isfinite(error.value)
    assert "an input of shape (3, 144) already had inf at index (2, 5)" in str(error)


def test_backward_names_what_computes_the_gradient():
    x = fnn.tensor([[4.0, 0.0]], requires_grad=True)
    with detect_anomaly():
        y = (x * 0.5).sqrt().sum()
        with pytest.raises(AnomalyError, match="sqrt backward gave inf at index") as found:
            y.backward()
    assert found.value.backward and found.value.index == (0, 1)


def test_input_is_met_by_the_first_layer_and_fused_layers_too():
    x = images()
    x[1, 4, 4, 0] = np.nan
    with detect_anomaly(), pytest.raises(AnomalyError) as found:
        net()(fnn.from_numpy(x))
    assert found.value.layer == "0 (Conv2d)" and found.value.index[0] == 1
    assert "(2, 8, 8, 1) already had nan at index (1, 4, 4, 0)" in str(found.value)


def test_healthy_steps_are_the_same_and_compiled_ones_are_searched():
    weights = []
    for search in (False, True):
        model = net()
        step = fnn.compile(model, F.cross_entropy, optim.SGD(model.parameters(), lr=0.1))
        x, y = images(), np.array([0, 2])
        step(x, y)
        if search:
            with detect_anomaly():
                step(x, y)
                with pytest.raises(AnomalyError, match=r"conv2d in 0 \(Conv2d\)"):
                    step(x * np.float32(np.nan), y)
        else:
            step(x, y)
        weights.append([p.numpy().tobytes() for p in model.parameters()])
    assert weights[0] == weights[1]


def test_it_ends_with_the_block_and_is_not_nested():
    with detect_anomaly():
        with pytest.raises(RuntimeError, match="searched already"), detect_anomaly():
            pass
        assert fnn.ones(3).sum().item() == 3.0
    assert not math.isfinite(fnn.zeros(1).log().item())
    with fnn.profile() as p, detect_anomaly(), pytest.raises(AnomalyError):
        fnn.zeros(1).log()
    assert {row.name for row in p.rows()} >= {"log"}
