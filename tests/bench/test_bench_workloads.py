# SPDX-License-Identifier: BSD-3-Clause
"""What the bench measures: counted work, seeded inputs, and NumPy's way of doing it."""

import math

import numpy as np
import pytest

from fastnn import models
from fastnn.bench import lib_fastnn, lib_numpy, workloads
from fastnn.bench.inputs import inputs
from fastnn.bench.job import Job, UnsupportedError
from fastnn.bench.lib_numpy import NumPy
from fastnn.bench.nets import (
    NETS,
    Net,
    inference,
    parameters,
    statistics,
    trace,
    train_step,
)
from fastnn.bench.nets import conv as conv_layer
from fastnn.bench.suites import ACTIVATIONS, NETWORKS, suite
from fastnn.bench.workloads import (
    BACKWARD,
    BEST,
    COPY,
    Workload,
    activation,
    adam,
    conv,
    cross_entropy,
    goals,
    linear,
    matmul,
    max_pool,
    norm_relu,
    sgd,
)

SMALL = [
    matmul(3, 4, 5),
    linear(3, 4, 5),
    conv(2, 7, 3, 4, 3),
    conv(2, 7, 3, 4, 3, direction=BACKWARD),
    activation("elu", 10),
    max_pool(2, 4, 3),
    cross_entropy(4, 3),
    sgd(20, tensors=2),
    adam(20, tensors=2),
    norm_relu(2, 4, 3),
    train_step("tiny_mlp", 4),
    train_step("resnet20", 2),
    inference("mobilenet_v1", 1),
]


@pytest.mark.parametrize("work", SMALL, ids=lambda w: w.name)
def test_inputs_are_the_same_every_time_and_vary(work):
    first, second = inputs(work), inputs(Workload(**work.as_json()))
    assert list(first) == list(second)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
        assert first[name].std() > 0
        assert first[name].dtype == (np.int64 if name == "labels" else np.float32)


def test_unknown_kind():
    with pytest.raises(ValueError, match="unknown kind of workload 'dance'"):
        inputs(Workload("w", "dance"))
    with pytest.raises(UnsupportedError, match="no dance"):
        NumPy().job(Workload("w", "dance"))


def test_work_is_counted():
    assert matmul(2, 3, 5).flops == 2 * 2 * 3 * 5
    # 16² outputs of 128 channels, each of 9 · 64 products, 32 images, two flops each
    forward = 2 * 32 * 16 * 16 * 128 * 9 * 64
    assert conv(32, 32, 64, 128, 3, stride=2).flops == forward
    assert conv(32, 32, 64, 128, 3, stride=2, direction=BACKWARD).flops == 2 * forward
    first = conv(32, 227, 3, 96, 11, stride=4, pad=0)
    assert first.flops == 2 * 32 * 55 * 55 * 96 * 121 * 3
    assert conv(32, 227, 3, 96, 11, stride=4, pad=0, direction=BACKWARD).flops == first.flops
    assert conv(32, 32, 64, 64, 3, groups=64).flops == 2 * 32 * 32 * 32 * 64 * 9
    assert activation("relu", 100).bytes == 800 and activation("relu", 100, BACKWARD).bytes == 1200
    # 64·64 + 64·10 products; the first layer's twice (forward, weights), the other's three times
    assert train_step("tiny_mlp", 32).flops == 2 * 32 * (2 * 64 * 64 + 3 * 64 * 10)
    assert matmul(10, 10, 10).rate(1e-6) == (pytest.approx(2.0), "GFLOP/s")
    assert sgd(1000).rate(1e-6) == (pytest.approx(20.0), "GB/s")


def test_the_networks_are_what_they_are_called():
    def weights(net):
        return [shape for name, shape in parameters(NETS[net]).items() if name[0] == "w"]

    quick = [(32, 5, 5, 3), (32, 5, 5, 32), (64, 5, 5, 32), (64, 1024), (10, 64)]
    assert weights("cifar_quick") == quick
    assert weights("mlp") == [(512, 784), (256, 512), (10, 256)]
    assert weights("tiny_mlp") == [(64, 64), (10, 64)]
    # He et al. (2016): 20 layers; with two projections, 21 convolutions and a linear layer.
    assert len(weights("resnet20")) == 22 and weights("resnet20")[-1] == (10, 64)
    assert weights("alexnet")[5] == (4096, 9216) and weights("alexnet")[-1] == (1000, 4096)
    assert len(weights("mobilenet_v1")) == 28 and weights("mobilenet_v1")[1] == (8, 3, 3, 1)
    assert weights("vgg")[-1] == (10, 4096)
    for net in NETS.values():
        assert [step.after for step in trace(net)][-1] == (net.classes,)


