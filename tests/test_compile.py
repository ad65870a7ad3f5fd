"""compile: the bits of the step that it records; recorded anew, or not at all, where it must be."""

import gc
import threading
import warnings

import numpy as np
import pytest
from cases import CASES

import fastnn as fnn
from fastnn import _core, nn, optim
from fastnn import functional as F


@pytest.fixture(autouse=True)
def state():
    """Each test starts with one seed, and leaves the thread count and the stream as they were."""
    threads, stream = fnn.get_num_threads(), fnn.get_rng_state()
    fnn.manual_seed(5)
    yield
    fnn.set_num_threads(threads)
    fnn.set_rng_state(stream)


def small(dropout=0.0):
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 3))


def batches(n, shape=(8, 6), classes=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, *shape)).astype(np.float32)
    return list(zip(x, rng.integers(0, classes, (n, shape[0])), strict=True))


def eager(model, loss, optimizer):
    def step(x, y):
        model.zero_grad()
        value = loss(model(fnn.from_numpy(x)), y)
        value.backward()
        optimizer.step()
        return value.item()

    return step


def sgd(parameters):
    return optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=1e-3)


def train(make_model, data, compiled, loss=F.cross_entropy, before_step=None, rule=sgd):
    """Losses, and the bytes of all parameters, gradients and buffers, and the random stream."""
    fnn.manual_seed(5)
    model = make_model()
    optimizer = rule(model.parameters())
    make = (lambda *a: fnn.compile(*a, fullgraph=True)) if compiled else eager
    step = make(model, loss, optimizer)
    losses = []
    for i, (x, y) in enumerate(data):
        if before_step is not None:
            before_step(i, model, optimizer)
        losses.append(step(x, y))
    state = [t.numpy().tobytes() for t in model.state_dict().values()]
    state += [p.grad.numpy().tobytes() for p in model.parameters() if p.grad is not None]
    return losses, state, fnn.get_rng_state()


def same(make_model, data, **options):
    expected = train(make_model, data, False, **options)
    assert train(make_model, data, True, **options) == expected


# --- the same bits --------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
def test_mlp_cifar_quick_with_dropout_and_resnet20(threads):
    fnn.set_num_threads(threads)
    same(lambda: fnn.models.mlp(64, (64,), 10), batches(20, (32, 64), 10))

    def net():
        model = fnn.models.cifar_quick()
        model.append(nn.Dropout(0.2))
        return model

    same(net, batches(20, (4, 32, 32, 3), 10))
    same(fnn.models.resnet20, batches(20, (2, 32, 32, 3), 10))


@pytest.mark.parametrize("rule", [optim.Adam, optim.NAdam, optim.RMSprop], ids=lambda r: r.__name__)
def test_batch_normalization_and_sums_with_rules_that_count(rule):
    def net():
        body = nn.Sequential(
            nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
            nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4, momentum=None),
        )  # fmt: skip
        head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
        return nn.Sequential(nn.Conv2d(2, 4, 3), nn.Residual(body, activation="relu"), head)

    def before_step(i, model, optimizer):
        optimizer.param_groups[0]["lr"] = 0.01 / (1 + i)
        model.train(i != 7)

    same(net, batches(20, (8, 8, 8, 2)), rule=rule, before_step=before_step)


def test_changing_options_mode_and_shapes():
    def before_step(i, model, optimizer):
        optimizer.param_groups[0]["lr"] = 0.1 / (i + 1)
        optimizer.param_groups[0]["weight_decay"] = 0.01 * (i % 3)
        model.train(i % 7 != 3)

    data = batches(20) + batches(3, (5, 6)) + batches(3)
    same(lambda: small(0.4), data, before_step=before_step)


def test_freezing_replacing_and_reconfiguring():
    def before_step(i, model, optimizer):
        if i == 4:
            model[0].weight.requires_grad_(False)
        if i == 6:
            model[2].p = 0.1
        if i == 8:
            model[3].bias = nn.Parameter(fnn.ones(3))
        if i == 10:
            model[0].weight.requires_grad_(True)
        if i == 12:
            model[1] = nn.Tanh()

    same(lambda: small(0.4), batches(16), before_step=before_step)


def test_losses_with_class_weights_and_two_inputs_in_one_array():
    weight = fnn.tensor([0.5, 1.0, 2.0])
    same(small, batches(6), loss=nn.CrossEntropyLoss(weight, label_smoothing=0.1))
    x = np.random.default_rng(0).standard_normal((6, 4, 5)).astype(np.float32)
    same(lambda: nn.Linear(5, 5), [(a, a) for a in x], loss=F.mse_loss)
    same(lambda: nn.Linear(5, 5), [(x[0], x[0]), (x[1], x[2])], loss=F.mse_loss)


