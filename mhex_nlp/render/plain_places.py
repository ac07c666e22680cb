# SPDX-License-Identifier: Apache-2.0
"""Places of texts, and answers with what they rest on, where there are no pages: terminal, Markdown, LaTeX."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console

from .context import (
    LINKS,
    Link,
    count_parts,
    describe_budget,
    legend_of,
    read_context,
    shortened,
    span_facts,
    strongest,
)
from .controls import BREAKS, without_controls
from .errors import MARK, error_legend
from .highlight import texts_of
from .latex import render_latex
from .numbers import plain
from .positioned import Place, captions_of, count_places, places_of
from .summary import model_name, number_format
from .terminal import Part, color_system, level_style, line_parts, printer, scale_parts

_SPECIAL = re.compile(r"([\\`*_{}\[\]|<>&~$#])")
_LEADING = re.compile(r"^(\d*)([-+=.)])")  # what makes a list or a heading of a line that it begins
_UNSETTLED = "?"  # after a number in a table, whose errors say it as well


def render_positioned_terminal(
    document: Mapping[str, Any], console: Console | None = None, *, unit: str = "words"
) -> None:
    """Print a text for each of its places: the place in brackets, the other words in colours or marks.

    Raises ValueError on a malformed document.
    """
    console = console or Console()
    show, system = printer(console), color_system(console)
    places, captions = places_of(document, unit), captions_of(document)
    show((count_places(document), "bold"))
    if not places:
        show(*([document["text"]] if document["text"] else [("(no text)", "dim")]))
    for place in places:
        show("")
        show(*_place_head(place))
        number = number_format(place.drawn.scores)
        for index, line in enumerate(place.drawn.lines):
            show(*([(f"{captions[index]}: ", "dim")] if captions else []), *line_parts(line, number, system))
        if place.words:
            words = ", ".join(f"{word.text} {score}{MARK * word.unsettled}" for word, score in place.words)
            show(("strongest: ", "dim"), words)
        for note in place.summary.notes:
            show(("note: ", "bold"), note)
    if places:
        show("")
        show(*scale_parts(system))
        if legend := error_legend(document["explanations"]):
            show((f"{legend[0]}; {MARK}: {legend[1]}", "dim"))
        show((f"{places[0].summary.explained} {places[0].summary.model}", "dim"))
    for note in document.get("notes", ()):
        show(("note: ", "bold"), note)


def _place_head(place: Place) -> Iterable[Part]:
    yield place.where["text"], "bold"
    yield f"  {place.where['label']} {place.probability}".rstrip()
    summary = place.summary
    if summary.target or summary.foil:
        yield f" \u00b7 scores for {summary.target}" + (f" rather than {summary.foil}" if summary.foil else "")
    yield "".join(f" \u00b7 {name} {value}" for name, value in place.sums.items())


def render_positioned_markdown(document: Mapping[str, Any], *, unit: str = "words") -> str:
    """A table with a row for each place: its words, label, probability, sums, and the strongest of the other words.

    Raises ValueError on a malformed document.
    """
    places = places_of(document, unit)
    rows = [
        (
            _escaped(place.where["text"]),
            _escaped(place.where["label"]),
            place.probability,
            *place.sums.values(),
            ", ".join(f"{_escaped(word.text)} {number}{_UNSETTLED * word.unsettled}" for word, number in place.words),
        )
        for place in places
    ]
    head = ("words", "label", "probability", "own words", "rest of the text", "strongest other words")
    notes = [*document.get("notes", ()), *dict.fromkeys(note for place in places for note in place.summary.notes)]
    legend = error_legend(document["explanations"])
    after = [f"{legend[0]}; {_UNSETTLED}: {legend[1]}."] if legend else []
    quoted = [f"> {_escaped(line)}  " for line in BREAKS.split("\n".join(texts_of(document)))]
    return _markdown([*quoted, "", *(_table(head, "llrrrl", rows) if rows else ())], [*after, *map(_escaped, notes)])


def render_positioned_latex(document: Mapping[str, Any], *, unit: str = "words") -> str:
    r"""A snippet for `\input` that needs xcolor alone: the text for each of its places, as `render_latex` draws one.

    Raises ValueError on a malformed document.
    """
    return "\n".join(render_latex(place.explanation, unit=unit) for place in places_of(document, unit))


def render_context_terminal(document: Mapping[str, Any], console: Console | None = None) -> None:
    """Print each part of an answer with the units of the prompt that it rests on most.

    Raises ValueError on a malformed document.
    """
    console = console or Console()
    show, system = printer(console), color_system(console)
    context = read_context(document)
    show((count_parts(document), "bold"))
    for index, span in enumerate(context.spans):
        show("")
        facts = ", ".join(f"{name} {value}" for name, value in span_facts(span))
        show((f"A{index + 1} ", "dim"), (" ".join(span["text"].split()), "bold"), (f"  {facts}", "dim"))
        for link in strongest(context.by_span[index], LINKS):
            unit = context.units[link.unit]["text"]
            number = (link.number + MARK * link.unsettled, level_style(link.level, system))
            show("  ", number, (f" [{link.unit + 1}] ", "dim"), shortened(unit))
    show("")
    show((f"{describe_budget(document)} {model_name(document['model'])}", "dim"))
    if legend := legend_of(context):
        show((f"{legend[0]}; {MARK}: {legend[1]}", "dim"))
    for note in document.get("notes", ()):
        show(("note: ", "bold"), note)


def render_context_markdown(document: Mapping[str, Any]) -> str:
    """A table with a row for each part of an answer: its log-probability and the units that it rests on most.

    Raises ValueError on a malformed document.
    """
    context = read_context(document)

    def named(link: Link) -> str:
        unit = _escaped(shortened(context.units[link.unit]["text"]))
        return f"{link.number}{_UNSETTLED * link.unsettled} ({link.unit + 1}) {unit}"

    rows = []
    for index, span in enumerate(context.spans):
        links = "<br>".join(map(named, strongest(context.by_span[index], LINKS)))
        lds = "" if span["lds"] is None else f"{span['lds']:.2f}"
        rows.append((f"A{index + 1} {_escaped(span['text'])}", plain(span["log_probability"]), lds, links))
    head = ("answer", "log-probability", "LDS", "rests on")
    after = [_escaped(describe_budget(document))]
    if legend := legend_of(context):
        after.append(f"{legend[0]}; {_UNSETTLED}: {legend[1]}.")
    return _markdown(_table(head, "lrrl", rows), [*after, *map(_escaped, document.get("notes", ()))])


def _table(head: Sequence[str], sides: str, rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---:" if side == "r" else "---" for side in sides], *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _markdown(lines: Sequence[str], paragraphs: Sequence[str]) -> str:
    return "\n".join([*lines, *(part for paragraph in paragraphs for part in ("", paragraph))]).strip("\n") + "\n"


def _escaped(text: str) -> str:
    """Text on one line, which Markdown shows as it is."""
    line = BREAKS.sub(" ", without_controls(text)).strip()
    return _LEADING.sub(r"\1\\\2", _SPECIAL.sub(r"\\\1", line))
