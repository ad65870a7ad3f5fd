"""Sequential and its fusion, ModuleList, Residual."""

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn
from fastnn.nn import container

ACTIVATIONS = [nn.ReLU, nn.Sigmoid, nn.Tanh, nn.LeakyReLU, nn.ELU, nn.PReLU]


def run(model, x, weights):
    x = fnn.tensor(x, requires_grad=True)
    model.zero_grad()
    y = model(x)
    y.backward(weights)
    return [t.numpy().copy() for t in (y, x.grad, *(p.grad for p in model.parameters()))]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ACTIVATIONS)
@pytest.mark.parametrize("host", ["linear", "conv", "depthwise", "no bias"])
def test_fused_and_unfused_give_the_same_bits(host, kind, dtype, monkeypatch):
    fnn.manual_seed(2)
    rng = np.random.default_rng(0)
    layer, shape = {
        "linear": (nn.Linear(19, 35), (33, 19)),
        "no bias": (nn.Linear(19, 35, bias=False), (33, 19)),
        "conv": (nn.Conv2d(3, 18, 3, stride=2, padding=1), (3, 9, 7, 3)),
        "depthwise": (nn.Conv2d(5, 5, 3, groups=5, padding=1), (2, 8, 7, 5)),
    }[host]
    model = nn.Sequential(layer, kind()).to_dtype(dtype)
    x = rng.standard_normal(shape).astype(dtype)
    weights = rng.standard_normal(model(x).shape).astype(dtype)
    fused = run(model, x, weights)
    handle = layer.register_forward_hook(lambda m, args, out: None)
    unfused = run(model, x, weights)
    handle.remove()
    assert len(fused) == len(unfused) >= 3
    for a, b in zip(fused, unfused, strict=True):
        assert a.tobytes() == b.tobytes()


def count_fused(model, x, monkeypatch):
    calls = []
    for kind in (nn.Linear, nn.Conv2d):
        plain = kind.forward_act
        monkeypatch.setattr(
            kind,
            "forward_act",
            lambda self, x, act, plain=plain: calls.append(act) or plain(self, x, act),
        )
    model(x)
    monkeypatch.undo()
    return [act[0] for act in calls if act is not None]


def test_neighbours_are_fused_unless_a_hook_or_another_type_is_in_the_way(monkeypatch):
    class MyReLU(nn.ReLU):
        pass

    a, act, b = nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)
    x = fnn.ones(2, 4)
    assert count_fused(nn.Sequential(a, act, b, nn.Tanh()), x, monkeypatch) == ["relu", "tanh"]
    assert count_fused(nn.Sequential(a, MyReLU()), x, monkeypatch) == []
    assert count_fused(nn.Sequential(a, nn.Dropout(), act), x, monkeypatch) == []
    for hooked in (a, act):
        seen = []
        handle = hooked.register_forward_hook(lambda m, args, out, seen=seen: seen.append(out))
        assert count_fused(nn.Sequential(a, act), x, monkeypatch) == []
        assert len(seen) == 1
        handle.remove()
    assert count_fused(nn.Sequential(a, act), x, monkeypatch) == ["relu"]


def test_only_activations_that_keep_their_output_are_fused():
    assert {nn.ReLU, nn.Sigmoid, nn.Tanh} <= container._GUESTS
    assert not container._GUESTS & {nn.PReLU, nn.Softmax, nn.Identity}


def test_sequential_is_a_list():
    layers = [nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)]
    model = nn.Sequential(*layers)
    assert len(model) == 3
    assert list(model) == layers
    assert model[-1] is layers[-1]
    assert list(model[:2]) == layers[:2]
    assert isinstance(model[:2], nn.Sequential)
    model[1] = nn.Tanh()
    assert [type(m).__name__ for m in model] == ["Linear", "Tanh", "Linear"]
    assert model.append(nn.Identity()) is model
    assert [name for name, _ in model.named_children()] == ["0", "1", "2", "3"]
    with pytest.raises(IndexError):
        model[9]
    with pytest.raises(TypeError, match="Sequential: 0 must be a Module, got int"):
        nn.Sequential(3)


def test_names_from_a_dict():
    model = nn.Sequential({"one": nn.Linear(2, 2), "two": nn.ReLU()})
    assert [name for name, _ in model.named_parameters()] == ["one.weight", "one.bias"]
    model.append(nn.Identity())
    assert len(model) == 3
    with pytest.raises(ValueError, match="without"):
        nn.Sequential({"a.b": nn.ReLU()})
    with pytest.raises(ValueError, match="taken"):
        nn.Sequential({"forward": nn.ReLU()})


def test_one_layer_in_two_places_shares_its_weights():
    layer = nn.Linear(3, 3)
    model = nn.Sequential(layer, nn.Tanh(), layer)
    assert len(model) == 3
    x = fnn.randn(2, 3)
    np.testing.assert_array_equal(model(x).numpy(), layer(layer(x).tanh()).numpy())
    assert len(list(model.parameters())) == 2


def test_empty_sequential_is_the_identity():
    x = fnn.ones(2)
    assert nn.Sequential()(x) is x


def test_module_list_holds_but_does_not_call():
    layers = nn.ModuleList([nn.Linear(2, 2)]).extend([nn.Linear(2, 2), nn.ReLU()])
    assert len(layers) == 3
    assert len(list(layers.parameters())) == 4
    with pytest.raises(NotImplementedError, match="ModuleList"):
        layers(fnn.ones(1, 2))


def test_residual():
    body, shortcut = nn.Linear(3, 4), nn.Linear(3, 4)
    x = fnn.randn(2, 3)
    expected = np.maximum(body(x).numpy() + shortcut(x).numpy(), 0)
    np.testing.assert_array_equal(nn.Residual(body, shortcut, "relu")(x).numpy(), expected)
    square = nn.Linear(3, 3)
    np.testing.assert_array_equal(nn.Residual(square)(x).numpy(), square(x).numpy() + x.numpy())
    with pytest.raises(TypeError, match="body must be a Module"):
        nn.Residual(3)
    with pytest.raises(ValueError, match="relu"):
        nn.Residual(square, activation="rellu")
