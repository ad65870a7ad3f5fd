"""profile: every call once, in its layer, with its work; being watched changes nothing."""

import json
import threading
import time

import numpy as np
import pytest

import fastnn as fnn
from fastnn import _core, nn, optim
from fastnn import functional as F


def net():
    fnn.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 5)
    )


def data():
    rng = np.random.default_rng(0)
    return rng.standard_normal((4, 8, 8, 3)).astype(np.float32), rng.integers(0, 5, 4)


def step_of(model):
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(fnn.from_numpy(x)), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def calls(p, by="op"):
    return {row.name: row.calls for row in p.rows(by)}


OPS = {
    "conv2d": 1, "max_pool2d": 1, "linear": 1, "cross_entropy": 3, "full": 1, "loss backward": 1,
    "linear data backward": 1, "linear weights backward": 1, "linear bias backward": 1,
    "max_pool2d backward": 1, "relu backward": 1, "conv2d weights backward": 1, "SGD": 1,
}  # fmt: skip
LAYERS = {"0 (Conv2d)": 3, "2 (MaxPool2d)": 2, "4 (Linear)": 4, "(no layer)": 6}


def test_every_call_in_its_layer_with_its_work():
    step, (x, y) = step_of(net()), data()
    expected = [step(x, y), step(x, y)]
    step = step_of(net())
    with fnn.profile() as p:
        losses = [step(x, y)]
        losses.append(step(x, y))
    assert losses == expected
    assert calls(p) == {op: 2 * n for op, n in OPS.items()}
    assert calls(p, "layer") == {layer: 2 * n for layer, n in LAYERS.items()}
    rows = {row.name: row for row in p.rows()}
    assert rows["conv2d"].flops == rows["conv2d weights backward"].flops == 2 * 4 * 36 * 8 * 27 * 2
    assert rows["linear"].flops == 2 * 4 * 72 * 5 * 2
    assert rows["conv2d"].nbytes == 2 * 4 * (4 * 36 * 8 + 4 * 64 * 3 + 8 * 27 + 8)
    assert 0 < sum(row.seconds for row in p.rows()) <= p.seconds
    assert step(x, y) and calls(p)["conv2d"] == 2  # nothing is added afterwards
    with p:
        step(x, y)
    assert calls(p)["conv2d"] == 3


def test_a_backward_that_fails_leaves_the_layer():
    layer = nn.Sequential(nn.Linear(3, 2))

    def fail(gradient):
        raise ValueError("from a hook")

    with fnn.profile() as p:
        y = layer(fnn.ones((4, 3)))
        y.register_hook(fail)
        with pytest.raises(ValueError, match="from a hook"):
            y.sum().backward()
        F.relu(y)
    assert [layer for op, _, layer, *_ in p.events if op == "relu"] == [""]


def test_time_is_that_of_the_calls():
    a = fnn.randn(300, 300)
    start = time.perf_counter_ns()
    with fnn.profile() as p:
        a @ a
        time.sleep(0.02)
    ((op, backward, layer, double, begin, took, flops, nbytes),) = p.events
    assert (op, backward, layer, double, flops) == ("matmul", False, "", False, 2.0 * 300**3)
    assert nbytes == 3 * 4 * 300**2
    assert start < begin and 0 < took < 1e9 * p.seconds - 19e6


def test_replays_and_recordings_are_seen_alike():
    x, y = data()
    model = net()
    step = fnn.compile(model, F.cross_entropy, optim.SGD(model.parameters(), lr=0.1))
    for _ in range(3):
        with fnn.profile() as p:
            step(x, y)
        assert calls(p) == OPS
        assert calls(p, "layer") == LAYERS


def test_tables_and_sorting():
    step, (x, y) = step_of(net()), data()
    with fnn.profile() as p:
        step(x, y)
    assert [row.name for row in p.rows("layer", "order")] == [
        "0 (Conv2d)", "2 (MaxPool2d)", "4 (Linear)", "(no layer)"]  # fmt: skip
    seconds = [row.seconds for row in p.rows()]
    assert seconds == sorted(seconds, reverse=True)
    assert [row.name for row in p.rows(sort="name")] == sorted(OPS)
    lines = p.table("order").splitlines()
    assert lines[0].split() == ["op", "calls", "ms", "share", "GFLOP/s", "GB/s", "peak"]
    assert lines[2].split()[:2] == ["conv2d", "1"] and lines[2].endswith("%")
    assert lines[-2].split()[:2] == ["all", "15"]
    assert lines[-1].startswith("calls take ")
    with fnn.profile() as nothing:
        pass
    assert "calls take 0% of" in nothing.table()
    with pytest.raises(ValueError, match="profile: by must be 'op' or 'layer', got 'layers'"):
        p.table(by="layers")
    with pytest.raises(ValueError, match="profile: sort must be one of time, calls"):
        p.table("size")


def test_summary_shows_times():
    model, (x, y) = net(), data()
    with fnn.profile() as p:
        step_of(model)(x, y)
    table = str(model.summary((8, 8, 3), profile=p)).splitlines()
    assert table[0].split()[-1] == "ms" and float(table[2].split()[-1]) > 0
    assert table[3].split()[1] == "(ReLU)" and table[3].split()[-1] == "-"
    assert "ms" not in str(model.summary((8, 8, 3))).splitlines()[0]


def test_chrome_trace(tmp_path):
    step, (x, y) = step_of(net()), data()
    with fnn.profile() as p:
        step(x, y)
    p.chrome_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert [path.name for path in tmp_path.iterdir()] == ["trace.json"]
    assert len(events) == len(p.events) and events[0]["name"] == "conv2d"
    for one, after in zip(events, [*events[1:], None], strict=True):
        assert one["ph"] == "X" and one["dur"] >= 0
        assert after is None or one["ts"] + one["dur"] <= after["ts"] + 1e-3
    with pytest.raises(FileNotFoundError):
        p.chrome_trace(tmp_path / "none" / "trace.json")


def test_one_profile_on_a_thread():
    with fnn.profile() as p:
        with pytest.raises(RuntimeError, match="profile: this thread is being profiled already"):
            fnn.profile().__enter__()
        with pytest.raises(RuntimeError, match="already"):
            p.__enter__()
        fnn.ones(3)
    assert calls(p) == {"full": 1} and _core.watch() is None
    with pytest.raises(ValueError, match="linear"), fnn.profile():
        F.linear(fnn.ones(2, 3), fnn.ones(2, 4))
    assert _core.watch() is None


def test_threads_have_profiles_of_their_own():
    found, ready = {}, threading.Barrier(3)

    def work(n):
        model, (x, y) = net(), data()
        step = step_of(model)
        ready.wait()
        if n == 0:
            for _ in range(20):
                step(x, y)
            return
        with fnn.profile() as p:
            for _ in range(10 * n):
                step(x, y)
        found[n] = calls(p)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: {op: 10 * n * count for op, count in OPS.items()} for n in (1, 2)}
