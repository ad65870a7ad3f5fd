"""Follower: a log that grows, is cut, replaced or full of rubbish."""

import itertools
import json
import os

import pytest
from logs import HEADER, observation

from fastnn.watch import Follower, follow


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.jsonl"


def append(path, *lines):
    with open(path, "ab") as file:
        file.write(b"".join(lines))


def steps(follower):
    """Of all observations, the newest included."""
    lines = follower.lines + ([follower.last] if follower.last else [])
    return [e["step"] for e in map(json.loads, lines) if "layers" in e and "step" in e]


def test_only_whole_lines_and_each_once(path):
    append(path, HEADER, observation(0), observation(1)[:-5])
    follower = Follower(path)
    follower.update()
    assert steps(follower) == [0] and follower.skipped == 0
    follower.update()
    assert steps(follower) == [0]
    append(path, observation(1)[-5:], observation(2))
    follower.update()
    assert steps(follower) == [0, 1, 2] and follower.run == 1


def test_rubbish_is_counted_and_costs_only_itself(path):
    rubbish = [
        b"\xff\xfe\n", b"[1, 2]\n", b"7\n", b'{"other": 1}\n', b"\0" * 100 + b"\n",
        b"[" * 100_000 + b"\n", b'{"step": NaN, "layers": {}}\n', b'{"step": "1", "layers": {}}\n',
        b'{"step": 1, "layers": {"a": 3}}\n', b'{"step": 1, "layers": {}, "advice": 5}\n',
        b'{"fastnn_monitor": 1, "layers": 3}\n', b'{"epoch_end": 1}\n',
    ]  # fmt: skip
    append(path, observation(0), b"\n", HEADER, *rubbish, observation(1), *rubbish, observation(2))
    follower = Follower(path)
    follower.update()
    assert steps(follower) == [1, 2]
    assert follower.skipped == 2 * len(rubbish) + 1  # an observation before any header, too


def test_another_run_in_the_file_takes_over(path):
    append(path, HEADER, observation(0), observation(1))
    follower = Follower(path)
    follower.update()
    append(path, HEADER, observation(7))
    follower.update()
    assert steps(follower) == [7] and follower.run == 2
    late = Follower(path, start=len(HEADER + observation(0) + observation(1)))
    late.update()
    assert late.lines == follower.lines and late.run == 1


@pytest.mark.parametrize("how", ["shorter", "replaced"])
def test_another_file_is_read_from_its_start(path, how):
    append(path, HEADER, *map(observation, range(5)))
    follower = Follower(path)
    follower.update()
    if how == "shorter":
        path.write_bytes(HEADER + observation(9))
    else:
        other = path.with_name("other")
        other.write_bytes(HEADER + b"".join(map(observation, range(9, 20))))
        os.replace(other, path)
    follower.update()
    assert steps(follower)[0] == 9 and follower.run == 2


def test_a_file_that_is_gone_leaves_what_was_read(path):
    append(path, HEADER, observation(0))
    follower = Follower(path)
    follower.update()
    path.unlink()
    follower.update()
    assert steps(follower) == [0]
    with pytest.raises(FileNotFoundError):
        Follower(path)


def test_of_many_observations_an_even_selection_and_the_newest_stay(path):
    append(path, HEADER, *map(observation, range(1000)), b'{"epoch_end":1,"step":1000}\n')
    follower = Follower(path)
    follower.update()
    run = follower.run
    assert run > 1 and b'{"epoch_end":1,"step":1000}' in follower.lines
    for start in range(1000, 10_000, 750):
        append(path, *map(observation, range(start, start + 750)))
        follower.update()
        found = steps(follower)
        assert 400 <= len(found) <= 802 and found[0] == 0 and found[-1] == start + 749
        gaps = {b - a for a, b in itertools.pairwise(found[:-1])}
        assert gaps == {follower._every}
    assert follower.run > run and follower.lines[0] == HEADER.strip()


def test_large_observations_are_fewer(path, monkeypatch):
    monkeypatch.setattr(follow, "_MOST_BYTES", 20_000)
    append(path, HEADER, *(observation(i, note="x" * 1000) for i in range(100)))
    follower = Follower(path)
    follower.update()
    assert 9 <= len(steps(follower)) <= 20 and steps(follower)[-1] == 99
    append(path, HEADER, *map(observation, range(50)))
    follower.update()
    assert steps(follower) == list(range(50))
