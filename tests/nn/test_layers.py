"""Layers against plain NumPy, their configurations and their errors."""

import itertools
import math

import numpy as np
import pytest
import reference as ref

import fastnn as fnn
from fastnn import nn
from fastnn.gradcheck import gradcheck

RNG = np.random.default_rng(7)


def conv_numpy(x, w, b, stride, padding, dilation, groups):
    """Seven loops' worth of definition, for small shapes."""
    (sh, sw), (ph, pw), (dh, dw) = stride, padding, dilation
    x = np.pad(x, ((0, 0), (ph, ph), (pw, pw), (0, 0)))
    n, h, width, _ = x.shape
    k, r, s, c = w.shape
    oh, ow = (h - dh * (r - 1) - 1) // sh + 1, (width - dw * (s - 1) - 1) // sw + 1
    y = np.zeros((n, oh, ow, k), x.dtype)
    for i, j, q in itertools.product(range(oh), range(ow), range(k)):
        g = q // (k // groups)
        rows = slice(i * sh, i * sh + dh * (r - 1) + 1, dh)
        columns = slice(j * sw, j * sw + dw * (s - 1) + 1, dw)
        patch = x[:, rows, columns, g * c : (g + 1) * c]
        y[:, i, j, q] = (patch * w[q]).sum((1, 2, 3)) + b[q]
    return y


def test_linear():
    layer = nn.Linear(5, 3, bias_init=0.5)
    x = RNG.standard_normal((2, 4, 5)).astype(np.float32)
    assert layer.bias.tolist() == [0.5] * 3
    np.testing.assert_allclose(
        layer(x).numpy(), x @ layer.weight.numpy().T + 0.5, rtol=1e-5, atol=1e-6
    )
    assert nn.Linear(5, 3, bias=False).bias is None
    with pytest.raises(ValueError, match="5 input features, x has 6"):
        layer(np.zeros((2, 6), np.float32))
    with pytest.raises(TypeError, match="float64"):
        layer(np.zeros((2, 5)))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": (1, 0)},
        {"padding": "same"},
        {"padding": "valid", "stride": (2, 1)},
        {"padding": "same", "dilation": 2, "bias": False},
        {"groups": 2, "padding": 1},
        {"groups": 4, "padding": 1, "dilation": (1, 2)},
    ],
)
def test_conv2d(options):
    layer = nn.Conv2d(4, 8, 3, **options).double()
    x = RNG.standard_normal((2, 8, 7, 4))
    padding = options.get("padding", 0)
    if padding == "same":
        d = options.get("dilation", 1)
        padding = (d, d)
    elif padding == "valid":
        padding = 0
    pairs = [
        v if isinstance(v, tuple) else (v, v)
        for v in (options.get("stride", 1), padding, options.get("dilation", 1))
    ]
    bias = np.zeros(8) if layer.bias is None else layer.bias.numpy()
    expected = conv_numpy(x, layer.weight.numpy(), bias, *pairs, options.get("groups", 1))
    np.testing.assert_allclose(layer(x).numpy(), expected, rtol=1e-10, atol=1e-12)
    if options.get("padding") == "same":
        assert expected.shape[:3] == x.shape[:3]


def test_conv2d_same_with_an_even_kernel_pads_below_and_right():
    layer = nn.Conv2d(2, 3, (2, 4), padding="same").double()
    x = RNG.standard_normal((1, 5, 6, 2))
    padded = np.pad(x, ((0, 0), (0, 1), (1, 2), (0, 0)))
    expected = conv_numpy(padded, layer.weight.numpy(), np.zeros(3), (1, 1), (0, 0), (1, 1), 1)
    np.testing.assert_allclose(layer(x).numpy(), expected, rtol=1e-10, atol=1e-12)
    gradcheck(layer, x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, "in_channels must be at least 1"),
        ({"groups": 3}, "groups must divide"),
        ({"kernel_size": 0}, "kernel_size must be at least 1"),
        ({"stride": 0}, "stride must be at least 1"),
        ({"padding": -1}, "padding must be at least 0"),
        ({"padding": "full"}, "'same' or 'valid', got 'full'"),
        ({"padding": "same", "stride": 2}, "needs stride 1"),
        ({"bias_init": math.nan}, "bias_init must be finite"),
    ],
)
def test_conv2d_arguments(arguments, message):
    defaults = {"in_channels": 4, "out_channels": 8, "kernel_size": 3}
    with pytest.raises(ValueError, match=message):
        nn.Conv2d(**{**defaults, **arguments})


