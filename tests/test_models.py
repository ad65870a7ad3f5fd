"""Models: shapes, sizes, activations, errors, and that they learn."""

import math

import numpy as np
import pytest

import fastnn as fnn
from fastnn import models, nn, optim

SHAPES = {
    "cifar_quick": (32, 32, 3),
    "demo_convnet": (28, 28, 1),
    "lenet5": (28, 28, 1),
    "mlp": (28, 28, 1),
}
PARAMETERS = {
    "cifar_quick": 145_578,
    "demo_convnet": 160 + 4640 + 1568 * 64 + 64 + 650,
    "lenet5": 416 + 12_832 + 800 * 120 + 120 + 120 * 84 + 84 + 850,
    "mlp": 785 * 512 + 513 * 256 + 257 * 10,
}


def test_names():
    assert models.names() == sorted(SHAPES)


@pytest.mark.parametrize("name", SHAPES)
def test_sizes(name):
    model = models.get(name)
    assert isinstance(model, nn.Sequential)
    summary = model.summary(SHAPES[name])
    assert summary.parameters == PARAMETERS[name]
    assert summary.rows[-1].output_shape == (10,)


def test_cifar_quick_is_the_one_of_the_targets():
    model = models.cifar_quick()
    convs = [m for m in model if isinstance(m, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size, c.padding) for c in convs] == [
        (3, 32, (5, 5), (2, 2)), (32, 32, (5, 5), (2, 2)), (32, 64, (5, 5), (2, 2))
    ]  # fmt: skip
    assert [m.weight.shape for m in model if isinstance(m, nn.Linear)] == [(64, 1024), (10, 64)]
    assert model.summary((32, 32, 3)).flops == 2 * (
        1024 * 32 * 75 + 256 * 32 * 800 + 64 * 64 * 800 + 1024 * 64 + 640
    )


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("activation", nn.activation.names())
def test_first_loss_is_that_of_a_guess_and_every_parameter_gets_a_gradient(name, activation):
    fnn.manual_seed(0)
    model = models.get(name, activation=activation)
    x = np.random.default_rng(0).standard_normal((16, *SHAPES[name])).astype(np.float32)
    loss = nn.CrossEntropyLoss()(model(x), np.arange(16) % 10)
    assert loss.item() == pytest.approx(math.log(10), abs=0.25)
    loss.backward()
    for parameter_name, p in model.named_parameters():
        assert p.grad.numpy().any(), parameter_name


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_a_batch_is_learned_by_heart(activation):
    fnn.manual_seed(0)
    model = models.mlp(20, (32,), 4, activation)
    x = np.random.default_rng(0).standard_normal((32, 20)).astype(np.float32)
    t = np.arange(32) % 4
    optimizer = optim.SGD(model.parameters(), 0.1, 0.9)
    for _ in range(200):
        optimizer.zero_grad()
        loss = nn.CrossEntropyLoss()(model(x), t)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    assert (model(x).argmax(1).numpy() == t).all()


def test_arguments():
    model = models.lenet5(num_classes=3, in_channels=2, activation=lambda: nn.LeakyReLU(0.2))
    assert model(np.zeros((1, 28, 28, 2), np.float32)).shape == (1, 3)
    acts = [m for m in model if isinstance(m, nn.LeakyReLU)]
    assert len(set(acts)) == 4
    prelu = models.mlp(4, (8, 8), 2, nn.PReLU)
    assert len(list(prelu.parameters())) == 6 + 2
    assert len(models.mlp(4, (), 2)) == 2


def test_errors():
    with pytest.raises(ValueError, match=r"cifar_quick, demo_convnet, lenet5, mlp, got 'lenet'"):
        models.get("lenet")
    with pytest.raises(TypeError, match=r"lenet5 takes .* not take 'depth'"):
        models.get("lenet5", depth=3)
    with pytest.raises(ValueError, match=r"relu, .*got 'rellu'"):
        models.mlp(activation="rellu")
    with pytest.raises(ValueError, match=r"\(N, 28, 28, 1\), got \(2, 32, 32, 3\)"):
        models.lenet5()(np.zeros((2, 32, 32, 3), np.float32))
    with pytest.raises(ValueError, match="784 input features, x has 3072"):
        models.mlp()(np.zeros((2, 32, 32, 3), np.float32))
