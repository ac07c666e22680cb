# SPDX-License-Identifier: Apache-2.0
"""Texts with several places explained, as entities are: a page, a notebook fragment, a terminal, a table, a figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

from .errors import error_legend
from .highlight import Highlight, Segment, highlight, texts_of
from .html import card_of, fill_fragment, fill_page
from .picks import Tone, group_name, pick_rules
from .summary import Summary, number_format, place_facts, summarise

SCHEMA = "mhex-positioned/1.0"
STRONGEST = 5  # words named beside a place
_TITLED = 12  # places; where there are more, the titles of words would be too long to read
_SHEETS = ("places.css",)
_NAMES = {"token_classification": ("entity", "entities"), "question_answering": ("answer", "answers")}
_CAPTIONS = {"question_answering": ("Question", "Context")}


@dataclass(frozen=True)
class Place:
    """One place of a text, its explanation laid over the text, and the words and numbers around it."""

    explanation: Mapping[str, Any]
    drawn: Highlight
    summary: Summary

    @property
    def where(self) -> Mapping[str, Any]:
        """Its text, its span, its label."""
        place: Mapping[str, Any] = self.explanation["place"]
        return place

    @property
    def probability(self) -> str:
        """That of its prediction, in percent."""
        return self.summary.answers[0][1] if len(self.summary.answers) == 1 else ""

    @property
    def sums(self) -> dict[str, str]:
        """The score of its own words and that of the rest."""
        return dict(place_facts(self.explanation))

    @property
    def words(self) -> list[tuple[Segment, str]]:
        """The strongest of the other words, each with its number."""
        number = number_format(self.drawn.scores)
        strongest = [word for word in self.drawn.strongest(STRONGEST) if word.score]
        return [(word, number(word.score, word.error)) for word in strongest]


def places_of(document: Mapping[str, Any], unit: str = "words") -> list[Place]:
    """The places of a document, checked. Raises ValueError for a malformed document."""
    schema = document.get("schema")
    if schema != SCHEMA:
        raise ValueError(f"document has schema {schema!r}, expected {SCHEMA!r}.")
    missing = [key for key in ("text", "text_pair", "task", "explanations") if key not in document]
    if missing:
        raise ValueError(f"document lacks {', '.join(missing)}; expected the full {SCHEMA} form.")
    places = []
    for index, explanation in enumerate(document["explanations"]):
        if explanation.get("place") is None:
            raise ValueError(f"explanation {index} has no place, expected one in a {SCHEMA} document.")
        if texts_of(explanation) != texts_of(document):
            raise ValueError(f"explanation {index} is of another text than its document.")
        drawn = highlight(explanation, unit=unit)
        places.append(Place(explanation, drawn, summarise(explanation, drawn)))
    return places


def count_places(document: Mapping[str, Any]) -> str:
    """How many places of what kind a document has: "3 entities"."""
    one, many = _NAMES.get(document["task"], ("place", "places"))
    count = len(document["explanations"])
    return f"{count or 'No'} {one if count < 2 else many}"


def captions_of(document: Mapping[str, Any]) -> tuple[str, ...]:
    """What the texts of a document are called; nothing where they need no name."""
    return _CAPTIONS.get(document["task"], ())[: len(texts_of(document))]


def render_positioned_page(
    documents: Iterable[Mapping[str, Any]], *, title: str = "Highlighted entities", unit: str = "words", first: int = 0
) -> str:
    """One HTML page of texts with their places (JSON form): no request, no script, its style allowed by hash.

    Each text stands there once, its places boxed; the one that is pointed at, or picked by click or arrow keys, shows
    the scores of the other words for it.

    Args:
        documents: in JSON form, `mhex-positioned/1.0`.
        title: of the page.
        unit: "words" or "tokens".
        first: number of the first text; that of text n is its element's id, as `t{n}`.

    Raises:
        ValueError: a malformed document, or a bad `unit`.
    """
    cards = [_card(document, unit, f"g{n}", f"a{n}-") for n, document in enumerate(documents, first)]
    for number, card in enumerate(cards, first):
        card["article"] = number
    legend = error_legend(explanation for card in cards for explanation in card["explanations"])
    rules = "".join(card["rules"] for card in cards)
    return fill_page("positioned_page.html.j2", *_SHEETS, title=title, cards=cards, rules=rules, of_errors=legend)


def render_positioned_fragment(document: Mapping[str, Any], *, unit: str = "words") -> str:
    """The same of one text for notebooks: a `<div class="mhex">` with its own style and no script."""
    card = _card(document, unit, group_name(document))
    legend = error_legend(document["explanations"])
    return fill_fragment("positioned_fragment.html.j2", *_SHEETS, card=card, rules=card["rules"], of_errors=legend)


def _card(document: Mapping[str, Any], unit: str, group: str, atom: str = "a") -> dict[str, Any]:
    places = places_of(document, unit)
    captions = captions_of(document)
    card = {
        "id": document.get("id", ""),
        "group": group,
        "atom": atom,
        "title": count_places(document),
        "captions": captions,
        "notes": document.get("notes", ()),
        "explanations": document["explanations"],
        "library": places[0].explanation.get("library", "") if places else "",
        "places": [_place_view(place, document) for place in places],
        "single": None,
        "rules": "",
    }
    if len(places) == 1:
        return {**card, "single": {**card_of(places[0].explanation, unit), "captions": captions}}
    cuts = [_cuts(text, sequence, places) for sequence, text in enumerate(texts_of(document))]
    boxed: set[int] = set()
    lines, numbers = [], _numbered(cuts)
    for sequence, text in enumerate(texts_of(document)):
        lines.append(list(_line(text, sequence, cuts[sequence], places, numbers, boxed)))
    for number, view in enumerate(card["places"]):
        if number not in boxed:  # it overlaps another one
            view["pick"] = {"number": number, "label": view["label"], "parts": [{"text": view["text"], "atom": None}]}
    rules = pick_rules(group, [_tones(place, cuts, numbers) for place in places], atom)
    return {**card, "lines": lines, "rules": rules}


def _place_view(place: Place, document: Mapping[str, Any]) -> dict[str, Any]:
    own, rest = place.sums.values()
    return {
        "text": place.where["text"],
        "label": _tag(place),
        "value": place.probability,
        "summary": place.summary,
        "sums": place.sums,
        "own": own,
        "rest": rest,
        "words": [
            {"text": word.text, "number": number, "level": word.level, "marked": word.marked}
            for word, number in place.words
        ],
        # Those of the text stand once, above.
        "notes": [note for note in place.summary.notes if note not in document.get("notes", ())],
        "pick": None,
    }


def _tag(place: Place) -> str:
    """The label of a place; none where it is that of what is no entity, or every word would have it."""
    label = str(place.where["label"])
    return "" if label == "O" else label


def _cuts(text: str, sequence: int, places: Sequence[Place]) -> list[int]:
    """Where any unit or place of a text begins or ends, so that what lies between two cuts is drawn alike."""
    ends = {0, len(text)}
    for place in places:
        if place.where["sequence"] == sequence:
            ends |= {place.where["start"], place.where["end"]}
        ends |= {end for segment in place.drawn.lines[sequence] for end in (segment.start, segment.end)}
    return sorted(ends)


def _numbered(cuts: Sequence[Sequence[int]]) -> dict[tuple[int, int], int]:
    """The numbers of all runs between cuts, by sequence and start."""
    starts = [(sequence, start) for sequence, ends in enumerate(cuts) for start in ends[:-1]]
    return {start: number for number, start in enumerate(starts)}


def _tones(place: Place, cuts: Sequence[Sequence[int]], numbers: Mapping[tuple[int, int], int]) -> dict[int, Tone]:
    tones: dict[int, Tone] = {}
    for sequence, line in enumerate(place.drawn.lines):
        for segment in line:
            if segment.level:
                inside = [start for start in cuts[sequence] if segment.start <= start < segment.end]
                tones |= {numbers[sequence, start]: (segment.level, segment.marked) for start in inside}
    return tones


def _said(places: Sequence[Place], sequence: int) -> dict[tuple[int, int], list[str]]:
    """By span of a word, its score for each place that it is not of."""
    said: dict[tuple[int, int], list[str]] = {}
    for place in places:
        number = number_format(place.drawn.scores)
        for segment in place.drawn.lines[sequence]:
            if segment.score is not None:
                words = said.setdefault((segment.start, segment.end), [])
                if segment.place is None:
                    words.append(f"{number(segment.score, segment.error)} for {place.where['text']}")
    return said


def _line(
    text: str,
    sequence: int,
    cuts: Sequence[int],
    places: Sequence[Place],
    numbers: Mapping[tuple[int, int], int],
    boxed: set[int],
) -> Iterable[dict[str, Any]]:
    """A text in parts, those of one box together; puts the numbers of places that have a box into `boxed`."""
    said = _said(places, sequence)

    def part(start: int, end: int) -> dict[str, Any]:
        words = [words for (left, right), words in said.items() if left <= start and end <= right]
        if not words or text[start:end].isspace():
            return {"text": text[start:end], "atom": None}
        title = ", ".join(chain.from_iterable(words)) if len(places) <= _TITLED else ""
        return {"text": text[start:end], "atom": numbers[sequence, start], "title": title}

    starts: dict[int, int] = {}
    reached = 0
    order = sorted(range(len(places)), key=lambda n: (places[n].where["start"], -places[n].where["end"]))
    for number in order:
        where = places[number].where
        if where["sequence"] == sequence and reached <= where["start"] < where["end"]:
            starts[where["start"]], reached = number, where["end"]
            boxed.add(number)
    runs = list(pairwise(cuts))
    at = 0
    while at < len(runs):
        boxed_here = starts.get(runs[at][0])
        end = at + 1
        while boxed_here is not None and end < len(runs) and runs[end][0] < places[boxed_here].where["end"]:
            end += 1
        label = None if boxed_here is None else _tag(places[boxed_here])
        yield {"number": boxed_here, "label": label, "parts": [part(*run) for run in runs[at:end]]}
        at = end
