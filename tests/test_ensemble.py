# SPDX-License-Identifier: BSD-3-Clause
"""Ensembles, averaged weights, test-time augmentation: against means taken by hand."""

import numpy as np
import pytest

import fastnn as fnn
from fastnn import functional as F
from fastnn import nn
from fastnn.data import Normalize
from fastnn.ensemble import average_weights, test_time_augmentation


def members(n=3, dropout=0.0):
    fnn.manual_seed(3)
    return [
        nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 3))
        for _ in range(n)
    ]


def inputs(n=7):
    return np.random.default_rng(0).standard_normal((n, 4), dtype=np.float32)


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


# --- ensembles ------------------------------------------------------------------------------------


def test_an_ensemble_is_the_mean_of_probabilities_or_logits():
    models, x = members(), inputs()
    logits = [m(fnn.from_numpy(x)).numpy().astype(np.float64) for m in models]
    ensemble = fnn.Ensemble(models)
    mean = np.mean([softmax(z) for z in logits], axis=0)
    assert np.allclose(ensemble.predict(x), mean, atol=1e-6)
    assert np.allclose(ensemble.predict(x, batch_size=3), mean, atol=1e-6)
    assert np.allclose(ensemble(fnn.from_numpy(x)).numpy(), np.log(mean), atol=1e-5)
    by_logits = fnn.Ensemble(models, average="logits")
    assert np.allclose(by_logits.predict(x), softmax(np.mean(logits, axis=0)), atol=1e-6)
    assert len(ensemble) == 3


def test_its_loss_is_that_of_the_mean_and_has_gradients():
    models, x, y = members(), inputs(), np.arange(7) % 3
    ensemble = fnn.Ensemble(models)
    loss = F.cross_entropy(ensemble(fnn.from_numpy(x)), y)
    expected = -np.log(ensemble.predict(x)[np.arange(7), y]).mean()
    assert np.isclose(loss.item(), expected, rtol=1e-5)
    loss.backward()
    assert all(p.grad is not None for m in models for p in m.parameters())
    double = fnn.Ensemble([m.double() for m in models])
    fnn.gradcheck(lambda t: F.cross_entropy(double(t), y), [fnn.tensor(x, "float64", True)])


def test_extreme_logits_do_not_overflow():
    models = members(2)
    for model, sign in zip(models, (1, -1), strict=True):
        with fnn.no_grad():
            model[3].weight.fill_(0)
            model[3].bias.copy_(fnn.tensor([500.0 * sign, 0.0, -500.0 * sign]))
    ensemble = fnn.Ensemble(models)
    assert np.allclose(ensemble.predict(inputs(1)), [[0.5, 0, 0.5]])
    out = ensemble(fnn.from_numpy(inputs(1))).numpy()
    assert np.allclose(out, [[np.log(0.5), np.log(1) - 500, np.log(0.5)]])


def test_predict_leaves_modes_and_dropout_alone():
    models = members(dropout=0.5)
    models[1].eval()
    ensemble = fnn.Ensemble(models)
    assert (ensemble.predict(inputs()) == ensemble.predict(inputs())).all()
    assert [m.training for m in models] == [True, False, True]


def test_save_and_load(tmp_path):
    ensemble = fnn.Ensemble(members(), average="logits")
    fnn.save(ensemble, tmp_path / "e.safetensors")
    same = fnn.load(tmp_path / "e.safetensors")
    assert isinstance(same, fnn.Ensemble) and same.average == "logits" and len(same) == 3
    assert (same.predict(inputs()) == ensemble.predict(inputs())).all()


def test_checkpoints_of_one_run(tmp_path):
    (model,), x = members(1), inputs()
    paths, expected = [], []
    for i in range(3):
        with fnn.no_grad():
            model[0].bias.fill_(float(i))
        paths.append(tmp_path / f"{i}.safetensors")
        fnn.save_checkpoint(paths[-1], model, epoch=i)
        expected.append(softmax(model(fnn.from_numpy(x)).numpy()))
    for template in (None, members(1)[0]):
        fnn.manual_seed(99)
        ensemble = fnn.Ensemble.from_checkpoints(paths, template)
        assert fnn.get_rng_state()[0] == 99  # not that of the checkpoints
        assert np.allclose(ensemble.predict(x), np.mean(expected, axis=0), atol=1e-6)
    fnn.save(model, tmp_path / "model.safetensors")
    assert len(fnn.Ensemble.from_checkpoints([*paths, tmp_path / "model.safetensors"])) == 4


def test_trainer_evaluates_an_ensemble():
    x, y = inputs(60), np.arange(60) % 3
    ensemble = fnn.Ensemble(members())
    trainer = fnn.Trainer(ensemble, fnn.optim.SGD(ensemble.parameters(), lr=0.1), progress=False)
    found = trainer.evaluate(
        (x, y), batch_size=16, metrics={"top2": lambda p, t: fnn.metrics.top_k_accuracy(p, t, 2)}
    )
    p = ensemble.predict(x)
    assert found["accuracy"] == (p.argmax(axis=1) == y).mean()
    assert found["top2"] == fnn.metrics.top_k_accuracy(p, y, 2)
    assert set(found) == {"loss", "accuracy", "top2"}
    assert trainer.fit((x, y), epochs=8)[-1]["loss"] < found["loss"]


# --- averaged weights -----------------------------------------------------------------------------