def test_conv2d_input_errors():
    layer = nn.Conv2d(4, 8, 3)
    with pytest.raises(ValueError, match="conv2d"):
        layer(np.zeros((1, 8, 8, 3), np.float32))
    with pytest.raises(ValueError, match="conv2d"):
        layer(np.zeros((8, 8, 4), np.float32))
    with pytest.raises(ValueError, match="conv2d"):
        layer(np.zeros((1, 2, 2, 4), np.float32))
    with pytest.raises(TypeError, match="kernel_size must be an int"):
        nn.Conv2d(4, 8, 2.5)


def test_conv_transpose2d_is_the_gradient_of_conv2d():
    layer = nn.ConvTranspose2d(6, 4, (3, 2), 2, (1, 0), 1, groups=2, bias=False, dilation=2)
    conv = nn.Conv2d(4, 6, (3, 2), 2, (1, 0), 2, 2, bias=False)
    conv.weight = layer.weight
    x = RNG.standard_normal((2, 5, 4, 6))
    z = fnn.randn(2, 12, 10, 4).double().detach().requires_grad_()
    conv.double()(z).backward(fnn.tensor(x))
    np.testing.assert_allclose(layer(x).numpy(), z.grad.numpy(), rtol=1e-10, atol=1e-12)
    same = nn.ConvTranspose2d.from_config(layer.config())
    assert same.config() == layer.config()
    assert same.weight.shape == (6, 3, 2, 2)
    assert layer.flops((1, 5, 4, 6), (1, 12, 10, 4)) == 2 * 120 * 12


def test_conv_transpose2d_keeps_the_size_of_signals():
    fnn.manual_seed(0)
    layer = nn.ConvTranspose2d(32, 64, 4, 2, 1, groups=2)
    y = layer(RNG.standard_normal((4, 16, 16, 32)).astype(np.float32)).numpy()[:, 2:-2, 2:-2]
    assert y.var() == pytest.approx(2, rel=0.1)  # ReLU halves the second moment
    assert not layer.bias.numpy().any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"out_channels": 0}, "out_channels must be at least 1"),
        ({"groups": 3}, "groups must divide"),
        ({"kernel_size": 0}, "kernel_size must be at least 1"),
        ({"output_padding": 1}, "output_padding must be less than stride or dilation, got 1, 1, 1"),
        ({"output_padding": -1}, "output_padding must be at least 0"),
    ],
)
def test_conv_transpose2d_arguments(arguments, message):
    defaults = {"in_channels": 4, "out_channels": 8, "kernel_size": 3}
    with pytest.raises(ValueError, match=f"ConvTranspose2d: {message}"):
        nn.ConvTranspose2d(**{**defaults, **arguments})


def test_embedding():
    layer = nn.Embedding(50, 30, padding_idx=-2)
    weight = layer.weight.numpy()
    assert not weight[48].any()
    assert weight.std() == pytest.approx(1, abs=0.1)
    x = np.array([[3, 48], [0, 3]], np.int32)
    np.testing.assert_array_equal(layer(x).numpy(), weight[x])
    layer(x).sum().backward()
    assert layer.weight.grad.numpy().sum(1).tolist() == [30.0, 0, 0, 60.0] + [0.0] * 46
    assert layer.config() == {"num_embeddings": 50, "embedding_dim": 30, "padding_idx": 48}
    before = weight.copy()
    fnn.init.init_model(nn.Sequential(layer, nn.Linear(30, 2)), "relu")
    np.testing.assert_array_equal(layer.weight.numpy(), before)
    with pytest.raises(ValueError, match=r"Embedding: padding_idx must be in \[-3, 3\)"):
        nn.Embedding(3, 4, 3)
    with pytest.raises(TypeError, match="Embedding: num_embeddings must be an int"):
        nn.Embedding(3.0, 4)


