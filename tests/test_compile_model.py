"""compile without a loss: the bits of the model as it is, and never a weight of yesterday."""

import gc
import warnings

import numpy as np
import pytest

import fastnn as fnn
from fastnn import _core, nn, optim
from fastnn import functional as F


@pytest.fixture(autouse=True)
def state():
    threads, stream, target = fnn.get_num_threads(), fnn.get_rng_state(), _core.current_target()
    fnn.manual_seed(5)
    yield
    fnn.set_num_threads(threads)
    fnn.set_rng_state(stream)
    _core.set_target(target)


def eager(model, *inputs):
    with fnn.no_grad():
        return model(*map(fnn.tensor, inputs)).numpy()


def same(model, predict, *inputs):
    assert predict(*inputs).numpy().tobytes() == eager(model, *inputs).tobytes()


def images(n, size=32, c=3, dtype=np.float32):
    return np.random.default_rng(n).standard_normal((n, size, size, c)).astype(dtype)


def settle(model):
    """Running statistics and weights that are not those of the start."""
    for tensor in model.state_dict().values():
        if tensor.dtype.kind == "f":
            tensor += fnn.rand(*tensor.shape) * 0.1
    return model.eval()


# --- the same bits --------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("target", _core.runnable_targets())
@pytest.mark.parametrize("name", ["cifar_quick", "resnet20", "mobilenet_v1", "mlp"])
def test_models(name, target, threads):
    _core.set_target(target)
    if name == "mlp":
        models, sample = [settle(fnn.models.mlp(64, (40, 50), 10))], (64,)
    else:
        model = settle(getattr(fnn.models, name)())
        models, sample = [model, nn.fold_batch_norm(model)], (32, 32, 3)
    for model in models:
        fnn.set_num_threads(threads)
        predict = fnn.compile(model, fullgraph=True)
        for n in (1, 3, 1):
            x = images(n)[:, : sample[0]].reshape(-1)[: n * int(np.prod(sample))]
            x = np.resize(x, (n, *sample))
            first, again = predict(x), predict(x)
            fnn.set_num_threads(1)
            expected = eager(model, x).tobytes()
            fnn.set_num_threads(threads)
            assert first.numpy().tobytes() == again.numpy().tobytes() == expected
        assert len(predict._plans) == 2


LAYERS = [
    lambda: nn.Conv2d(5, 7, 3, padding=1),
    lambda: nn.Conv2d(16, 33, 5, padding=2, bias=False, algo="winograd"),
    lambda: nn.Conv2d(64, 70, 3, padding=1, algo="winograd"),
    lambda: nn.Conv2d(5, 7, 3, padding=1, algo="direct"),
    lambda: nn.Conv2d(5, 20, (3, 2), stride=2, dilation=(1, 2), padding="valid"),
    lambda: nn.Conv2d(6, 8, 3, groups=2),
    lambda: nn.Conv2d(6, 6, 3, groups=6, padding=1),
    lambda: nn.Conv2d(6, 9, 1),
    lambda: nn.Linear(4, 300),
    lambda: nn.Linear(3000, 5, bias=False),
]


@pytest.mark.parametrize("target", _core.runnable_targets())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("make", LAYERS, ids=lambda make: repr(make()))
def test_packed_weights(make, dtype, target):
    """Of every algorithm and layout; bits of infinities and NaN, too."""
    _core.set_target(target)
    layer = make()
    if dtype == "float64" and getattr(layer, "algo", "") == "winograd":
        layer.algo = "auto"
    layer.to_dtype(dtype)
    features = layer.weight.shape[-1] * getattr(layer, "groups", 1)
    predict = fnn.compile(layer, fullgraph=True)
    for n in (1, 17):
        x = images(n, 7 if type(layer) is nn.Conv2d else 1, features, dtype)
        x[-1, 0, 0, 0] = np.inf
        predict(x)
        same(layer, predict, x)
    assert predict.recorded


