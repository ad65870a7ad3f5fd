"""Model files and checkpoints: round trips, equal bytes, atomic writes, broken files."""

import json
import os
import struct

import numpy as np
import pytest
from small_models import SHAPES, small

import fastnn as fnn
from fastnn import io, nn, optim


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Input((8, 8, 2)),
        nn.Conv2d(2, 4, 3, padding="same", bias=False),
        nn.PReLU(4),
        nn.Residual(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), nn.LeakyReLU(0.2)),
        nn.ConvTranspose2d(4, 4, 2, 2, padding=6),
        nn.Flatten(),
        nn.Sequential({"hidden": nn.Maxout(64, 5), "drop": nn.Dropout(0.3)}),
        nn.Linear(5, 3),
    )


def write(path, content, arrays=None):
    from safetensors.numpy import save_file

    text = content if isinstance(content, str) else json.dumps(content)
    save_file(arrays or {"x": np.zeros(1, np.float32)}, path, {"fastnn": text})


def test_round_trip(tmp_path):
    fnn.manual_seed(4)
    model = network()
    io.save(model, tmp_path / "m.safetensors", {"note": "hello"})
    state = fnn.get_rng_state()
    again = io.load(tmp_path / "m.safetensors")
    assert fnn.get_rng_state() == state
    assert repr(again) == repr(model)
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 2)).astype(np.float32)
    np.testing.assert_array_equal(again.eval()(x).numpy(), model.eval()(x).numpy())
    assert all(p.requires_grad for p in again.parameters())


@pytest.mark.parametrize("name", SHAPES)
def test_models_go_round_in_float64_too(name, tmp_path):
    model = small(name).double()
    io.save(model, tmp_path / "m")
    again = io.load(str(tmp_path / "m"))
    for (n, p), (m, q) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert n == m
        assert p.numpy().tobytes() == q.numpy().tobytes()
        assert q.dtype == p.dtype == ("int64" if "num_batches" in n else "float64")


def test_equal_weights_give_equal_bytes(tmp_path):
    files = []
    for i in range(5):
        fnn.manual_seed(4)
        io.save(network(), tmp_path / str(i), {"b": 1, "a": [1.5, None]})
        files.append((tmp_path / str(i)).read_bytes())
    assert len(set(files)) == 1
    io.save(network(), tmp_path / "other", {"b": 1, "a": [1.5, None]})
    assert (tmp_path / "other").read_bytes() != files[0]


def test_files_are_plain_safetensors(tmp_path):
    from safetensors.numpy import load_file

    model = nn.Sequential(nn.Linear(2, 3))
    io.save(model, tmp_path / "m")
    arrays = load_file(tmp_path / "m")
    np.testing.assert_array_equal(arrays["0.weight"], model[0].weight.numpy())


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "m"
    io.save(nn.Linear(2, 2), path)
    old = path.read_bytes()

    def broken(source, target):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="disk full"):
        io.save(nn.Linear(3, 3), path)
    monkeypatch.undo()
    with pytest.raises(RuntimeError), io.replace_file(path) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["m"]
    with pytest.raises(FileNotFoundError, match="there is no directory"):
        io.save(nn.Linear(2, 2), tmp_path / "missing" / "m")


def test_what_cannot_be_saved(tmp_path):
    class Mine(nn.Linear):
        pass

    layer = nn.Linear(2, 2)
    tied = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    tied[1].weight = tied[0].weight
    relu = nn.ReLU()
    for model, message in (
        (nn.Sequential(Mine(2, 2)), "Mine is not one of fastnn's layers"),
        (nn.Sequential(layer, layer), "two places"),
        (nn.Sequential(relu, relu), "two places"),
        (tied, "two places"),
    ):
        with pytest.raises(ValueError, match=message):
            io.save(model, tmp_path / "m")
    with pytest.raises(TypeError, match="must be a Module, got dict"):
        io.save({}, tmp_path / "m")
    for bad in ({"a": object()}, {"a": float("nan")}):
        with pytest.raises(TypeError, match="JSON"):
            io.save(layer, tmp_path / "m", bad)
    assert os.listdir(tmp_path) == []


def test_broken_files(tmp_path):
    path = tmp_path / "m"
    io.save(network(), path)
    whole = path.read_bytes()
    for size in (0, 4, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="not a whole safetensors file"):
            io.load(path)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        io.load(path)
    with pytest.raises(FileNotFoundError, match="load: no file"):
        io.load(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        io.load(tmp_path)


def test_foreign_safetensors(tmp_path):
    from safetensors.numpy import save_file

    save_file({"x": np.zeros(2, np.float32)}, tmp_path / "m")
    with pytest.raises(ValueError, match="no architecture"):
        io.load(tmp_path / "m")


GOOD = {"format": 1, "kind": "model", "model": {".layer": "Linear", "config": {
    "in_features": 2, "out_features": 1}}}  # fmt: skip
WEIGHTS = {"weight": np.ones((1, 2), np.float32), "bias": np.ones(1, np.float32)}


def altered(**layer):
    return {**GOOD, "model": {**GOOD["model"], **layer}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "broken metadata"),
        ("[" * 100_000, "broken metadata"),
        ([], "broken metadata"),
        ({"format": 99, "kind": "model"}, "format 99"),
        ({**GOOD, "kind": "other"}, "format 1 other"),
        (altered(**{".layer": "os.system"}), "unknown layer 'os.system'; known: Adaptive"),
        (altered(**{".layer": ["Linear"]}), "unknown layer"),
        (altered(**{".layer": "Module"}), "unknown layer 'Module'"),
        (altered(config={"in_features": -2, "out_features": 1}), "wrong Linear: .*in_features"),
        (altered(config={"in_features": 2}), "wrong Linear"),
        (altered(config={"in_features": 2, "out_features": 1, "x": 1}), "wrong Linear"),
        (altered(config=[1, 2]), "wrong Linear"),
        ({**GOOD, "model": {".layer": "Linear"}}, "wrong Linear"),
        ({**GOOD, "model": 7}, "does not describe a model"),
        ({**GOOD, "model": {".layer": "Sequential", "config": {"modules": {"0": 3}}}},
         "wrong Sequential"),
        (altered(config={"in_features": 3, "out_features": 1}), r"shape \(1, 3\), got \(1, 2\)"),
        (altered(config={"in_features": 2, "out_features": 1, "bias": False}), "unexpected: bias"),
    ],
)  # fmt: skip
def test_hostile_metadata(content, message, tmp_path):
    write(tmp_path / "m", GOOD, WEIGHTS)
    assert io.load(tmp_path / "m")(np.ones((1, 2), np.float32)).item() == 3.0
    write(tmp_path / "m", content, WEIGHTS)
    with pytest.raises(ValueError, match=message):
        io.load(tmp_path / "m")