def test_embedding_does_not_see_later_changes_of_the_index():
    layer, x = nn.Embedding(3, 2), np.array([0, 1])
    y = layer(x)
    x[:] = 2
    y.sum().backward()
    assert layer.weight.grad.tolist() == [[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]


def test_pooling_layers():
    x = RNG.standard_normal((2, 6, 6, 3))
    windows = x.reshape(2, 3, 2, 3, 2, 3)
    np.testing.assert_array_equal(nn.MaxPool2d(2)(x).numpy(), windows.max((2, 4)))
    np.testing.assert_allclose(nn.AvgPool2d(2)(x).numpy(), windows.mean((2, 4)), rtol=1e-12)
    np.testing.assert_allclose(
        nn.AdaptiveAvgPool2d(1)(x).numpy(), x.mean((1, 2), keepdims=True), rtol=1e-12
    )
    np.testing.assert_allclose(
        nn.AdaptiveAvgPool2d((3, 2))(x).numpy(),
        x.reshape(2, 3, 2, 2, 3, 3).mean((2, 4)),
        rtol=1e-12,
    )
    ones = np.ones((1, 2, 2, 1))
    assert nn.AvgPool2d(2, 2, 1)(ones).numpy().ravel().tolist() == [0.25] * 4
    unpadded = nn.AvgPool2d(2, 2, 1, count_include_pad=False)(ones)
    assert unpadded.numpy().ravel().tolist() == [1.0] * 4
    assert nn.MaxPool2d(3, 2, 1)(x).shape == (2, 3, 3, 3)
    for wrong in (
        lambda: nn.MaxPool2d(0), lambda: nn.MaxPool2d(2, 0), lambda: nn.AvgPool2d(2, padding=2),
        lambda: nn.AdaptiveAvgPool2d(0),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="Pool2d"):
            wrong()


FORMULAS = {"identity": lambda x: x, "prelu": lambda x: np.where(x > 0, x, 0.25 * x)}


@pytest.mark.parametrize("name", nn.activation.names())
def test_activations_by_name(name):
    x = RNG.standard_normal((3, 7))
    layer = nn.activation.make(name).double()
    expected = FORMULAS[name](x) if name in FORMULAS else getattr(ref, name)(x)[0]
    np.testing.assert_allclose(layer(x).numpy(), expected, rtol=1e-12, atol=1e-15)
    assert nn.activation.name_of(layer) == name


def test_activations_with_parameters():
    x = RNG.standard_normal((3, 4))
    np.testing.assert_allclose(
        nn.LeakyReLU(0.3)(x).numpy(), np.where(x > 0, x, 0.3 * x), rtol=1e-12
    )
    np.testing.assert_allclose(
        nn.ELU(0.5)(x).numpy(), np.where(x > 0, x, 0.5 * np.expm1(x)), rtol=1e-12
    )
    channels = nn.PReLU(4, 0.1).double()
    with fnn.no_grad():
        channels.weight.copy_(np.array([0.0, 1.0, -1.0, 2.0]))
    np.testing.assert_allclose(
        channels(x).numpy(), np.where(x > 0, x, x * [0.0, 1.0, -1.0, 2.0]), rtol=1e-12
    )
    assert nn.ReLU6()(np.array([7.0])).item() == nn.Hardtanh(-1, 6)(np.array([8.0])).item() == 6
    for wrong in (
        lambda: nn.LeakyReLU(math.nan), lambda: nn.ELU(math.inf), lambda: nn.PReLU(0),
        lambda: nn.CELU(0), lambda: nn.GELU("erf"), lambda: nn.Softplus(0),
        lambda: nn.Hardtanh(1, 0),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"LeakyReLU|ELU|PReLU|Softplus|Hardtanh"):
            wrong()


def test_make():
    assert isinstance(nn.activation.make(nn.Tanh), nn.Tanh)
    relu = nn.ReLU()
    assert nn.activation.make(relu) is relu
    assert nn.activation.make(lambda: nn.LeakyReLU(0.2)).negative_slope == 0.2
    assert nn.activation.name_of(nn.Linear(1, 1)) is None
    with pytest.raises(ValueError, match=r"gelu, .*identity, leaky_relu.*got 'gelo'"):
        nn.activation.make("gelo")
    for wrong in (3, None, dict):
        with pytest.raises(TypeError, match="a name, a Module or its class"):
            nn.activation.make(wrong)


def test_maxout():
    layer = nn.Maxout(5, 3, pieces=4).double()
    x = RNG.standard_normal((6, 5))
    pieces = (x @ layer.weight.numpy().T + layer.bias.numpy()).reshape(6, 3, 4)
    np.testing.assert_allclose(layer(x).numpy(), pieces.max(-1), rtol=1e-12)
    gradcheck(layer, x)
    with pytest.raises(ValueError, match="pieces"):
        nn.Maxout(2, 2, 0)


def test_softmax_layers():
    x = RNG.standard_normal((3, 4))
    e = np.exp(x)
    np.testing.assert_allclose(nn.Softmax()(x).numpy(), e / e.sum(1, keepdims=True), rtol=1e-12)
    np.testing.assert_allclose(
        nn.LogSoftmax(0)(x).numpy(), x - np.log(e.sum(0, keepdims=True)), rtol=1e-12
    )


def test_dropout_looks_at_the_mode():
    layer = nn.Dropout(0.25)
    x = fnn.ones(100, 100, requires_grad=True)
    y = layer(x)
    values = np.unique(y.numpy())
    np.testing.assert_allclose(values, [0, 4 / 3], rtol=1e-6)
    assert abs((y.numpy() == 0).mean() - 0.25) < 0.02
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.numpy())
    assert layer.eval()(x) is x
    for p in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=r"Dropout: p must be in \[0, 1\]"):
            nn.Dropout(p)


