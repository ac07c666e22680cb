# SPDX-License-Identifier: Apache-2.0
"""Explanations side by side on a terminal: a summary of each, a table of the words, how far they agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .compare import view_comparison
from .terminal import printable

STRONGEST = 5


def render_comparison_terminal(
    columns: Sequence[Mapping[str, Any]], table: Mapping[str, Any], console: Console | None = None
) -> None:
    """Print a comparison; arguments as in `render_comparison`."""
    console = console or Console()
    view = view_comparison(columns, table, "words")

    def plain(text: str, style: str = "") -> Text:
        return Text(printable(text, console.encoding), style, overflow="fold")

    for column in view["columns"]:
        console.print(plain(f"{column['letter']}  {column['name']}", "bold"))
        for line in _describe(column):
            console.print(plain(f"   {line}"))
    if not view["same_text"]:
        console.print(plain("The texts differ, so their words are not compared one by one.", "dim"))
        return
    grid = Table(box=SIMPLE, pad_edge=False)
    grid.add_column("word", overflow="fold")
    for heading in (*(column["letter"] for column in view["columns"]), "difference"):
        grid.add_column(heading, justify="right", no_wrap=True)
    for row in view["shown"]:
        text = f"{row['text']} ({row['place']})" if row["place"] else row["text"]
        cells = ["\u2013" if cell is None else cell["number"] for cell in row["cells"]]
        grid.add_row(*map(plain, (text, *cells, row["difference"])))
    console.print(grid)
    for agreement in view["agreements"]:
        line = (
            f"{agreement['first']} and {agreement['second']}: rank correlation {agreement['rho']} over "
            f"{agreement['words']} words, {agreement['shared']} strongest words shared"
        )
        console.print(plain(line))
    console.print(plain("Differences are between scores divided by the largest of their column.", "dim"))


def _describe(column: Mapping[str, Any]) -> Iterator[str]:
    """The lines under the heading of a column: its numbers, its strongest words, its notes."""
    summary = column["summary"]
    answers = ", ".join(f"{label} {value}".strip() for label, value in summary.answers)
    target = f"scores for {summary.target}" if summary.target else ""
    foil = f" rather than {summary.foil}" if summary.foil else ""
    parts = [part for part in (answers and f"predicts {answers}", target + foil) if part]
    yield " \u00b7 ".join(parts + [f"{name} {value}" for name, value in summary.facts])
    words = [segment for line in column["lines"] for segment in line if segment.score is not None]
    strongest = sorted(words, key=lambda word: -abs(word.score))[:STRONGEST]
    yield ", ".join(f"{word.text} {column['number'](word.score)}" for word in strongest)
    for note in summary.notes:
        yield f"note: {note}"
