"""Module: registration, state, modes, hooks, description."""

import copy
import pickle

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn


class Net(nn.Module):
    def __init__(self) -> None:
        self.first = nn.Linear(3, 4)
        self.scale = nn.Parameter(fnn.ones(4))
        self.register_buffer("seen", fnn.tensor([0]))
        self.register_buffer("scratch", fnn.zeros(2), persistent=False)
        self.rest = nn.ModuleList([nn.Linear(4, 4), nn.Dropout(0.5)])
        self.note = "not a parameter"

    def forward(self, x):
        x = self.first(x) * self.scale
        for layer in self.rest:
            x = layer(x)
        return x


def test_registration_by_attribute():
    net = Net()
    names = ["scale", "first.weight", "first.bias", "rest.0.weight", "rest.0.bias"]
    assert [name for name, _ in net.named_parameters()] == names
    assert [name for name, _ in net.named_buffers()] == ["seen", "scratch"]
    assert [name for name, _ in net.named_modules()] == ["", "first", "rest", "rest.0", "rest.1"]
    assert list(net.children()) == [net.first, net.rest]
    assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in net.parameters())
    assert len(list(net.parameters(recurse=False))) == 1


def test_shared_modules_and_parameters_count_once():
    net = nn.Module()
    net.a = nn.Linear(2, 2)
    net.b = net.a
    net.c = nn.Linear(2, 2)
    net.c.weight = net.a.weight
    assert len(list(net.parameters())) == 3
    assert len(list(net.modules())) == 3
    assert "b.weight" in net.state_dict()


def test_parameter_checks_and_is_not_replaced_by_a_plain_tensor():
    layer = nn.Linear(2, 2)
    with pytest.raises(TypeError, match="weight is a Parameter"):
        layer.weight = layer.weight * 2
    layer.weight = nn.Parameter(fnn.zeros(2, 2))
    layer.bias = None
    assert layer(fnn.ones(1, 2)).tolist() == [[0.0, 0.0]]
    with pytest.raises(TypeError, match="int64"):
        nn.Parameter(fnn.tensor([1]))
    assert not nn.Parameter(fnn.zeros(1), requires_grad=False).requires_grad


def test_buffer_names_are_checked():
    net = Net()
    for name in ("", "a.b", 3):
        with pytest.raises(ValueError, match="register_buffer"):
            net.register_buffer(name, fnn.zeros(1))
    with pytest.raises(ValueError, match="already has 'first'"):
        net.register_buffer("first", fnn.zeros(1))
    with pytest.raises(TypeError, match="expected a Tensor"):
        net.register_buffer("new", np.zeros(1))


def test_train_and_eval_reach_everything():
    net = Net()
    assert net.training
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    x = fnn.ones(2, 3)
    np.testing.assert_array_equal(net(x).numpy(), net(x).numpy())
    assert net.train().rest[1].training
    with pytest.raises(TypeError, match="mode"):
        net.train(1)


def test_zero_grad_and_freezing():
    net = Net()
    net.first.requires_grad_(False)
    net(fnn.ones(2, 3)).sum().backward()
    assert net.first.weight.grad is None
    assert net.scale.grad is not None
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_apply_visits_children_first():
    seen = []
    net = Net()
    assert net.apply(lambda m: seen.append(type(m).__name__)) is net
    assert seen[-1] == "Net"
    assert sorted(seen) == ["Dropout", "Linear", "Linear", "ModuleList", "Net"]


def test_dtype_conversion_keeps_identity_and_converts_gradients():
    net = Net()
    parameters = list(net.parameters())
    net(fnn.ones(2, 3)).sum().backward()
    net.double()
    assert list(net.parameters()) == parameters
    assert all(p.dtype == "float64" for p in parameters)
    assert net.scale.grad.dtype == "float64"
    assert net.seen.dtype == "int64"
    assert net.scratch.dtype == "float64"
    assert net(fnn.ones(2, 3, dtype="float64")).dtype == "float64"
    assert net.float().scale.dtype == "float32"
    with pytest.raises(TypeError, match="float32 or float64, got int64"):
        net.to_dtype("int64")


# --- state ------------------------------------------------------------------------------------


