# SPDX-License-Identifier: Apache-2.0
"""From the JSON form of an explanation to the pieces of text that a display draws, each code point once."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from .errors import is_settled, span_error
from .ink import check_scale, full_score

SCHEMAS = ("mhex-explanation/1.1", "mhex-explanation/1.2", "mhex-explanation/1.3")
UNITS = ("words", "tokens")
LEVELS = 10

_REQUIRED = ("text", "text_pair", "prediction", "target", "foil", "method", "model", "tokens", "sum", "base_value")
_ZERO_WIDTH_JOINER = "\u200d"
# Half-width voicing marks, skin tones and flag tags belong to the character before them, as accents do.
_EXTENDING = re.compile(f"[{_ZERO_WIDTH_JOINER}\uff9e\uff9f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]")
_REGIONAL_INDICATORS = "".join(map(chr, range(0x1F1E6, 0x1F200)))


@dataclass(frozen=True)
class HighlightUnit:
    """What is drawn as one: code points [start, end) of one text, and the tokens whose scores it sums."""

    sequence: int
    start: int
    end: int
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Segment:
    """A run of text: a unit with its score, and its error where it has one, or a gap (score None, level 0).

    `place` is the label of the place explained, where the unit is that: it has no level.
    """

    text: str
    start: int
    end: int
    score: float | None
    level: int
    tokens: tuple[int, ...] = ()
    error: float | None = None
    place: str | None = None

    @property
    def unsettled(self) -> bool:
        """Whether the sign of its score is not settled."""
        return self.score is not None and not is_settled(self.score, self.error)

    @property
    def marked(self) -> bool:
        """Whether a display that draws its sign must say that it is not settled."""
        return self.level != 0 and self.unsettled


@dataclass(frozen=True)
class Highlight:
    """The lines of an explanation (one, or two for a pair) and how much of the scores they do not show.

    `special_share` and `hidden_share` are parts of the sum of |token score|: on special tokens, and on
    content tokens with nothing to draw (white space alone, or no place in the text). `full` is the |score| of full
    colour (`ink.py`).
    Where an explanation is of a place in the text, the place is one unit beside the scale of the others.
    """

    lines: tuple[tuple[Segment, ...], ...]
    special_share: float
    hidden_share: float
    full: float = 0.0

    @property
    def segments(self) -> list[Segment]:
        """The units on the scale of colours, in reading order."""
        return [s for line in self.lines for s in line if s.score is not None and s.place is None]

    def strongest(self, count: int) -> list[Segment]:
        """The units with the largest magnitudes; ties in reading order."""
        return sorted(self.segments, key=lambda segment: -abs(segment.score or 0.0))[:count]

    @property
    def scores(self) -> list[float]:
        """Their scores."""
        return [segment.score for segment in self.segments if segment.score is not None]


def check_explanation(explanation: Mapping[str, Any]) -> None:
    """Raise ValueError for what no display can draw truly: wrong schema, missing keys, non-finite scores."""
    schema = explanation.get("schema")
    if schema not in SCHEMAS:
        raise ValueError(f"explanation has schema {schema!r}, expected {' or '.join(map(repr, SCHEMAS))}.")
    missing = [key for key in _REQUIRED if key not in explanation]
    if missing:
        raise ValueError(f"explanation lacks {', '.join(missing)}; expected the full {schema} form.")
    for name in ("sum", "base_value"):
        if not math.isfinite(explanation[name]):
            raise ValueError(f"explanation has {name} {explanation[name]!r}, expected a finite number.")
    covariance = explanation.get("covariance")
    sizes = range(1, len(explanation["tokens"]) + 1)
    if covariance is not None and [len(row) for row in covariance] != list(sizes):
        raise ValueError(f"explanation has a covariance that is not {len(sizes)} rows of 1, 2, 3, ... numbers.")
    texts = texts_of(explanation)
    _check_place(explanation, texts)
    for index, token in enumerate(explanation["tokens"]):
        for score in (token["score"], *token.get("scores", ()), *token.get("layers", ()), token.get("error", 0.0)):
            if not math.isfinite(score):
                raise ValueError(f"token {index} has the score {score!r}, expected a finite number.")
        start, end, sequence = token["start"], token["end"], token["sequence"]
        if start is None:
            continue
        if sequence not in range(len(texts)):
            raise ValueError(f"token {index} has sequence {sequence!r}, but there are {len(texts)} texts.")
        length = len(texts[sequence])
        if end is None or not 0 <= start <= end <= length:
            raise ValueError(f"token {index} spans [{start}, {end}), expected a span in [0, {length}).")


def _check_place(explanation: Mapping[str, Any], texts: Sequence[str]) -> None:
    place = explanation.get("place")
    if place is None:
        return
    length = len(texts[place["sequence"]]) if place["sequence"] in range(len(texts)) else -1
    if not 0 <= place["start"] <= place["end"] <= length:
        raise ValueError(f"place spans [{place['start']}, {place['end']}), expected a span of its text.")
    if not set(place["tokens"]) <= set(range(len(explanation["tokens"]))):
        raise ValueError(f"place has tokens that are not among the {len(explanation['tokens'])} of the explanation.")


def check_unit(unit: str) -> None:
    """Raise ValueError for what is neither "words" nor "tokens"."""
    if unit not in UNITS:
        raise ValueError(f"unit must be 'words' or 'tokens', not {unit!r}.")


def highlight(explanation: Mapping[str, Any], *, unit: str = "words", scale: float | None = None) -> Highlight:
    """Lay the scores over the text: joined, the segments of a line are the text, every code point once.

    `unit` is "words" (tokens with one word index are summed) or "tokens". Units that share a code point, or
    that would cut a character as readers see it, become one unit with the sum of their scores. `scale` is the |score|
    of full colour, by default the text's own (`ink.py`).
    """
    check_explanation(explanation)
    return lay_out(explanation, unit, scale)


def lay_out(scored: Mapping[str, Any], unit: str = "words", scale: float | None = None) -> Highlight:
    """`highlight` of anything with `text`, `text_pair` and `tokens`, which are not checked."""
    check_unit(unit)
    check_scale(scale)
    tokens = scored["tokens"]
    units = find_units(scored, unit)
    scores = unit_scores(units, [token["score"] for token in tokens])
    covariance, place = scored.get("covariance"), scored.get("place")
    errors = [None if covariance is None else span_error(covariance, item.tokens) for item in units]
    labels = [place["label"] if place is not None and _in_place(item, place) else None for item in units]
    # The words of a place itself weigh so much that no other would have a colour beside them.
    parts: tuple[list[float], list[float]] = ([], [])
    for score, label in zip(scores, labels, strict=True):
        parts[label is not None].append(score)
    full = full_score(scored, *parts) if scale is None else scale
    levels = [level if label is None else 0 for level, label in zip(to_levels(scores, full), labels, strict=True)]
    scored_units = list(zip(units, scores, levels, errors, labels, strict=True))
    lines = []
    for sequence, text in enumerate(texts_of(scored)):
        segments, drawn = [], 0
        for item, score, level, error, label in scored_units:
            if item.sequence == sequence:
                segments.append(Segment(text[drawn : item.start], drawn, item.start, None, 0))
                drawn_text = text[item.start : item.end]
                segments.append(Segment(drawn_text, item.start, item.end, score, level, item.tokens, error, label))
                drawn = item.end
        segments.append(Segment(text[drawn:], drawn, len(text), None, 0))
        lines.append(tuple(segment for segment in segments if segment.text))
    shown = {index for item in units for index in item.tokens}
    special = [token["score"] for token in tokens if token["special"]]
    hidden = [t["score"] for index, t in enumerate(tokens) if not t["special"] and index not in shown]
    total = [token["score"] for token in tokens]
    return Highlight(tuple(lines), _share(special, total), _share(hidden, total), full)


def find_units(scored: Mapping[str, Any], unit: str = "words") -> list[HighlightUnit]:
    """Units in reading order, disjoint, without white space at their edges; special tokens are in none of them.

    All units that reach into the place explained are one.
    """
    texts, tokens, place = texts_of(scored), scored["tokens"], scored.get("place")
    members: dict[tuple[int, bool, int], list[int]] = {}
    for index, token in enumerate(tokens):
        if token["special"] or token["start"] is None:
            continue
        word = token["word"]
        # A token outside every word stands alone; the second element keeps its index apart from word indices.
        alone = unit == "tokens" or word is None
        members.setdefault((token["sequence"], alone, index if alone else word), []).append(index)
    candidates = []
    for (sequence, _, _), indices in members.items():
        spans = [_drawn_span(texts[sequence], tokens[index]["start"], tokens[index]["end"]) for index in indices]
        spans = [(start, end) for start, end in spans if start < end]
        if spans:
            start, end = min(start for start, _ in spans), max(end for _, end in spans)
            candidates.append(HighlightUnit(sequence, start, end, tuple(indices)))
    units: list[HighlightUnit] = []
    for item in sorted(candidates, key=attrgetter("sequence", "start", "end")):
        last = units[-1] if units else None
        of_one_place = place is not None and last is not None and _in_place(last, place) and _in_place(item, place)
        if (
            last is not None
            and last.sequence == item.sequence
            and (of_one_place or _inseparable(texts[item.sequence], last, item))
        ):
            merged = tuple(sorted((*last.tokens, *item.tokens)))
            units[-1] = HighlightUnit(item.sequence, last.start, max(last.end, item.end), merged)
        else:
            units.append(item)
    return units


def _in_place(unit: HighlightUnit, place: Mapping[str, Any]) -> bool:
    inside = unit.sequence == place["sequence"] and unit.start < place["end"] and place["start"] < unit.end
    return inside or not set(place["tokens"]).isdisjoint(unit.tokens)


def unit_scores(units: Iterable[HighlightUnit | Segment], scores: Sequence[float]) -> list[float]:
    """Sum of the token scores in each unit."""
    return [_sum(scores[index] for index in item.tokens) for item in units]


def to_levels(scores: Sequence[float], largest: float | None = None) -> list[int]:
    """Levels in -10..10: score in tenths of the largest |score| (that of `scores` by default); 10 for what is above."""
    top = max(map(abs, scores), default=0.0) if largest is None else largest
    if top == 0:
        return [0] * len(scores)
    # Dividing first keeps the product finite for every finite score.
    return [int(math.copysign(int(LEVELS * min(abs(score) / top, 1.0) + 0.5), score)) for score in scores]


def layer_sums(explanation: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Per depth, the sums of positive and of negative scores over content tokens; empty without layers."""
    rows = [t["layers"] for t in explanation["tokens"] if not t["special"] and t.get("layers")]
    depths = min(map(len, rows), default=0)
    return [
        (_sum(max(row[depth], 0.0) for row in rows), _sum(min(row[depth], 0.0) for row in rows))
        for depth in range(depths)
    ]