# What networks are made of; NumPy computes in some of the others.
RECORDED = {
    "linear", "matmul", "conv2d", "avg_pool2d", "adaptive_avg_pool2d", "relu", "leaky_relu", "elu",
    "sigmoid", "tanh", "prelu", "maxout", "softmax", "log_softmax", "cross_entropy", "mse_loss",
    "l1_loss", "multi_margin_loss", "add", "sub", "mul", "div", "exp", "log", "sqrt", "square",
    "clip", "sum", "mean", "var", "reshape", "transpose", "permute", "flatten", "expand",
}  # fmt: skip


@pytest.mark.parametrize("case", [c for c in CASES if max(
    np.prod(i.shape) for i in c.inputs) < 5000], ids=str)  # fmt: skip
def test_every_operation(case):
    """A replay computes with the values of its time, or the operation says that it cannot."""
    truth = case.truth(np.float32)
    tensors = [
        nn.Parameter(fnn.tensor(a), i.grad) if a.dtype.kind == "f" else fnn.tensor(a)
        for a, i in zip(truth.arrays, case.inputs, strict=True)
    ]

    class Op(nn.Module):
        def forward(self, x):
            return case.call(F, *tensors)

    model = Op()
    for i, tensor in enumerate(tensors):
        setattr(model, f"t{i}", tensor)
    dy, none = fnn.tensor(truth.dy), fnn.zeros(1)
    step = fnn.compile(model, lambda y, dy: (y * dy).sum())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        step(none, dy)
    if not step.recorded:
        assert case.op not in RECORDED, caught[0].message
        return
    rng = np.random.default_rng(11)
    for i, tensor in zip(case.inputs, tensors, strict=True):
        tensor.numpy()[...] = i.draw(rng, i.shape)
    loss = step(none, dy)
    found = [step.output.numpy().tobytes()]
    found += [None if t.grad is None else t.grad.numpy().tobytes() for t in tensors]
    for tensor in tensors:
        tensor.grad = None
    y = case.call(F, *tensors)
    total = (y * dy).sum()
    total.backward()
    expected = [y.numpy().tobytes()]
    expected += [None if t.grad is None else t.grad.numpy().tobytes() for t in tensors]
    assert found == expected
    np.testing.assert_array_equal(loss, total.item())


# --- recorded anew, or not at all -----------------------------------------------------------------


class Peeking(nn.Module):
    """Does something with its input that no recording can repeat."""

    def __init__(self, what):
        self.linear, self.what = nn.Linear(6, 3), what

    def forward(self, x):
        y = self.linear(x)
        self.what(self, x, y)
        return y


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (lambda m, x, y: float(y[0, 0]), "getitem"),
        (lambda m, x, y: y.sum().item(), r"Tensor.item .*test_compile.py:\d+\) reads a value"),
        (lambda m, x, y: y.numpy(), "Tensor.numpy .* outside of the kernels"),
        (lambda m, x, y: m.linear.weight.numpy(), "Tensor.numpy"),
        (lambda m, x, y: bool((y > 0).sum() > 3), "compare"),
        (lambda m, x, y: x + fnn.tensor([1.0] * 6), "takes values from outside"),
        (lambda m, x, y: memoryview(x), r"<lambda> \(.*test_compile.py:\d+\) reads or writes"),
        (lambda m, x, y: y.register_hook(lambda g: None), "a hook on a tensor is called"),
        (lambda m, x, y: setattr(m, "runs", getattr(m, "runs", 0) + 1), "sets 'runs' of Peeking"),
    ],
)
def test_what_cannot_be_recorded_runs_after_one_warning(what, reason):
    model = Peeking(what)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    step, data = fnn.compile(model, F.cross_entropy, optimizer), batches(4)
    with pytest.warns(RuntimeWarning, match=f"compile: the step runs as it is, because .*{reason}"):
        losses = [step(*data[0])]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        losses += [step(x, y) for x, y in [*data[1:], (data[0][0][:3], data[0][1][:3])]]
    assert not step.recorded and step.output.shape == (3, 3)
    fnn.manual_seed(5)
    other = Peeking(what)
    plain = eager(other, F.cross_entropy, optim.SGD(other.parameters(), lr=0.1))
    assert losses[:4] == [plain(x, y) for x, y in data]

    before = model.linear.weight.numpy().copy()
    with pytest.raises(RuntimeError, match=reason):
        fnn.compile(model, F.cross_entropy, optimizer, fullgraph=True)(*data[0])
    np.testing.assert_array_equal(model.linear.weight.numpy(), before)


