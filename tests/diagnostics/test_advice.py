"""Advice: each planted defect is found and named, and healthy networks are left alone."""

import functools
import re

import numpy as np
import pytest

import fastnn as fnn
from fastnn import functional as F
from fastnn import init, nn, optim
from fastnn.diagnostics import Log, Monitor, advise

mlp = fnn.models.mlp


@functools.cache
def digits():
    """Images (normalized, and as they are) and labels."""
    (images, labels), _ = fnn.datasets.mnist_small()
    images, labels = images[:3000], labels[:3000]
    return fnn.data.Normalize.fit(images)(images), images.astype(np.float32), labels


def sgd(lr):
    return lambda parameters: optim.SGD(parameters, lr=lr, momentum=0.9)


def train(model, x=None, y=None, optimizer=None, steps=101, every=10, loss=F.cross_entropy):
    """A monitor that has seen the steps; NaN ends them."""
    x = digits()[0] if x is None else x
    y = digits()[2] if y is None else y
    optimizer = (optimizer or sgd(0.05))(model.parameters())
    rng = np.random.default_rng(0)
    with np.errstate(all="ignore"), Monitor(model, optimizer, every) as monitor:
        for _ in range(steps):
            i = rng.integers(0, len(x), 64)
            optimizer.zero_grad()
            value = loss(model(fnn.from_numpy(x[i])), y[i])
            value.backward()
            optimizer.step()
            monitor.step(value)
            if not np.isfinite(value.item()):
                break
    return monitor


def rules(monitor):
    return [item.rule for item in monitor.advice()]


def start(model, fill):
    """The model, with the weights of every linear layer filled by fill(weight)."""
    for layer in model:
        if isinstance(layer, nn.Linear):
            fill(layer.weight)
    return model


def gaussian(std):
    return lambda weight: init.normal_(weight, 0.0, std)


class Cut(nn.Module):
    """Lets nothing through."""

    def forward(self, x):
        return x * 0.0


# --- defects: what is trained, the rule that has to find it, what it has to say -------------------


def dead_at_start():
    model = mlp(784, (64, 32))
    with fnn.no_grad():
        model[1].bias[:40] = np.full(40, -20.0, np.float32)
    return train(model)


def output_cut_off():
    model = mlp(784, (64, 32))
    return train(nn.Sequential(*model[:5], Cut(), model[5]), steps=221)


def large_scores():
    model = mlp(784, (64, 32))
    init.normal_(model[-1].weight, 0.0, 1.0)
    return train(model, optimizer=sgd(0.001))


def uneven_features():
    x = np.random.default_rng(0).standard_normal((500, 20), dtype=np.float32)
    x[:, 3] *= 1000
    return train(mlp(20, (16,), 2), 0.02 * x, (x[:, 0] > 0).astype(np.int64), sgd(1e-6))


def overfitted():
    x, _, y = digits()
    model = mlp(784, (64,))
    trainer = fnn.Trainer(model, sgd(0.02)(model.parameters()), progress=False,
                          monitor=Monitor(model))  # fmt: skip
    y = np.where(np.arange(len(y)) % 3 == 0, np.random.default_rng(0).permutation(y), y)
    trainer.fit((x[:300], y[:300]), 25, 30, validation=(x[1000:1500], y[1000:1500]))
    return trainer.monitor


def missing_values():
    x = digits()[0].copy()
    x[::30] = np.nan
    return train(mlp(784, (64, 32)), x)


def chaotic_tanh():
    model = mlp(784, (64,) * 20, activation="tanh")
    for layer in list(model)[3::2][:-1]:
        init.normal_(layer.weight, 0.0, 0.44)
    return train(model, optimizer=sgd(0.001))