def depths_of(explanation: Mapping[str, Any], count: int) -> list[int]:
    """The numbers of the depths that have scores, counted from 1 where the explanation does not name them."""
    return list(explanation.get("depths") or range(1, count + 1))


def texts_of(scored: Mapping[str, Any]) -> list[str]:
    """The text, and its pair where there is one."""
    pair = scored["text_pair"]
    return [scored["text"]] if pair is None else [scored["text"], pair]


def _drawn_span(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without white space at its edges, and with all of its last character as readers see it."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    while start < end < len(text) and _extends(text[end]):
        end += 1
    return start, end


def _extends(character: str) -> bool:
    return unicodedata.category(character).startswith("M") or _EXTENDING.match(character) is not None


def _inseparable(text: str, left: HighlightUnit, right: HighlightUnit) -> bool:
    """Whether two units overlap, or touch inside a character as readers see it."""
    at = right.start
    if at != left.end:
        return at < left.end
    return _halves_flag(text, at) or text[at - 1] == _ZERO_WIDTH_JOINER or _extends(text[at])


def _halves_flag(text: str, at: int) -> bool:
    """Whether `at` lies inside a flag: two regional indicators make one, counted from the first of their run."""
    return text[at] in _REGIONAL_INDICATORS and (at - len(text[:at].rstrip(_REGIONAL_INDICATORS))) % 2 == 1


def _share(part: Iterable[float], whole: Sequence[float]) -> float:
    top = max(map(abs, whole), default=0.0)
    if top == 0:
        return 0.0
    # Scaled by the largest, so that the sum of finite scores cannot overflow.
    return math.fsum(abs(score) / top for score in part) / math.fsum(abs(score) / top for score in whole)


def _sum(scores: Iterable[float]) -> float:
    try:
        return math.fsum(scores) + 0.0  # + 0.0: no negative zero in displays
    except OverflowError:
        raise ValueError("token scores are finite, but a sum of them is not.") from None