def test_drop_connect_drops_weights_while_training():
    layer = nn.DropConnect(40, 30, p=0.25, bias_init=1.0)
    x = fnn.randn(200, 40)
    fnn.manual_seed(3)
    y = layer(x)
    fnn.manual_seed(3)
    mask = fnn.functional.dropout(fnn.ones(30, 40), 0.25).numpy()  # 0 or 4/3
    assert abs((mask == 0).mean() - 0.25) < 0.03
    weight = mask * layer.weight.numpy()
    np.testing.assert_allclose(y.numpy(), x.numpy() @ weight.T + 1, rtol=1e-4, atol=1e-4)
    y.sum().backward()
    np.testing.assert_allclose(
        layer.weight.grad.numpy(), mask * x.numpy().sum(0), rtol=1e-3, atol=1e-3
    )
    plain = nn.Linear(40, 30)
    plain.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(layer.eval()(x).numpy(), plain(x).numpy())
    fnn.manual_seed(3)
    act = nn.Sequential(layer.train(), nn.ReLU())(x)
    np.testing.assert_array_equal(act.numpy(), np.maximum(y.numpy(), 0))
    with pytest.raises(ValueError, match=r"DropConnect: p must be in \[0, 1\], got 2"):
        nn.DropConnect(2, 2, p=2)


def test_flatten_identity_input():
    x = fnn.randn(2, 3, 4, 5)
    assert nn.Flatten()(x).shape == (2, 60)
    assert nn.Flatten(2)(x).shape == (2, 3, 20)
    assert nn.Identity()(x) is x
    assert nn.Input((3, 4, 5))(x) is x
    with pytest.raises(ValueError, match=r"\(N, 3, 4\), got \(2, 3, 4, 5\)"):
        nn.Input((3, 4))(x)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses(reduction):
    reduce = {"mean": np.mean, "sum": np.sum, "none": lambda a: a}[reduction]
    x, y = RNG.standard_normal((2, 6, 4))
    t = np.array([0, 3, 1, 1, 2, 0])
    rows = np.arange(6)
    log_p = x - np.log(np.exp(x).sum(1, keepdims=True))
    hinge = np.maximum(0, 1 - x[rows, t][:, None] + x)
    hinge[rows, t] = 0
    for loss, target, expected in (
        (nn.CrossEntropyLoss(reduction=reduction), t, -log_p[rows, t]),
        (nn.NLLLoss(reduction=reduction), t, -x[rows, t]),
        (nn.MultiMarginLoss(reduction=reduction), t, hinge.sum(1) / 4),
        (nn.MSELoss(reduction), y, (x - y) ** 2),
        (nn.L1Loss(reduction), y, np.abs(x - y)),
    ):
        np.testing.assert_allclose(loss(x, target).numpy(), reduce(expected), rtol=1e-12)
        gradcheck(lambda a, loss=loss, target=target: loss(a, target), x)