DEFECTS = {
    "biases far below the data": (
        dead_at_start, "dead_at_start", r"2 \(ReLU\) behind 1 \(Linear\): 6\d% of 64 ReLU units"),
    "updates kill units": (
        lambda: train(mlp(784, (64, 32)), optimizer=sgd(0.5), every=5), "dead_by_updates",
        r"9\d% of 64 ReLU units have not fired in the last [\d,]+ samples; they died between steps "
        r"\d+ and \d+, after updates of .* of the weights' size: lower the learning rate "),
    "tanh with weights of 1": (
        lambda: train(start(mlp(784, (64, 32), activation="tanh"), gaussian(1.0))), "saturated",
        r"2 \(Tanh\).*: 9\d% of its outputs are saturated.*start with a standard deviation of 2\d"),
    "sigmoid with weights of 1": (
        lambda: train(start(mlp(784, (64, 32), activation="sigmoid"), gaussian(1.0))), "saturated",
        r"2 \(Sigmoid\).*: 8\d% of its outputs are saturated"),
    "updates saturate tanh": (
        lambda: train(mlp(784, (64, 32), activation="tanh"), optimizer=sgd(3.0)), "saturated",
        r"at the start 3\d% were\. Updates were up to"),
    "eight sigmoids": (
        lambda: train(start(mlp(784, (64,) * 8, activation="sigmoid"), init.xavier_normal_)),
        "vanishing_gradient", r"to 0\.2\d of their size with each layer.*Sigmoid layers"),
    "twenty chaotic tanhs": (chaotic_tanh, "exploding_gradient", r"by 1\.\d with each layer.*clip"),
    "tanh with weights of 0.01": (
        lambda: train(start(mlp(784, (64,) * 8, activation="tanh"), gaussian(0.01))),
        "activations_collapse", r"to 0\.08\d? of their size each"),
    "ReLU with weights of 0.01": (
        lambda: train(start(mlp(784, (64,) * 8), gaussian(0.01))), "activations_collapse",
        r"to 0\.05\d of their size each"),
    "ReLU with weights of 1": (
        lambda: train(start(mlp(784, (64,) * 8), gaussian(1.0))), "activations_explode",
        r"by 5\.\d each, from .* to 3.*e\+06"),
    "weights of zero": (
        lambda: train(start(mlp(784, (64, 32)), init.zeros_)), "symmetric",
        r"1 \(Linear\): all of its units have the same weights"),
    "constant weights": (
        lambda: train(start(mlp(784, (64, 32), activation="tanh"),
                            lambda w: init.constant_(w, 0.01))),
        "symmetric", "stay identical"),
    "raw pixels": (
        lambda: train(mlp(784, (64, 32)), digits()[1]), "inputs_unscaled",
        "standard deviation is 7[89].*Normalize"),
    "a feature of another scale": (uneven_features, "inputs_unscaled", "different scales"),
    "constant inputs": (
        lambda: train(mlp(784, (64, 32)), np.ones_like(digits()[0])), "inputs_unscaled",
        "All inputs have the same value, 1"),
    "positive inputs": (
        lambda: train(mlp(784, (64, 32)), digits()[0] + 2), "inputs_not_centred",
        r"all positive, with mean 2 "),
    "gradients of one sign": (
        lambda: train(mlp(784, (64, 32)), 0.1 * digits()[0] + 1), "one_sign",
        r"1 \(Linear\): 9\d% of the gradients .*inputs are 100% positive"),
    "learning rate of 1e-6": (
        lambda: train(mlp(784, (64, 32)), optimizer=sgd(1e-6)), "lr_too_low",
        r"raise it \(from 1e-06 to about \de-[23]\)"),
    "learning rate of 0.3 with Adam": (
        lambda: train(mlp(784, (64, 32), activation="elu"),
                      optimizer=lambda p: optim.Adam(p, lr=0.3)),
        "lr_too_high", r"the loss rose from 2\.3.*lower .* \(from 0.3 to about \de-"),
    "learning rate of 1e6": (
        lambda: train(mlp(784, (64, 32)), optimizer=sgd(1e6)), "not_finite",
        r"5 \(Linear\): 640 of its outputs are NaN.*lower the learning rate"),
    "NaN among the inputs": (
        missing_values, "not_finite", r"Inputs are NaN or infinite in step 0 \([\d,]+ of them\)"),
    "large scores": (large_scores, "initial_loss", r"first loss is .*log\(10\) = 2\.3"),
    "labels shuffled": (
        lambda: train(mlp(784, (64, 32)), y=np.random.default_rng(0).permutation(digits()[2]),
                      optimizer=sgd(0.003), steps=221),
        "stays_at_guess", r"stays at that of a guess, 2\.3, .*shuffled apart"),
    "output cut off": (output_cut_off, "stays_at_guess", "outputs are the same for all inputs"),
    "overfitting": (overfitted, "overfitting", r"validation loss was best in epoch \d+ "),
}  # fmt: skip


