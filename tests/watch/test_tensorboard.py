"""Event files: what tensorboardX wrote, read back record by record."""

import struct
import sys

import numpy as np
import pytest
from logs import trained

from fastnn.diagnostics import Log, read_log
from fastnn.watch import write_tensorboard


def events(folder):
    """The events of the one file of a folder: length, its checksum, a message, its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    (file,) = folder.iterdir()
    data, at = file.read_bytes(), 0
    while at < len(data):
        (size,) = struct.unpack_from("<Q", data, at)
        yield Event.FromString(data[at + 12 : at + 12 + size])
        at += size + 16


def values(folder):
    """{tag: [(step, value), ...]}, and when each step was."""
    found, times = {}, {}
    for event in events(folder):
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value))
            times[event.step] = event.wall_time
    return found, times


def test_everything_that_is_in_the_log(tmp_path):
    pytest.importorskip("tensorboardX")
    trained(tmp_path / "log", steps=4).close()
    log = read_log(tmp_path / "log")
    log.records[2]["advice"] = [{"rule": "dead", "layer": "fc1", "text": "fc1: dead"}]
    write_tensorboard(log, tmp_path / "runs" / "one")
    found, times = values(tmp_path / "runs" / "one")
    tags = {"mean_loss": "loss/training", "lr": "learning_rate", "accuracy": "accuracy/batch",
            "gradient_norm": "gradient_norm"}  # fmt: skip
    for key, tag in tags.items():
        expected = [(r["step"], pytest.approx(r[key], 1e-6)) for r in log.records]
        assert [(step, value.simple_value) for step, value in found[tag]] == expected
    assert found["loss/validation"][0][0] == 4
    assert found["loss/validation"][0][1].simple_value == 1.25
    for name in ("fc1", "act1", "fc2"):
        for what in ("activation", "gradient"):
            entries = [record["layers"][name][what] for record in log.records]
            stds = [value.simple_value for _, value in found[f"{what}_std/{name}"]]
            np.testing.assert_allclose(stds, [entry["std"] for entry in entries], rtol=1e-6)
            for (_, value), entry in zip(found[f"{what}/{name}"], entries, strict=True):
                assert list(value.histo.bucket) == entry["hist"]["counts"]
                assert value.histo.num == sum(entry["hist"]["counts"])
                assert value.histo.bucket_limit[-1] == entry["hist"]["to"]
                mean = value.histo.sum / value.histo.num
                assert mean == pytest.approx(entry["mean"], 1e-6)
    assert len(found["update_ratio/fc1"]) == 4 and "update_ratio/act1" not in found
    assert len(found["activation_dead/act1"]) == 4
    said = [value.tensor.string_val[0].decode() for _, value in found["advice/text_summary"]]
    assert said == ["fc1: dead", "No problems found."]
    assert times[3] == pytest.approx(log.header["time"] + log.records[3]["seconds"], abs=0.01)


def test_a_monitor_and_what_is_missing(tmp_path):
    pytest.importorskip("tensorboardX")
    with trained(None, steps=2) as monitor:
        monitor.records[1].update(mean_loss=None, layers={"fc1": {"activation": {"mean": None}}})
        monitor.to_tensorboard(tmp_path / "a")
    found, _ = values(tmp_path / "a")
    assert [step for step, _ in found["loss/training"]] == [0]
    write_tensorboard(Log({}), tmp_path / "b")
    assert values(tmp_path / "b") == ({}, {})


def test_without_tensorboardx(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"pip install 'fastnn-cpu\[tensorboard\]'"):
        write_tensorboard(Log({}), tmp_path)