def test_residual_branches_count_their_parameters_body_first():
    names = list(parameters(NETS["resnet20"]))
    assert names[:4] == ["w0", "g1", "b1", "w2"]
    body, projection = (16, 3, 3, 16), (32, 1, 1, 16)
    shapes = list(parameters(NETS["resnet20"]).values())
    assert shapes[3] == body and shapes.count(projection) == 1
    assert shapes.index(projection) > shapes.index((32, 3, 3, 32))
    assert set(statistics(NETS["resnet20"])) >= {"m1", "v1"}


@pytest.mark.parametrize("net", NETS)
def test_our_networks_have_these_parameters(net):
    try:
        model = lib_fastnn.build(NETS[net].layers, "relu", NETS[net].input_shape)
    except UnsupportedError as error:
        pytest.skip(str(error))
    assert [p.shape for p in model.parameters()] == list(parameters(NETS[net]).values())


@pytest.mark.parametrize(
    ("net", "arguments"),
    [
        ("tiny_mlp", {"in_features": 64, "hidden": (64,)}), ("mlp", {}), ("cifar_quick", {}),
        ("resnet20", {}), ("alexnet", {}),
        ("mobilenet_v1", {"width_multiplier": 0.25, "num_classes": 10}),
    ],
)  # fmt: skip
def test_these_are_the_networks_of_our_models(net, arguments):
    name = "mlp" if net == "tiny_mlp" else net
    if name not in models.names():
        pytest.skip(f"this version has no models.{name}")
    model = models.get(name, **arguments)
    assert [p.shape for p in model.parameters()] == list(parameters(NETS[net]).values())


def test_the_suite_has_every_row_with_its_targets():
    whole = suite()
    works = {w.name: w for w in whole.rows}
    assert len(works) == len(whole.rows)
    assert all(w.targets and (w.flops > 0 or w.bytes > 0) for w in works.values()
               if w.kind != "sgd")  # fmt: skip

    def check(name, foundation, **targets):
        assert works[name].foundation == ({} if foundation is None else {BEST: foundation}), name
        best = {BEST: targets.pop("best")} if "best" in targets else {}
        assert works[name].targets == {**best, **targets}, name

    check("tiny_mlp step, batch 32", 1.5, best=3.0)
    check("cifar_quick step, batch 128", 0.7, best=1.7, PyTorch=2.3)
    check("ResNet-20 step, batch 128", None, best=2.0, PyTorch=2.5)
    check("AlexNet step, batch 32", None, best=1.6)
    check("MobileNet-v1 (0.25) step, batch 32", None, best=2.0)
    check("cifar_quick inference, batch 1", None, **{"ONNX Runtime": 1.2})
    check("matmul 2048×2048×2048", 0.85, best=1.05)
    check("conv 3×3 s2 64→128@32² b32, backward", 0.7, best=1.1)
    check("conv 11×11 s4 3→96@227² b32, weights only", 0.8, best=2.0)
    check("depthwise 3×3 s1 64→64@32² b32, backward", 1.0, best=4.0)
    check("relu 4 M, forward", 1.0, copy=0.9)
    check("sigmoid 4 M, forward", 1.0, best=1.7)
    check("sigmoid 4 M, backward", 0.9, copy=0.9)
    check("tanh 4 M, forward", 2.0, best=4.0)
    check("gelu 4 M, forward", 2.0, best=1.7)
    check("softplus 32 K, backward", 1.0, best=2.0)
    check("batch norm + ReLU 32@16² b128, backward", 1.0, best=2.0)
    check("Adam, 10 M parameters", 1.0, best=2.0)
    pairs = [[w.args["fn"] for w in group] for group in whole.networks]
    assert pairs == [["relu", "sigmoid"]] * len(NETWORKS)
    assert [w.args["fn"] for w in whole.shares[0]] == [*ACTIVATIONS, "identity"]
    assert all([w.args["fn"] for w in group] == list(ACTIVATIONS) for group in whole.costs)
    # In a layer, the activation works on what the convolution before it leaves.
    first = whole.layers[0]
    assert [w.kind for w in first] == ["conv"] * 2 + ["activation"] * 4
    assert first[2].args["size"] == 128 * 32 * 32 * 32