@pytest.mark.parametrize("defect", DEFECTS)
def test_defect_is_found(defect):
    make, rule, text = DEFECTS[defect]
    fnn.manual_seed(0)
    monitor = make()
    found = {item.rule: item for item in reversed(monitor.advice())}
    assert rule in found, monitor.report()
    assert re.search(text, found[rule].text), found[rule].text
    known = {layer["name"] for layer in monitor.header["layers"]} | {""}
    assert all(item.layer in known for item in found.values())
    # Read again from the log, it is the same: JSON loses nothing that rules need.
    assert advise(Log(monitor.header, monitor.records, monitor.epochs)) == monitor.advice()


def test_what_is_not_finite_is_told_of_the_step_in_which_it_began():
    x = digits()[0][:64].copy()
    fnn.manual_seed(0)
    model = mlp(784, (64, 32))
    with np.errstate(all="ignore"), Monitor(model, every=1) as monitor:
        for i in range(6):
            x[0, 0, 0] = np.nan if i in (1, 3, 4, 5) else 0
            monitor.step(model(fnn.from_numpy(x)).sum())
            assert ("not_finite" in rules(monitor)) == bool(np.isnan(x).any())
    assert "NaN or infinite in step 3 (1 of them)" in monitor.report()


@pytest.mark.parametrize("lr", [1e30, 0.01])
def test_nan_is_blamed_on_the_updates_before_it_only(lr):
    x = digits()[0].copy()
    fnn.manual_seed(0)
    model = mlp(784, (64, 32))
    optimizer = optim.SGD(model.parameters(), lr=lr)
    with np.errstate(all="ignore"), Monitor(model, optimizer, every=1) as monitor:
        for i in range(4):  # the logarithm of 0 is no fault of the updates
            optimizer.zero_grad()
            outputs = model(fnn.from_numpy(x[:64]))
            loss = F.cross_entropy(outputs, digits()[2][:64])
            if lr < 1.0 and i == 3:
                loss = loss + (outputs * 0.0).log().sum()
            loss.backward()
            optimizer.step()
            monitor.step(loss)
    (advice,) = monitor.advice()
    blamed = "were infinite: lower the learning rate (from 1e+30) by powers" in advice.text
    assert advice.rule == "not_finite" and blamed == (lr > 1.0)
    assert ("detect_anomaly() finds" in advice.text) == (lr < 1.0), advice.text


@pytest.mark.parametrize(("lr", "text"), [(0.24, "from 0.24 to"), (0.015, "from 0.015 to")])
def test_learning_rates_are_told_as_they_are(lr, text):
    model = mlp(784, (64, 32))
    monitor = train(model, optimizer=lambda p: optim.Adam(p, lr=lr), steps=31, every=5)
    for record in monitor.records:  # whatever the training does
        record["update_ratio"] = 0.1
    monitor.records[-1]["mean_loss"] = 99.0
    assert f"{text} about {'2e-3' if lr > 0.1 else '1e-4'})" in monitor.report()


def test_every_rule_has_a_defect():
    from fastnn.diagnostics.advice import RULES

    assert {rule.__name__.lstrip("_") for rule in RULES} == {
        rule for _, rule, _ in DEFECTS.values()
    }


# --- healthy networks -----------------------------------------------------------------------------


def small_images(channels, size):
    """Digits at another size, as images for the models that want it."""
    x = digits()[0][:600]
    x = x[:, ::2, ::2] if size < 28 else np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(np.repeat(x, channels, axis=3)), digits()[2][:600]


