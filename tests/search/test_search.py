# SPDX-License-Identifier: BSD-3-Clause
"""Searches: repeatable, alike with any number of workers; failures cost a trial; logs survive."""

import json
import math
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from search.objectives import SPACE, bowl, deadly, threads

import fastnn as fnn
from fastnn import search


def plain(results):
    """All of the trials but their times."""
    return [{**trial.describe(), "seconds": 0} for trial in results.trials]


def quiet(method, *args, **options):
    return search.run(*args, method=method, progress=False, **options)


# --- methods --------------------------------------------------------------------------------------


def test_random_search_finds_the_bowl_and_repeats_itself():
    before = fnn.get_rng_state()
    found = quiet("random", bowl, SPACE, trials=40)
    assert fnn.get_rng_state() == before
    assert plain(found) == plain(quiet("random", bowl, SPACE, trials=40))
    assert plain(found)[:10] == plain(quiet("random", bowl, SPACE, trials=10))
    assert plain(found) != plain(quiet("random", bowl, SPACE, trials=40, seed=1))
    assert 1e-3 < found.best.config["lr"] < 1e-1
    assert found.best.value == min(t.value for t in found.trials if t.state == "done")
    assert len({t.config["lr"] for t in found.trials}) == 40


def test_each_trial_has_a_random_stream_of_its_own():
    found = quiet("random", lambda c, r: fnn.randn(1).item(), {"x": [1]}, trials=8)
    assert len({trial.value for trial in found.trials}) == 8


def test_two_workers_change_nothing_but_share_the_threads():
    here = quiet("random", bowl, SPACE, trials=12)
    assert plain(quiet("random", bowl, SPACE, trials=12, workers=2)) == plain(here)
    before = fnn.get_num_threads()
    try:
        fnn.set_num_threads(6)
        found = quiet("random", threads, SPACE, trials=2, workers=2)
    finally:
        fnn.set_num_threads(before)
    assert [trial.value for trial in found.trials] == [3.0, 3.0]


def test_grid_takes_all_combinations():
    space = {"x": search.uniform(0, 1), "y": search.log_uniform(0.01, 1), "z": ["a", "b"]}
    found = quiet("grid", lambda c, r: c["x"] + c["y"], space, trials=20)
    assert len(found.trials) == 18  # 3 x 3 x 2; 4 x 4 x 2 are too many
    assert len({tuple(t.config.values()) for t in found.trials}) == 18
    assert found.best.config == {"x": 0.0, "y": 0.01, "z": "a"}
    assert found.at_an_edge() == ["x", "y"]
    found = search.grid(lambda c, r: 0.0, space, points={"x": 2, "y": 3}, progress=False)
    assert len(found.trials) == 12
    assert len(quiet("grid", lambda c, r: 0, {"n": search.integer(1, 3)}, trials=50).trials) == 3


def test_coarse_to_fine_narrows_what_matters():
    space = {"lr": search.log_uniform(1e-6, 10.0), "other": search.uniform(0, 1)}

    def objective(config, report):
        return (math.log10(config["lr"]) + 2) ** 2

    found = quiet("coarse_to_fine", objective, space, trials=60)

    def spread(i, name):
        places = [space[name].place(t.config[name]) for t in found.trials if t.round == i]
        assert len(places) == 20
        return max(places) - min(places)

    assert spread(0, "lr") > 2 * spread(1, "lr") > 2 * spread(2, "lr")
    assert spread(2, "other") > 0.4
    assert abs(math.log10(found.best.config["lr"]) + 2) < 0.1


def test_halving_gives_the_best_more():
    found = quiet("halving", bowl, SPACE, trials=20, budget=9)
    rounds = [[t for t in found.trials if t.round == i] for i in range(3)]
    assert [(len(r), {t.budget for t in r}) for r in rounds] == [(20, {1}), (6, {3}), (2, {9})]
    first = sorted((t for t in rounds[0] if t.value is not None), key=lambda t: t.value)
    assert [t.config for t in rounds[1]] == [t.config for t in first[:6]]
    assert [t.seed for t in rounds[1]] == [t.seed for t in first[:6]]
    assert [t.number for t in found.trials] == list(range(28))
    assert found.best.budget == 9
    lower = quiet("halving", lambda c, r: float(r.budget), SPACE, trials=9, budget=9)
    assert lower.best.budget == 9  # although shorter runs have better values


