"""Agreement with PyTorch, where it is installed: outputs, gradients and steps of whole networks."""

import numpy as np
import pytest

import fastnn as fnn
from fastnn import models, nn, optim

torch = pytest.importorskip("torch")
F = torch.nn.functional

ACTIVATIONS = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}


def convnet(parameters, x, activation):
    """`models.demo_convnet` in PyTorch, on our layouts."""
    w1, b1, w2, b2, w3, b3, w4, b4 = parameters
    h = x.permute(0, 3, 1, 2)
    for w, b in ((w1, b1), (w2, b2)):
        h = F.max_pool2d(activation(F.conv2d(h, w.permute(0, 3, 1, 2), b, padding=1)), 2)
    h = h.permute(0, 2, 3, 1).flatten(1)
    return F.linear(activation(F.linear(h, w3, b3)), w4, b4)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_three_steps_of_training_agree(name):
    fnn.manual_seed(0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 28, 28, 1))
    t = rng.integers(0, 10, 4)
    model = models.demo_convnet(activation=name).double()
    theirs = [torch.tensor(p.numpy().copy(), requires_grad=True) for p in model.parameters()]
    options = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3, "nesterov": True}
    ours = optim.SGD(model.parameters(), **options)
    peer = torch.optim.SGD(theirs, **options)
    for _ in range(3):
        ours.zero_grad()
        peer.zero_grad()
        loss = nn.CrossEntropyLoss()(model(x), t)
        peer_loss = F.cross_entropy(
            convnet(theirs, torch.tensor(x), ACTIVATIONS[name]), torch.tensor(t)
        )
        loss.backward()
        peer_loss.backward()
        np.testing.assert_allclose(loss.item(), peer_loss.item(), rtol=1e-10)
        for p, q in zip(model.parameters(), theirs, strict=True):
            np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-7, atol=1e-12)
        ours.step()
        peer.step()
    for p, q in zip(model.parameters(), theirs, strict=True):
        np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.1},
        {"lr": 0.1, "momentum": 0.9},
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.3},
        {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.01},
        {"lr": 0.1, "momentum": 0.8, "nesterov": True},
    ],
)
def test_sgd_agrees(options):
    rng = np.random.default_rng(1)
    start = rng.standard_normal((7, 3)).astype(np.float32)
    p = nn.Parameter(fnn.tensor(start))
    q = torch.tensor(start, requires_grad=True)
    ours, peer = optim.SGD([p], **options), torch.optim.SGD([q], **options)
    for _ in range(5):
        g = rng.standard_normal((7, 3)).astype(np.float32)
        p.grad, q.grad = fnn.tensor(g), torch.tensor(g)
        ours.step()
        peer.step()
    np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=2e-6, atol=1e-7)


def test_gains_and_defaults_agree():
    for name in ("linear", "sigmoid", "tanh", "relu", "leaky_relu"):
        assert fnn.init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))
    assert fnn.init.calculate_gain("leaky_relu", 0.3) == pytest.approx(
        torch.nn.init.calculate_gain("leaky_relu", 0.3)
    )
    group = {k: v for k, v in torch.optim.SGD([torch.zeros(1)]).param_groups[0].items()}
    for name, value in optim.SGD([fnn.zeros(1)]).defaults.items():
        assert group.get(name, 0) == value  # l1 is ours


