"""Models: shapes, sizes, activations, errors, and that they learn."""

import itertools
import math

import numpy as np
import pytest
from small_models import SHAPES, small

import fastnn as fnn
from fastnn import models, nn, optim

PUBLISHED = {  # at the size of the publication: image, parameters, multiply-adds of one image
    "alexnet": ((224, 224, 3), 61_100_840, 714_188_480),
    "cifar_quick": ((32, 32, 3), 145_578, 12_354_176),
    "demo_convnet": ((28, 28, 1), 160 + 4640 + 1568 * 64 + 64 + 650, 1_117_056),
    "lenet5": ((28, 28, 1), 416 + 12_832 + 800 * 120 + 120 + 120 * 84 + 84 + 850, 1_700_520),
    "mlp": ((28, 28, 1), 785 * 512 + 513 * 256 + 257 * 10, 535_040),
    "mobilenet_v1": ((224, 224, 3), 4_231_976, 568_740_352),
    "resnet18": ((224, 224, 3), 11_689_512, 1_814_073_344),
    "resnet20": ((32, 32, 3), 269_722 + 16 * 32 + 32 * 64 + 2 * (32 + 64), 40_813_184),
    # PyTorch's figures for VGG without batch norm; a convolution's bias becomes weight and bias
    "vgg11": ((224, 224, 3), 132_863_336 + 2752, 7_609_090_048),
    "vgg16": ((224, 224, 3), 138_357_544 + 4224, 15_470_264_320),
}


def test_names():
    assert models.names() == sorted(PUBLISHED) == sorted(SHAPES)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (s[1] > 10**7)) for n, s in PUBLISHED.items()],
)
def test_sizes(name):
    model = models.get(name)
    shape, parameters, multiplications = PUBLISHED[name]
    assert isinstance(model, nn.Sequential)
    summary = model.summary(shape)
    assert summary.parameters == parameters
    assert summary.flops == 2 * multiplications
    assert summary.rows[-1].output_shape == (1000 if shape[0] == 224 else 10,)


@pytest.mark.parametrize("name", SHAPES)
def test_a_step_is_finite_and_has_the_same_bits_at_every_thread_count(name):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, *SHAPES[name])).astype(np.float32)
    threads, results = fnn.get_num_threads(), []
    for count in (1, 2):
        fnn.set_num_threads(count)
        fnn.manual_seed(0)
        model = small(name)
        optimizer = optim.SGD(model.parameters(), 0.01, 0.9)
        loss = nn.CrossEntropyLoss()(model(x), np.arange(4))
        loss.backward()
        optimizer.step()
        assert math.isfinite(loss.item())
        state = model.state_dict().values()
        results.append([loss.item(), *(tensor.numpy().tobytes() for tensor in state)])
    fnn.set_num_threads(threads)
    assert results[0] == results[1]


def test_vgg_from_a_list():
    model = models.vgg((8, "M", 16, 16, "M"), 5, 2, "elu", False, 0.0, (7,), 2)
    kinds = [type(m).__name__ for m in model]
    conv = ["Conv2d", "ELU"]
    assert kinds == [
        "Input", *conv, "MaxPool2d", *conv, *conv, "MaxPool2d", "AdaptiveAvgPool2d", "Flatten",
        "Linear", "ELU", "Dropout", "Linear",
    ]  # fmt: skip
    assert model(np.ones((1, 4, 6, 2), np.float32)).shape == (1, 5)
    for wrong in ("m", 1.5, True):
        with pytest.raises(ValueError, match=f"vgg: cfg must hold .* got {wrong!r}"):
            models.vgg((8, wrong))


def test_no_convolution_before_batch_norm_has_a_bias():
    for name in SHAPES:
        for module in small(name).modules():
            layers = list(module.children()) if isinstance(module, nn.Sequential) else []
            for layer, following in itertools.pairwise(layers):
                if isinstance(layer, nn.Conv2d):
                    assert (layer.bias is None) == isinstance(following, nn.BatchNorm2d), name


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


BIG = ("alexnet", "resnet18", "vgg11", "vgg16")


@pytest.mark.parametrize(
    ("name", "activation"),
    [(n, a) for n in SHAPES for a in (("relu", "tanh") if n in BIG else nn.activation.names())],
)
def test_first_loss_is_that_of_a_guess_and_every_parameter_gets_a_gradient(name, activation):
    fnn.manual_seed(0)
    model = small(name, activation=activation)
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
    with pytest.raises(ValueError, match=r"alexnet, cifar_quick, .*, vgg16, got 'lenet'"):
        models.get("lenet")
    with pytest.raises(TypeError, match=r"lenet5 takes .* not take 'depth'"):
        models.get("lenet5", depth=3)
    with pytest.raises(ValueError, match=r"relu, .*got 'rellu'"):
        models.mlp(activation="rellu")
    with pytest.raises(ValueError, match=r"\(N, 28, 28, 1\), got \(2, 32, 32, 3\)"):
        models.lenet5()(np.zeros((2, 32, 32, 3), np.float32))
    with pytest.raises(ValueError, match="784 input features, x has 3072"):
        models.mlp()(np.zeros((2, 32, 32, 3), np.float32))


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("alexnet", (62, 80, 3), r"\(N, >=63, >=63, 3\), got \(2, 62, 80, 3\)"),
        ("vgg11", (40, 31, 3), r"\(N, >=32, >=32, 3\), got"),
        ("resnet20", (32, 32, 1), r"\(N, >=1, >=1, 3\), got \(2, 32, 32, 1\)"),
        ("mobilenet_v1", (32, 32), r"got \(2, 32, 32\)"),
    ],
)
def test_images_that_do_not_fit(name, shape, message):
    with pytest.raises(ValueError, match=message):
        small(name)(np.zeros((2, *shape), np.float32))


def test_width_multiplier():
    assert small("mobilenet_v1")[1].out_channels == 4
    assert models.mobilenet_v1(width_multiplier=0.01)[1].out_channels == 1
    for wrong in (0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="width_multiplier must be positive"):
            models.mobilenet_v1(width_multiplier=wrong)