def test_optuna_asks_and_is_told():
    pytest.importorskip("optuna")
    found = quiet("optuna", bowl, SPACE, trials=24)
    assert plain(found) == plain(quiet("optuna", bowl, SPACE, trials=24))
    later = [t.value for t in found.trials[12:] if t.value is not None]
    assert found.best.value < 0.5 and len(later) > 6
    assert all(set(t.config) == set(SPACE) for t in found.trials)


def test_optuna_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"pip install 'fastnn-cpu\[search\]'"):
        quiet("optuna", bowl, SPACE)


def test_maximize():
    found = quiet("random", lambda c, r: c["x"], {"x": search.uniform(0, 1)}, maximize=True)
    assert found.best.value == max(t.value for t in found.trials)
    assert found.ranking()[-1].value == min(t.value for t in found.trials)


# --- trials that end badly ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("losses", "reason"),
    [
        ([2.0, 5.9, 6.1], "the loss exploded: 6.1 at step 2, 2 at first"),
        ([2.0, math.nan], "the loss is nan at step 1"),
        ([math.inf], "the loss is inf at step 0"),
        ([-2.0, -1.0, 2.1], "the loss exploded: 2.1 at step 2, -2 at first"),
        ([1.0] * 21, "the loss stalled: 1 at first, never below 1"),
        ([1.0] * 20, ""),
        ([1.0, 0.98] + [1.0] * 60, ""),
        ([0.0, 1e9], ""),
    ],
)
def test_hopeless_runs_are_abandoned(losses, reason):
    seen = []

    def objective(config, report):
        for step, loss in enumerate(losses):
            seen.append(step)
            report(step, loss)
        return 1.0

    (trial,) = quiet("random", objective, {"x": [1]}, trials=1).trials
    assert trial.reason == reason
    assert trial.state == ("abandoned" if reason else "done")
    assert len(trial.reports) == len(losses) == len(seen)
    (trial,) = quiet("random", objective, {"x": [1]}, trials=1, abandon=None).trials
    assert trial.state == "done"


def test_an_own_rule():
    def rule(reports):
        return "enough" if len(reports) == 3 else None

    found = quiet("random", bowl, SPACE, trials=2, abandon=rule)
    assert [(t.state, t.reason, len(t.reports)) for t in found.trials] == [
        ("abandoned", "enough", 3)
    ] * 2


def test_failures_are_counted_and_shown():
    def objective(config, report):
        if config["x"] == 0:
            raise KeyError("lost")
        if config["x"] == 1:
            raise FloatingPointError("Trainer.fit: the loss is nan")
        return {2: math.nan, 3: "good", 4: 5.0}[config["x"]]

    found = quiet("grid", objective, {"x": [0, 1, 2, 3, 4]}, trials=5)
    assert found.counts() == {"done": 1, "abandoned": 1, "failed": 3}
    assert [t.reason for t in found.trials] == [
        "KeyError: 'lost'", "Trainer.fit: the loss is nan", "the objective returned nan",
        "TypeError: the objective must return a number, got 'good'", "",
    ]  # fmt: skip
    assert found.best.number == 4
    assert "failed: the objective returned nan" in found.table()
    none = quiet("grid", objective, {"x": [2, 3]}, trials=5)
    with pytest.raises(ValueError, match="none of 2 trials is done; trial 0: the objective"):
        _ = none.best
    assert "failed" in none.page().html()


def test_a_killed_worker_costs_its_own_trial():
    found = quiet("random", deadly, SPACE, trials=12, workers=2)
    failed = [t for t in found.trials if t.state == "failed"]
    assert failed and all(t.config["lr"] > 0.3 for t in failed)
    assert {t.reason for t in failed} == {"its process was ended by signal 9 (SIGKILL)"}
    rest = [t for t in plain(found) if t["state"] != "failed"]
    assert rest == [t for t in plain(quiet("random", bowl, SPACE, trials=12)) if t in rest]
    assert len(rest) + len(failed) == 12