def test_missing_and_wrong_weights(tmp_path):
    write(tmp_path / "m", GOOD, {"weight": WEIGHTS["weight"]})
    with pytest.raises(ValueError, match="missing: bias"):
        io.load(tmp_path / "m")
    write(tmp_path / "m", GOOD, {**WEIGHTS, "bias": np.ones(1, np.int64)})
    with pytest.raises(ValueError, match="bias is int64"):
        io.load(tmp_path / "m")
    write(tmp_path / "m", GOOD, {**WEIGHTS, "bias": np.ones(1, np.float64)})
    with pytest.raises(ValueError, match="weight must be float64"):
        io.load(tmp_path / "m")


def test_huge_header_length_is_refused(tmp_path):
    (tmp_path / "m").write_bytes(struct.pack("<Q", 1 << 62) + b"{}")
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        io.load(tmp_path / "m")


# --- checkpoints ------------------------------------------------------------------------------


def steps(model, optimizer, count):
    for _ in range(count):
        optimizer.zero_grad()
        loss = nn.CrossEntropyLoss()(model(fnn.randn(8, 4)), np.arange(8) % 3)
        loss.backward()
        optimizer.step()


def setup():
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))
    return model, optim.SGD(model.parameters(), 0.1, 0.9, weight_decay=1e-4)


def test_training_goes_on_with_the_same_bits(tmp_path):
    fnn.manual_seed(8)
    model, optimizer = setup()
    steps(model, optimizer, 3)
    io.save_checkpoint(tmp_path / "c", model, optimizer, epoch=3, best=0.5)
    steps(model, optimizer, 3)

    fnn.manual_seed(999)
    other, other_optimizer = setup()
    result = io.load_checkpoint(tmp_path / "c", other, other_optimizer)
    assert result == {"epoch": 3, "best": 0.5, "model": other}
    steps(other, other_optimizer, 3)
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        assert p.numpy().tobytes() == q.numpy().tobytes()


def test_checkpoint_without_a_model_at_hand(tmp_path):
    model, _ = setup()
    io.save_checkpoint(tmp_path / "c", model)
    for again in (io.load_checkpoint(tmp_path / "c")["model"], io.load(tmp_path / "c")):
        np.testing.assert_array_equal(again[0].weight.numpy(), model[0].weight.numpy())


def test_checkpoint_of_a_model_of_ones_own(tmp_path):
    class Mine(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(2, 2)

    model, again = Mine(), Mine()
    io.save_checkpoint(tmp_path / "c", model)
    io.load_checkpoint(tmp_path / "c", again)
    np.testing.assert_array_equal(again.layer.weight.numpy(), model.layer.weight.numpy())
    with pytest.raises(ValueError, match="layers of its own; pass model"):
        io.load_checkpoint(tmp_path / "c")


def test_a_checkpoint_that_does_not_fit_changes_nothing(tmp_path):
    model, optimizer = setup()
    steps(model, optimizer, 1)
    io.save_checkpoint(tmp_path / "c", model, optimizer)
    state = fnn.get_rng_state()
    wrong = nn.Sequential(nn.Linear(4, 17))
    before = wrong[0].weight.numpy().copy()
    state = fnn.get_rng_state()
    with pytest.raises(RuntimeError, match="must have shape"):
        io.load_checkpoint(tmp_path / "c", wrong)
    fewer, _ = setup()
    start = fewer[0].weight.numpy().copy()
    short = optim.SGD(list(fewer.parameters())[:2], 0.3)
    state = fnn.get_rng_state()
    with pytest.raises(ValueError, match="groups of"):
        io.load_checkpoint(tmp_path / "c", fewer, short)
    np.testing.assert_array_equal(wrong[0].weight.numpy(), before)
    np.testing.assert_array_equal(fewer[0].weight.numpy(), start)
    assert short.param_groups[0]["lr"] == 0.3
    assert fnn.get_rng_state() == state

    io.save_checkpoint(tmp_path / "plain", model)
    with pytest.raises(ValueError, match="without an optimizer"):
        io.load_checkpoint(tmp_path / "plain", model, optimizer)
    io.save(model, tmp_path / "model")
    with pytest.raises(ValueError, match="no training state; use load"):
        io.load_checkpoint(tmp_path / "model", model)


def test_metadata_comes_back(tmp_path):
    path = tmp_path / "model.safetensors"
    io.save(nn.Linear(2, 3), path, {"mean": [0.5], "classes": ["a", "b", "c"]})
    assert io.read_metadata(path) == {"mean": [0.5], "classes": ["a", "b", "c"]}
    with pytest.raises(FileNotFoundError, match="read_metadata: no file"):
        io.read_metadata(tmp_path / "absent")