@pytest.mark.parametrize("act", [None, "relu", "tanh"])
@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_a_sum_behind_a_convolution(kernel, groups, act):
    """Residual lets the last convolution compute it: the bits of separate steps."""
    layer = nn.Conv2d(8, 8, kernel, padding=kernel // 2, groups=groups)
    model = nn.Residual(nn.Sequential(layer), activation=act)
    assert model.last_host() is layer
    x = fnn.tensor(images(2, 13, 8), requires_grad=True)
    results = []
    for run in (model, lambda x: layer(x) + x):
        y = run(x)
        if run is not model and act is not None:
            y = getattr(F, act)(y)
        for tensor in (x, *layer.parameters()):
            tensor.grad = None
        (y * y).sum().backward()
        found = (y, x.grad, layer.weight.grad, layer.bias.grad)
        results.append([t.numpy().tobytes() for t in found])
    assert results[0] == results[1]
    layer.bias = None
    same(model, fnn.compile(model, fullgraph=True), x.numpy())
    wide = nn.Residual(nn.Sequential(nn.Conv2d(1, 4, 3, padding="same")))  # a sum that broadcasts
    y = wide(fnn.ones(1, 5, 5, 1))
    np.testing.assert_array_equal(y.numpy(), wide.body(fnn.ones(1, 5, 5, 1)).numpy() + 1)


# --- weights that change --------------------------------------------------------------------------


def trained(model):
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    F.cross_entropy(model(fnn.tensor(images(4, 9))), np.arange(4) % 3).backward()
    optimizer.step()


def step_of_its_own(model):
    step = fnn.compile(model, F.cross_entropy, optim.SGD(model.parameters(), lr=0.5))
    for _ in range(2):
        step(images(4, 9), np.arange(4) % 3)


def with_weight(write):
    def change(model):
        with fnn.no_grad():
            write(model[0].weight)

    return change


def assigned(weight):
    weight[1] = 3.0


def divided(weight):
    weight /= 3


WRITES = {
    "optimizer": trained,
    "compiled step": step_of_its_own,
    "load_state_dict": lambda m: m.load_state_dict({k: v + 1 for k, v in m.state_dict().items()}),
    "copy_": with_weight(lambda w: w.copy_(fnn.ones(1))),
    "fill_": with_weight(lambda w: w.fill_(2.0)),
    "assignment": with_weight(assigned),
    "in place": with_weight(divided),
    "detached": with_weight(lambda w: divided(w.detach().reshape(-1))),
    "init": with_weight(nn.init.xavier_normal_),
    "numpy": with_weight(lambda w: np.copyto(w.numpy(), 7)),
    "numpy view": with_weight(lambda w: np.copyto(w.numpy()[::2, 1], 7)),
    "memoryview": with_weight(lambda w: np.copyto(np.asarray(memoryview(w)), 7)),
    "DLPack": with_weight(lambda w: np.copyto(np.from_dlpack(w), 7)),
    "reshaped": with_weight(lambda w: np.copyto(w.reshape(-1).numpy(), 7)),
    "clip_": lambda m: nn.init.uniform_(m[0].weight, 3, 4),
    "replaced": lambda m: setattr(m[0], "weight", nn.Parameter(fnn.ones(*m[0].weight.shape))),
    "shares NumPy's": lambda m: setattr(
        m[0], "weight", nn.Parameter(np.ones(m[0].weight.shape, np.float32))
    ),
    "layer": lambda m: m.__setitem__(0, nn.Conv2d(3, 8, 3, padding=1)),
}


def net():
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(648, 3))


@pytest.mark.parametrize("algo", ["winograd", "direct"])
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_every_way_to_write_a_weight_is_seen(write, algo):
    model, x = net(), images(2, 9)
    model[0].algo = algo
    predict = fnn.compile(model, fullgraph=True)
    for _ in range(3):
        same(model, predict, x)
        write(model)
        same(model, predict, x)
        same(model, predict, x)
        with fnn.no_grad():
            model[0].weight *= 0.5


def test_memory_that_others_hold_is_read_at_each_call():
    model, x = net(), images(1, 9)
    shared = np.ones(model[3].weight.shape, np.float32)
    model[3].weight = nn.Parameter(shared)
    predict = fnn.compile(model, fullgraph=True)
    predict(x)
    view = model[0].weight.detach().reshape(8, -1).numpy()
    same(model, predict, x)
    for factor in (2, 3):
        view *= factor
        shared *= factor
        same(model, predict, x)
    view *= 5
    del view
    same(model, predict, x)
    same(model, predict, x)


