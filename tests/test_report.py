# SPDX-License-Identifier: BSD-3-Clause
"""The HTML report: well-formed, escaped, honest about gaps, written whole or not at all."""

import os
import re
import xml.etree.ElementTree as ElementTree

import pytest

from fastnn import report
from fastnn.report import Page, log_ticks, nice_ticks

NAN = float("nan")
HOSTILE = "<script>alert('x')</script> & \"co\""
SVG = "{http://www.w3.org/2000/svg}"


def parse(page: Page) -> ElementTree.Element:
    """Parse the page as XML: every tag closed, every attribute quoted, every text escaped."""
    return ElementTree.fromstring(page.html().replace("<!DOCTYPE html>\n", "", 1))


def numbers(text: str) -> list[float]:
    return [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?", text)]


def everything(text: str) -> Page:
    page = Page(text)
    page.heading(text)
    page.text(f"{text}\n\nsecond")
    page.table([text, "ms"], [[text, 1.5], ["b", NAN]])
    page.line_chart({text: ([1, 2, 3], [1.0, NAN, 2.0])}, text, text, text)
    page.bar_chart([text, "b"], {text: [1.0, 2.0], "other": [NAN, 0.5]}, text, text)
    return page


def test_page_is_well_formed_self_contained_and_escaped():
    page = everything(HOSTILE)
    root = parse(page)
    assert not root.findall(".//script")
    assert root.find("head/title").text == HOSTILE
    assert [p.text for p in root.iter("p")] == [HOSTILE, "second"]
    assert root.find(".//tbody/tr/td").text == HOSTILE
    assert "prefers-color-scheme" in page.html()
    references = re.findall(r"(?:src|href)=|url\(|@import|https?://\S+", page.html())
    assert set(references) == {'http://www.w3.org/2000/svg"'}


def test_charts_are_accessible():
    for svg in parse(everything("Loss")).iter(f"{SVG}svg"):
        assert svg.get("role") == "img"
        assert svg.find(f"{SVG}title").text == "Loss"
        assert "Loss" in svg.find(f"{SVG}desc").text


def test_charts_share_one_grid_until_text_comes_between():
    page = Page("t")
    for between in (None, "words"):
        if between:
            page.text(between)
        page.bar_chart(["a"], {"g": [1.0]})
        page.bar_chart(["a"], {"g": [1.0]})
    grids = [d for d in parse(page).iter("div") if d.get("class") == "figures"]
    assert [len(g.findall("figure")) for g in grids] == [2, 2]


def test_line_chart_leaves_gaps():
    page = Page("t")
    ys = [1.0, 2.0, NAN, 3.0, float("inf"), 4.0, 5.0]
    page.line_chart({"a": (range(7), ys)}, "t", "x", "y")
    svg = parse(page).find(f".//{SVG}svg")
    lines = [len(p.get("points").split()) for p in svg.iter(f"{SVG}polyline")]
    assert lines == [2, 2]
    assert len(svg.findall(f"{SVG}circle")) == 1  # the lone point between two gaps
    assert "nan" not in page.html().lower().replace("finan", "")


def test_line_chart_places_points_linearly():
    page = Page("t")
    page.line_chart({"a": ([0, 5, 10], [0.0, 5.0, 10.0])}, "t", "x", "y")
    (line,) = parse(page).iter(f"{SVG}polyline")
    x0, y0, x1, y1, x2, y2 = numbers(line.get("points"))
    assert x1 == pytest.approx((x0 + x2) / 2, abs=0.1) and x0 < x2
    assert y1 == pytest.approx((y0 + y2) / 2, abs=0.1) and y0 > y2  # SVG's y points down


def test_log_axis_places_decades_evenly_and_drops_what_has_no_logarithm():
    page = Page("t")
    page.line_chart({"a": (range(5), [0.01, 0.1, 1.0, 0.0, -1.0])}, "t", "x", "y", log_y=True)
    (line,) = parse(page).iter(f"{SVG}polyline")
    _, y0, _, y1, _, y2 = numbers(line.get("points"))
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.2) and y0 > y1


def test_a_chart_without_finite_values_says_so():
    page = Page("t")
    page.line_chart({"a": ([1.0], [NAN]), "b": ([], [])}, "t", "x", "y")
    assert "no finite values" in page.html()
    page.bar_chart(["l"], {"g": [NAN]})
    parse(page)


def test_bars_are_as_long_as_their_values():
    page = Page("t")
    page.bar_chart(["a", "b"], {"g": [1.0, 2.0], "h": [0.0, NAN]})
    svg = parse(page).find(f".//{SVG}svg")
    widths = [float(r.get("width")) for r in svg.iter(f"{SVG}rect") if r.get("height") == "12"]
    assert len(widths) == 3
    assert widths[2] == pytest.approx(2 * widths[0], abs=0.2) and widths[1] == 0.0