def test_weighted_losses():
    x, w = RNG.standard_normal((6, 4)), np.array([1.0, 0.5, 0.0, 2.0])
    t = np.array([0, 3, 1, 1, 2, 0])
    log_p = x - np.log(np.exp(x).sum(1, keepdims=True))
    picked = -w[t] * log_p[np.arange(6), t]
    loss = nn.CrossEntropyLoss(w)
    np.testing.assert_allclose(loss(x, t).item(), picked.sum() / w[t].sum(), rtol=1e-12)
    np.testing.assert_allclose(nn.NLLLoss(w)(log_p, t).item(), loss(x, t).item(), rtol=1e-12)
    assert loss.config() == {"weight": w.tolist(), "reduction": "mean", "label_smoothing": 0.0}
    smooth = nn.CrossEntropyLoss(label_smoothing=0.2)(x, t).item()
    expected = -(0.8 * log_p[np.arange(6), t] + 0.2 * log_p.mean(1)).mean()
    np.testing.assert_allclose(smooth, expected, rtol=1e-12)
    for wrong in (
        lambda: nn.CrossEntropyLoss(reduction="avg"), lambda: nn.MSELoss("all"),
        lambda: nn.CrossEntropyLoss(label_smoothing=2), lambda: nn.MultiMarginLoss(3),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="Loss: "):
            wrong()


EVERY = [
    nn.Linear(3, 4, bias=False), nn.Linear(3, 4, bias_init=0.1), nn.Maxout(3, 4, 3),
    nn.DropConnect(3, 4, 0.2, bias=False),
    nn.Conv2d(4, 8, (3, 1), (2, 1), (1, 0), 2, 4), nn.Conv2d(1, 2, 3, padding="same", bias=False),
    nn.MaxPool2d(3, 2, 1), nn.AvgPool2d((2, 3), count_include_pad=False),
    nn.AdaptiveAvgPool2d((2, 1)), nn.Dropout(0.3), nn.Flatten(2), nn.Identity(), nn.Input((3, 2)),
    nn.ReLU(), nn.LeakyReLU(0.2), nn.ELU(0.7), nn.PReLU(3, 0.1), nn.Sigmoid(), nn.Tanh(),
    nn.Softmax(0), nn.LogSoftmax(1), nn.SELU(), nn.CELU(0.3), nn.SiLU(), nn.GELU("tanh"), nn.Mish(),
    nn.Softplus(2.0, 5.0), nn.Softsign(), nn.LogSigmoid(), nn.Hardtanh(-2.0, 3.0), nn.ReLU6(),
    nn.Hardsigmoid(), nn.Hardswish(), nn.Threshold(0.5, -1.0), nn.SmoothL1Loss("sum", 0.3),
    nn.BCEWithLogitsLoss(), nn.BatchNorm1d(3, momentum=None, affine=False),
    nn.BatchNorm2d(3, 1e-3, 0.2), nn.LayerNorm((2, 3), bias=False), nn.GroupNorm(2, 4),
]  # fmt: skip


@pytest.mark.parametrize("layer", EVERY, ids=repr)
def test_config_makes_an_equal_layer(layer):
    import json

    again = type(layer).from_config(json.loads(json.dumps(layer.config())))
    assert repr(again) == repr(layer)
    assert again.config() == layer.config()
    shapes = [(n, p.shape) for n, p in layer.named_parameters()]
    assert [(n, p.shape) for n, p in again.named_parameters()] == shapes
