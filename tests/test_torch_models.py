"""Each model against its twin in PyTorch: activations and gradients of every layer, in float64."""

from __future__ import annotations

import numpy as np
import pytest

import fastnn as fnn
from fastnn import io, models, nn

torch = pytest.importorskip("torch")
twins = pytest.importorskip("torch_models")

SMALL = (24, 16)  # linear layers of AlexNet and VGG: the published 4096 take gigabytes

# name -> (our model's options, the twin, image shape, batch)
CASES = {
    "mlp": ("mlp", {}, twins.mlp, (28, 28, 1)),
    "lenet5": ("lenet5", {}, twins.lenet5, (28, 28, 1)),
    "cifar_quick": ("cifar_quick", {}, twins.cifar_quick, (32, 32, 3)),
    "alexnet": ("alexnet", {"hidden": SMALL, "dropout": 0},
                lambda act: twins.AlexNet(act, SMALL), (63, 71, 3)),
    "vgg11": ("vgg11", {"hidden": SMALL, "dropout": 0},
              lambda act: twins.VGG(act, (1, 1, 2, 2, 2), True, SMALL), (32, 45, 3)),
    "vgg11 without batch norm": ("vgg11", {"hidden": SMALL, "dropout": 0, "batch_norm": False},
                                 lambda act: twins.VGG(act, (1, 1, 2, 2, 2), False, SMALL),
                                 (32, 32, 3)),
    "vgg16": ("vgg16", {"hidden": SMALL, "dropout": 0},
              lambda act: twins.VGG(act, (2, 2, 3, 3, 3), True, SMALL), (32, 32, 3)),
    "resnet20": ("resnet20", {}, twins.resnet20, (20, 17, 3)),
    "resnet18": ("resnet18", {}, lambda act: twins.resnet18(act, False), (48, 33, 3)),
    "resnet18 small": ("resnet18", {"small_input": True},
                       lambda act: twins.resnet18(act, True), (16, 16, 3)),
    "mobilenet_v1": ("mobilenet_v1", {"width_multiplier": 0.25},
                     lambda act: twins.MobileNet(act, 0.25), (48, 40, 3)),
    "alexnet at 224": ("alexnet", {"hidden": SMALL, "dropout": 0},
                       lambda act: twins.AlexNet(act, SMALL), (224, 224, 3)),
    "vgg16 at 96": ("vgg16", {"hidden": SMALL, "dropout": 0},
                    lambda act: twins.VGG(act, (2, 2, 3, 3, 3), True, SMALL), (96, 96, 3)),
    "resnet18 at 224": ("resnet18", {}, lambda act: twins.resnet18(act, False), (224, 224, 3)),
    "mobilenet_v1 at 224": ("mobilenet_v1", {}, lambda act: twins.MobileNet(act, 1),
                            (224, 224, 3)),
}  # fmt: skip
ROWS = [pytest.param(n, marks=[pytest.mark.slow] * (" at " in n)) for n in CASES]
# The layers that compute: those that only reshape have no match.
OURS = (nn.Linear, nn.Conv2d, nn.MaxPool2d, nn.BatchNorm2d, nn.Sigmoid, nn.ReLU)
THEIRS = (
    torch.nn.Linear, torch.nn.Conv2d, torch.nn.MaxPool2d, torch.nn.BatchNorm2d, torch.nn.Sigmoid,
    torch.nn.ReLU,
)  # fmt: skip


def ours_as_theirs(array):
    """Channels first."""
    return np.moveaxis(array, -1, 1) if array.ndim == 4 else array


def close(ours, theirs, name):
    """Within a part in 10^8 of the largest element."""
    assert ours.shape == theirs.shape, name
    size = np.abs(theirs).max()
    assert size > 0, f"{name}: nothing to compare"
    assert np.abs(ours - theirs).max() <= 1e-8 * size, name


