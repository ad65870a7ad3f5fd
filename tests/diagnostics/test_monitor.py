"""Monitor: what it measures is right, it changes nothing, and its log survives."""

import json
import math

import numpy as np
import pytest

import fastnn as fnn
from fastnn import functional as F
from fastnn import nn, optim
from fastnn.diagnostics import Monitor, read_log


def blobs(n=96, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    x = rng.standard_normal((n, 4), dtype=np.float32) + 3 * np.eye(3, 4, dtype=np.float32)[y]
    return x, y


def net(activation=nn.ReLU):
    fnn.manual_seed(1)
    return nn.Sequential({"fc1": nn.Linear(4, 8), "act1": activation(), "fc2": nn.Linear(8, 3)})


def train(model, steps=1, monitor=None, lr=0.1):
    """Steps on one batch; the loss before each of them."""
    x, y = blobs()
    optimizer = optim.SGD(model.parameters(), lr=lr)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        outputs = model(fnn.from_numpy(x))
        loss = F.cross_entropy(outputs, y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if monitor is not None:
            monitor.step(loss, outputs, y)
    return losses


# --- what it measures -----------------------------------------------------------------------------


def test_figures_of_a_step():
    x, y = blobs()
    model = net()
    before = {name: p.numpy().copy() for name, p in model.named_parameters()}
    hidden = x @ before["fc1.weight"].T + before["fc1.bias"]
    active = np.maximum(hidden, 0)
    logits = active @ before["fc2.weight"].T + before["fc2.bias"]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    dlogits = (p - np.eye(3)[y]) / len(x)
    dactive = dlogits @ before["fc2.weight"]
    monitor = Monitor(model, optim.SGD(model.parameters(), lr=0.1))
    (loss,) = train(model, 1, monitor)
    (record,) = monitor.records
    assert record["step"] == 0 and record["samples"] == 96 and record["lr"] == 0.1
    assert math.isclose(record["loss"], loss, rel_tol=1e-4)
    assert record["loss_kind"] == "cross_entropy"
    assert math.isclose(record["accuracy"], (logits.argmax(1) == y).mean(), rel_tol=1e-4)
    assert record["output"]["classes"] == 3
    layers = record["layers"]
    assert list(layers) == ["fc1", "act1", "fc2"]
    for name, activation, gradient in (
        ("fc1", hidden, dactive * (hidden > 0)),
        ("act1", active, dactive),
        ("fc2", logits, dlogits),
    ):  # fmt: skip
        for what, values in (("activation", activation), ("gradient", gradient)):
            entry = layers[name][what]
            assert np.isclose(entry["mean"], values.mean(), 1e-3, 1e-8)
            assert np.isclose(entry["std"], values.std(), 1e-3)
            assert np.isclose(entry["positive"], (values > 0).mean(), 1e-3)
            assert np.isclose(entry["norm"], np.linalg.norm(values), 1e-3)
            hist = entry["hist"]
            counts, _ = np.histogram(
                np.clip(values, hist["from"], hist["to"]), 32, (hist["from"], hist["to"])
            )
            assert sum(hist["counts"]) == values.size
            assert np.abs(counts - hist["counts"]).sum() <= 4  # some are on an edge
    assert np.isclose(layers["act1"]["activation"]["zero"], (active == 0).mean(), 1e-3)
    after = dict(model.named_parameters())
    for name in ("fc1", "fc2"):
        old, new = before[f"{name}.weight"], after[f"{name}.weight"]
        weight = layers[name]["weight"]
        ratio = np.linalg.norm(new.numpy() - old) / np.linalg.norm(old)
        assert np.isclose(layers[name]["update_ratio"], ratio, 1e-3)
        assert np.isclose(weight["norm"], np.linalg.norm(new), 1e-3)
        assert np.isclose(weight["gradient_norm"], np.linalg.norm(new.grad), 1e-3)
    norms = [np.linalg.norm(p.grad) for p in model.parameters()]
    assert np.isclose(record["gradient_norm"], np.linalg.norm(norms), 1e-3)


def test_a_unit_is_dead_that_did_not_fire_in_the_window():
    model = net()
    with fnn.no_grad():
        model.fc1.weight[:] = 0.0
        model.fc1.bias[:] = np.array([1, 1, 1, 1, -1, -1, -1, 1], np.float32)
    monitor = Monitor(model, every=1, window=250)
    shares = []
    for step in range(6):
        if step == 2:
            with fnn.no_grad():
                model.fc1.bias[0] = -1.0
        model(fnn.from_numpy(blobs()[0])).sum()
        monitor.step()
        shares.append(monitor.records[-1]["layers"]["act1"]["activation"])
    # 3 of 8 are dead from the start; unit 0 fires in steps 0 and 1 and then no more.
    assert [entry["dead"] for entry in shares] == [0.375] * 3 + [0.5] * 3
    assert shares[-1]["never_fired"] == 0.375 and shares[-1]["units"] == 8
    assert [entry["window"] for entry in shares] == [96, 96, 144, 192, 240, 250]
    assert shares[-1]["died"] == [1, 2]


@pytest.mark.parametrize(
    ("activation", "scale", "low", "high"),
    [
        (nn.Sigmoid, 100, 0.9, 1), (nn.Tanh, 100, 0.9, 1), (nn.Hardtanh, 100, 0.9, 1),
        (nn.Softsign, 100, 0.9, 1), (nn.Hardsigmoid, 100, 0.9, 1),
        (nn.Sigmoid, 0.1, 0, 0), (nn.Tanh, 0.1, 0, 0), (nn.Hardsigmoid, 0.1, 0, 0),
    ],
)  # fmt: skip
def test_saturated_share(activation, scale, low, high):
    model = net(activation)
    with fnn.no_grad():
        model.fc1.weight *= float(scale)
    monitor = Monitor(model)
    train(model, 1, monitor)
    assert low <= monitor.records[0]["layers"]["act1"]["activation"]["saturated"] <= high


# --- when it looks, and that it changes nothing ---------------------------------------------------


def test_steps_that_are_observed_and_the_same_bits():
    plain, watched = net(), net()
    monitor = Monitor(watched, every=30)
    assert train(plain, 70) == train(watched, 70, monitor)
    assert [record["step"] for record in monitor.records] == [0, 1, 2, 5, 10, 20, 30, 60]
    for a, b in zip(plain.parameters(), watched.parameters(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_no_hooks_between_observations_and_after_closing():
    model = net()
    with Monitor(model) as monitor:
        assert monitor.observing and model.fc1.has_hooks()
        train(model, 3, monitor)
        assert not monitor.observing
        assert all(module._hooks is None for module in model.modules())
        train(model, 2, monitor)
        assert monitor.observing
    assert all(module._hooks is None for module in model.modules())
    assert [record["step"] for record in monitor.records] == [0, 1, 2]


def test_evaluation_is_not_observed():
    model = net()
    monitor = Monitor(model, every=1)
    model.eval()
    model(fnn.ones(5, 4))
    model.train()
    with fnn.no_grad():
        model(fnn.ones(5, 4))
    train(model, 1, monitor)
    assert monitor.records[0]["samples"] == 96


@pytest.mark.parametrize("compile", [False, True])
def test_trainer_tells_the_monitor(compile):
    weights = []
    for watched in (False, True):
        model = net()
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        monitor = Monitor(model, optimizer, every=4) if watched else None
        trainer = fnn.Trainer(model, optimizer, progress=False, monitor=monitor, compile=compile)
        trainer.fit(blobs(), 3, 32, validation=blobs(seed=1))
        weights.append([p.numpy().tobytes() for p in model.parameters()])
    assert weights[0] == weights[1]
    assert [record["step"] for record in monitor.records] == [0, 1, 2, 4, 5, 8]
    assert monitor.records[-1]["progress"] == pytest.approx(8 / 9, 1e-4)
    assert [epoch["epoch_end"] for epoch in monitor.epochs] == [1, 2, 3]
    assert monitor.epochs[-1]["validation_loss"] == pytest.approx(
        trainer.history[-1]["validation_loss"], 1e-4
    )


def test_a_recorded_step_outlives_observations():
    model = net()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    monitor = Monitor(model, optimizer, every=4)
    trainer = fnn.Trainer(model, optimizer, progress=False, monitor=monitor, compile=True)
    trainer.fit(blobs(), 2, 16)  # steps 0 to 11: 0, 1, 2, 4, 5, 8, 10 are observed
    (before,) = trainer._compiled._plans.values()
    trainer.fit(blobs(), 2, 16)
    (after,) = trainer._compiled._plans.values()
    assert trainer._compiled.recorded and before[0] is after[0]
    assert [record["step"] for record in monitor.records][-4:] == [10, 12, 16, 20]


def test_two_monitors_and_shared_layers():
    fnn.manual_seed(0)
    layer = nn.Linear(4, 4)
    model = nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU())
    a, b = Monitor(model), Monitor(model)
    y = model(fnn.from_numpy(blobs()[0])).sum()
    y.backward()
    a.step(y)
    b.step(y)
    assert a.records[0]["layers"] == b.records[0]["layers"]
    counts = a.records[0]["layers"]["0"]["activation"]
    assert sum(counts["hist"]["counts"]) in (96 * 4, 2 * 96 * 4)


def test_many_records_keep_the_first_and_the_last():
    model = net()
    monitor = Monitor(model, every=1)
    x = fnn.ones(1, 4)
    for _ in range(450):
        model(x)
        monitor.step()
    steps = [record["step"] for record in monitor.records]
    assert len(steps) == 200 and steps[:50] == list(range(50)) and steps[-1] == 449


def test_a_forward_pass_that_fails_is_forgotten():
    model = net()
    monitor = Monitor(model)
    handle = model[2].register_forward_pre_hook(lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model(fnn.ones(5, 4))
    handle.remove()
    train(model, 1, monitor)
    assert monitor.records[0]["samples"] == 96
    assert sum(monitor.records[0]["layers"]["act1"]["activation"]["hist"]["counts"]) == 96 * 8


def test_closing_is_for_good_also_after_an_error():
    model = net()
    with pytest.raises(KeyError), Monitor(model, every=1) as monitor:
        train(model, 2, monitor)
        model(fnn.ones(5, 4))
        raise KeyError
    assert all(module._hooks is None for module in model.modules())
    train(model, 2, monitor)
    assert len(monitor.records) == 2 and not monitor.observing
    assert all(module._hooks is None for module in model.modules())


def test_a_layer_that_was_replaced_is_watched_from_the_next_observation():
    model = net()
    with Monitor(model, every=1) as monitor:
        train(model, 2, monitor)
        old, model.fc2 = model.fc2, nn.Linear(8, 3)
        train(model, 2, monitor)
        assert [list(record["layers"]) for record in monitor.records] == [
            ["fc1", "act1", "fc2"], ["fc1", "act1", "fc2"], ["fc1", "act1"],
            ["fc1", "act1", "fc2"],
        ]  # fmt: skip
        assert {item.layer for item in monitor.advice()} <= {"", "fc1", "act1", "fc2"}
    assert old._hooks is None


def test_frozen_weights_have_no_update():
    model = net()
    for p in model.fc1.parameters():
        p.requires_grad = False
    monitor = Monitor(model)
    train(model, 1, monitor)
    layers = monitor.records[0]["layers"]
    assert "update_ratio" not in layers["fc1"] and layers["fc1"]["weight"]["update_norm"] == 0.0
    assert monitor.records[0]["update_ratio"] == layers["fc2"]["update_ratio"] > 0.0


def test_an_empty_batch_says_nothing():
    model = net()
    monitor = Monitor(model, every=1)
    model(fnn.zeros(0, 4)).sum().backward()
    monitor.step()
    assert monitor.records[0]["samples"] == 0 and monitor.advice() == []


def test_a_compiled_step_runs_as_it_is_while_it_is_observed():
    x, y = (fnn.from_numpy(a) for a in blobs())
    model = net()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    step = fnn.compile(model, F.cross_entropy, optimizer)
    monitor = Monitor(model, optimizer, every=4)
    with pytest.warns(RuntimeWarning, match="the step runs as it is, because a hook"):
        losses = [step(x, y)]
    monitor.step(losses[0])
    for _ in range(9):
        losses.append(step(x, y))
        monitor.step(losses[-1])
    assert step.recorded
    assert [record["step"] for record in monitor.records] == [0, 1, 2, 4, 5, 8]
    assert all("update_ratio" in record for record in monitor.records)
    assert losses == train(net(), 10)


# --- the log --------------------------------------------------------------------------------------


def logged(path, steps=3):
    model = net()
    with Monitor(model, log=path) as monitor:
        train(model, steps, monitor)
        monitor.end_epoch(loss=1.0, validation_loss=math.nan)
    return monitor


def test_log_holds_what_the_monitor_has(tmp_path):
    monitor = logged(tmp_path / "log.jsonl")
    log = read_log(tmp_path / "log.jsonl")
    assert log.header == monitor.header and log.records == monitor.records
    assert (
        log.epochs
        == monitor.epochs
        == [{"epoch_end": 1, "step": 3, "loss": 1.0, "validation_loss": None}]
    )
    assert log.advice == monitor.records[-1]["advice"]
    assert (log.skipped, log.runs) == (0, 1)
    assert Monitor.load is read_log
    text = (tmp_path / "log.jsonl").read_text()
    assert "NaN" not in text and all(json.loads(line) for line in text.splitlines())
    assert [layer["label"] for layer in log.header["layers"]] == [
        "fc1 (Linear)", "act1 (ReLU)", "fc2 (Linear)"
    ]  # fmt: skip
    assert log.header["layers"][1]["behind"] == "fc1"


def test_measures_of_an_epoch_may_be_numpys(tmp_path):
    monitor = Monitor(net(), log=tmp_path / "log.jsonl")
    train(monitor.model, 1, monitor)
    monitor.end_epoch(loss=np.float32(0.5), confusion=np.eye(2), best=np.float64(np.nan))
    (epoch,) = read_log(tmp_path / "log.jsonl").epochs
    assert epoch == monitor.epochs[0]
    assert (epoch["loss"], epoch["best"], epoch["confusion"]) == (0.5, None, [[1, 0], [0, 1]])


def test_a_line_that_was_cut_costs_only_itself(tmp_path):
    path = tmp_path / "log.jsonl"
    logged(path)
    path.write_bytes(path.read_bytes()[:-20])
    assert len(read_log(path).records) == 3 and read_log(path).skipped == 1
    logged(path, 2)
    assert read_log(path).runs == 2 and read_log(path).skipped == 1
    assert len(read_log(path).records) == 2 and len(read_log(path, 0).records) == 3


def test_rubbish_in_the_log_is_skipped(tmp_path):
    path = tmp_path / "log.jsonl"
    logged(path)
    lines = path.read_bytes().splitlines(keepends=True)
    rubbish = [b"\xff\xfe\n", b"[1, 2]\n", b"7\n", b'{"other": 1}\n', b"\n", b"\0" * 100 + b"\n"]
    rubbish += [b"[" * 100_000 + b"\n", b'{"step": 1}\n', b'{"step": NaN, "layers": {}}\n']
    path.write_bytes(b"".join(rubbish + lines[:2] + rubbish + lines[2:]))
    log = read_log(path)
    assert len(log.records) == 3 and log.skipped == 16


def test_a_full_disk_stops_the_log_and_not_the_training(tmp_path, monkeypatch):
    model = net()
    monitor = Monitor(model, log=tmp_path / "log.jsonl")
    train(model, 1, monitor)
    good = (tmp_path / "log.jsonl").read_bytes()
    monitor._log.path = "/dev/full"
    with pytest.warns(RuntimeWarning, match="cannot write to /dev/full.*training goes on"):
        train(model, 2, monitor)
    monitor._log.path = tmp_path / "log.jsonl"
    monitor.end_epoch(loss=1.0)
    assert (tmp_path / "log.jsonl").read_bytes().startswith(good)
    assert len(monitor.records) == 3 and len(read_log(tmp_path / "log.jsonl").epochs) == 1


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: Monitor(3), TypeError, "model must be a Module, got int"),
        (lambda: Monitor(net(), 3), TypeError, "optimizer has no groups, got int"),
        (lambda: Monitor(net(), every=0), ValueError, "every must be at least 1, got 0"),
        (lambda: Monitor(net(), window=1.5), TypeError, "window must be an int, got float"),
        (lambda: Monitor(net(), log="/no/such/dir/log"), FileNotFoundError, "no/such/dir"),
        (lambda: read_log("/no/such/log"), FileNotFoundError, "no/such/log"),
        (lambda: fnn.Trainer(net(), optim.SGD(net().parameters(), lr=1), monitor=Monitor(net())),
         ValueError, "monitor must be a Monitor of the same model"),
    ],
)  # fmt: skip
def test_bad_arguments(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_a_file_that_is_no_log(tmp_path):
    (tmp_path / "log").write_text("hello\n")
    with pytest.raises(ValueError, match="is not a log of"):
        read_log(tmp_path / "log")
    logged(tmp_path / "log")
    with pytest.raises(ValueError, match="run must be below 1"):
        read_log(tmp_path / "log", 1)