def test_hooks_on_modules_are_called_and_recording_resumes_without_them():
    model, calls = small(), []
    step, data = fnn.compile(model, F.cross_entropy), batches(1)[0]
    step(*data)
    handle = model[0].register_forward_hook(lambda *args: calls.append(1))
    with pytest.warns(RuntimeWarning, match="a hook on Linear is called"):
        step(*data)
    step(*data)
    assert len(calls) == 2
    handle.remove()
    step(*data)
    assert len(calls) == 2 and step.recorded
    gradient = model[0].weight.register_hook(lambda g: calls.append(2))
    step(*data)
    gradient.remove()
    step(*data)
    assert calls == [1, 1, 2] and step.recorded


def test_forward_runs_in_python_once_for_each_shape_and_state():
    class Counting(nn.Module):
        def __init__(self):
            self.linear, self.runs = nn.Linear(6, 3), []

        def forward(self, x):
            self.runs.append(x.shape)
            return self.linear(x)

    model = Counting()
    step = fnn.compile(model, F.cross_entropy)
    for n in (8, 5, 8, 5, 8):
        step(*batches(1, (n, 6))[0])
    assert model.runs == [(8, 6), (5, 6)]
    model.train(False)
    step(*batches(1)[0])
    model.train(True)
    step(*batches(1)[0])
    assert len(model.runs) == 4
    nn.Linear(3, 3)  # somebody else's change
    step(*batches(1)[0])
    assert len(model.runs) == 4
    step.reset()
    assert not step.recorded
    for n in range(1, 13):
        step(*batches(1, (n, 6))[0])
    assert len(step._plans) <= 8


def test_gradients_are_set_again_and_outputs_are_copies():
    model, data = small(), batches(2)
    step = fnn.compile(model, F.cross_entropy)
    with pytest.raises(RuntimeError, match="no output"):
        _ = step.output
    step(*data[0])
    first = step.output
    kept = first.numpy().copy()
    model.zero_grad()
    step(*data[1])
    np.testing.assert_array_equal(first.numpy(), kept)
    np.testing.assert_array_equal(step.output.numpy(), model(fnn.tensor(data[1][0])).numpy())
    assert all(p.grad is not None for p in model.parameters())


# --- errors, memory, threads ----------------------------------------------------------------------


def test_errors_are_those_of_the_step_and_leave_it_usable():
    model = small()
    step = fnn.compile(model, F.cross_entropy, optim.SGD(model.parameters(), lr=0.1))
    x, y = batches(1)[0]
    step(x, y)
    weight = model[0].weight.numpy().copy()
    with pytest.raises(ValueError, match="cross_entropy: label 3 at index 2 is out of range for 3"):
        step(x, np.where(np.arange(8) == 2, 3, y))
    np.testing.assert_array_equal(model[0].weight.numpy(), weight)
    with pytest.raises(ValueError, match="linear: weight has 6 input features"):
        step(x[:, :5], y)
    with pytest.raises(TypeError, match="compile: y must be a Tensor or a NumPy array"):
        step(x, [1])
    with fnn.no_grad(), pytest.raises(RuntimeError, match="no_grad"):
        step(x, y)
    assert np.isfinite(step(x, y)) and _core.watch() is None
    for bad in (lambda: fnn.compile(1, F.cross_entropy), lambda: fnn.compile(model, 1),
                lambda: fnn.compile(model, F.cross_entropy, 1)):  # fmt: skip
        with pytest.raises(TypeError, match="compile"):
            bad()


def test_memory_returns_when_the_step_is_dropped():
    model = small()
    data = batches(3, (512, 6))
    gc.collect()
    before = _core.memory_stats()["in_use"]
    step = fnn.compile(model, F.cross_entropy)
    step(*data[0])
    recorded = _core.memory_stats()
    assert recorded["in_use"] > before
    step(*data[1])
    step(*data[2])
    assert _core.memory_stats() == recorded
    gradients = [p.grad.numpy().copy() for p in model.parameters()]
    del step
    gc.collect()
    fnn.randn(512, 16)  # would overwrite what was handed back too early
    for p, g in zip(model.parameters(), gradients, strict=True):
        np.testing.assert_array_equal(p.grad.numpy(), g)
    model.zero_grad()
    gc.collect()
    assert _core.memory_stats()["in_use"] == before


def test_threads_record_and_replay_side_by_side():
    data = batches(30)
    expected = train(lambda: small(), data, False)[0]
    models = [small() for _ in range(3)]
    for model in models:
        fnn.manual_seed(5)
        model.load_state_dict(small().state_dict())
    found = {}

    def work(i):
        optimizer = optim.SGD(models[i].parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
        step = fnn.compile(models[i], F.cross_entropy, optimizer, fullgraph=True)
        found[i] = [step(x, y) for x, y in data]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {i: expected for i in range(3)}
