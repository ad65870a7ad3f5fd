"""Trainer: learns, repeats itself bit for bit, stops where it must, and leaves the model usable."""

import math
import threading

import numpy as np
import pytest

import fastnn as fnn
from fastnn import functional as F
from fastnn import nn, optim
from fastnn.data import ArrayDataset, DataLoader, Normalize
from fastnn.train import EarlyStopping, Trainer


def blobs(n=192, seed=0):
    """Three classes that a line separates, as (x, y)."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    x = rng.standard_normal((n, 4), dtype=np.float32) + 3 * np.eye(3, 4, dtype=np.float32)[y]
    return x, y


def make(lr=0.1, dropout=0.0, **options):
    fnn.manual_seed(7)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 3))
    optimizer = optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    return Trainer(model, optimizer, progress=False, **options)


def weights(trainer):
    return {name: t.numpy().tobytes() for name, t in trainer.model.state_dict().items()}


def test_compiled_steps_give_the_same_bits():
    found = []
    for compiled in (False, True):
        trainer = make(dropout=0.3, compile=compiled)
        trainer.fit(blobs(), epochs=3, batch_size=50, validation=blobs(seed=1))
        for record in trainer.history:
            del record["seconds"], record["images_per_second"]
        found.append((weights(trainer), trainer.history))
    assert found[0] == found[1]
    assert trainer._compiled.recorded
    x, y = blobs()
    with pytest.raises(FloatingPointError, match="epoch 4, step 1"):
        trainer.fit((x * np.float32("nan"), y), epochs=1)
    assert weights(trainer) == found[0][0]


# --- it learns, and says so -----------------------------------------------------------------------


def test_fit_learns_and_records_each_epoch():
    trainer = make()
    records = trainer.fit(blobs(), epochs=4, batch_size=50, validation=blobs(seed=1))
    assert records == trainer.history
    assert [r["epoch"] for r in records] == [1, 2, 3, 4]
    assert all(r["steps"] == 4 for r in records)
    assert records[-1]["loss"] < records[0]["loss"]
    assert records[-1]["validation_accuracy"] > 0.9
    assert trainer.epoch == 4 and trainer.step == 16 and trainer.progress_made == 1.0
    for r in records:
        assert r["images_per_second"] == pytest.approx(192 / r["seconds"])
        assert 0.0 <= r["accuracy"] <= 1.0


def test_evaluate_is_the_mean_over_all_items_whatever_the_batches():
    trainer, (x, y) = make(), blobs(100)
    with fnn.no_grad():
        logits = trainer.model.eval()(fnn.tensor(x)).numpy().astype(np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    expected = {
        "loss": -log_p[np.arange(100), y].mean(),
        "accuracy": (logits.argmax(axis=1) == y).mean(),
    }
    for batch_size in (7, 100):
        assert trainer.evaluate((x, y), batch_size) == pytest.approx(expected, rel=1e-6)


def test_predict_returns_the_outputs_in_order():
    trainer, (x, _) = make(dropout=0.5), blobs(30)
    trainer.model.eval()
    with fnn.no_grad():
        expected = trainer.model(fnn.tensor(x)).numpy().copy()
    trainer.model.train()
    found = trainer.predict(x, batch_size=8)
    assert isinstance(found, np.ndarray) and found.shape == (30, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert trainer.model.training


def test_another_loss_and_targets_that_are_no_labels():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 2), dtype=np.float32)
    y = x @ np.array([[2.0], [-1.0]], np.float32)
    model = nn.Linear(2, 1)
    trainer = Trainer(model, optim.SGD(model.parameters(), lr=0.1), F.mse_loss, progress=False)
    records = trainer.fit((x, fnn.from_numpy(y)), epochs=30, batch_size=16)
    assert "accuracy" not in records[-1] and records[-1]["loss"] < 1e-3
    np.testing.assert_allclose(model.weight.numpy(), [[2.0, -1.0]], atol=0.05)


def test_preprocess_is_applied_everywhere_and_transform_in_training_only():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (40, 4, 4, 1), dtype=np.uint8)
    y = rng.integers(0, 2, 40)
    normalize = Normalize.fit(x)
    seen = []

    def augment(images, generator):
        seen.append(images.dtype)
        return images[:, :, ::-1]

    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    trainer = Trainer(model, optimizer, preprocess=normalize, progress=False)
    trainer.fit((x, y), 2, 20, transform=augment)
    assert seen == [np.uint8] * 4
    expected = model(fnn.from_numpy(normalize(x))).numpy()
    np.testing.assert_array_equal(trainer.predict(x, 40), expected)
    trainer.evaluate(DataLoader((x, y), 40))
    assert len(seen) == 4


# --- the same bits --------------------------------------------------------------------------------


def test_same_seed_same_bits_at_any_thread_count_and_prefetch():
    threads = fnn.get_num_threads()
    found = []
    try:
        for count, prefetch in ((1, 0), (2, 3), (4, 1)):
            fnn.set_num_threads(count)
            trainer = make(dropout=0.3)
            trainer.fit(DataLoader(blobs(), 32, shuffle=True, seed=5, prefetch=prefetch), epochs=3)
            found.append(weights(trainer))
    finally:
        fnn.set_num_threads(threads)
    assert found[0] == found[1] == found[2]


def test_arrays_and_loader_with_one_seed_are_the_same_training():
    first, second = make(dropout=0.3), make(dropout=0.3)
    first.fit(blobs(), 2, 32, seed=5)
    second.fit(DataLoader(blobs(), 32, shuffle=True, seed=5), 2)
    assert weights(first) == weights(second)


def test_another_seed_is_another_training():
    first, second = make(), make()
    first.fit(blobs(), 1, 32, seed=1)
    second.fit(blobs(), 1, 32, seed=2)
    assert weights(first) != weights(second)


def test_two_fits_are_one_longer_fit():
    whole, parts = make(dropout=0.3), make(dropout=0.3)
    whole.fit(blobs(), 4, 32, seed=3)
    parts.fit(blobs(), 1, 32, seed=3)
    fnn.rand(100)  # what others draw in between changes nothing
    parts.fit(blobs(), 3, 32, seed=3)
    assert weights(whole) == weights(parts)
    assert [r["epoch"] for r in parts.history] == [1, 2, 3, 4]


def test_fit_leaves_the_random_stream_as_it_was():
    trainer = make(dropout=0.5)
    state = fnn.get_rng_state()
    trainer.fit(blobs(), 1)
    assert fnn.get_rng_state() == state


def test_evaluation_changes_nothing():
    quiet, measured = make(dropout=0.3), make(dropout=0.3)
    quiet.fit(blobs(), 2, 32)
    measured.fit(blobs(), 2, 32, validation=blobs(seed=1))
    measured.evaluate(blobs(seed=2))
    assert weights(quiet) == weights(measured)


# --- modes, hooks, progress -----------------------------------------------------------------------


def test_modes_and_gradients_during_and_after():
    modes, grad = [], []

    class Spy(nn.Module):
        def forward(self, x):
            modes.append(self.training)
            grad.append(fnn.is_grad_enabled())
            return x

    model = nn.Sequential(Spy(), nn.Linear(4, 3)).eval()
    trainer = Trainer(model, optim.SGD(model.parameters(), lr=0.1), progress=False)
    trainer.fit(blobs(64), 2, 64, validation=blobs(64, 1))
    assert modes == grad == [True, False, True, False]
    assert not model.training and not model[0].training and fnn.is_grad_enabled()


def test_hooks_see_progress_and_set_the_learning_rate():
    done, epochs = [], []

    def before_step(trainer):
        done.append(trainer.progress_made)
        trainer.optimizer.param_groups[0]["lr"] = 0.0

    trainer = make(before_step=before_step, after_epoch=lambda t: epochs.append(len(t.history)))
    before = weights(trainer)
    trainer.fit(blobs(96), 2, 32)
    assert done == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6])
    assert epochs == [1, 2]
    assert weights(trainer) == before


def test_progress_bar_shows_loss_accuracy_and_speed(capsys):
    trainer = make()
    trainer.progress = True
    trainer.fit(blobs(), 2, 32)
    out, err = capsys.readouterr()
    last = err.strip().splitlines()[-1].split("\r")[-1]
    assert out == ""
    assert "epoch 2/2" in last and "192/192" in last and "images/s" in last
    assert f"loss {trainer.history[-1]['loss']:.4f}" in last
    assert f"accuracy {trainer.history[-1]['accuracy']:.1%}" in last


def test_no_progress_prints_nothing(capsys):
    make().fit(blobs(), 1)
    assert capsys.readouterr() == ("", "")


# --- where it stops -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_the_step(value):
    before = []
    calls = iter(range(100))

    def loss(outputs, targets):
        result = F.cross_entropy(outputs, targets)
        if next(calls) < 4:
            return result
        before.append(weights(trainer))
        return result * value

    trainer = make(loss=loss)
    with pytest.raises(FloatingPointError, match=rf"loss is {value} in epoch 2, step 2;"):
        trainer.fit(blobs(96), 3, 32)
    assert before == [weights(trainer)] * 2  # once more, to find the layer
    assert trainer.step == 4 and len(trainer.history) == 1
    assert trainer.model.training and fnn.is_grad_enabled()


def test_a_learning_rate_that_is_too_large_is_caught():
    with pytest.raises(FloatingPointError, match=r"epoch .* step .* learning rate"):
        make(lr=1e20).fit(blobs(), 50, 32)


def test_interrupt_leaves_a_model_that_works():
    def before_step(trainer):
        if trainer.step == 3:
            raise KeyboardInterrupt

    trainer = make(before_step=before_step)
    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt) as stopped:
        trainer.fit(blobs(), 5, 4)  # many batches: the loader's thread is at work
    assert trainer.step == 3
    assert threading.active_count() == threads, stopped  # even while the traceback is kept
    assert trainer.evaluate(blobs())["accuracy"] > 0.3
    trainer.before_step = None
    trainer.fit(blobs(), 2, 32)
    assert trainer.evaluate(blobs())["accuracy"] > 0.8


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (np.ones((4, 4), np.float32), TypeError, "train_data must be .*got ndarray"),
        ((np.ones((4, 4), np.float32),), TypeError, "train_data must be .*got 1 items"),
        (ArrayDataset(np.ones((4, 4), np.float32)), ValueError, "inputs and targets, got 1 array"),
        ((np.ones((0, 4), np.float32), np.ones(0, np.int64)), ValueError, "empty"),
        ((np.ones((4, 4), np.float32), np.ones(3, np.int64)), ValueError, r"one length.*\[4, 3\]"),
        ((np.ones((4, 5), np.float32), np.ones(4, np.int64)), ValueError, "linear: .*5"),
        ((np.ones((4, 4), np.uint8), np.ones(4, np.int64)), TypeError, "uint8; .*preprocess"),
        ((np.ones((4, 4), np.float64), np.ones(4, np.int64)), TypeError, "float64"),
        ((np.ones((4, 4), np.float32), np.ones(4, np.float32)), TypeError, "integer labels"),
        ((np.ones((4, 4), np.float32), np.full(4, 3)), ValueError, "label 3 .*out of range"),
        ((np.ones((4, 4), np.float32), np.full(4, -1)), ValueError, "label -1 .*out of range"),
    ],
)
def test_bad_data(data, error, message):
    trainer = make()
    before = weights(trainer)
    with pytest.raises(error, match=message):
        trainer.fit(data, 1)
    with pytest.raises(error, match=message.replace("train_data", "data")):
        trainer.evaluate(data)
    assert weights(trainer) == before


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
        ({"epochs": 1.5}, TypeError, "epochs must be an int, got float"),
        ({"epochs": True}, TypeError, "epochs must be an int, got bool"),
        ({"epochs": 1, "batch_size": 0}, ValueError, "batch_size"),
        ({"epochs": 1, "seed": -1}, ValueError, "seed"),
        ({"epochs": 1, "validation": blobs()[0]}, TypeError, "validation must be"),
    ],
)
def test_bad_options(options, error, message):
    trainer = make()
    with pytest.raises(error, match=message):
        trainer.fit(blobs(), **options)
    assert trainer.step == 0


def test_a_loader_brings_its_own_transform():
    with pytest.raises(ValueError, match=r"train_data is a DataLoader.*own transform"):
        make().fit(DataLoader(blobs(), 32), 1, transform=lambda x: x)


def test_predict_of_nothing():
    with pytest.raises(ValueError, match="empty"):
        make().predict(np.ones((0, 4), np.float32))


def test_constructor_names_what_is_wrong():
    model = nn.Linear(4, 3)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    for arguments, message in (
        ((3, optimizer), "model .*int"),
        ((model, "sgd"), "optimizer .*str"),
        ((model, optimizer, "cross_entropy"), "loss must be callable, got str"),
    ):
        with pytest.raises(TypeError, match=message):
            Trainer(*arguments)


# --- schedules ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "expected"), [(None, [1, 0.5]), ("epoch", [1, 0.5]), ("step", [1, 2.0**-4])]
)
def test_a_schedule_goes_by_epochs_or_by_steps(unit, expected):
    rates = []
    parts = make(lr=1.0)
    trainer = Trainer(
        parts.model, parts.optimizer, progress=False, schedule_by=unit,
        scheduler=optim.lr_scheduler.StepLR(parts.optimizer, 1, 0.5),
        before_step=lambda t: rates.append(t.optimizer.param_groups[0]["lr"]),
    )  # fmt: skip
    trainer.fit(blobs(), epochs=2, batch_size=50)
    assert rates[::4] == expected and len(rates) == 8
    assert (len(set(rates)) == 8) == (unit == "step")


def test_one_cycle_goes_by_steps():
    model = nn.Linear(4, 3)
    optimizer = optim.AdamW(model.parameters())
    cycle = optim.lr_scheduler.OneCycleLR(optimizer, 0.1, epochs=5, steps_per_epoch=4)
    trainer = Trainer(model, optimizer, progress=False, scheduler=cycle)
    records = trainer.fit(blobs(), epochs=5, batch_size=50)
    assert trainer.schedule_by == "step" and cycle.last_epoch == 20
    assert records[-1]["loss"] < records[0]["loss"]


@pytest.mark.parametrize("watched", ["loss", "validation_loss"])
def test_a_plateau_watches_the_validation_loss_if_there_is_one(watched):
    model = nn.Linear(4, 3)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    plateau = optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    trainer = Trainer(model, optimizer, progress=False, scheduler=plateau)
    validation = blobs(seed=1) if watched == "validation_loss" else None
    records = trainer.fit(blobs(), epochs=3, batch_size=50, validation=validation)
    assert plateau.best == min(r[watched] for r in records)


def test_schedules_of_a_wrong_kind():
    parts = make()
    plateau = optim.lr_scheduler.ReduceLROnPlateau(parts.optimizer)
    for options, error, message in (
        ({"scheduler": 3}, TypeError, "scheduler has no method step, got int"),
        ({"schedule_by": "batch"}, ValueError, "'epoch' or 'step', got 'batch'"),
        ({"scheduler": plateau, "schedule_by": "step"}, ValueError, "goes by epochs"),
    ):
        with pytest.raises(error, match=message):
            Trainer(parts.model, parts.optimizer, **options)


def test_the_layer_of_a_nan_is_named_and_the_running_statistics_are_kept():
    fnn.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))
    trainer = Trainer(model, optim.SGD(model.parameters(), lr=0.01), progress=False)
    x, y = blobs(64)
    trainer.fit((x, y), 1)
    before = [b.numpy().copy() for b in model.buffers()]
    x = np.where(np.arange(len(x))[:, None] == 5, np.float32(np.nan), x)
    with pytest.raises(
        FloatingPointError, match=r"linear in 0 \(Linear\) gave nan .* index \(5, 0"
    ):
        trainer.fit(DataLoader(ArrayDataset(x, y), 64), 1)
    for kept, buffer in zip(before, model.buffers(), strict=True):
        np.testing.assert_array_equal(buffer.numpy(), kept)


def test_parameters_that_an_update_broke_go_back_to_the_start_of_the_epoch():
    trainer = make()
    trainer.fit(blobs(96), 1, 32)
    good = weights(trainer)

    def loss(outputs, targets):  # finite, with an infinite gradient
        return F.cross_entropy(outputs, targets) + (outputs[:1] * 0).sqrt().sum()

    trainer.loss = loss
    with pytest.raises(FloatingPointError, match=r"an update made .* so; .* when the epoch began"):
        trainer.fit(blobs(96), 1, 32)
    assert weights(trainer) == good


# --- early stopping, and limits after each step ---------------------------------------------------


class Script:
    """Stands for a model whose validation loss goes as it is told."""

    def __init__(self, losses):
        self.losses = losses

    def run(self, **options):
        trainer, seen = make(), []

        def evaluate(data, batch_size=256):
            seen.append(weights(trainer))
            return {"loss": self.losses[len(seen) - 1]}

        trainer.evaluate = evaluate
        stopping = EarlyStopping(**options)
        epochs = len(self.losses)
        trainer.fit(blobs(), epochs, validation=blobs(), early_stopping=stopping)
        return trainer, stopping, seen


def test_early_stopping_ends_after_its_patience_and_restores_the_best():
    trainer, stopping, seen = Script([3.0, 2.0, 2.5, 2.1, 1.0]).run(patience=2)
    assert len(trainer.history) == trainer.epoch == len(seen) == 4
    assert (stopping.best, stopping.best_epoch, stopping.stopped) == (2.0, 2, True)
    assert weights(trainer) == seen[1]
    trainer, stopping, seen = Script([3.0, 2.0, 2.5, 2.1]).run(patience=2, restore_best=False)
    assert weights(trainer) == seen[-1]


def test_early_stopping_that_does_not_stop_restores_the_best_too():
    trainer, stopping, seen = Script([3.0, 2.0, 2.5]).run(patience=3)
    assert not stopping.stopped and len(trainer.history) == 3
    assert weights(trainer) == seen[1]
    trainer, stopping, seen = Script([3.0, 2.0, 1.0]).run(patience=1)
    assert weights(trainer) == seen[2]


def test_min_delta_and_accuracies():
    _, stopping, seen = Script([3.0, 2.95, 2.85, 2.8, 2.7]).run(patience=2, min_delta=0.1)
    assert len(seen) == 5 and stopping.best == 2.7 and stopping.best_epoch == 5
    _, stopping, seen = Script([3.0, 2.95, 2.91, 2.0]).run(patience=2, min_delta=0.1)
    assert len(seen) == 3 and stopping.best == 3.0
    trainer = make()
    stopping = EarlyStopping(1, monitor="validation_accuracy")
    trainer.fit(blobs(), 30, validation=blobs(seed=1), early_stopping=stopping)
    accuracy = [r["validation_accuracy"] for r in trainer.history]
    assert stopping.stopped and stopping.best == max(accuracy) > 0.9
    assert trainer.evaluate(blobs(seed=1))["accuracy"] == stopping.best
    before = stopping.best_epoch
    trainer.fit(blobs(), 2, validation=blobs(seed=1), early_stopping=stopping)  # begins anew
    assert stopping.best_epoch > before


def test_early_stopping_bad_input():
    with pytest.raises(ValueError, match="patience must be at least 1"):
        EarlyStopping(0)
    with pytest.raises(ValueError, match="min_delta must be finite"):
        EarlyStopping(min_delta=-1.0)
    with pytest.raises(ValueError, match="no validation data"):
        make().fit(blobs(), 1, early_stopping=EarlyStopping())
    with pytest.raises(ValueError, match="monitor is 'lost', records have epoch, steps, loss"):
        make().fit(blobs(), 1, early_stopping=EarlyStopping(monitor="lost"))


@pytest.mark.parametrize("compiled", [False, True])
def test_max_norm_after_each_step(compiled):
    def limit(trainer):
        optim.max_norm_(trainer.model.parameters(), 0.5)
        steps.append(trainer.step)

    steps = []
    trainer = make(compile=compiled, after_step=limit)
    trainer.fit(blobs(), 2, batch_size=64)
    assert steps == [1, 2, 3, 4, 5, 6]
    for layer in (trainer.model[0], trainer.model[3]):
        norms = np.linalg.norm(layer.weight.numpy(), axis=1)
        assert norms.max() <= 0.5 * (1 + 1e-6)
    assert np.isclose(norms, 0.5).any()
