# SPDX-License-Identifier: Apache-2.0
"""Explanations side by side on a terminal: what each says, a table of the words, how far they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .compare import LETTERS, chosen_words, column_numbers, describe_agreement, describe_column, word_places
from .highlight import lay_out
from .summary import number_format
from .terminal import printable

STRONGEST = 5


def render_comparison_terminal(
    columns: Sequence[Mapping[str, Any]], table: Mapping[str, Any], console: Console | None = None
) -> None:
    """Print a comparison; arguments as in `render_comparison`."""
    console = console or Console()

    def plain(text: str, style: str = "") -> Text:
        return Text(printable(text, console.encoding), style, overflow="fold")

    for letter, column in zip(LETTERS, columns, strict=False):
        drawn = lay_out(column)
        told = describe_column(column, drawn)
        answers = ", ".join(f"{label} {value}".strip() for label, value in told["answers"])
        scores = f"scores for {told['target']}" if told["target"] else ""
        rather = f" rather than {told['foil']}" if told["foil"] else ""
        console.print(plain(f"{letter}  {column['name']}", "bold"))
        about = [part for part in (answers and f"predicts {answers}", scores + rather) if part]
        console.print(plain("   " + " \u00b7 ".join(about + [f"{name} {value}" for name, value in told["facts"]])))
        segments = [segment for line in drawn.lines for segment in line if segment.score is not None]
        segments.sort(key=lambda segment: -abs(segment.score or 0.0))
        number = number_format(segment.score or 0.0 for segment in segments)
        strongest = ", ".join(f"{each.text} {number(each.score or 0.0)}" for each in segments[:STRONGEST])
        console.print(plain(f"   {strongest}"))
        for note in told["notes"]:
            console.print(plain(f"   note: {note}"))
    if not table["same_text"]:
        console.print(plain("The texts differ, so their words are not compared one by one.", "dim"))
        return
    words = table["words"]
    numbers, places = column_numbers(words, len(columns)), word_places(words)
    grid = Table(box=SIMPLE, pad_edge=False)
    grid.add_column("word", overflow="fold")
    for letter in LETTERS[: len(columns)]:
        grid.add_column(letter, justify="right", no_wrap=True)
    grid.add_column("difference", justify="right", no_wrap=True)
    for word in chosen_words(words):
        place = places[word.sequence, word.start]
        cells = [
            "\u2013" if score is None else number(score) for score, number in zip(word.scores, numbers, strict=True)
        ]
        difference = "" if word.difference is None else f"{word.difference:.2f}"
        name = plain(f"{word.text} ({place})" if place else word.text)
        grid.add_row(name, *(plain(cell) for cell in cells), difference)
    console.print(grid)
    for each in table["agreements"]:
        told = describe_agreement(each)
        console.print(
            plain(
                f"{told['first']} and {told['second']}: rank correlation {told['rho']} over {told['words']} words, "
                f"{told['shared']} strongest words shared"
            )
        )
    console.print(plain("Differences are between scores divided by the largest of their column.", "dim"))