def test_state_dict_goes_round():
    fnn.manual_seed(1)
    a, b = Net(), Net()
    state = a.state_dict()
    assert list(state) == [
        "scale", "seen", "first.weight", "first.bias", "rest.0.weight", "rest.0.bias"
    ]  # fmt: skip
    assert not any(t.requires_grad for t in state.values())
    assert np.shares_memory(state["first.weight"].numpy(), a.first.weight.numpy())
    assert b.load_state_dict(state) == ([], [])
    for name, value in b.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), state[name].numpy())
    assert not np.shares_memory(b.first.weight.numpy(), a.first.weight.numpy())
    b.load_state_dict({name: value.numpy() for name, value in state.items()})


def test_load_state_dict_lists_everything_wrong_and_changes_nothing():
    net = Net()
    before = {name: t.numpy().copy() for name, t in net.state_dict().items()}
    state = {name: np.full_like(a, 7) for name, a in before.items()}
    del state["first.bias"]
    state["extra"] = np.zeros(1, np.float32)
    state["scale"] = np.zeros(5, np.float32)
    state["rest.0.bias"] = np.zeros(4)
    with pytest.raises(RuntimeError) as error:
        net.load_state_dict(state)
    for part in (
        "missing: first.bias", "unexpected: extra", "scale must have shape (4,), got (5,)",
        "rest.0.bias must be float32, got float64",
    ):  # fmt: skip
        assert part in str(error.value)
    for name, t in net.state_dict().items():
        np.testing.assert_array_equal(t.numpy(), before[name])
    with pytest.raises(TypeError, match="mapping"):
        net.load_state_dict([1])


def test_load_without_strict_reports_and_loads_the_rest():
    net = Net()
    result = net.load_state_dict({"scale": np.full(4, 3, np.float32), "x": fnn.zeros(1)}, False)
    assert result.unexpected_keys == ["x"]
    assert "first.weight" in result.missing_keys
    assert net.scale.tolist() == [3.0] * 4


def test_loading_invalidates_a_recorded_graph():
    net = nn.Linear(2, 2)
    y = net(fnn.ones(1, 2, requires_grad=True)).sum()
    net.load_state_dict(net.state_dict())
    with pytest.raises(RuntimeError, match="modified in place"):
        y.backward()


def test_deepcopy_and_pickle_are_independent_and_keep_sharing():
    net = Net()
    net.again = net.first
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert other.again is other.first
        assert isinstance(other.scale, nn.Parameter)
        np.testing.assert_array_equal(other.first.weight.numpy(), net.first.weight.numpy())
        with fnn.no_grad():
            other.first.weight.zero_()
        assert net.first.weight.numpy().any()


# --- hooks ------------------------------------------------------------------------------------


def test_forward_hooks_see_and_replace():
    layer = nn.Linear(2, 2)
    seen = []
    pre = layer.register_forward_pre_hook(lambda m, args: (args[0] * 2,))
    post = layer.register_forward_hook(lambda m, args, out: seen.append((m, args[0].tolist())))
    double = layer.register_forward_hook(lambda m, args, out: out * 10)
    x = fnn.ones(1, 2)
    hooked = layer(x)
    assert seen == [(layer, [[2.0, 2.0]])]
    for handle in (pre, post, double):
        handle.remove()
    assert not layer.has_hooks()
    np.testing.assert_allclose(hooked.numpy(), 10 * layer(x * 2).numpy(), rtol=1e-6)
    assert len(seen) == 1
    with pytest.raises(TypeError, match="callable"):
        layer.register_forward_hook(None)


def test_full_backward_hook_sees_gradients_of_this_use_only():
    layer = nn.Linear(2, 3)
    seen = []
    layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi[0].numpy(), go[0].numpy())))
    x = fnn.tensor([[1.0, 2.0]], requires_grad=True)
    weights = np.array([[1.0, 2.0, 3.0]], np.float32)
    (layer(x) * weights + x.sum()).sum().backward()
    ((grad_input, grad_output),) = seen
    np.testing.assert_allclose(grad_output, weights)
    np.testing.assert_allclose(grad_input, weights @ layer.weight.numpy(), rtol=1e-6)
    np.testing.assert_allclose(x.grad.numpy(), grad_input + 3, rtol=1e-6)