@pytest.mark.parametrize("momentum", [0.1, None])
def test_batch_norm_agrees(momentum):
    rng = np.random.default_rng(2)
    ours = nn.BatchNorm2d(5, momentum=momentum).double()
    peer = torch.nn.BatchNorm2d(5, momentum=momentum, dtype=torch.float64)
    weight, bias = rng.standard_normal((2, 5))
    ours.load_state_dict({"weight": weight, "bias": bias}, strict=False)
    peer.load_state_dict({"weight": torch.tensor(weight), "bias": torch.tensor(bias)}, strict=False)
    for training in (True, True, False):
        ours.train(training)
        peer.train(training)
        data, dy = rng.standard_normal((2, 3, 4, 6, 5)) * 2 + 1
        x = fnn.tensor(data, requires_grad=True)
        q = torch.tensor(data, requires_grad=True)
        y, z = ours(x), peer(q.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        ours.zero_grad()
        peer.zero_grad()
        y.backward(dy)
        z.backward(torch.tensor(dy))
        pairs = [(y, z), (x.grad, q.grad), (ours.weight.grad, peer.weight.grad),
                 (ours.bias.grad, peer.bias.grad), (ours.running_mean, peer.running_mean),
                 (ours.running_var, peer.running_var)]  # fmt: skip
        for a, b in pairs:
            np.testing.assert_allclose(
                a.detach().numpy(), b.detach().numpy(), rtol=1e-10, atol=1e-12
            )
        assert ours.num_batches_tracked.item() == peer.num_batches_tracked.item()


WEIGHT = np.array([0.5, 2.0, 0.0, 1.5, 3.0])
LOSSES = [
    ("MSELoss", "values", {}), ("L1Loss", "values", {}),
    ("SmoothL1Loss", "values", {}), ("SmoothL1Loss", "values", {"beta": 0.3}),
    ("SmoothL1Loss", "values", {"beta": 0.0}),
    ("BCEWithLogitsLoss", "shares", {}),
    ("BCEWithLogitsLoss", "shares", {"weight": WEIGHT, "pos_weight": WEIGHT + 1}),
    ("NLLLoss", "labels", {}), ("NLLLoss", "labels", {"weight": WEIGHT}),
    ("MultiMarginLoss", "labels", {}), ("MultiMarginLoss", "labels", {"p": 2, "margin": 0.4}),
    ("MultiMarginLoss", "labels", {"weight": WEIGHT}),
    ("MultiMarginLoss", "labels", {"p": 2, "margin": 2.0, "weight": WEIGHT}),
    *[
        ("CrossEntropyLoss", target, {**smoothing, **weight})
        for target in ("labels", "shares")
        for smoothing in ({}, {"label_smoothing": 0.2}, {"label_smoothing": 1.0})
        for weight in ({}, {"weight": WEIGHT})
    ],
]  # fmt: skip


def test_every_loss_is_compared():
    assert {name for name, _, _ in LOSSES} == {name for name in nn.__all__ if name.endswith("Loss")}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("name", "kind", "options"), LOSSES)
def test_losses_agree(name, kind, options, reduction):
    rng = np.random.default_rng(6)
    start = 3 * rng.standard_normal((17, 5))
    target = {
        "values": rng.standard_normal(start.shape),
        "shares": rng.dirichlet(np.ones(5), 17),
        "labels": rng.integers(0, 5, 17),
    }[kind]
    ours = getattr(nn, name)(**options, reduction=reduction)
    theirs = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    peer = getattr(torch.nn, name)(**theirs, reduction=reduction)
    x, q = fnn.tensor(start, requires_grad=True), torch.tensor(start, requires_grad=True)
    loss, peer_loss = ours(x, fnn.tensor(target)), peer(q, torch.tensor(target))
    np.testing.assert_allclose(loss.detach().numpy(), peer_loss.detach().numpy(), rtol=1e-12)
    dy = rng.uniform(0.5, 1.5, peer_loss.shape)
    loss.backward(np.asarray(dy))
    peer_loss.backward(torch.tensor(dy))
    np.testing.assert_allclose(x.grad.numpy(), q.grad.numpy(), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
def test_binary_cross_entropy_with_logits_agrees(reduction, weighted):
    rng = np.random.default_rng(5)
    start = np.concatenate([rng.normal(size=(6, 4)), [[-800.0, -30.0, 30.0, 800.0]]])
    target = rng.uniform(size=start.shape)
    terms = {"weight": rng.uniform(size=4), "pos_weight": rng.uniform(0.5, 3, 4)}
    terms = terms if weighted else {}
    x = fnn.tensor(start, requires_grad=True)
    peer = torch.tensor(start, requires_grad=True)
    loss = fnn.functional.binary_cross_entropy_with_logits(
        x, fnn.tensor(target), reduction=reduction, **terms
    )
    peer_loss = F.binary_cross_entropy_with_logits(
        peer, torch.tensor(target), reduction=reduction,
        **{name: torch.tensor(value) for name, value in terms.items()},
    )  # fmt: skip
    loss.sum().backward()
    peer_loss.sum().backward()
    np.testing.assert_allclose(loss.numpy(), peer_loss.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(x.grad.numpy(), peer.grad.numpy(), rtol=1e-12, atol=1e-15)
