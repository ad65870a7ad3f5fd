"""Each experiment once, as small as it goes: that it runs and says what it must."""

import json
import math

import pytest

from fastnn import lab


@pytest.mark.parametrize("name", list(lab.all_experiments()))
def test_an_experiment_runs(name, tmp_path):
    (entry,) = lab.run([name], out=tmp_path, size="tiny", progress=False)
    assert "error" not in entry, entry.get("error")
    assert entry["verdict"] in ("confirmed", "refuted", "depends")
    assert entry["measured"] and entry["finding"].endswith((".", "%)")) and entry["figures"]
    assert entry["claim"].endswith(".") and entry["rule"].startswith("Confirmed if")
    assert len(entry["claim"]) < 300
    assert "nan" not in entry["finding"].lower()
    assert json.loads((tmp_path / "results.json").read_text()) == [entry]
    numbers = list(leaves(entry["measured"]))
    assert any(isinstance(v, int | float) and math.isfinite(v) for v in numbers)


def leaves(value):
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item)
    else:
        yield value
