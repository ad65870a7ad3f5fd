"""The lab without its experiments: registry, runs, failures, files, page, command line."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from fastnn import cli, lab
from fastnn.lab import charts, registry, runner

ABOUT = {"order": 1, "title": "A <b>title</b>", "claim": "All is well.", "method": "m", "rule": "r"}
KEYS = {
    "name", "title", "section", "claim", "method", "rule", "measured", "verdict", "on", "finding",
    "figures", "tables", "seconds", "settings",
}  # fmt: skip


def good(setting):
    figure = lab.Figure(charts.lines({"a<i>": ([1, 2], [3, 4])}, "T&T", "x", "y"), "see <it>")
    return lab.Result(
        {"share": 0.5, "none": float("nan"), "by": {"a": np.float32(1.5)}, "list": (1, True)},
        "confirmed", "It is & well.", figures=[figure],
        tables=[("Rows", ["a", "b"], [["<x>", 1.0]])],
    )  # fmt: skip


def bad(setting):
    raise RuntimeError("broken <here>")


@pytest.fixture
def fakes(monkeypatch):
    """Only these experiments exist."""
    names = {"good": good, "bad": bad, "other": good}
    section = lab.SECTIONS[0]
    found = {n: lab.Experiment(n, section=section, run=f, **ABOUT) for n, f in names.items()}
    monkeypatch.setattr(registry, "all_experiments", lambda: found)
    monkeypatch.setattr(runner, "all_experiments", lambda: found)
    monkeypatch.setattr(lab, "all_experiments", lambda: found)
    return found


def results(directory):
    return {e["name"]: e for e in json.loads((directory / "results.json").read_text())}


def test_a_run_writes_results_figures_and_page(fakes, tmp_path):
    (entry,) = lab.run(["good"], out=tmp_path, size="tiny", progress=False)
    assert results(tmp_path) == {"good": entry}
    assert set(entry) == KEYS
    assert entry["measured"] == {
        "share": 0.5, "none": None, "by": {"a": 1.5}, "list": [1, True],
    }  # fmt: skip
    assert entry["settings"]["size"] == "tiny" and entry["settings"]["seed"] == 0
    svg = (tmp_path / entry["figures"][0]["file"]).read_text()
    assert svg.startswith("<svg") and "--s0" in svg and "a&lt;i&gt;" in svg
    page = (tmp_path / "index.html").read_text()
    assert "A &lt;b&gt;title" in page and "see &lt;it&gt;" in page and "&lt;x&gt;" in page
    assert page.count("<svg") == 1 and 'id="good"' in page


def test_a_failure_costs_no_other_result(fakes, tmp_path, capsys):
    entries = lab.run(out=tmp_path, size="tiny", progress=False)
    assert [e["verdict"] for e in entries] == ["confirmed", "failed", "confirmed"]
    found = results(tmp_path)
    assert list(found) == ["good", "bad", "other"]
    assert found["bad"]["error"] == "RuntimeError: broken <here>"
    assert "Traceback" in capsys.readouterr().err
    assert "broken &lt;here&gt;" in (tmp_path / "index.html").read_text()


def test_results_are_there_after_each_experiment(fakes, tmp_path):
    seen = []
    lab.run(out=tmp_path, progress=False, report=lambda _: seen.append(list(results(tmp_path))))
    assert seen == [["good"], ["good", "bad"], ["good", "bad", "other"]]


def test_earlier_results_stay_even_of_an_experiment_that_now_fails(fakes, tmp_path, monkeypatch):
    lab.run(["good", "other"], out=tmp_path, progress=False)
    fakes["good"] = lab.Experiment("good", section=lab.SECTIONS[0], run=bad, **ABOUT)
    (entry,) = lab.run(["good"], out=tmp_path, progress=False)
    assert entry["verdict"] == "confirmed" and entry["error"].startswith("RuntimeError")
    assert set(results(tmp_path)) == {"good", "other"}


def test_an_interrupt_ends_the_run_and_keeps_results(fakes, tmp_path):
    def interrupted(setting):
        raise KeyboardInterrupt

    fakes["bad"] = lab.Experiment("bad", section=lab.SECTIONS[0], run=interrupted, **ABOUT)
    with pytest.raises(KeyboardInterrupt):
        lab.run(out=tmp_path, progress=False)
    assert list(results(tmp_path)) == ["good"]


FAULTS = {
    "kill": "import os, signal; act = lambda: os.kill(os.getpid(), signal.SIGKILL)",
    "full disk": """