def test_a_script_without_a_guard_gets_an_error_and_no_endless_processes(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from fastnn import search\n"
        "def f(config, report):\n    return 1.0\n"
        "search.random(f, {'x': [1]}, trials=2, workers=2, progress=False)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert 'must do so below if __name__ == "__main__":' in done.stderr


# --- logs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["random", "grid", "coarse_to_fine", "halving", "optuna"])
def test_a_search_resumes_where_it_was_stopped(method, tmp_path):
    if method == "optuna":
        pytest.importorskip("optuna")
    log, calls = tmp_path / "log.jsonl", []

    def stops(config, report):
        calls.append(report.trial)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return bowl(config, report)

    whole = quiet(method, bowl, SPACE, trials=24)
    with pytest.raises(KeyboardInterrupt):
        quiet(method, stops, SPACE, trials=24, log=log)
    assert len(search.load(log).trials) == 7
    found = quiet(method, stops, SPACE, trials=24, log=log, resume=True)
    assert plain(found) == plain(whole)
    assert len(calls) == len(whole.trials) + 1
    loaded = search.load(log)
    assert plain(loaded) == plain(whole) and loaded.best.config == whole.best.config
    assert loaded.table() == found.table()


def test_a_line_that_was_cut_short_is_run_again(tmp_path):
    log = tmp_path / "log.jsonl"
    whole = quiet("random", bowl, SPACE, trials=5, log=log)
    data = log.read_bytes()
    log.write_bytes(data[:-20])
    with pytest.warns(UserWarning, match=r"line 6 of .*log.jsonl is damaged, ignored"):
        assert len(search.load(log).trials) == 4
    with pytest.warns(UserWarning, match="line 6"):
        found = quiet("random", bowl, SPACE, trials=6, log=log, resume=True)
    assert plain(found)[:5] == plain(whole)
    assert len(log.read_text().splitlines()) == 7  # the remains are gone
    assert len(search.load(log).trials) == 6


def test_a_line_without_its_end_counts(tmp_path):
    log = tmp_path / "log.jsonl"
    quiet("random", bowl, SPACE, trials=3, log=log)
    log.write_bytes(log.read_bytes()[:-1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quiet("random", bowl, SPACE, trials=4, log=log, resume=True)
        assert len(search.load(log).trials) == 4


@pytest.mark.parametrize("rubbish", ["{}", "[1]", '{"number": 1}', "\x00\x00", "null"])
def test_rubbish_between_lines_is_left_out(rubbish, tmp_path):
    log = tmp_path / "log.jsonl"
    quiet("random", bowl, SPACE, trials=3, log=log)
    lines = log.read_text().splitlines()
    lines[2] = rubbish
    log.write_text("\n".join(lines) + "\n")
    with pytest.warns(UserWarning, match="line 3"):
        assert [t.number for t in search.load(log).trials] == [0, 2]


@pytest.mark.parametrize(
    "wrong",
    [
        {"config": {}}, {"config": {"lr": "x", "momentum": 0.5, "size": 9, "activation": "relu"}},
        {"seconds": "1"}, {"budget": "x"}, {"round": None}, {"value": "0"}, {"reports": 3},
    ],
)  # fmt: skip
def test_a_trial_with_wrong_values_is_left_out(wrong, tmp_path):
    log = tmp_path / "log.jsonl"
    quiet("random", bowl, SPACE, trials=3, log=log)
    lines = log.read_text().splitlines()
    lines[2] = json.dumps({**json.loads(lines[2]), **wrong})
    log.write_text("\n".join(lines) + "\n")
    with pytest.warns(UserWarning, match="line 3"):
        found = search.load(log)
    found.save(tmp_path / "page.html")
    assert [t.number for t in found.trials] == [0, 2]


def test_a_log_without_trials_is_as_good_as_none(tmp_path):
    log = tmp_path / "log.jsonl"
    with pytest.raises(TypeError, match="at the top of a module"):
        quiet("random", lambda c, r: 0.0, SPACE, trials=2, workers=2, log=log)
    assert len(quiet("random", bowl, SPACE, trials=2, log=log, seed=1).trials) == 2
    head = log.read_bytes().splitlines()[0]
    other = head.replace(b'"low"', b'"lo"')
    for damaged in (b"{}\n", b'{"fastnn search": 1}\n', other + b"\n", b"one line"):
        log.write_bytes(damaged)
        for call in (lambda: search.load(log), lambda: quiet("random", bowl, SPACE, log=log)):
            with pytest.raises(ValueError, match="is not a log"):
                call()
        assert log.read_bytes() == damaged
    log.write_bytes(head[:30])
    with pytest.warns(UserWarning, match="line 1"):
        assert len(quiet("random", bowl, SPACE, trials=2, log=log).trials) == 2


def test_logs_of_other_searches_are_refused(tmp_path):
    log = tmp_path / "log.jsonl"
    quiet("random", bowl, SPACE, trials=2, log=log, about={"epochs": 3})
    before = log.read_bytes()
    again = {"log": log, "resume": True, "about": {"epochs": 3}}
    for method, space, options, message in (
        ("random", SPACE, {**again, "seed": 1}, "its seed is 0, this one's is 1"),
        ("random", SPACE, {**again, "about": {"epochs": 4}}, "its epochs is 3, this one's is 4"),
        ("random", {"lr": SPACE["lr"]}, again, "its space is"),
        ("random", SPACE, {**again, "maximize": True}, "its maximize is false"),
        ("grid", SPACE, again, 'its method is "random", this one\'s is "grid"'),
    ):
        with pytest.raises(ValueError, match=message):
            quiet(method, bowl, space, trials=24, **options)
    with pytest.raises(FileExistsError, match="resume=True goes on with it"):
        quiet("random", bowl, SPACE, trials=2, log=log)
    assert log.read_bytes() == before
    log.write_text("lr,loss\n0.1,3\n")
    with pytest.raises(ValueError, match="is not a log"):
        quiet("random", bowl, SPACE, trials=2, log=log, resume=True)
    assert log.read_text() == "lr,loss\n0.1,3\n"
    with pytest.raises(FileNotFoundError, match="there is no directory"):
        quiet("random", bowl, SPACE, trials=2, log=tmp_path / "no" / "log.jsonl")
    with pytest.raises(FileNotFoundError, match="no log"):
        search.load(tmp_path / "none.jsonl")


def test_two_searches_do_not_share_a_log(tmp_path):
    log = tmp_path / "log.jsonl"

    def nested(config, report):
        quiet("random", bowl, SPACE, trials=1, log=log, resume=True)

    (trial,) = quiet("random", nested, SPACE, trials=1, log=log).trials
    assert "another search is writing" in trial.reason


FULL_DISK = """
import resource, sys, warnings
from search.objectives import SPACE, bowl
from fastnn import search
log = sys.argv[1]
search.random(bowl, SPACE, 3, log=log, progress=False)
size = len(open(log, "rb").read())
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, resource.RLIM_INFINITY))
calls = []
def heals(config, report):
    calls.append(1)
    if len(calls) == 3:
        assert len(open(log, "rb").read()) == size
        if sys.argv[2] == "heals":
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    return bowl(config, report)
found = search.random(heals, SPACE, 6, log=log, resume=True, progress=False)
assert len(found.trials) == 6
print(len(search.load(log).trials))
"""


@pytest.mark.parametrize(("then", "kept"), [("heals", 6), ("stays", 3)])
def test_a_full_disk_costs_no_earlier_result(then, kept, tmp_path):
    done = subprocess.run(
        [sys.executable, "-P", "-c", FULL_DISK, tmp_path / "log.jsonl", then],
        capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(kept)]
    assert done.stderr.count("could not be written") == 1
    assert ("3 trials are missing from" in done.stderr) == (then == "stays")


KILLED = """
import sys, time
from search.objectives import SPACE, bowl
from fastnn import search
def slow(config, report):
    time.sleep(0.02)
    return bowl(config, report)
search.random(slow, SPACE, 1000, log=sys.argv[1], progress=False)
"""


def test_a_killed_search_keeps_what_it_had(tmp_path):
    log = tmp_path / "log.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", KILLED, log],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    try:
        limit = time.monotonic() + 60
        while not log.exists() or log.read_bytes().count(b"\n") < 4:
            assert process.poll() is None and time.monotonic() < limit
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    kept = [json.loads(line)["number"] for line in log.read_text().splitlines()[1:4]]
    assert kept == [0, 1, 2]
    found = quiet("random", bowl, SPACE, trials=12, log=log, resume=True)
    assert plain(found)[:12] == plain(quiet("random", bowl, SPACE, trials=12))


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "magic"}, ValueError, "method must be one of random, grid, .* got 'magic'"),
        ({"trials": 0}, ValueError, "search.random: trials must be at least 1, got 0"),
        ({"trials": 2.5}, TypeError, "trials must be an int, got 2.5"),
        ({"workers": 0}, ValueError, "workers must be at least 1"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"objective": 3}, TypeError, "objective must be callable, got int"),
        ({"objective": lambda c, r: 1, "workers": 2}, TypeError, "function at the top of a module"),
        ({"space": {}}, ValueError, "the search space is empty"),
        ({"abandon": 3}, TypeError, "abandon must be callable, got int"),
        ({"method": "grid", "trials": None, "points": 10**5}, ValueError, "1000000 are the most"),
        ({"method": "grid", "trials": 2}, ValueError, "choices alone make 3 combinations"),
        ({"method": "grid", "points": 2}, ValueError, "either trials or points"),
        ({"method": "halving", "factor": 1}, ValueError, "factor must be at least 2"),
        ({"method": "coarse_to_fine", "rounds": 9}, ValueError, "9 rounds need at least 9 trials"),
        ({"method": "coarse_to_fine", "keep": 0}, ValueError, "keep must be above 0"),
    ],
)
def test_bad_arguments(options, error, message):
    given = {"objective": bowl, "space": SPACE, "trials": 8, "progress": False, **options}
    with pytest.raises(error, match=message):
        search.run(**given)