def test_full_backward_hook_replaces_and_copes_without_input_gradient():
    layer, calls = nn.Linear(2, 3), []
    handle = layer.register_full_backward_hook(lambda m, gi, go: (gi[0] * 0,))
    x = fnn.ones(1, 2, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.tolist() == [[0.0, 0.0]]
    assert layer.weight.grad.numpy().any()
    handle.remove()
    layer.register_full_backward_hook(lambda m, gi, go: calls.append((gi, go[0].shape)))
    layer(fnn.ones(1, 2)).sum().backward()
    assert calls == [((None,), (1, 3))]
    with fnn.no_grad():
        layer(x)
    assert len(calls) == 1


def test_full_backward_hook_on_several_arguments():
    class Product(nn.Module):
        def forward(self, a, b):
            return a * b

    product, seen = Product(), []
    product.register_full_backward_hook(lambda m, gi, go: seen.append([g.item() for g in gi]))
    a, b = fnn.tensor([2.0], requires_grad=True), fnn.tensor([5.0], requires_grad=True)
    product(a, b).backward()
    assert seen == [[5.0, 2.0]]
    product.register_full_backward_hook(lambda m, gi, go: gi)
    with pytest.raises(RuntimeError, match="single argument"):
        product(a, b).backward()


# --- description ------------------------------------------------------------------------------


def test_repr_is_pytorchs():
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1, bias=False),
        nn.Residual(nn.Linear(2, 2), activation="relu"),
        nn.LeakyReLU(0.2),
        nn.MaxPool2d(2),
    )
    assert repr(net).splitlines() == [
        "Sequential(",
        "  (0): Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)",
        "  (1): Residual(",
        "    (body): Linear(in_features=2, out_features=2, bias=True)",
        "    (activation): ReLU()",
        "  )",
        "  (2): LeakyReLU(negative_slope=0.2)",
        "  (3): MaxPool2d(kernel_size=(2, 2), stride=(2, 2), padding=(0, 0))",
        ")",
    ]


def test_forward_must_be_defined():
    with pytest.raises(NotImplementedError, match="Module: forward"):
        nn.Module()(1)


def test_summary_figures():
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 10)
    )
    net[4].train(False)
    net[0].requires_grad_(False)
    summary = net.summary((8, 8, 3))
    assert [row.kind for row in summary.rows] == [
        "Conv2d",
        "ReLU",
        "MaxPool2d",
        "Flatten",
        "Linear",
    ]
    assert [row.output_shape for row in summary.rows] == [
        (8, 8, 8), (8, 8, 8), (4, 4, 8), (128,), (10,)
    ]  # fmt: skip
    assert [row.parameters for row in summary.rows] == [3 * 9 * 8 + 8, 0, 0, 0, 1290]
    assert [row.flops for row in summary.rows] == [2 * 64 * 8 * 27, 0, 0, 0, 2 * 1280]
    assert [row.activation_bytes for row in summary.rows] == [2048, 2048, 512, 0, 40]
    assert summary.parameters == 224 + 1290
    assert summary.trainable_parameters == 1290
    text = str(summary)
    assert "4 (Linear)" in text
    assert "27,648" in text
    assert "224 of the parameters are frozen" in text
    # Nothing is left behind.
    assert (net.training, net[0].training, net[4].training) == (True, True, False)
    assert not any(m.has_hooks() for m in net.modules())


def test_summary_counts_shared_parameters_once_and_checks_its_argument():
    layer = nn.Linear(4, 4)
    summary = nn.Sequential(layer, nn.Tanh(), nn.Residual(nn.Linear(4, 4))).summary((4,))
    assert summary.parameters == 40
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    assert [row.parameters for row in tied.summary((4,)).rows] == [20, 4]
    for bad in ((), (0, 3), (2.5,)):
        with pytest.raises(ValueError, match="input_shape"):
            layer.summary(bad)
    with pytest.raises(ValueError, match="input features"):
        layer.summary((5,))
    assert not layer.has_hooks()


class _Halves(nn.Module):
    def forward(self, x, scale=1.0):
        return x[:, :2] * scale, x[:, 2:]


class _Keywords(nn.Module):
    def __init__(self):
        self.halves, self.linear = _Halves(), nn.Linear(2, 3)

    def forward(self, x):
        return self.linear(x=self.halves(x=x, scale=2.0)[1])


def test_summary_of_tuples_and_keywords_leaves_no_hooks():
    model = _Keywords()
    table = model.summary((4,))
    assert [row.output_shape for row in table.rows] == [(2,), (3,)]
    assert [row.activation_bytes for row in table.rows] == [16, 12]
    assert [row.flops for row in table.rows] == [0, 12]
    assert all(module._hooks is None for module in model.modules())
    handle = model.linear.register_forward_hook(lambda *_: None)
    model.summary((4,))
    assert model.linear.has_hooks()
    handle.remove()
