# SPDX-License-Identifier: Apache-2.0
"""Explanations side by side, with a table of their words: a page, a notebook fragment, a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .controls import printable
from .errors import MARK, error_legend, is_settled
from .highlight import Highlight, check_explanation, lay_out
from .html import fill_fragment, fill_page
from .summary import Summary, number_format, percent, share_facts, summarise

_WORDS_SHOWN = 12
_STRONGEST = 5  # words named on a terminal
_LETTERS = "ABCD"
_HALF = 100  # SVG units from the middle of a bar to its end


class Word(Protocol):
    """A word of the text that all columns share; one score a column, with its error, None where it has none."""

    text: str
    start: int
    end: int
    sequence: int
    scores: Sequence[float | None]
    errors: Sequence[float | None]
    normalised: Sequence[float | None]
    difference: float | None


def render_comparison(
    columns: Sequence[Mapping[str, Any]], table: Mapping[str, Any], *, title: str, unit: str = "words"
) -> str:
    """One HTML page: no script, no request, its style allowed by hash.

    Args:
        columns: 2 to 4, the JSON form of an explanation or that of other scores, each with a `name`.
        table: `same_text`, `words` of the shared text and `agreements` of each two columns.
        title: of the page.
        unit: of the highlighted texts, "words" or "tokens".
    """
    view = _view(columns, table, unit)
    return fill_page("compare.html.j2", "compare.css", title=title, view=view, of_errors=view["of_errors"])


def render_comparison_fragment(
    columns: Sequence[Mapping[str, Any]], table: Mapping[str, Any], *, unit: str = "words"
) -> str:
    """The same for notebooks: a `<div class="mhex">` with its own style and no script."""
    view = _view(columns, table, unit)
    return fill_fragment("compare_fragment.html.j2", "compare.css", view=view, of_errors=view["of_errors"])


def render_comparison_terminal(
    columns: Sequence[Mapping[str, Any]], table: Mapping[str, Any], console: Console | None = None
) -> None:
    """Print a comparison; arguments as in `render_comparison`."""
    console = console or Console()
    view = _view(columns, table, "words")

    def plain(text: str, style: str = "") -> Text:
        return Text(printable(text, console.encoding), style, overflow="fold")

    for column in view["columns"]:
        console.print(plain(f"{column['letter']}  {column['name']}", "bold"))
        for line in _terminal_lines(column):
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
        cells = ["\u2013" if cell is None else cell["number"] + MARK * cell["unsettled"] for cell in row["cells"]]
        grid.add_row(*map(plain, (text, *cells, row["difference"])))
    console.print(grid)
    for agreement in view["agreements"]:
        line = (
            f"{agreement['first']} and {agreement['second']}: rank correlation {agreement['rho']} over "
            f"{agreement['words']} words, {agreement['shared']} strongest words shared"
        )
        console.print(plain(line))
    if view["of_errors"]:
        errors, mark = view["of_errors"]
        console.print(plain(f"{errors}; {MARK}: {mark}.", "dim"))
    console.print(plain("Differences are between scores divided by the largest of their column.", "dim"))


def _view(columns: Sequence[Mapping[str, Any]], table: Mapping[str, Any], unit: str) -> dict[str, Any]:
    """What pages and terminals show of a comparison."""
    words: Sequence[Word] = table["words"]
    views = [_column(letter, column, unit) for letter, column in zip(_LETTERS, columns, strict=False)]
    by_column = [[word.scores[index] for word in words] for index in range(len(columns))]
    numbers = [number_format(score for score in scores if score is not None) for scores in by_column]
    places = _word_places(words)

    def rows(words: Sequence[Word]) -> list[dict[str, Any]]:
        return [_row(word, places[word.sequence, word.start], numbers) for word in words]

    classes = {(view["summary"].target, view["summary"].foil) for view in views}
    return {
        "columns": views,
        "same_text": table["same_text"],
        "shown": rows(_chosen_words(words)),
        "all_words": rows(words) if len(words) > _WORDS_SHOWN else [],
        "in_order": len(words) <= _WORDS_SHOWN,
        "unshared": sum(word.difference is None for word in words),
        "agreements": [_describe_agreement(agreement) for agreement in table["agreements"]],
        "of_errors": error_legend(columns),
        "classes_differ": len({target for target in classes if target[0] is not None}) > 1,
    }


def _describe_column(column: Mapping[str, Any], drawn: Highlight) -> Summary:
    """The summary of a column, an explanation or other scores; it always names the target."""
    if "method" in column:
        summary = summarise(column, drawn)
        # What every column has goes first, so that columns line up.
        facts = sorted(summary.facts, key=lambda fact: fact[0] not in ("sum of scores", "on special tokens"))
        return replace(summary, target=column["target"]["label"], facts=tuple(facts))
    total, label, probability = column["sum"], column["label"], column["probability"]
    return Summary(
        answers=() if label is None else ((label, "" if probability is None else percent(probability)),),
        others=(),
        target=column["target"],
        foil=column["foil"],
        explained="",
        facts=(("sum of scores", number_format([total])(total)), *share_facts(drawn)),
        notes=(),
        model="",
    )


def _chosen_words(words: Sequence[Word]) -> list[Word]:
    """The words of a short table: those that differ most, or all in reading order where they are few."""
    if len(words) <= _WORDS_SHOWN:
        return list(words)
    shared = [(word.difference, word) for word in words if word.difference is not None]
    return [word for _, word in sorted(shared, key=lambda pair: -pair[0])[:_WORDS_SHOWN]]


def _word_places(words: Sequence[Word]) -> dict[tuple[int, int], str]:
    """By sequence and start, what distinguishes a word from equal ones: its text of the pair, its number among them."""
    counts = Counter((word.sequence, word.text.casefold()) for word in words)
    seen: Counter[tuple[int, str]] = Counter()
    places = {}
    for word in words:
        key = (word.sequence, word.text.casefold())
        seen[key] += 1
        parts = ["second text"] if word.sequence else []
        if counts[key] > 1:
            parts.append(f"{seen[key]} of {counts[key]}")
        places[word.sequence, word.start] = ", ".join(parts)
    return places


def _describe_agreement(agreement: Any) -> dict[str, str]:
    rho = agreement.rank_correlation
    return {
        "first": _LETTERS[agreement.first],
        "second": _LETTERS[agreement.second],
        "words": f"{agreement.words:,}",
        "rho": "not defined" if rho is None else f"{round(rho, 2) + 0.0:+.2f}",
        "shared": f"{agreement.shared_top} of {agreement.top}",
    }


def _column(letter: str, column: Mapping[str, Any], unit: str) -> dict[str, Any]:
    if "method" in column:
        check_explanation(column)
    drawn = lay_out(column, unit)
    return {
        "letter": letter,
        "name": column["name"],
        "lines": drawn.lines,
        "strongest": drawn.strongest(_STRONGEST),
        "number": number_format(drawn.scores),
        "summary": _describe_column(column, drawn),
    }


def _row(word: Word, place: str, numbers: Sequence[Callable[[float], str]]) -> dict[str, Any]:
    return {
        "text": word.text,
        "place": place,
        "cells": [
            None if score is None or share is None else _cell(share, score, error, number)
            for score, error, share, number in zip(word.scores, word.errors, word.normalised, numbers, strict=True)
        ],
        "difference": "" if word.difference is None else f"{word.difference:.2f}",
    }


def _cell(share: float, score: float, error: float | None, number: Callable[..., str]) -> dict[str, Any]:
    """A score as a number and as a bar, to the left of the middle where it is negative."""
    length = round(abs(share) * _HALF, 1)
    return {
        "number": number(score, error),
        "unsettled": not is_settled(score, error),
        "share": f"{round(share, 2) + 0.0:+.2f}",
        "kind": "d" if share < 0 else "u",
        "bar": f"M{_HALF - length if share < 0 else _HALF:g} 1h{length:g}v6h-{length:g}z",
    }


def _terminal_lines(column: Mapping[str, Any]) -> Iterator[str]:
    """The lines under the heading of a column: its numbers, its strongest words, its notes."""
    summary = column["summary"]
    answers = ", ".join(f"{label} {value}".strip() for label, value in summary.answers)
    target = f"scores for {summary.target}" if summary.target else ""
    foil = f" rather than {summary.foil}" if summary.foil else ""
    parts = [part for part in (answers and f"predicts {answers}", target + foil) if part]
    yield " \u00b7 ".join(parts + [f"{name} {value}" for name, value in summary.facts])
    yield ", ".join(
        f"{word.text} {column['number'](word.score, word.error)}{MARK * word.unsettled}" for word in column["strongest"]
    )
    for note in summary.notes:
        yield f"note: {note}"
