# SPDX-License-Identifier: BSD-3-Clause
"""Brings a finished run of the lab into docs/: the table of lab.md, and the figures of the guides.

fastnn lab run --all --data cifar10 --root DIR --out lab-cifar10
python tools/lab_docs.py lab-cifar10

A guide shows those figures that it links; their colours are fixed to the light ones, which every
viewer understands.
"""

import json
import re
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"
MARK = "<!-- what follows is written by tools/lab_docs.py -->\n"


def table(entries):
    """Claim, what was measured, verdict; a heading for each section."""
    lines: list[str] = []
    section = None
    for e in entries:
        if e["section"] != section:
            section = e["section"]
            lines += ["", f"### {section}", "", "| claim | measured | verdict |", "|---|---|---|"]
        verdict = f"**{e['verdict']}**"
        if e["verdict"] == "depends":
            verdict += f" on {e['on'].rstrip('.')}"
        cells = (f"{e['claim']} (`{e['name']}`)", e["finding"], verdict)
        lines.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    return "\n".join(lines[1:]) + "\n"


def light(svg):
    """The picture without variables and dark colours."""
    colours = dict(re.findall(r"--(\w+):([^;}]+)", svg.partition("@media")[0]))
    svg = re.sub(r"(@media[^{]*\{)?:root\{[^}]*\}(?(1)\})", "", svg)
    return re.sub(r"var\(--(\w+)\)", lambda found: colours[found[1]], svg)


def main(run):
    """Write the table, copy the figures that guides link."""
    entries = json.loads((run / "results.json").read_text(encoding="utf-8"))
    failed = [e["name"] for e in entries if "error" in e]
    if failed:
        sys.exit(f"lab_docs: these failed: {', '.join(failed)}")
    page = DOCS / "lab.md"
    head = page.read_text(encoding="utf-8").partition(MARK)[0]
    page.write_text(f"{head}{MARK}\n{table(entries)}", encoding="utf-8")
    folder = DOCS / "figures"
    folder.mkdir(exist_ok=True)
    for guide in DOCS.glob("*.md"):
        for name in re.findall(r'src="figures/([\w.-]+\.svg)', guide.read_text(encoding="utf-8")):
            svg = light((run / "figures" / name).read_text(encoding="utf-8"))
            (folder / name).write_text(svg + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