def converged():
    model = mlp(784, (32,))
    optimizer = sgd(0.02)(model.parameters())
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, 200)
    trainer = fnn.Trainer(model, optimizer, scheduler=schedule, schedule_by="step", progress=False,
                          monitor=Monitor(model, optimizer, every=10))  # fmt: skip
    trainer.fit((digits()[0][:640], digits()[2][:640]), 20)
    return trainer.monitor


def regression():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 8), dtype=np.float32)
    y = np.stack([x.sum(axis=1), x[:, 0] * 3], axis=1) * np.float32(10)
    return train(mlp(8, (32, 32), 2), x, y, sgd(0.001), loss=F.mse_loss)


def validated():
    model = mlp(784, (64, 32))
    trainer = fnn.Trainer(model, sgd(0.02)(model.parameters()), progress=False,
                          monitor=Monitor(model))  # fmt: skip
    x, _, y = digits()
    trainer.fit((x[:2000], y[:2000]), 4, validation=(x[2000:], y[2000:]))
    return trainer.monitor


HEALTHY = {
    **{
        f"mlp with {name}": functools.partial(
            lambda name: train(mlp(784, (64, 32), activation=name)), name
        )
        for name in (
            "relu", "tanh", "sigmoid", "leaky_relu", "prelu", "elu", "selu", "gelu", "silu",
            "hardtanh", "relu6", "hardsigmoid", "hardswish", "softplus", "softsign",
        )
    },
    "lenet5": lambda: train(fnn.models.lenet5(), optimizer=sgd(0.02), steps=61),
    "lenet5 with tanh": lambda: train(
        fnn.models.lenet5(activation="tanh"), optimizer=sgd(0.02), steps=61
    ),
    "lenet5 with sigmoid": lambda: train(
        fnn.models.lenet5(activation="sigmoid"), optimizer=sgd(0.02), steps=211
    ),
    "cifar_quick": lambda: train(
        fnn.models.cifar_quick(), *small_images(3, 32), optimizer=sgd(0.02), steps=31, every=5
    ),
    "resnet20": lambda: train(
        fnn.models.resnet20(in_channels=1), *small_images(1, 14), steps=21, every=5
    ),
    "mobilenet_v1": lambda: train(
        fnn.models.mobilenet_v1(10, 1, width_multiplier=0.25),
        *small_images(1, 32), steps=16, every=5,
    ),
    "deep ReLU": lambda: train(mlp(784, (64,) * 8), optimizer=sgd(0.02)),
    "deep tanh": lambda: train(mlp(784, (64,) * 8, activation="tanh"), optimizer=sgd(0.01)),
    "Adam": lambda: train(mlp(784, (64, 32)), optimizer=lambda p: optim.Adam(p, lr=1e-3)),
    "dropout, the layers' own start": lambda: train(
        nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Dropout(0.5),
                      nn.Linear(64, 10)), optimizer=sgd(0.01)
    ),
    "batch norm": lambda: train(
        nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.BatchNorm1d(64), nn.ReLU(),
                      nn.Linear(64, 10))
    ),
    "softmax regression": lambda: train(
        nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), optimizer=sgd(0.01)
    ),
    "pixels from 0 to 1": lambda: train(mlp(784, (64, 32)), digits()[1] / np.float32(255)),
    "converged, learning rate gone": converged,
    "regression": regression,
    "validated": validated,
}  # fmt: skip


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_network_is_left_alone(name):
    fnn.manual_seed(0)
    monitor = HEALTHY[name]()
    assert monitor.report() == "No problems found."
    assert len(monitor.records) >= 6
    assert [record["advice"] for record in monitor.records if record["advice"]] == []


def test_enough_of_both():
    assert len(DEFECTS) >= 12 and len(HEALTHY) >= 12


def test_nothing_seen_gives_no_advice():
    monitor = Monitor(mlp(4, (3,), 2))
    assert monitor.advice() == [] and monitor.report() == "No problems found."
