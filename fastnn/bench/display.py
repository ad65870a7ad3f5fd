# SPDX-License-Identifier: BSD-3-Clause
"""Print a run: with rich where that is installed and there is a terminal, else as plain text."""

from __future__ import annotations

import sys

from . import results

_STYLES = {
    "ok": "green", "better": "green", "short": "yellow", "unsupported": "dim",
    "FAILED": "bold red", "worse": "bold red",
}  # fmt: skip


def show(found: results.Run) -> None:
    """Print the tables, the answer to the lecture's question, machine and remarks."""
    for title, content in results.sections(found, wide=False):
        table(title, content)
    answer = results.lecture_answer(found)
    if answer:
        print(f"{answer}\n")
    for key, value in results.info_table(found)[1]:
        print(f"{key}: {value}")
    for line in results.remarks(found):
        print(line)


def table(title: str, content: results.Table) -> None:
    """Print one table."""
    if not (sys.stdout.isatty() and _rich(title, content)):
        print(f"{title}\n{results.text_table(content)}\n")


def _rich(title: str, content: results.Table) -> bool:
    """Print with rich; say whether it is there."""
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    head, body = content
    made = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for i, name in enumerate(head):
        made.add_column(name, justify="left" if i == 0 else "right", overflow="fold")
    for row in body:
        made.add_row(
            *(Text(cell, _STYLES.get(cell.split()[-1] if cell else "", "")) for cell in row)
        )
    Console().print(made)
    return True