def test_the_quick_suite_asks_every_question():
    quick = suite(quick=True)
    assert quick.costs and quick.shares and quick.layers
    assert {"step", "infer", "conv", "activation"} <= {w.kind for w in quick.rows}
    assert len(quick.names) < len(suite().names) / 2


def test_goals():
    assert goals() == {"foundation": {}, "targets": {}}
    assert goals(0.8, 2.0, copy=0.9) == {
        "foundation": {BEST: 0.8}, "targets": {BEST: 2.0, COPY: 0.9},
    }  # fmt: skip


# --- NumPy, against loops and finite differences in float64 ---------------------------------------


def job(work: Workload, data: dict[str, np.ndarray]) -> Job:
    return getattr(NumPy(), work.kind)(work.args, data)


def in_float64(work: Workload) -> dict[str, np.ndarray]:
    return {k: v.astype(np.float64) if v.dtype == np.float32 else v
            for k, v in inputs(work).items()}  # fmt: skip


def naive_conv(x, w, stride, pad, groups):
    n, size, _, channels = x.shape
    out, kernel = w.shape[:2]
    padded = np.zeros((n, size + 2 * pad, size + 2 * pad, channels))
    padded[:, pad : pad + size, pad : pad + size] = x
    width = (size + 2 * pad - kernel) // stride + 1
    depth = channels // groups
    y = np.zeros((n, width, width, out))
    for b, i, j, k in np.ndindex(y.shape):
        g = k // (out // groups)
        window = padded[b, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
        y[b, i, j, k] = (window[:, :, g * depth : (g + 1) * depth] * w[k]).sum()
    return y


CONVS = [
    {"batch": 2, "size": 6, "channels": 4, "out": 5, "kernel": 3},
    {"batch": 1, "size": 7, "channels": 4, "out": 2, "kernel": 3, "stride": 2},
    {"batch": 1, "size": 11, "channels": 3, "out": 2, "kernel": 5, "stride": 4, "pad": 0},
    {"batch": 2, "size": 4, "channels": 4, "out": 3, "kernel": 1},
    {"batch": 2, "size": 5, "channels": 4, "out": 4, "kernel": 3, "groups": 4},
]


@pytest.mark.parametrize("shape", CONVS, ids=str)
def test_numpy_convolution(shape):
    work = conv(**shape)
    data, a = in_float64(work), work.args
    how = (a["stride"], a["pad"], a["groups"])
    y = job(work, data).outputs()["y"]
    np.testing.assert_allclose(y, naive_conv(data["x"], data["w"], *how), rtol=1e-12, atol=1e-12)
    # The convolution is linear in x and in w: <dy, conv(e, w)> = <dx, e>, and so for w.
    grads = job(conv(**shape, direction=BACKWARD), data).outputs()
    assert ("dx" in grads) == (a["channels"] > 3)
    rng = np.random.default_rng(0)
    e, f = rng.standard_normal(data["x"].shape), rng.standard_normal(data["w"].shape)
    expected = (data["dy"] * naive_conv(data["x"], f, *how)).sum()
    assert (grads["dw"] * f).sum() == pytest.approx(expected, rel=1e-10)
    if "dx" in grads:
        expected = (data["dy"] * naive_conv(e, data["w"], *how)).sum()
        assert (grads["dx"] * e).sum() == pytest.approx(expected, rel=1e-10)


def test_numpy_says_what_it_cannot_do():
    work = conv(1, 4, 4, 4, 3, groups=2)
    with pytest.raises(UnsupportedError, match="other than depthwise"):
        job(work, in_float64(work)).run()


@pytest.mark.parametrize("fn", ["relu", "sigmoid", "tanh", "elu", "silu", "softplus"])
def test_numpy_activation(fn):
    formulas = {
        "relu": lambda x: max(x, 0.0),
        "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
        "tanh": math.tanh,
        "elu": lambda x: x if x > 0 else math.expm1(x),
        "silu": lambda x: x / (1 + math.exp(-x)),
        "softplus": lambda x: math.log1p(math.exp(x)),
    }
    work = activation(fn, 101)
    data = in_float64(work)
    expected = [formulas[fn](float(x)) for x in data["x"]]
    np.testing.assert_allclose(job(work, data).outputs()["y"], expected, rtol=1e-12)
    dx = job(activation(fn, 101, BACKWARD), data).outputs()["dx"]
    f, eps = formulas[fn], 1e-6
    slope = [(f(x + eps) - f(x - eps)) / (2 * eps) for x in map(float, data["x"])]
    np.testing.assert_allclose(dx, data["dy"] * slope, rtol=1e-7, atol=1e-9)


def test_numpy_pool_gives_the_gradient_to_the_first_maximum():
    x = np.array([1.0, 3.0, 3.0, 2.0]).reshape(1, 2, 2, 1)
    assert lib_numpy.pool_forward(x).ravel() == [3.0]
    dx = lib_numpy.pool_backward(x, np.full((1, 1, 1, 1), 5.0))
    assert dx.ravel().tolist() == [0.0, 5.0, 0.0, 0.0]


def test_numpy_sgd():
    work = sgd(20, tensors=2)
    data = in_float64(work)
    # Three steps with a constant gradient: v is g, 1.9 g, 2.71 g.
    expected = -workloads.LEARNING_RATE * (1 + 1.9 + 2.71) * data["g"]
    np.testing.assert_allclose(job(work, data).outputs()["update"], expected, rtol=1e-9)


def test_numpy_adam():
    work = adam(20, tensors=2)
    data = in_float64(work)
    # With a constant gradient the corrected means are g and g²: each step is lr · sign(g).
    expected = -3 * workloads.LEARNING_RATE * np.sign(data["g"])
    np.testing.assert_allclose(job(work, data).outputs()["update"], expected, rtol=1e-6)


def test_numpy_norm():
    work = norm_relu(3, 2, 4)
    data = in_float64(work)

    def loss(**changed):
        d = {**data, **changed}
        return float((job(work, d).outputs()["y"] * d["dy"]).sum())

    grads = job(norm_relu(3, 2, 4, BACKWARD), data).outputs()
    rng = np.random.default_rng(2)
    for name, gradient in (("x", "dx"), ("g", "dg"), ("b", "db")):
        v, eps = rng.standard_normal(data[name].shape), 1e-6
        slope = (
            loss(**{name: data[name] + eps * v}) - loss(**{name: data[name] - eps * v})
        ) / (2 * eps)  # fmt: skip
        assert (grads[gradient] * v).sum() == pytest.approx(slope, rel=1e-6), name


@pytest.mark.parametrize("fn", ["relu", "sigmoid", "tanh", "identity"])
def test_numpy_step_follows_the_gradient(monkeypatch, fn):
    layers = (
        conv_layer(4, 3, bias=True), ("act",), ("pool", 2, 2), ("flatten",), ("linear", 5),
        ("act",), ("linear", 3),
    )  # fmt: skip
    monkeypatch.setitem(NETS, "test", Net("test", (4, 4, 2), layers, classes=3))
    work = train_step("test", 3, fn)
    data = in_float64(work)

    def loss(**changed):
        return float(job(work, {**data, **changed}).run())

    outputs = job(work, data).outputs()
    assert outputs["losses"][0] == loss()
    assert outputs["losses"][2] < outputs["losses"][0]
    work.args["checked"] = 1
    updates = job(work, data).outputs()
    rng = np.random.default_rng(1)
    for name in [n for n in data if n[0] in "wb"]:
        v = rng.standard_normal(data[name].shape)
        eps = 1e-6
        slope = (
            loss(**{name: data[name] + eps * v}) - loss(**{name: data[name] - eps * v})
        ) / (2 * eps)  # fmt: skip
        found = (updates[f"update {name}"] * v).sum() / -workloads.LEARNING_RATE
        assert abs(slope) > 1e-6, name
        assert found == pytest.approx(slope, rel=1e-4, abs=1e-9), name
