# SPDX-License-Identifier: BSD-3-Clause
"""The page of the lab: all results of a directory with their pictures, in one file."""

from __future__ import annotations

import re
from collections import Counter
from html import escape
from pathlib import Path
from typing import Any

from ..report import _CSS, Page
from .registry import SECTIONS

Entry = dict[str, Any]

_STYLE = """
:root{--ok:#00684a;--no:#a83a00;--mixed:#6b4a00;--bad:#9b1c31}
@media(prefers-color-scheme:dark){:root{--ok:#4fc9a0;--no:#f09a63;--mixed:#e3bd55;--bad:#ff8b9a}}
html{scroll-behavior:smooth}
a{color:inherit}
h2{border-top:2px solid var(--line);padding-top:1.5rem;margin-top:3rem;font-size:1.4rem}
h3{font-size:1.15rem;line-height:1.3;margin:0}h4{font-size:.95rem;margin:1rem 0 .25rem}
article{margin:1.5rem 0 3rem;scroll-margin-top:1rem}
.head{display:flex;gap:.75rem;align-items:baseline;flex-wrap:wrap;margin-bottom:.5rem}
.verdict{font-size:.8rem;font-weight:600;border:1.5px solid;border-radius:1rem;
padding:0 .6rem;white-space:nowrap}
.confirmed{color:var(--ok)}.refuted{color:var(--no)}.depends{color:var(--mixed)}
.failed{color:var(--bad)}
.figures{grid-template-columns:repeat(auto-fill,minmax(min(100%,21rem),1fr))}
.claim{font-size:1.05rem;border-left:3px solid var(--line);padding-left:.75rem}
.label{color:var(--dim);font-size:.8rem;display:block}
figcaption{font-size:.875rem;color:var(--dim);padding:.5rem .25rem .25rem}
details{margin:.75rem 0;max-width:46rem}summary{cursor:pointer;color:var(--dim)}
details p{font-size:.925rem}
details td{white-space:normal;min-width:6rem}
nav{margin-top:1.25rem;columns:24rem;column-gap:2.5rem}
nav section{break-inside:avoid;padding-bottom:1.25rem}
.toc{list-style:none;padding:0;margin:0}
.toc li{display:flex;justify-content:space-between;gap:1rem;align-items:baseline;
padding:.3rem 0;border-bottom:1px solid var(--line)}
nav h2{border:0;margin:0;padding:0;font-size:1rem;color:var(--dim)}
@media(prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
"""


class _LabPage(Page):
    """A report with parts of its own."""

    def raw(self, html: str) -> None:
        """Add HTML, already escaped."""
        self._blocks.append(("html", html))


def standalone(svg: str) -> str:
    """A picture with the style that it has inside of a page."""
    variables = re.findall(r"(?:@media[^{]*\{)?:root\{[^}]*\}\}?", _CSS)
    rules = re.findall(r"^svg text\{.*?\n.*?\}$|^svg \.[^\n]*$", _CSS, re.M)
    style = "".join(variables) + "svg{background:var(--card)}" + "".join(rules)
    return svg.replace(">", f"><style>{style}</style>", 1)


def inline(svg: str) -> str:
    """A picture without a style of its own."""
    return re.sub(r"<style>.*?</style>", "", svg, count=1, flags=re.S)


def build(entries: list[Entry], directory: Path) -> str:
    """The page of these results, whose pictures are in `directory`."""
    page = _LabPage("fastnn lab: claims about training networks, measured")
    page.raw(f"<style>{_STYLE}</style>")
    counts = Counter(entry["verdict"] for entry in entries)
    parts = [f"{counts[v]} {v}" for v in ("confirmed", "refuted", "depends", "failed") if counts[v]]
    page.text(
        "Each experiment takes one claim that is taught about training neural networks, tests it "
        "on this machine, and decides by a rule that was fixed in advance. All figures come from "
        f"the run. {len(entries)} experiments: {', '.join(parts)}."
    )
    groups = {s: [e for e in entries if e.get("section") == s] for s in SECTIONS}
    contents = ""
    for section, group in groups.items():
        rows = "".join(
            f'<li><a href="#{escape(e["name"])}">{escape(e["title"])}</a>{_badge(e)}</li>'
            for e in group
        )
        if group:
            contents += f'<section><h2>{escape(section)}</h2><ul class="toc">{rows}</ul></section>'
    page.raw(f"<nav>{contents}</nav>")
    for section, group in groups.items():
        if group:
            page.heading(section)
        for entry in group:
            _add(page, entry, directory)
    return page.html()


def _words(text: str) -> str:
    """Escaped, with powers of ten as such."""

    def power(found: re.Match[str]) -> str:
        exponent = str(int(found[1])).replace("-", "−")
        return f'·<span style="white-space:nowrap">10<sup>{exponent}</sup></span>'

    return re.sub(r"(?<=\d)e([+-]\d+)", power, escape(text))


def _badge(entry: Entry) -> str:
    return f'<span class="verdict {escape(entry["verdict"])}">{escape(entry["verdict"])}</span>'


def _add(page: _LabPage, entry: Entry, directory: Path) -> None:
    page.raw(
        f'<article id="{escape(entry["name"])}"><div class="head">'
        f"<h3>{escape(entry['title'])}</h3>{_badge(entry)}</div>"
        f'<p class="claim"><span class="label">Claim</span>{escape(entry["claim"])}</p>'
    )
    if entry.get("error"):
        page.raw(f'<p class="failed">The last run failed: {escape(entry["error"])}</p>')
    if entry["finding"]:
        page.raw(f'<p><span class="label">Found</span>{_words(entry["finding"])}</p>')
    if entry["verdict"] == "depends":
        page.raw(f'<p><span class="label">Depends on</span>{escape(entry["on"])}</p>')
    for figure in entry["figures"]:
        path = directory / figure["file"]
        if path.is_file():
            caption = f"<figcaption>{escape(figure['caption'])}</figcaption>"
            svg = inline(path.read_text(encoding="utf-8"))
            page.figure(svg + (caption if figure["caption"] else ""))
    for table in entry["tables"]:
        page.raw(f"<h4>{escape(table['title'])}</h4>")
        page.table(
            table["headers"], [["–" if c is None else c for c in row] for row in table["rows"]]
        )
    page.raw(
        "<details><summary>Method, rule and figures</summary>"
        f'<p><span class="label">Method</span>{escape(entry["method"])}</p>'
        f'<p><span class="label">Rule</span>{escape(entry["rule"])}</p>'
    )
    if entry["measured"]:
        page.table(["measured", ""], [[k, _show(v)] for k, v in _flat(entry["measured"])])
    settings = ", ".join(f"{k} {v}" for k, v in entry["settings"].items())
    seconds = f", {entry['seconds']:g} s" if "seconds" in entry else ""
    page.raw(
        f"<p>{escape(settings)}{seconds}. Again: <code>{escape(_command(entry))}</code></p>"
        "</details></article>"
    )


def _command(entry: Entry) -> str:
    settings = entry["settings"]
    words = ["fastnn lab run", entry["name"]]
    words += ["--quick"] if settings["size"] == "quick" else []
    words += ["--data cifar10 --root DIR"] if settings["data"] == "cifar10" else []
    words += [f"--seed {settings['seed']}"] if settings["seed"] else []
    return " ".join(words)


def _flat(measured: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in measured.items():
        full = f"{prefix}{name}"
        rows += _flat(value, f"{full}, ") if isinstance(value, dict) else [(full, value)]
    return rows


def _show(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_show, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