def test_training_in_between_and_running_statistics():
    model, x = settle(fnn.models.resnet20()), images(2)
    predict = fnn.compile(model, fullgraph=True)
    for _ in range(2):
        same(model, predict, x)
        model.train()(fnn.tensor(x)).sum().backward()
        gradients = [p.grad for p in model.parameters()]
        model.eval()
        same(model, predict, x)
        assert all(p.grad is g for p, g in zip(model.parameters(), gradients, strict=True))
    dropping = nn.Sequential(nn.Dropout(0.5))
    predict = fnn.compile(dropping, fullgraph=True)
    fnn.manual_seed(3)
    found = [predict(x).numpy().tobytes() for _ in range(3)]
    fnn.manual_seed(3)
    assert found == [eager(dropping, x).tobytes() for _ in range(3)]


# --- what it returns, and what it refuses ---------------------------------------------------------


def test_outputs_are_copies_off_the_tape():
    model, x = net(), images(2, 9)
    predict = fnn.compile(model)
    first = predict(x)
    kept = first.numpy().copy()
    predict(x + 1)
    np.testing.assert_array_equal(first.numpy(), kept)
    assert not first.requires_grad and predict(fnn.tensor(x)).shape == (2, 3)
    with fnn.profile() as p:
        predict(x)
    assert {"conv2d", "linear"} <= {row.name for row in p.rows()}


def test_memory_is_taken_once_and_returns():
    model, x = net(), images(2, 9)
    gc.collect()
    before = _core.memory_stats()["in_use"]
    predict = fnn.compile(model)
    predict(x)
    recorded = _core.memory_stats()
    for _ in range(3):
        predict(x)
        with fnn.no_grad():
            model[0].weight *= 2
    assert _core.memory_stats()["in_use"] == recorded["in_use"] > before
    del predict
    gc.collect()
    assert _core.memory_stats()["in_use"] == before


class Two(nn.Module):
    def __init__(self, what=lambda a, b: a * b + a):
        self.what = what

    def forward(self, a, b):
        return self.what(a, b)


def test_several_inputs():
    model, a, b = Two(), images(1, 4), images(2, 4)[:1]
    predict = fnn.compile(model, fullgraph=True)
    for args in ((a, a), (a, b), (b, a), (a, a)):
        same(model, predict, *args)


def test_errors_and_what_cannot_be_recorded():
    x = images(1, 4)
    peek = fnn.compile(Two(lambda a, b: a * float(b.sum().item())))
    with pytest.warns(RuntimeWarning, match="compile: the model runs as it is, because .* reads a"):
        peek(x, x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(peek(x, x + 1).numpy(), eager(peek.model, x, x + 1))
    assert not peek.recorded
    with pytest.raises(RuntimeError, match="reads a value"):
        fnn.compile(peek.model, fullgraph=True)(x, x)
    with pytest.raises(RuntimeError, match="returns its input"):
        fnn.compile(Two(lambda a, b: a), fullgraph=True)(x, x)
    predict = fnn.compile(net())
    with pytest.raises(RuntimeError, match="inference has no gradients"):
        predict(fnn.tensor(images(1, 9), requires_grad=True))
    with fnn.no_grad():
        predict(fnn.tensor(images(1, 9), requires_grad=True))
    with pytest.raises(TypeError, match="must return a Tensor, got tuple"):
        fnn.compile(Two(lambda a, b: (a, b)))(x, x)
    with pytest.raises(TypeError, match="compile: x must be"):
        predict([1])
    with pytest.raises(ValueError, match="weight has 3 input channels"):
        predict(images(1, 9, 2))
    with pytest.raises(TypeError, match="optimizer needs a loss"):
        fnn.compile(net(), None, optim.SGD(net().parameters(), lr=0.1))
    with pytest.raises(TypeError, match="model must be a Module"):
        fnn.compile(F.relu)
    assert _core.watch() is None
    predict.reset()
    assert not predict.recorded