def test_table_aligns_numbers():
    page = Page("t")
    page.table(["name", "ms", "mixed"], [["a", 1.0, "1"], ["b", "–", "ok"]])
    cells = parse(page).findall(".//tbody/tr/td")
    assert [c.get("class") for c in cells[:3]] == [None, "num", None]
    assert cells[1].text == "1"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.0, 97.0, [0, 20, 40, 60, 80, 100]),
        (-3.0, 3.0, [-4, -2, 0, 2, 4]),
        (0.0, 0.003, [0, 0.001, 0.002, 0.003]),
    ],
)
def test_nice_ticks(low, high, expected):
    assert nice_ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize("low", [-7.3, 0.0, 1e-9, 123456.0])
@pytest.mark.parametrize("span", [0.0, 1e-6, 0.37, 4200.0])
def test_nice_ticks_enclose_the_range(low, span):
    ticks = nice_ticks(low, low + span)
    slack = 1e-6 * (ticks[-1] - ticks[0])
    assert ticks[0] <= low + slack and ticks[-1] >= low + span - slack
    assert 2 <= len(ticks) <= 8


@pytest.mark.parametrize(("low", "high"), [(0.3, 0.4), (0.02, 3.0), (1e-12, 1e3), (1.0, 1.0)])
def test_log_ticks_enclose_the_range(low, high):
    ticks = log_ticks(low, high)
    assert ticks[0] <= low * (1 + 1e-9) and ticks[-1] >= high * (1 - 1e-9)
    assert ticks == sorted(ticks) and 2 <= len(ticks) <= 11


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: p.table(["a", "b"], [[1]]), "table: row 0 must have 2 cells .* got 1"),
        (lambda p: p.line_chart({}, "t", "x", "y"), "line_chart: series"),
        (lambda p: p.line_chart({"a": ([1], [])}, "t", "x", "y"), "'a' .* got 1 x and 0 y"),
        (lambda p: p.bar_chart([], {"g": []}), "bar_chart: needs"),
        (lambda p: p.bar_chart(["a"], {"g": [1, 2]}), "'g' must have 1 values"),
        (lambda p: p.bar_chart(["a"], {"g": [-1.0]}), "'g' must not be negative, got -1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(Page("t"))


def test_write_replaces_the_old_file(tmp_path):
    path = tmp_path / "r.html"
    path.write_text("old")
    everything("new é").write(path)
    assert path.read_text(encoding="utf-8") == everything("new é").html()
    assert os.listdir(tmp_path) == ["r.html"]


def test_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "r.html"
    path.write_text("old")

    def broken(_fd):
        raise OSError("disk full")

    monkeypatch.setattr(report.os, "fsync", broken)
    with pytest.raises(OSError, match="disk full"):
        Page("new").write(path)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["r.html"]


def test_write_into_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no directory"):
        Page("t").write(tmp_path / "no" / "r.html")


def test_scatter_chart_names_points_and_lines():
    page = Page("p")
    groups = {"a": [("one <b>", 0.1, 2.0), ("two", 10.0, 200.0)], "b": [("three", 1.0, 20.0)]}
    page.scatter_chart(groups, {"roof 20": [(0.05, 1.0), (10.0, 200.0)]}, "T", "xs", "ys")
    svg = ElementTree.fromstring(page.html().split("\n", 1)[1]).find(".//{*}svg")
    circles = svg.findall(".//{*}circle")
    assert [c[0].text for c in circles] == ["one <b>: 2", "two: 200", "three: 20"]
    xs, ys = ([float(c.get(f"c{axis}")) for c in circles] for axis in "xy")
    assert xs[0] < xs[2] < xs[1] and ys[0] > ys[2] > ys[1]
    # Equal ratios are equal distances.
    assert xs[1] - xs[2] == pytest.approx(xs[2] - xs[0], abs=0.11)
    texts = [t.text for t in svg.findall(".//{*}text")]
    assert {"roof 20", "xs", "ys", "a", "b"} <= set(texts)


@pytest.mark.parametrize(
    ("groups", "lines", "message"),
    [
        ({}, {}, "at least one point"),
        ({"a": [("p", 0.0, 1.0)]}, {}, "finite and positive, got 0"),
        ({"a": [("p", 1.0, float("nan"))]}, {}, "finite and positive, got nan"),
        ({"a": [("p", 1.0, 1.0)]}, {"l": [(1.0, -1.0)]}, "finite and positive, got -1"),
    ],
)
def test_scatter_chart_refuses(groups, lines, message):
    with pytest.raises(ValueError, match=message):
        Page("p").scatter_chart(groups, lines, "t", "x", "y")