def test_average_weights_is_the_mean_of_parameters_and_float_buffers():
    fnn.manual_seed(0)
    models = [nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)) for _ in range(3)]
    for model in models:
        model(fnn.randn(8, 4))
    before = [{k: v.numpy().copy() for k, v in m.state_dict().items()} for m in models]
    state = average_weights(models).state_dict()
    for name, value in state.items():
        if value.numpy().dtype.kind == "f":
            assert np.allclose(value.numpy(), np.mean([b[name] for b in before], axis=0), atol=1e-6)
    after = [{k: v.numpy() for k, v in m.state_dict().items()} for m in models]
    assert all((a[k] == b[k]).all() for a, b in zip(after, before, strict=True) for k in b)
    assert not any(
        np.shares_memory(v.numpy(), m.state_dict()[k].numpy())
        for m in models
        for k, v in state.items()
    )


# --- test-time augmentation -----------------------------------------------------------------------


class Pixels(nn.Module):
    """Logits: the four corners of the image that it is given."""

    def forward(self, x):
        a = np.asarray(x)[:, :, :, 0]
        return fnn.from_numpy(
            np.ascontiguousarray(np.stack([a[:, 0, 0], a[:, 0, -1], a[:, -1, 0], a[:, -1, -1]], 1))
        )


def test_views_are_the_crops_and_their_mirror_images():
    x = np.random.default_rng(0).standard_normal((3, 6, 8, 1), dtype=np.float32)

    def by_hand(places, h, w, image, flip):
        views = [image[:, t : t + h, left : left + w] for t, left in places]
        views += [v[:, :, ::-1] for v in views] if flip else []
        return np.mean([softmax(Pixels()(v).numpy()) for v in views], axis=0)

    five = [(1, 2), (0, 0), (0, 4), (2, 0), (2, 4)]
    for flip in (True, False):
        got = test_time_augmentation(Pixels(), x, crops=5, size=4, flip=flip, batch_size=2)
        assert np.allclose(got, by_hand(five, 4, 4, x, flip), atol=1e-6)
    nine = [(t, left) for t in (0, 1, 2) for left in (0, 2, 4)]
    got = test_time_augmentation(Pixels(), x, crops=9, size=(4, 4))
    assert np.allclose(got, by_hand(nine, 4, 4, x, True), atol=1e-6)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    corners = [(1, 1), (0, 0), (0, 2), (2, 0), (2, 2)]
    got = test_time_augmentation(Pixels(), x, crops=5, padding=1)
    assert np.allclose(got, by_hand(corners, 6, 8, padded, True), atol=1e-6)
    assert np.allclose(
        test_time_augmentation(Pixels(), x, flip=False), softmax(Pixels()(x).numpy())
    )


def test_augmentation_of_images_in_bytes_and_an_ensemble():
    x = np.random.default_rng(0).integers(0, 256, (5, 28, 28, 1), dtype=np.uint8)
    fnn.manual_seed(0)
    ensemble = fnn.Ensemble([fnn.models.lenet5() for _ in range(2)])
    normalize = Normalize.fit(x)
    p = test_time_augmentation(ensemble, x, crops=5, padding=2, preprocess=normalize)
    assert p.shape == (5, 10) and np.allclose(p.sum(axis=1), 1, atol=1e-5)
    one = test_time_augmentation(ensemble, x, flip=False, preprocess=normalize)
    assert np.allclose(one, ensemble.predict(x, preprocess=normalize), atol=1e-6)
    assert np.abs(p - one).max() > 1e-4


# --- bad input ------------------------------------------------------------------------------------

IMAGES = np.zeros((2, 4, 4, 1), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fnn.Ensemble([]), ValueError, "models must be one or more models"),
        (lambda: fnn.Ensemble(3), TypeError, "models must be a list of models, got int"),
        (
            lambda: fnn.Ensemble(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))),
            TypeError, "models must be a list of models, got Sequential",
        ),
        (lambda: fnn.Ensemble([len]), TypeError, r"models\[0\] must be a Module"),
        (lambda: fnn.Ensemble(members(), "median"), ValueError, "average must be one of"),
        (
            lambda: fnn.Ensemble([nn.Linear(4, 2), nn.Linear(4, 3)]).predict(inputs()),
            ValueError, r"its models must all give \(N, C\)",
        ),
        (lambda: fnn.Ensemble.from_checkpoints("a"), TypeError, "paths must be a list, got 'a'"),
        (lambda: fnn.Ensemble.from_checkpoints(["none"]), FileNotFoundError, "no file none"),
        (lambda: fnn.Ensemble(members()).predict(inputs(0)), ValueError, "x has no samples"),
        (lambda: fnn.Ensemble(members()).predict(np.zeros((2, 4), np.uint8)), TypeError, "uint8"),
        (lambda: average_weights([]), ValueError, "models must be one or more models, got none"),
        (lambda: average_weights(nn.Sequential(nn.ReLU())), TypeError, "list of models"),
        (
            lambda: average_weights([nn.Linear(4, 2), nn.Linear(4, 3)]),
            RuntimeError, "must have shape",
        ),
        (lambda: test_time_augmentation(Pixels(), inputs()), ValueError, r"images \(N, H, W, C\)"),
        (
            lambda: test_time_augmentation(Pixels(), IMAGES, size="3"),
            TypeError, "size must be an int, got '3'",
        ),
        (
            lambda: test_time_augmentation(Pixels(), IMAGES, size=(3, 3, 3)),
            ValueError, r"size must be an int or \(height, width\)",
        ),
        (
            lambda: test_time_augmentation(Pixels(), IMAGES, crops=4),
            ValueError, "crops must be 1, 5 or 9, got 4",
        ),
        (
            lambda: test_time_augmentation(Pixels(), IMAGES, crops=5),
            ValueError, "5 crops of the whole image are equal",
        ),
        (
            lambda: test_time_augmentation(Pixels(), IMAGES, size=5),
            ValueError, r"crops of \(5, 5\) do not fit",
        ),
    ],
)  # fmt: skip
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