import resource
def act():  # files may not grow any more
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
""",
}


@pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_costs_no_earlier_result(fakes, tmp_path, fault):
    """A process that is killed, or cannot write, within the second experiment."""
    script = tmp_path / "script.py"
    script.write_text(
        FAULTS[fault]
        + """
import sys
from fastnn import lab
from fastnn.lab import charts, registry, runner

def run(setting):
    if run.calls:
        act()
    run.calls += 1
    figure = lab.Figure(charts.lines({"a": ([1, 2], [3, 4])}, "t", "x", "y"))
    return lab.Result({"share": 0.5}, "confirmed", "Well.", figures=[figure])

run.calls = 0
about = dict(section=lab.SECTIONS[0], order=1, title="t", claim="c", method="m", rule="r", run=run)
found = {n: lab.Experiment(n, **about) for n in ("good", "bad")}
registry.all_experiments = runner.all_experiments = lambda: found
lab.run(out=sys.argv[1], progress=False)
"""
    )
    out = tmp_path / "out"
    lab.run(["other"], out=out, progress=False)
    done = subprocess.run([sys.executable, script, out], capture_output=True, text=True)
    assert done.returncode == (-9 if fault == "kill" else 1)
    last = (done.stderr.strip().splitlines() or [""])[-1]
    assert fault == "kill" or ("OSError" in last and "bad-1.svg" in last)
    assert set(results(out)) == {"good", "other"}
    page = (out / "index.html").read_text()
    assert page.count("<svg") == 2 and page.endswith("</html>\n")
    assert (out / "figures" / "good-1.svg").read_text().endswith("</svg>")
    assert fault == "kill" or not list(out.rglob("*.tmp"))


def test_two_runs_share_a_directory(fakes, tmp_path):
    def meanwhile(setting):
        lab.run(["good"], out=tmp_path, progress=False)
        return good(setting)

    fakes["other"] = lab.Experiment("other", section=lab.SECTIONS[0], run=meanwhile, **ABOUT)
    lab.run(["other"], out=tmp_path, progress=False)
    assert list(results(tmp_path)) == ["good", "other"]


def test_resume_leaves_out_what_is_done_with_the_same_settings(fakes, tmp_path):
    def names(**options):
        return [e["name"] for e in lab.run(out=tmp_path, progress=False, resume=True, **options)]

    lab.run(["good"], out=tmp_path, progress=False)
    assert names() == ["bad", "other"]
    assert names() == ["bad"]  # it failed
    assert names(size="tiny") == ["good", "bad", "other"]


def test_slow_experiments_run_last(fakes):
    fakes["good"] = lab.Experiment("good", section=lab.SECTIONS[0], run=good, slow=True, **ABOUT)
    assert [e.name for e in runner.choose(None)] == ["bad", "other", "good"]
    assert [e.name for e in runner.choose(["good", "other"])] == ["other", "good"]


def test_a_place_that_cannot_be_written_is_missed_before_anything_runs(
    fakes, tmp_path, monkeypatch, capsys
):
    def refused(**options):
        raise PermissionError(13, "Permission denied", str(options["dir"]))

    monkeypatch.setattr(runner.tempfile, "TemporaryFile", refused)  # root may write anywhere
    monkeypatch.setattr(runner, "_run_one", None)
    assert cli.main(["lab", "run", "good", "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "Permission denied" in error and str(tmp_path) in error
    (tmp_path / "file").touch()
    assert cli.main(["lab", "run", "good", "--out", str(tmp_path / "file" / "below")]) == 1
    assert "file/below" in capsys.readouterr().err


def test_data_that_are_not_there_are_missed_before_anything_runs(fakes, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["lab", "run", "good", "--data", "cifar10", "--out", str(out)]
    assert cli.main([*command, "--root", str(tmp_path / "nowhere")]) == 1
    assert "nowhere" in capsys.readouterr().err and not out.exists()


@pytest.mark.parametrize("text", ["{", "{}", '[{"claim": 1}]', "[1]", "", '[{"name": "x"}]'])
def test_damaged_results_are_not_overwritten(fakes, tmp_path, text):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(ValueError, match=r"is not a list of results; move it away"):
        lab.run(["good"], out=tmp_path, progress=False)
    assert (tmp_path / "results.json").read_text() == text


def test_a_verdict_is_checked():
    assert lab.verdict(True, False) == "confirmed"
    assert lab.verdict(False, True) == "refuted"
    assert lab.verdict(False, False) == "depends"
    with pytest.raises(ValueError, match="both"):
        lab.verdict(True, True)
    with pytest.raises(ValueError, match="got 'maybe'"):
        lab.Result({}, "maybe", "")
    with pytest.raises(ValueError, match="on what"):
        lab.Result({}, "depends", "")


def test_registering(monkeypatch):
    monkeypatch.setattr(registry, "_REGISTRY", {})
    register = lab.experiment(lab.SECTIONS[1], **ABOUT)
    assert register(good) is good
    (entry,) = registry._REGISTRY.values()
    assert entry.name == "test_lab_framework" and entry.run is good
    with pytest.raises(ValueError, match="already"):
        register(bad)
    with pytest.raises(ValueError, match="section must be one of"):
        lab.experiment("Cooking", **ABOUT)


def test_bad_settings(tmp_path):
    with pytest.raises(ValueError, match="data must be one of mnist_small, cifar10, got 'x'"):
        lab.Lab("x")
    with pytest.raises(ValueError, match="size must be one of"):
        lab.Lab(size="huge")
    with pytest.raises(FileNotFoundError):
        lab.run(["saturation"], out=tmp_path, data="cifar10", root=tmp_path, progress=False)


def test_the_setting_gives_the_same_again():
    a, b = lab.Lab(seed=3), lab.Lab(seed=3)
    assert (a.rng(1).random(3) == b.rng(1).random(3)).all()
    assert not (a.rng(1).random(3) == a.rng(2).random(3)).any()
    images = a.images(500, 100)
    assert images.x.shape == (500, 28, 28, 1) and images.x.dtype == np.float32
    assert abs(images.x.mean()) < 1e-5 and abs(images.x.std() - 1) < 1e-5
    assert images.x_test.shape == (100, 28, 28, 1) and len(images.y_test) == 100
    assert (a.raw(500).y == b.raw(500).y).all()
    assert lab.Lab(size="quick").pick(1, 2, 3) == 2


# --- the command ----------------------------------------------------------------------------------


def test_list_names_section_and_claim(fakes, capsys):
    assert cli.main(["lab", "list"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0] == lab.SECTIONS[0]
    assert re.search(r"^  good +All is well\.$", out, re.M)


def test_run_reports_and_exits_by_failure(fakes, tmp_path, capsys):
    command = ["lab", "run", "--quick", "--no-progress", "--out", str(tmp_path / "new" / "dir")]
    assert cli.main([*command, "good"]) == 0
    out = capsys.readouterr().out
    assert "good: confirmed. It is & well." in out and "index.html" in out
    assert cli.main([*command, "--all"]) == 1
    assert "bad: failed. RuntimeError" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nosuch", "good"], "there is no experiment 'nosuch'; there are good, bad, other"),
        ([], "give names of experiments, or --all"),
        (["good", "--all"], "give names of experiments, or --all"),
        (["good", "--out", __file__], "is no directory"),
    ],
)
def test_wrong_usage(fakes, tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["lab", "run", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_damaged_results_on_the_command_line(fakes, tmp_path, capsys):
    (tmp_path / "results.json").write_text("[")
    assert cli.main(["lab", "run", "good", "--out", str(tmp_path)]) == 1
    assert "is not a list of results" in capsys.readouterr().err


# --- page and pictures ----------------------------------------------------------------------------


class Tags(HTMLParser):
    """Checks that tags are closed in order; collects ids and links."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.outside = [], [], [], []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values["href"]] if "href" in values else []
        self.outside += [values[k] for k in ("src", "srcset", "data") if k in values]
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parsed(text):
    tags = Tags()
    tags.feed(text)
    tags.close()
    assert not tags.open
    return tags


