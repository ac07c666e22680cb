# SPDX-License-Identifier: Apache-2.0
"""Segments of text broken into lines and set in place, by the widths of a font. Knows no matplotlib."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import regex  # type: ignore[import-untyped, unused-ignore]

from ..controls import BREAKS, without_controls
from ..highlight import Segment
from .bidi import base_level, levels, visual_order

PADDING = 0.09  # em, beside a coloured word within its box
_TAB = " " * 4
_EPSILON = 1e-6
_ZERO_WIDTH_JOINER = "\u200d"
_MIRRORED = str.maketrans(
    "()[]{}<>\u00ab\u00bb\u2039\u203a\u2264\u2265", ")(][}{><\u00bb\u00ab\u203a\u2039\u2265\u2264"
)

_glue = regex.compile(r"[\u00a0\u202f\u2007\u2060\ufeff]").match
_no_start = regex.compile(r"[\p{lb=CL}\p{lb=CP}\p{lb=EX}\p{lb=IS}\p{lb=SY}\p{lb=NS}\p{lb=CJ}\p{lb=QU}\p{lb=GL}]").match
_no_end = regex.compile(r"[\p{lb=OP}\p{lb=QU}\p{lb=GL}]").match
_anywhere = regex.compile(r"[\p{lb=ID}\p{lb=CJ}\p{lb=EB}\p{lb=EM}\p{lb=SA}\p{lb=RI}\p{lb=CL}\p{lb=NS}]").match
_hyphen = regex.compile(r"[\p{lb=HY}\p{lb=BA}\u2014/]").match
# Vowels of Thai and Lao that are written before or after their consonant.
_before_consonant = regex.compile("[\u0e40-\u0e44\u0ec0-\u0ec4]").match
_after_consonant = regex.compile("[\u0e2f\u0e30\u0e32\u0e33\u0e45\u0e46\u0eb0\u0eb2\u0eb3\u0ec6]").match
_joining = regex.compile(r"[\p{Arabic}\p{Syriac}\p{Nko}\p{Mongolian}\p{Devanagari}\p{Bengali}\p{Gurmukhi}]").match


@dataclass(frozen=True)
class Box:
    """The place of a unit, or of a part of it, on its line: em from the left edge, and its level."""

    left: float
    right: float
    level: int


@dataclass(frozen=True)
class Piece:
    """What is drawn as one string, in logical order where it has letters, and its left end in em."""

    text: str
    left: float


@dataclass(frozen=True)
class Line:
    """One line: its strings, the boxes behind them, and the source text that it shows, line break left out."""

    pieces: tuple[Piece, ...]
    boxes: tuple[Box, ...]
    source: str


@dataclass(frozen=True)
class _Cluster:
    """One character as readers see it. `owner` is the number of its segment."""

    source: str
    shown: str
    owner: int
    score_level: int
    level: int  # of its direction

    @property
    def space(self) -> bool:
        return is_space(self.source)


def set_lines(
    segments: Sequence[Segment], width: float, measure: Callable[[str], float], drawable: Callable[[str], str]
) -> list[Line]:
    """The lines of one text, each at most `width` em wide; right-to-left paragraphs stand at the right edge.

    Lines break at white space, between ideographs, and inside what is longer than a line; breaks of the text
    stay. White space at a break hangs over the edge.

    Args:
        segments: of one text, as `highlight` gives them.
        width: in em, positive.
        measure: a string's advance in em.
        drawable: a string as it will be drawn.
    """
    base = base_level(without_controls("".join(segment.text for segment in segments)))
    lines = []
    for paragraph in _paragraphs(segments, base, drawable):
        for line in _broken(paragraph, width, measure):
            lines.append(_placed(line, width, base, measure))
    return lines


def _paragraphs(segments: Sequence[Segment], base: int, drawable: Callable[[str], str]) -> Iterator[list[_Cluster]]:
    """The clusters between the text's own line breaks."""
    for paragraph in split_lines(segments):
        directions = levels("".join(cluster for cluster, _, _ in paragraph), base)
        clusters, at = [], 0
        for source, owner, level in paragraph:
            shown = _TAB if source == "\t" else drawable(source)
            clusters.append(_Cluster(source, shown, owner, level, directions[at]))
            at += len(source)
        yield clusters


def _broken(paragraph: list[_Cluster], width: float, measure: Callable[[str], float]) -> Iterator[list[_Cluster]]:
    """Lines filled one after the other, at least one even where the paragraph is empty."""
    line: list[_Cluster] = []
    used = 0.0  # of the line, white space at its end included
    for chunk in _chunks(paragraph):
        body = _without_space(chunk)
        if line and used + _advance(body, measure) > width + _EPSILON:
            yield line
            line, used = [], 0.0
        if not line and _advance(body, measure) > width + _EPSILON:
            *full, chunk = _forced(chunk, width, measure)
            yield from full
        line = [*line, *chunk]
        used += _advance(chunk, measure)
    yield line


def _chunks(paragraph: list[_Cluster]) -> Iterator[list[_Cluster]]:
    """The parts that a line break may stand between."""
    start = 0
    for at in range(1, len(paragraph)):
        if may_break(paragraph[at - 1].source, paragraph[at].source):
            yield paragraph[start:at]
            start = at
    if paragraph:
        yield paragraph[start:]


