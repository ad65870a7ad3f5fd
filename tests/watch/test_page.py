"""The page in a real browser: what it shows while a training runs, after it, and of odd logs."""

import json
import re
import time

import browser
import pytest
from logs import HEADER, observation, trained

from fastnn.watch import serve

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.PATH is None, reason="no Chromium is installed"),
]
TEXT = "document.getElementById('{}').textContent"
STATE = TEXT.format("state")
SHOWN = "!document.getElementById('main').hidden"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser.Browser(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture
def page(chromium):
    """The browser; whatever a test opens, the page has no error and asks only its server."""
    chromium.resize(1280)
    chromium.problems.clear()
    chromium.requests.clear()
    yield chromium
    chromium.open("about:blank")
    problems = [p for p in chromium.problems if "ERR_CONNECTION_REFUSED" not in p]  # it has ended
    assert problems == []
    assert all(
        url.startswith(("http://127.0.0.1:", "about:", "data:")) for url in chromium.requests
    )


def titles(page):
    return page.ask("[...document.querySelectorAll('#curves figcaption')].map(e => e.textContent)")


def table(page):
    rows = "[...document.querySelectorAll('table tr')]"
    return page.ask(f"{rows}.map(r => [...r.cells].map(c => c.textContent))")


def ink(page, i):
    """The share of a histogram's pixels that are painted."""
    return page.ask(f"""(() => {{
      const c = document.querySelectorAll('#histograms canvas')[{i}];
      c.scrollIntoView();
      return new Promise(done => setTimeout(() => {{
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        let n = 0;
        for (let i = 3; i < d.length; i += 4) n += d[i] > 0;
        done(n / (d.length / 4));
      }}, 200));
    }})()""")


def test_it_follows_a_training_and_says_when_that_has_ended(page, tmp_path):
    with trained(tmp_path / "log", steps=5, serve=True) as monitor:
        page.open(monitor._server.url)
        page.wait(SHOWN)
        assert "step 4 · epoch 1" in page.ask(STATE) and "accuracy" in page.ask(STATE)
        assert page.ask("document.getElementById('progress').value") == 1
        assert titles(page) == [
            "Loss", "Accuracy", "Update : weight (dotted: 1e-3, a good size)", "Dead units",
            "Deviation of gradients", "Learning rate",
        ]  # fmt: skip
        assert [row[0] for row in table(page)[1:]] == [
            "fc1 (Linear)",
            "act1 (ReLU)",
            "fc2 (Linear)",
        ]
        record = monitor.records[-1]
        head, _, row, _ = table(page)
        shown = dict(zip(head, row, strict=True))
        figures = record["layers"]["act1"]["activation"]
        assert float(shown["mean"]) == pytest.approx(figures["mean"], 0.01)
        assert float(shown["positive"][:-1]) == pytest.approx(100 * figures["positive"], 0.01)
        assert float(shown["dead"][:-1]) == pytest.approx(100 * figures["dead"], 0.01)
        assert page.ask(TEXT.format("advice")) == "No problems found."
        points = (
            "document.querySelector('#curves polyline').getAttribute('points').split(' ').length"
        )
        assert page.ask(points) == 5
        for i in range(6):  # activations and gradients of three layers
            assert 0.02 < ink(page, i) <= 1.0
        monitor._log.write(json.loads(observation(50, mean_loss=0.5, layers=record["layers"])))
        page.wait(f"{STATE}.includes('step 50')")
        assert "loss 0.5" in page.ask(STATE) and page.ask(points) == 6
    page.wait(f"{STATE}.includes('the training has ended')")


def test_a_log_of_before_with_advice(page, tmp_path):
    said = {"rule": "dead_by_updates", "layer": "fc1", "text": "fc1: <b>38%</b> of 512 units"}
    layers = {"fc1": {"activation": {"mean": 0.5}}}
    lines = [observation(i, layers=layers, advice=[said] * (i > 3)) for i in range(8)]
    header = HEADER.replace(b"[]", b'[{"name":"fc1","label":"fc1 (ReLU)"}]')
    (tmp_path / "log").write_bytes(header + b"".join(lines) + b"half a li\n")
    with serve(tmp_path / "log") as server:
        page.open(server.url)
        page.wait(SHOWN)
        assert page.ask(TEXT.format("advice")) == "fc1: <b>38%</b> of 512 units since step 4"
        assert page.ask("document.querySelectorAll('#layers .warn').length") == 1
        assert "1 broken line skipped" in page.ask(STATE)
    page.wait(f"{STATE}.includes('ended') || {STATE}.includes('does not answer')")


def test_names_are_text(page, tmp_path):
    attack = '<img src=x onerror="hacked=1"><script>hacked=1</script>'
    with trained(tmp_path / "log", names=(attack, "</td>", "&amp;\"'")) as monitor:
        monitor.header["model"] = attack
        lines = [monitor.header, *monitor.records]
        lines[-1]["advice"] = [{"rule": "x", "layer": attack, "text": attack}]
    (tmp_path / "log").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with serve(tmp_path / "log") as server:
        page.open(server.url)
        page.wait(SHOWN)
        assert (
            page.ask(TEXT.format("title")) == page.ask("document.title").split(" – ")[0] == attack
        )
        names = [row[0] for row in table(page)[1:]]
        assert names == [f"{attack} (Linear)", "</td> (ReLU)", "&amp;\"' (Linear)"]
        assert attack in page.ask(TEXT.format("advice"))
        assert page.ask("document.querySelectorAll('img, main script').length") == 0
        assert page.ask("window.hacked") is None


def test_layers_stand_in_the_order_in_which_they_run(page, tmp_path):
    with trained(tmp_path / "log", names=("b", "10", "2")) as monitor:
        assert list(monitor.records[0]["layers"]) == ["b", "10", "2"]
    with serve(tmp_path / "log") as server:
        page.open(server.url)
        page.wait(SHOWN)
        assert [row[0].split()[0] for row in table(page)[1:]] == ["b", "10", "2"]


def test_what_is_the_same_everywhere_is_drawn(page, tmp_path):
    hist = {"from": -1, "to": 1, "counts": [4] * 8}
    some = {"min": -1, "max": 1, "hist": hist, "dead": 0}
    zero = {"min": 0, "max": 0, "hist": {"from": 0, "to": 1, "counts": [32] + [0] * 7}, "dead": 0}
    layers = [{"a": {"activation": f, "gradient": zero}} for f in (some, some, zero, zero)]
    lines = [observation(i, layers=entry) for i, entry in enumerate(layers)]
    (tmp_path / "log").write_bytes(HEADER + b"".join(lines))
    with serve(tmp_path / "log") as server:
        page.open(server.url)
        page.wait(SHOWN)
        axis = "[...document.querySelectorAll('#curves figure')].find(f => "
        axis += "f.textContent.startsWith('Dead')).querySelector('svg').textContent"
        assert page.ask(axis).startswith("0%20%40%60%80%100%")
        assert 0.4 < ink(page, 0) < 0.6 and 0.005 < ink(page, 1) < 0.03
        notes = "[...document.querySelectorAll('.ends')].map(e => e.textContent)"
        assert page.ask(notes) == ["activation−1 … 1", "gradient0 … 1"]


@pytest.mark.parametrize("content", [b"", HEADER, b"no log at all\n" * 5])
def test_it_waits(page, tmp_path, content):
    (tmp_path / "log").write_bytes(content)
    with serve(tmp_path / "log") as server:
        page.open(server.url)
        what = "first observation" if content == HEADER else "training to begin"
        rest = " · 5 broken lines skipped" if content.startswith(b"no") else ""
        page.wait(f"{STATE} === 'Waiting for the {what} …{rest}'")
        with open(tmp_path / "log", "ab") as file:
            file.write(HEADER + observation(3, loss=None, mean_loss=None))
        page.wait(SHOWN)
        assert "step 3" in page.ask(STATE)


def test_values_of_other_kinds_do_not_stop_it(page, tmp_path):
    odd = [None, 5, "x", [], {}, [None], {"counts": 3}, {"from": 1, "to": 1, "counts": [1]}]
    lines = [
        observation(i, mean_loss=v, accuracy=v, seconds=v, progress=v, epoch=v, lr=v, advice=[{}],
                    layers={"a": {"activation": v, "gradient": {"hist": v, "std": v}}})
        for i, v in enumerate(odd)
    ]  # fmt: skip
    (tmp_path / "log").write_bytes(HEADER.replace(b"[]", b'[{"name": 3}]') + b"".join(lines))
    with serve(tmp_path / "log") as server:
        page.open(server.url)
        page.wait(SHOWN)
        with open(tmp_path / "log", "ab") as file:
            file.write(observation(77, mean_loss=0.25))
        page.wait(f"{STATE}.includes('step 77')")


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_sticks_out_and_text_can_be_read(page, tmp_path, width, dark):
    page.resize(width, dark=dark)
    long = "block" + "_of_a_very_long_name" * 8
    with trained(tmp_path / "log", steps=3, names=(long, "act1", "fc2"), serve=True) as monitor:
        page.open(monitor._server.url)
        page.wait(SHOWN)
        assert page.ask("document.documentElement.scrollWidth") <= width
        style = "getComputedStyle(document.body)"
        light = [
            sum(map(int, re.findall(r"\d+", page.ask(f"{style}.{what}"))))
            for what in ("backgroundColor", "color")
        ]
        assert (light[0] < 150 < 600 < light[1]) if dark else (light[1] < 150 < 600 < light[0])


def test_ten_thousand_observations(page, tmp_path):
    with trained(tmp_path / "log", steps=2) as monitor:
        (record, *_), header = monitor.records, monitor.header
    with open(tmp_path / "log", "wb") as file:
        file.write(json.dumps(header).encode() + b"\n")
        for i in range(10_000):
            file.write(json.dumps(record | {"step": i}).encode() + b"\n")
    with serve(tmp_path / "log") as server:
        page.open(server.url)
        page.wait(f"{STATE}.includes('step 9999')")
        assert 400 < page.ask("records.length") < 803
        with open(tmp_path / "log", "ab") as file:
            file.write(json.dumps(record | {"step": 10_000}).encode() + b"\n")
        page.wait(f"{STATE}.includes('step 10000')")
        start = time.monotonic()
        page.ask("draw()")
        assert time.monotonic() - start < 2  # 30 ms, where nothing else runs
