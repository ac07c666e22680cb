# SPDX-License-Identifier: Apache-2.0
"""Explanations side by side on a terminal: a summary of each, a table of the words, how far they agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .compare import LETTERS, Word, chosen_words, column_numbers, describe_agreement, describe_column, word_places
from .highlight import lay_out
from .summary import number_format
from .terminal import printable

STRONGEST = 5


def render_comparison_terminal(
    columns: Sequence[Mapping[str, Any]], table: Mapping[str, Any], console: Console | None = None
) -> None:
    """Print a comparison; arguments as in `render_comparison`."""
    console = console or Console()
    encoding = console.encoding

    def show(text: str, style: str = "") -> None:
        console.print(_plain(text, encoding, style))

    for letter, column in zip(LETTERS, columns, strict=False):
        show(f"{letter}  {column['name']}", "bold")
        for line in _describe(column):
            show(f"   {line}")
    if not table["same_text"]:
        show("The texts differ, so their words are not compared one by one.", "dim")
        return
    console.print(_grid(table["words"], len(columns), encoding))
    for agreement in map(describe_agreement, table["agreements"]):
        show(
            f"{agreement['first']} and {agreement['second']}: rank correlation {agreement['rho']} over "
            f"{agreement['words']} words, {agreement['shared']} strongest words shared"
        )
    show("Differences are between scores divided by the largest of their column.", "dim")


def _plain(text: str, encoding: str, style: str = "") -> Text:
    return Text(printable(text, encoding), style, overflow="fold")


def _describe(column: Mapping[str, Any]) -> Iterator[str]:
    """The lines under the heading of a column: its numbers, its strongest words, its notes."""
    drawn = lay_out(column)
    summary = describe_column(column, drawn)
    answers = ", ".join(f"{label} {value}".strip() for label, value in summary.answers)
    target = f"scores for {summary.target}" if summary.target else ""
    foil = f" rather than {summary.foil}" if summary.foil else ""
    parts = [part for part in (answers and f"predicts {answers}", target + foil) if part]
    yield " \u00b7 ".join(parts + [f"{name} {value}" for name, value in summary.facts])
    number = number_format(drawn.scores)
    words = [(segment.text, segment.score) for line in drawn.lines for segment in line if segment.score is not None]
    words.sort(key=lambda word: -abs(word[1]))
    yield ", ".join(f"{text} {number(score)}" for text, score in words[:STRONGEST])
    for note in summary.notes:
        yield f"note: {note}"


def _grid(words: Sequence[Word], count: int, encoding: str) -> Table:
    """The scores of each word in each of `count` columns."""
    numbers, places = column_numbers(words, count), word_places(words)
    grid = Table(box=SIMPLE, pad_edge=False)
    grid.add_column("word", overflow="fold")
    for heading in (*LETTERS[:count], "difference"):
        grid.add_column(heading, justify="right", no_wrap=True)
    for word in chosen_words(words):
        place = places[word.sequence, word.start]
        scores = zip(word.scores, numbers, strict=True)
        cells = ["\u2013" if score is None else number(score) for score, number in scores]
        difference = "" if word.difference is None else f"{word.difference:.2f}"
        text = f"{word.text} ({place})" if place else word.text
        grid.add_row(*(_plain(cell, encoding) for cell in (text, *cells)), difference)
    return grid