def build(name, activation):
    kind, options, twin, shape = CASES[name]
    fnn.manual_seed(0)
    model = models.get(kind, activation=activation, **options).double()
    for module in model.modules():  # not at 1, 0, 0, 1, where mistakes would not show
        if isinstance(module, nn.BatchNorm2d):
            size = module.num_features
            rng = np.random.default_rng(size)
            module.load_state_dict({
                "weight": rng.uniform(0.5, 1.5, size), "bias": rng.normal(0, 0.1, size),
                "running_mean": rng.normal(0, 0.1, size), "running_var": rng.uniform(1, 2, size),
            }, strict=False)  # fmt: skip
    with fnn.no_grad():
        for parameter in model[-1].parameters():
            parameter.copy_(fnn.randn(*parameter.shape).double())
    theirs = twin({"relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid}[activation]).double()
    state = io.to_torch_state(model).values()
    assert len(state) == len(theirs.state_dict())
    theirs.load_state_dict(
        {k: torch.from_numpy(v) for k, v in zip(theirs.state_dict(), state, strict=True)}
    )
    x = np.random.default_rng(1).standard_normal((2, *shape))
    return model, theirs, x


def watch(modules, kinds, register):
    """Outputs of the modules of these kinds, in the order in which they are called."""
    calls = []
    for name, module in modules:
        if isinstance(module, kinds):
            register(module)(lambda _m, _x, y, name=name: calls.append((name, y)))
    return calls


@pytest.fixture(autouse=True, scope="module")
def _one_thread_of_theirs():
    """Two OpenMP runtimes that wait for each other's threads to stop spinning are slow."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", ROWS)
def test_every_layer_agrees(name):
    model, theirs, x = build(name, "sigmoid" if name == "lenet5" else "relu")
    their_x = torch.tensor(ours_as_theirs(x).copy())
    with torch.no_grad():
        close(model.eval()(x).numpy(), theirs.eval()(their_x).numpy(), f"{name}: evaluation")
        theirs.train()(their_x)
    fused = model.train()(x)  # without hooks, layers are computed together
    ours = watch(model.named_modules(), OURS, lambda m: m.register_forward_hook)
    calls = watch(theirs.named_modules(), THEIRS, lambda m: m.register_forward_hook)
    image, their_image = fnn.tensor(x, requires_grad=True), their_x.clone().requires_grad_()
    y, their_y = model(image), theirs(their_image)
    np.testing.assert_array_equal(fused.numpy(), y.numpy())

    gradients = {}
    for i, (_, output) in enumerate(ours):
        output.register_hook(lambda g, i=i: gradients.__setitem__(i, g.numpy().copy()))
    for _, output in calls:
        output.retain_grad()
    dy = np.random.default_rng(2).standard_normal(y.shape)
    y.backward(fnn.tensor(dy))
    their_y.backward(torch.tensor(dy))

    assert len(ours) == len(calls) > 4
    for i, ((layer, output), (peer, expected)) in enumerate(zip(ours, calls, strict=True)):
        where = f"{name}: {layer} ({peer})"
        close(ours_as_theirs(output.numpy()), expected.detach().numpy(), f"output of {where}")
        close(ours_as_theirs(gradients[i]), expected.grad.numpy(), f"gradient at {where}")
    close(ours_as_theirs(image.grad.numpy()), their_image.grad.numpy(), f"{name}: image gradient")
    # Gradients are laid out like the parameters: converted in their place.
    model.load_state_dict({k: p.grad for k, p in model.named_parameters()}, strict=False)
    converted = dict(zip(theirs.state_dict(), io.to_torch_state(model).values(), strict=True))
    expected = dict(theirs.named_buffers()) | {k: p.grad for k, p in theirs.named_parameters()}
    for key, array in converted.items():
        close(array, expected[key].numpy(), f"{name}: {key}")


@pytest.mark.parametrize("name", ["alexnet", "resnet18", "vgg16"])
def test_weights_of_other_names_are_matched_by_position(name):
    model, theirs, _ = build(name, "relu")
    kind, options, _, _ = CASES[name]
    fresh = models.get(kind, **options).double()
    io.from_torch_state(fresh, theirs.state_dict())
    for (key, array), other in zip(
        model.state_dict().items(), fresh.state_dict().values(), strict=True
    ):
        np.testing.assert_array_equal(array.numpy(), other.numpy(), key)


def test_flattened_images_of_an_mlp():
    model = models.mlp(4 * 5 * 3, (7,), 2).double()
    theirs = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(60, 7), torch.nn.ReLU(), torch.nn.Linear(7, 2)
    ).double()
    names = ["1.weight", "1.bias", "3.weight", "3.bias"]
    assert list(theirs.state_dict()) == list(model.state_dict()) == names
    shuffled = dict(reversed(theirs.state_dict().items()))  # by name: the order says nothing
    io.from_torch_state(model, shuffled, channels=3)
    x = np.random.default_rng(0).standard_normal((2, 4, 5, 3))
    expected = theirs(torch.tensor(ours_as_theirs(x).copy())).detach().numpy()
    close(model(x).numpy(), expected, "mlp")
    for key, array in io.to_torch_state(model, channels=3).items():
        np.testing.assert_array_equal(array, theirs.state_dict()[key].numpy())


def test_transposed_convolution_and_embedding():
    layer = nn.ConvTranspose2d(6, 4, (3, 2), 2, 1, (1, 0), groups=2).double()
    theirs = torch.nn.ConvTranspose2d(6, 4, (3, 2), 2, 1, (1, 0), groups=2).double()
    io.from_torch_state(layer, theirs.state_dict())
    x = np.random.default_rng(0).standard_normal((2, 5, 4, 6))
    expected = theirs(torch.tensor(ours_as_theirs(x).copy())).detach().numpy()
    close(ours_as_theirs(layer(x).numpy()), expected, "ConvTranspose2d")
    table, other = nn.Embedding(5, 3), torch.nn.Embedding(5, 3)
    io.from_torch_state(table, other.state_dict())
    np.testing.assert_array_equal(table.weight.numpy(), other.weight.detach().numpy())


def test_weights_that_do_not_fit():
    model = models.lenet5()
    before = model[1].weight.numpy().copy()
    state = {k: torch.from_numpy(v) for k, v in io.to_torch_state(model).items()}
    short = dict(list(state.items())[:-1])
    with pytest.raises(RuntimeError, match="the model has 10 arrays, state has 9"):
        io.from_torch_state(model, short)
    wrong = {**state, "8.weight": state["8.weight"][:, :-1]}
    with pytest.raises(RuntimeError, match=r"8\.weight must have shape \(120, 800\)"):
        io.from_torch_state(model, {**wrong, "1.weight": state["1.weight"] + 1})
    with pytest.raises(RuntimeError, match="must be float32, got float64"):
        io.from_torch_state(model, {k: v.double() for k, v in state.items()})
    np.testing.assert_array_equal(model[1].weight.numpy(), before)