def test_the_page_is_whole_and_self_contained(fakes, tmp_path, capsys):
    lab.run(out=tmp_path, progress=False)
    text = (tmp_path / "index.html").read_text()
    tags = parsed(text)
    assert {"good", "bad", "other"} <= set(tags.ids)
    assert all(link[1:] in tags.ids for link in tags.links if link.startswith("#"))
    assert not tags.outside and not [link for link in tags.links if not link.startswith("#")]
    assert "<script" not in text and "prefers-color-scheme:dark" in text and "viewport" in text
    assert "2 confirmed" in text and "1 failed" in text
    assert "fastnn lab run good</code>" in text
    lab.run(["good"], out=tmp_path, size="quick", seed=3, progress=False)
    text = (tmp_path / "index.html").read_text()
    assert "fastnn lab run good --quick --seed 3</code>" in text


def test_a_page_with_pictures_that_are_gone(fakes, tmp_path):
    lab.run(["good"], out=tmp_path, progress=False)
    for file in (tmp_path / "figures").iterdir():
        file.unlink()
    lab.run(["other"], out=tmp_path, progress=False)
    assert (tmp_path / "index.html").read_text().count("<svg") == 1


@pytest.mark.parametrize(
    "svg",
    [
        charts.lines({"a": ([1, 2, 3], [1, float("nan"), 2])}, "t", "x", "y", log_x=True),
        charts.lines({"a": ([1, 2], [0, -1])}, "t", "x", "y", log_y=True),  # nothing to draw
        charts.lines({"a": ([5], [2])}, "t", "x", "y", log_x=True, log_y=True),
        charts.Plot("t", "x", "y", x_range=(0, 1)).path("p", [0, 2, 1], [1, 1, 1]).svg(),
        charts.Plot("t", "x", "y").points("<p>", [0.5], [1]).guide([0, 1], [1, 1]).svg(),
        charts.bars({"a": 1.0, "b": float("nan")}, "t", "x"),
        charts.bars({"g": {"a": 1.0}, "h": {"a": 2.0}}, "t", "x"),
        charts.histograms({"a": [1, 1, 1], "b": [float("inf"), 2], "c": []}, "t", "x"),
        charts.histograms({"a": [0.5, 0.5]}, "t", "x"),
        charts.clouds({"a": [[0, 0]], "b": [[1, -2]], "c": [[3, 4]]}, "t"),
        charts.heat_map([[0.1, float("nan")]], ["r"], ["a", "b"], "t", "x", "y"),
    ],
)
def test_pictures_are_whole_and_finite(svg):
    parsed(svg)
    numbers = re.findall(r' (?:x|y|x1|y1|cx|cy|r|width|height|points)="([^"]*)"', svg)
    values = [float(v) for group in numbers for v in re.split(r"[ ,]", group)]
    assert values and np.isfinite(values).all()
    box = [float(v) for v in re.search(r'viewBox="([^"]*)"', svg)[1].split()]
    assert box[2] == 350 and box[3] > 40


def test_a_plot_places_larger_values_higher_and_further_right():
    svg = charts.Plot("t", "x", "y", log_x=True).points("p", [1, 10, 100], [0, 5, 10]).svg()
    spots = [tuple(map(float, m)) for m in re.findall(r'<circle cx="(.*?)" cy="(.*?)"', svg)]
    (x1, y1), (x2, y2), (x3, y3) = spots
    assert x3 - x2 == pytest.approx(x2 - x1, abs=0.2) and x2 > x1
    assert y1 - y2 == pytest.approx(y2 - y3, abs=0.2) and y2 < y1


def test_every_file_of_experiments_registers_one():
    folder = Path(lab.__file__).parent / "experiments"
    files = {f.stem for f in folder.glob("*.py") if not f.stem.startswith("_")}
    assert set(lab.all_experiments()) == files