def may_break(left: str, right: str) -> bool:
    """Whether a line may end between two characters as readers see them.

    A small part of the Unicode line breaking algorithm (UAX #14), with no dictionary for Thai and its like.
    """
    before, after = left[-1], right[0]
    if is_space(right):
        return False
    if is_space(left) or before == "\u200b":
        return True
    if _glue(before) or _glue(after) or _no_start(after) or _no_end(before):
        return False
    if _before_consonant(before) or _after_consonant(after):
        return False
    if _anywhere(before) or _anywhere(after):
        return True
    return _hyphen(before) is not None and after.isalpha()


def is_space(text: str) -> bool:
    """White space that a line may end at."""
    return text.isspace() and not _glue(text)


def split_lines(segments: Sequence[Segment]) -> list[list[tuple[str, int, int]]]:
    """The characters as readers see them, by the text's own lines, each with the number and level of its segment.

    Control characters are U+FFFD.
    """
    found: list[list[tuple[str, int, int]]] = [[]]
    for owner, segment in enumerate(segments):
        for number, part in enumerate(BREAKS.split(without_controls(segment.text))):
            if number:
                found.append([])
            found[-1].extend((cluster, owner, segment.level) for cluster in regex.findall(r"\X", part))
    return found


def _forced(chunk: list[_Cluster], width: float, measure: Callable[[str], float]) -> list[list[_Cluster]]:
    """A chunk wider than a line, cut between characters; a character that is wider itself stands alone."""
    lines: list[list[_Cluster]] = [[]]
    for cluster in chunk:
        longer = [*lines[-1], cluster]
        if lines[-1] and not cluster.space and _advance(longer, measure) > width + _EPSILON:
            lines.append([cluster])
        else:
            lines[-1] = longer
    return lines


def _without_space(clusters: list[_Cluster]) -> list[_Cluster]:
    end = len(clusters)
    while end and clusters[end - 1].space:
        end -= 1
    return clusters[:end]


def _strings(clusters: Sequence[_Cluster]) -> Iterator[Sequence[_Cluster]]:
    """What is drawn as one string each: parts of one unit, or of several whose letters join."""
    start = 0
    for at in range(1, len(clusters)):
        left, right = clusters[at - 1], clusters[at]
        joined = _joining(left.source[0]) and _joining(right.source[0])
        if left.level != right.level or (left.owner != right.owner and not joined):
            yield clusters[start:at]
            start = at
    if clusters:
        yield clusters[start:]


def _padding(string: Sequence[_Cluster]) -> tuple[float, float]:
    """Room before and after a string, for the boxes of its first and last unit."""
    return tuple(PADDING if cluster.score_level else 0.0 for cluster in (string[0], string[-1]))  # type: ignore[return-value]


def _text(clusters: Iterable[_Cluster]) -> str:
    return "".join(cluster.shown for cluster in clusters)


def _advance(clusters: Sequence[_Cluster], measure: Callable[[str], float]) -> float:
    return sum(measure(_text(string)) + sum(_padding(string)) for string in _strings(clusters))


def _placed(line: list[_Cluster], width: float, base: int, measure: Callable[[str], float]) -> Line:
    source = "".join(cluster.source for cluster in line)
    solid = _without_space(line)
    strings = list(_strings(solid))
    order = visual_order([string[0].level for string in strings])
    at = 0.0 if base == 0 else width - sum(measure(_text(s)) + sum(_padding(s)) for s in strings)
    pieces: list[Piece] = []
    boxes: list[Box] = []
    for index in order:
        string = strings[index]
        backwards = string[0].level % 2 == 1
        first, last = _padding(string)
        left, right = (last, first) if backwards else (first, last)
        text = _text(string)
        advance = measure(text)
        at += left
        if text.strip():
            pieces.append(Piece(_directed(string, backwards), at))
        boxes.extend(_boxes(string, at, advance, measure))
        at += advance + right
    return Line(tuple(pieces), tuple(boxes), source)


def _directed(string: Sequence[_Cluster], backwards: bool) -> str:
    """The string such that a shaping engine, which goes by the first letter, sets it the way it runs here."""
    text = _text(string)
    if not backwards or any(unicodedata.bidirectional(character) in ("R", "AL") for character in text):
        return text
    return "".join(cluster.shown.translate(_MIRRORED) for cluster in reversed(string))


def _boxes(string: Sequence[_Cluster], left: float, advance: float, measure: Callable[[str], float]) -> Iterator[Box]:
    """One box a unit. Inside joined letters a box ends where the letters before it end, in their joined shapes."""
    backwards = string[0].level % 2 == 1
    edges = [at for at in range(1, len(string)) if string[at - 1].owner != string[at].owner]
    places = [0.0, *(measure(_text(string[:at]) + _ZERO_WIDTH_JOINER) for at in edges), advance]
    starts = [0, *edges]
    before, after = _padding(string)
    for number, start in enumerate(starts):
        level = string[start].score_level
        if not level:
            continue
        near = places[number] - (before if number == 0 else 0.0)
        far = places[number + 1] + (after if number == len(edges) else 0.0)
        if backwards:
            near, far = advance - far, advance - near
        yield Box(left + near, left + far, level)