def test_bad_rules():
    for options in ({"explode": 1}, {"patience": 0}, {"improvement": 2}, {"explode": math.nan}):
        with pytest.raises(ValueError, match=f"Abandon: {next(iter(options))} must be"):
            search.Abandon(**options)


# --- what is shown --------------------------------------------------------------------------------


def test_the_table_has_the_best_first():
    found = quiet("random", bowl, SPACE, trials=12)
    lines = found.table().splitlines()
    assert lines[0].split() == ["trial", "value", *SPACE, "seconds"]
    assert len(lines) == 13
    assert lines[1].split()[0] == str(found.best.number)
    assert len(found.table(3).splitlines()) == 4


def test_the_pictures(tmp_path):
    found = quiet("random", bowl, SPACE, trials=16)
    svg = found.parallel_coordinates()
    assert svg.count("<polyline") == 16 and f"trial {found.best.number}:" in svg
    svg = found.coverage("lr", "momentum")
    assert "grid, at most 16 trials: 1 values of lr, 1 of momentum" in svg
    assert "random, 16 trials: 16 values of lr, 16 of momentum" in svg
    own = quiet("grid", bowl, SPACE, trials=24).coverage("lr", "momentum")
    assert "grid, 24 trials: 2 values of lr" in own and "random, 24 trials: 24 values of lr" in own
    with pytest.raises(ValueError, match="coverage: expected one of"):
        found.coverage("lr", "depth")
    found.save(tmp_path / "page.html", "<b> & co", "loss")
    html = (tmp_path / "page.html").read_text()
    assert html.count("<svg") == 3 and "<b>" not in html and "&lt;b&gt;" in html


def test_names_are_escaped_in_pictures():
    space = {"<i>": search.uniform(0, 1), "&": search.uniform(0, 1), "c": ["<u>"]}
    html = quiet("random", lambda c, r: c["&"], space, trials=3).page().html()
    assert "<i>" not in html and "<u>" not in html and "&lt;u&gt;" in html
