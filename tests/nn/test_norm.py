"""Batch normalization layers: statistics, modes, files; large means; NaN; threads."""

import numpy as np
import pytest

import fastnn as fnn
from fastnn import functional as F
from fastnn import nn
from fastnn.ops import norm

RNG = np.random.default_rng(11)


def normal(*shape, dtype=np.float32):
    return RNG.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("momentum", [0.1, 0.75, None])
@pytest.mark.parametrize(("kind", "shape"), [
    (nn.BatchNorm1d, (6, 5)), (nn.BatchNorm1d, (3, 4, 5)), (nn.BatchNorm2d, (2, 3, 4, 5)),
])  # fmt: skip
def test_running_statistics(kind, shape, momentum):
    layer = kind(5, momentum=momentum)
    mean, var = np.zeros(5), np.ones(5)
    for step in range(1, 5):
        x = normal(*shape) * 3 + 2
        share = 1 / step if momentum is None else momentum
        rows = x.reshape(-1, 5).astype(np.float64)
        mean = (1 - share) * mean + share * rows.mean(0)
        var = (1 - share) * var + share * rows.var(0, ddof=1)
        layer(x)
        np.testing.assert_allclose(layer.running_mean.numpy(), mean, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(layer.running_var.numpy(), var, rtol=1e-6)
        assert layer.num_batches_tracked.item() == step
    before = {k: v.numpy().copy() for k, v in layer.state_dict().items()}
    y = layer.eval()(x).numpy()
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(var + 1e-5), rtol=1e-5, atol=1e-5)
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("channels", [3, 16, 1100])
def test_relu_again_gives_the_bits_of_relu_apart(dtype, training, channels):
    """Backward computes relu's mask from x; zeros, -0 and NaN in the result included."""
    x = normal(2, 3, 5, channels, dtype=dtype)
    weight, bias = normal(channels, dtype=dtype), normal(channels, dtype=dtype)
    weight[0], bias[0] = 0, -0.0
    weight[1], bias[1] = 1, np.nan
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    dy, found = normal(*x.shape, dtype=dtype), []
    for fused in (True, False):
        leaves = [fnn.tensor(a, requires_grad=True) for a in (x, weight, bias)]
        args = leaves[0], fnn.tensor(mean), fnn.tensor(var), *leaves[1:], training, 0.1, 1e-5
        y = norm.batch_norm_act(*args, ("relu", 0.0, 0.0), None) if fused else F.relu(
            F.batch_norm(*args))  # fmt: skip
        y.backward(dy)
        found.append([y.numpy(), *(t.grad.numpy() for t in leaves)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(np.signbit(a), np.signbit(b))


def test_options():
    plain = nn.BatchNorm1d(3, affine=False)
    assert [name for name, _ in plain.named_parameters()] == []
    untracked = nn.BatchNorm1d(3, track_running_stats=False)
    assert list(untracked.state_dict()) == ["weight", "bias"]
    x = normal(8, 3)
    np.testing.assert_array_equal(untracked(x).numpy(), untracked.eval()(x).numpy())
    np.testing.assert_array_equal(plain(x).numpy(), untracked(x).numpy())
    assert repr(nn.BatchNorm2d(3)) == (
        "BatchNorm2d(num_features=3, eps=1e-05, momentum=0.1, affine=True, "
        "track_running_stats=True)"
    )
    wide = nn.BatchNorm1d(3, eps=1.0)
    x64 = x.astype(np.float64)
    np.testing.assert_allclose(
        wide(x).numpy(), (x64 - x64.mean(0)) / np.sqrt(x64.var(0) + 1), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("offset", [0.0, 1000.0, -1e5])
def test_a_large_mean_does_not_cancel(offset):
    x = (offset + normal(3000, 17)).astype(np.float32)
    x64 = x.astype(np.float64)
    expected = (x64 - x64.mean(0)) / np.sqrt(x64.var(0) + 1e-5)
    layer = nn.BatchNorm1d(17)
    np.testing.assert_allclose(layer(x).numpy(), expected, rtol=1e-5, atol=2e-6)
    np.testing.assert_allclose(layer.running_var.numpy(), 0.9 + 0.1 * x64.var(0, ddof=1), rtol=1e-6)


def test_a_constant_channel_is_its_bias():
    x = np.broadcast_to(np.float32([1000.1, -3.3, 0.0]), (300, 3)).copy()
    layer = nn.BatchNorm1d(3)
    with fnn.no_grad():
        layer.bias.copy_(np.float32([1, 2, 3]))
    np.testing.assert_array_equal(layer(x).numpy(), np.tile(np.float32([1, 2, 3]), (300, 1)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("channels", [3, 17, 300])
def test_nan_stays_in_its_channel(channels, bad):
    x = normal(50, channels)
    x[13, channels - 1] = bad
    x = fnn.tensor(x, requires_grad=True)
    layer = nn.BatchNorm1d(channels)
    y = layer(x)
    y.backward(np.ones(y.shape, np.float32))
    for found in (y.numpy(), x.grad.numpy(), layer.running_var.numpy()[None]):
        assert np.isnan(found[:, -1]).all()
        assert np.isfinite(found[:, :-1]).all()


def test_errors():
    for call, message in (
        (lambda: nn.BatchNorm2d(3)(normal(4, 3)), r"x must be \(N, H, W, 3\), got shape \(4, 3\)"),
        (lambda: nn.BatchNorm1d(3)(normal(4, 4)), r"x must be \(N, 3\) or \(N, L, 3\), got"),
        (lambda: nn.BatchNorm1d(3)(normal(1, 3)), "more than one value per channel"),
        (lambda: nn.BatchNorm1d(0), "num_features must be at least 1"),
        (lambda: nn.BatchNorm1d(3, eps=-1), "eps must be positive"),
        (lambda: nn.BatchNorm1d(3, momentum=2), "momentum must be in"),
        (lambda: F.batch_norm(normal(4, 3), None, None), "running_mean and running_var are needed"),
        (lambda: F.batch_norm(normal(3), None, None, training=True), r"x must be \(N, ..., chan"),
        (lambda: F.batch_norm(normal(4, 3), None, None, normal(2), training=True),
         r"weight must have shape \(3,\), got \(2,\)"),
        (lambda: F.batch_norm(normal(4, 3), normal(3), normal(4)), r"running_var must have shape"),
        (lambda: F.batch_norm(normal(4, 3), None, None, eps=-1, training=True), "eps must be at"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="x is float32, bias is float64"):
        F.batch_norm(normal(4, 3), None, None, bias=np.ones(3), training=True)
    with pytest.raises(TypeError, match="must be float32 or float64, got int64"):
        F.batch_norm(np.ones((4, 3), int), None, None, training=True)


def test_a_refused_call_leaves_the_statistics_alone():
    mean, var = np.zeros(3, np.float32), np.ones(3, np.float32)
    with pytest.raises(ValueError, match="bias"):
        F.batch_norm(normal(4, 3), mean, var, None, normal(2), training=True)
    layer = nn.BatchNorm1d(3)
    with pytest.raises(TypeError):
        layer(normal(4, 3, dtype=np.float64))
    assert layer.num_batches_tracked.item() == 0
    for m, v in ((mean, var), (layer.running_mean.numpy(), layer.running_var.numpy())):
        assert not m.any() and (v == 1).all()
    mean.flags.writeable = False
    with pytest.raises(ValueError, match="running_mean is read-only"):
        F.batch_norm(normal(4, 3), mean, var, training=True)


def test_an_empty_batch_passes():
    layer = nn.BatchNorm2d(3)
    x = fnn.tensor(normal(0, 4, 4, 3), requires_grad=True)
    y = layer(x)
    assert y.shape == (0, 4, 4, 3)
    y.sum().backward()
    assert x.grad.shape == x.shape
    assert not layer.weight.grad.numpy().any()
    assert not layer.running_mean.numpy().any()


def test_one_value_per_channel_is_fine_in_eval_mode():
    layer = nn.BatchNorm1d(3).eval()
    x = normal(1, 3)
    np.testing.assert_allclose(layer(x).numpy(), x / np.sqrt(1 + 1e-5), rtol=1e-6)


def test_state_dict_and_file(tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, momentum=None), nn.ReLU())
    model(normal(2, 6, 6, 1))
    assert list(model.state_dict()) == [
        "0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var",
        "1.num_batches_tracked",
    ]  # fmt: skip
    fnn.save(model, tmp_path / "model.safetensors")
    again = fnn.load(tmp_path / "model.safetensors")
    x = normal(2, 6, 6, 1)
    assert again[1].momentum is None
    assert again[1].num_batches_tracked.item() == 1
    np.testing.assert_array_equal(again.eval()(x).numpy(), model.eval()(x).numpy())
    double = nn.BatchNorm2d(4).double()
    assert double.running_mean.dtype == np.float64
    assert double.num_batches_tracked.dtype == np.int64


def test_summary_counts_weights_but_not_statistics():
    summary = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).summary((3,))
    assert [row.parameters for row in summary.rows] == [16, 8]
    assert summary.rows[1].output_shape == (4,)


def test_gradients_through_both_modes():
    x = normal(6, 3, dtype=np.float64)
    layer = nn.BatchNorm1d(3, momentum=0.0).double()
    with fnn.no_grad():
        layer.weight.copy_(np.array([0.5, -1.5, 2.0]))
        layer.running_mean.copy_(np.array([0.5, -0.5, 0.1]))
    weights = normal(6, 3, dtype=np.float64)
    for mode in (True, False):
        fnn.gradcheck(lambda t, mode=mode: (layer.train(mode)(t) * weights).sum(), [x])


def test_the_gradient_is_refused_where_x_was_written_to():
    x = fnn.tensor(normal(4, 3), requires_grad=True)
    z = x * 1
    y = nn.BatchNorm1d(3)(z)
    with fnn.no_grad():
        z.copy_(normal(4, 3))
    with pytest.raises(RuntimeError, match="an input of batch_norm was modified"):
        y.sum().backward()


def randomize(model):
    """Weights and statistics that are all different."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            n = module.num_features
            with fnn.no_grad():
                module.weight.copy_(RNG.uniform(0.5, 2, n).astype(module.weight.dtype))
                module.bias.copy_(normal(n, dtype=module.bias.dtype))
                module.running_mean.copy_(normal(n, dtype=module.bias.dtype))
                module.running_var.copy_(RNG.uniform(0.5, 2, n).astype(module.bias.dtype))
    return model


def both_ways(model, x, weights, hooked, fused="batch_norm"):
    """Value, gradients and buffers, fused (into the operation of that name) and with hooks."""
    results = []
    start = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    for hooks in ([], hooked):
        model.load_state_dict(start)
        seen = []
        handles = [
            h.register_forward_hook(lambda m, a, out, seen=seen: seen.append(out)) for h in hooks
        ]
        model.zero_grad()
        t = fnn.tensor(x, requires_grad=True)
        y = model(t)
        assert fused is None or (y._node.name == fused) is not bool(hooks)
        y.backward(weights)
        tensors = [y, t.grad, *(p.grad for p in model.parameters()), *model.buffers()]
        results.append([t.numpy().copy() for t in tensors])
        assert len(seen) == len(hooks)
        for handle in handles:
            handle.remove()
    for a, b in zip(*results, strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", [nn.ReLU, nn.Sigmoid, nn.Tanh, nn.LeakyReLU, nn.ELU])
def test_fused_activation_gives_the_same_bits(kind, training):
    for dtype, shape in (("float32", (3, 9, 7, 17)), ("float64", (2, 5, 4, 3))):
        model = nn.Sequential(nn.BatchNorm2d(shape[-1]), kind()).to_dtype(dtype).train(training)
        randomize(model)
        both_ways(model, normal(*shape, dtype=dtype), normal(*shape, dtype=dtype), [model[0]])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation", [None, "relu", "tanh", "prelu"])
@pytest.mark.parametrize("shortcut", [False, True])
def test_fused_sum_gives_the_same_bits(shortcut, activation, training):
    def make(c, k):
        return nn.Conv2d(c, k, 3, padding=1, bias=False), nn.BatchNorm2d(k)

    k = 7 if shortcut else 5
    body = nn.Sequential(*make(5, 6), nn.ReLU(), *make(6, k))
    skip = nn.Sequential(nn.Conv2d(5, k, 1), nn.BatchNorm2d(k)) if shortcut else None
    model = randomize(nn.Residual(body, skip, activation)).train(training)
    x, weights = normal(3, 6, 5, 5), normal(3, 6, 5, k)
    assert model.last_host() is body[-1]
    fused = None if activation == "prelu" else "batch_norm"
    both_ways(model, x, weights, [body[-1]], fused)
    both_ways(model, x, weights, [body], fused)
    if activation is not None:
        both_ways(model, x, weights, [model.activation], fused)


def test_a_sum_that_broadcasts_is_not_fused():
    body = nn.Sequential(nn.Linear(3, 1), nn.BatchNorm1d(1))
    x = normal(4, 3)
    np.testing.assert_array_equal(nn.Residual(body)(x).numpy(), body(x).numpy() + x)


def same_prediction(model, folded, x):
    model.eval()
    np.testing.assert_allclose(folded(x).numpy(), model(x).numpy(), rtol=1e-10, atol=1e-12)


def test_folding_computes_the_same():
    conv, shape = nn.Conv2d(3, 6, 3, padding=1, bias=False), (2, 6, 5, 3)
    body = nn.Sequential(nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6), nn.Conv2d(6, 6, 1),
                         nn.BatchNorm2d(6))  # fmt: skip
    skip = nn.Sequential(nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6))
    model = nn.Sequential(
        conv, nn.BatchNorm2d(6), nn.ReLU(), nn.Residual(body, skip, "relu"),
        nn.Sequential(nn.Linear(6, 4), nn.BatchNorm2d(4, affine=False)), nn.Flatten(),
        nn.Linear(120, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.BatchNorm1d(4),
    ).double()  # fmt: skip
    model[:4].apply(lambda m: randomize(m) if type(m) is nn.BatchNorm2d else None)
    randomize(model[8])
    x = normal(*shape, dtype=np.float64)
    state = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    folded = nn.fold_batch_norm(model.eval())
    same_prediction(model, folded, x)
    kinds = [type(m) for m in folded.modules()]
    assert nn.BatchNorm2d not in kinds
    assert kinds.count(nn.BatchNorm1d) == 2  # the batch's statistics; no layer to fold it into
    assert [name for name, _ in folded.named_children()] == ["0", "2", "3", "4", "5", "6", "7", "8"]
    assert folded[0] is not conv
    assert folded[1] is model[2]
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), state[name])


def test_a_normalization_that_adds_the_shortcut_of_a_linear_layer_stays():
    body = nn.Sequential(nn.Linear(3, 3), randomize(nn.BatchNorm1d(3)), nn.Linear(3, 3),
                         randomize(nn.BatchNorm1d(3)))  # fmt: skip
    model = nn.Residual(body, activation="relu").double()
    folded = nn.fold_batch_norm(model.eval())
    same_prediction(model, folded, normal(4, 3, dtype=np.float64))
    assert [type(m) for m in folded.body] == [nn.Linear, nn.Linear, nn.BatchNorm1d]


def test_what_is_not_folded():
    def model():
        return nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.ReLU()).eval()

    plain = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    assert nn.fold_batch_norm(plain) is plain
    training = model().train()
    assert nn.fold_batch_norm(training) is training
    for i in (0, 1):
        hooked = model()
        hooked[i].register_forward_hook(lambda m, args, out: None)
        assert nn.fold_batch_norm(hooked) is hooked
    hooked = model()
    hooked.register_forward_hook(lambda m, args, out: None)
    assert nn.fold_batch_norm(hooked) is hooked
    apart = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.BatchNorm1d(3)).eval()
    assert nn.fold_batch_norm(apart) is apart
    assert len(nn.fold_batch_norm(model())) == 2


def test_the_trainer_predicts_with_the_running_statistics():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    trainer = fnn.Trainer(model, fnn.optim.SGD(model.parameters(), lr=0.1), progress=False)
    x, y = normal(64, 3), RNG.integers(0, 2, 64)
    for _ in range(2):  # nothing of the first round is kept
        trainer.fit((x, y), epochs=1, batch_size=16)
        found = trainer.predict(x)
        np.testing.assert_allclose(found, model.eval()(x).numpy(), rtol=1e-5, atol=1e-6)
        model.train()


@pytest.mark.parametrize(("layer", "shape", "axes"), [
    (nn.LayerNorm(17), (5, 17), 1), (nn.LayerNorm((4, 17)), (3, 4, 17), (1, 2)),
    (nn.GroupNorm(17, 17), (3, 9, 17), 1), (nn.GroupNorm(1, 17), (3, 9, 17), (1, 2)),
])  # fmt: skip
@pytest.mark.parametrize("offset", [0, 1000])
def test_rows_and_groups_with_a_large_mean(layer, shape, axes, offset):
    x = (offset + normal(*shape)).astype(np.float32)
    x64 = x.astype(np.float64)
    mean, var = x64.mean(axes, keepdims=True), x64.var(axes, keepdims=True)
    np.testing.assert_allclose(
        layer(x).numpy(), (x64 - mean) / np.sqrt(var + 1e-5), rtol=1e-5, atol=2e-6
    )


def test_nan_stays_in_its_row_and_group():
    x = normal(4, 5, 6)
    x[1, 2, 3] = np.nan
    expected = np.zeros(x.shape, bool)
    expected[1, 2] = True
    np.testing.assert_array_equal(np.isnan(nn.LayerNorm(6)(x).numpy()), expected)
    expected[1] = False
    expected[1, :, 3:] = True
    np.testing.assert_array_equal(np.isnan(nn.GroupNorm(2, 6)(x).numpy()), expected)


def test_layer_and_group_norm_layers(tmp_path):
    assert list(nn.LayerNorm((2, 3), bias=False).state_dict()) == ["weight"]
    assert not list(nn.LayerNorm(3, elementwise_affine=False).parameters())
    assert not list(nn.GroupNorm(1, 3, affine=False).parameters())
    model = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.GroupNorm(3, 6, eps=1e-3))
    for parameter in model.parameters():
        with fnn.no_grad():
            parameter.copy_(normal(*parameter.shape))
    fnn.save(model, tmp_path / "m.safetensors")
    x = normal(5, 4)
    again = fnn.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again(x).numpy(), model(x).numpy())
    assert repr(again) == repr(model)
    fnn.gradcheck(model.double(), normal(5, 4, dtype=np.float64))


def test_layer_and_group_norm_of_nothing():
    for layer in (nn.LayerNorm(6), nn.GroupNorm(2, 6)):
        x = fnn.tensor(normal(0, 3, 6), requires_grad=True)
        y = layer(x)
        assert y.shape == (0, 3, 6)
        y.sum().backward()
        assert x.grad.shape == x.shape
        assert not layer.weight.grad.numpy().any()


def test_layer_and_group_norm_errors():
    for call, message in (
        (lambda: F.layer_norm(normal(2, 3), 4), r"x must be \(..., 4,\), got shape \(2, 3\)"),
        (lambda: F.layer_norm(normal(3), (2, 3)), r"x must be \(..., 2, 3\), got shape \(3,\)"),
        (lambda: F.layer_norm(normal(2, 3), 0), "normalized_shape must be at least 1"),
        (lambda: F.layer_norm(normal(2, 3), 3, normal(2)), r"weight must have shape \(3,\), got"),
        (lambda: F.group_norm(normal(2, 6), 4), "num_groups must divide 6 channels, got 4"),
        (lambda: F.group_norm(normal(2, 6), 0), "num_groups must divide"),
        (lambda: F.group_norm(normal(6), 2), r"x must be \(N, ..., channels\)"),
        (lambda: F.group_norm(normal(2, 6), 2, normal(2)), r"weight must have shape \(6,\)"),
        (lambda: nn.GroupNorm(4, 6), "num_groups must divide num_channels"),
        (lambda: nn.GroupNorm(2, 6)(normal(2, 4)), r"x must be \(N, ..., 6\)"),
        (lambda: nn.LayerNorm(3, eps=0), "eps must be positive"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            call()
    for call, message in (
        (lambda: F.layer_norm(normal(2, 3), "3"), "normalized_shape must be an int or several"),
        (lambda: F.layer_norm(normal(2, 3), 3, np.ones(3)), "x is float32, weight is float64"),
        (lambda: F.group_norm(normal(2, 6), 2.0), "num_groups must be an int"),
    ):
        with pytest.raises(TypeError, match=message):
            call()
