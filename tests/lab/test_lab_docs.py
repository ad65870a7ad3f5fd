"""What the guides say of the lab: its table has every claim, its pictures need no style sheet."""

import re

import pytest
from packaging_tools import ROOT

from fastnn import lab

FIVE = ["activations", "preprocessing", "initialization", "watching-training", "search"]


def read(name):
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def test_the_table_has_every_experiment_and_its_claim():
    rows = [line for line in read("lab.md").splitlines() if re.search(r"\*\*\w+\*\*", line)]
    named = {m[1]: row for row in rows if (m := re.search(r"\(`(\w+)`\)", row))}
    found = lab.all_experiments()
    assert list(named) == list(found)
    for name, row in named.items():
        assert found[name].claim.replace("|", "\\|") in row
        assert re.search(r"\*\*(confirmed|refuted|depends)\*\*", row)


@pytest.mark.parametrize("guide", FIVE)
def test_guides_have_pictures_of_the_lab(guide):
    pictures = re.findall(
        r'<img src="(figures/(\w+)-\d\.svg)" width="49%" align="top" alt="[^"]+">',
        read(f"{guide}.md"),
    )
    assert pictures
    for file, name in pictures:
        assert name in lab.all_experiments()
        svg = read(file)
        assert svg.startswith("<svg xmlns=") and svg.endswith("</svg>\n") and len(svg) < 60_000
        assert "var(" not in svg and "@media" not in svg and "background:#f7f8fa" in svg


def test_no_picture_is_left_over():
    linked = {
        m
        for p in (ROOT / "docs").glob("*.md")
        for m in re.findall(r"figures/([\w-]+\.svg)", p.read_text(encoding="utf-8"))
    }
    assert {p.name for p in (ROOT / "docs" / "figures").iterdir()} <= linked
