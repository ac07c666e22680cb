# SPDX-License-Identifier: Apache-2.0
"""Segments of text broken into lines and set in place, by the widths of a font. Knows no matplotlib."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import regex  # type: ignore[import-untyped, unused-ignore]

from ..controls import BREAKS, without_controls
from ..highlight import LEVELS, Segment
from .bidi import base_level, levels, visual_order

PLACE = LEVELS + 1  # in place of a level: the words of the place explained, which have a box and no colour
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
    """The place of a unit, or of a part of it, on its line: em from the left edge, its level, and its segment."""

    left: float
    right: float
    level: int
    owner: int


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

    @property
    def backwards(self) -> bool:
        return self.level % 2 == 1


def set_lines(
    segments: Sequence[Segment], width: float, measure: Callable[[str], float], drawable: Callable[[str], str]
) -> list[Line]:
    """The lines of one text, each at most `width` em wide; right-to-left paragraphs stand at the right edge.

    Lines break at white space, between ideographs, and inside what is longer than a line; breaks of the text
    stay. White space at a break hangs over the edge. `measure` gives the advance of a string in em, `drawable` a string
    as it will be drawn.
    """
    base = base_level(without_controls("".join(segment.text for segment in segments)))
    return [
        _placed(line, width, base, measure)
        for paragraph in split_lines(segments)
        for line in _broken(_clusters(paragraph, base, drawable), width, measure)
    ]


def _clusters(
    paragraph: Sequence[tuple[str, int, int]], base: int, drawable: Callable[[str], str]
) -> Iterator[_Cluster]:
    directions = levels("".join(source for source, _, _ in paragraph), base)
    at = 0
    for source, owner, level in paragraph:
        yield _Cluster(source, _TAB if source == "\t" else drawable(source), owner, level, directions[at])
        at += len(source)


def _broken(paragraph: Iterable[_Cluster], width: float, measure: Callable[[str], float]) -> Iterator[list[_Cluster]]:
    """Lines filled one after the other, at least one even where the paragraph is empty."""
    line: list[_Cluster] = []
    used = 0.0  # of the line, white space at its end included
    for chunk in _split(paragraph, lambda left, right: may_break(left.source, right.source)):
        least = _advance(_without_space(chunk), measure)
        if line and used + least > width + _EPSILON:
            yield line
            line, used = [], 0.0
        if not line and least > width + _EPSILON:
            *full, chunk = _forced(chunk, width, measure)
            yield from full
        line = [*line, *chunk]
        used += _advance(chunk, measure)
    yield line


def _split(clusters: Iterable[_Cluster], between: Callable[[_Cluster, _Cluster], bool]) -> Iterator[list[_Cluster]]:
    """The clusters in parts, cut where `between` two neighbours says so."""
    part: list[_Cluster] = []
    for cluster in clusters:
        if part and between(part[-1], cluster):
            yield part
            part = []
        part.append(cluster)
    if part:
        yield part


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
    lines: list[list[tuple[str, int, int]]] = [[]]
    for owner, segment in enumerate(segments):
        level = segment.level if segment.place is None else PLACE
        for number, part in enumerate(BREAKS.split(without_controls(segment.text))):
            if number:
                lines.append([])
            lines[-1].extend((cluster, owner, level) for cluster in regex.findall(r"\X", part))
    return lines


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


def _strings(clusters: Iterable[_Cluster]) -> Iterator[list[_Cluster]]:
    """What is drawn as one string each: parts of one unit, or of several whose letters join."""

    def apart(left: _Cluster, right: _Cluster) -> bool:
        joined = _joining(left.source[0]) and _joining(right.source[0])
        return left.level != right.level or (left.owner != right.owner and not joined)

    return _split(clusters, apart)


def _padding(string: Sequence[_Cluster]) -> tuple[float, float]:
    """Room before and after a string, for the boxes of its first and last unit."""
    first, last = (PADDING if cluster.score_level else 0.0 for cluster in (string[0], string[-1]))
    return first, last


def _text(clusters: Iterable[_Cluster]) -> str:
    return "".join(cluster.shown for cluster in clusters)


def _advance(clusters: Sequence[_Cluster], measure: Callable[[str], float]) -> float:
    return sum(measure(_text(string)) + sum(_padding(string)) for string in _strings(clusters))


def _placed(line: list[_Cluster], width: float, base: int, measure: Callable[[str], float]) -> Line:
    source = "".join(cluster.source for cluster in line)
    solid = _without_space(line)
    strings = list(_strings(solid))
    at = width - _advance(solid, measure) if base else 0.0
    pieces: list[Piece] = []
    boxes: list[Box] = []
    for index in visual_order([string[0].level for string in strings]):
        string = strings[index]
        left, right = reversed(_padding(string)) if string[0].backwards else _padding(string)
        text = _text(string)
        advance = measure(text)
        at += left
        if text.strip():
            pieces.append(Piece(_directed(string), at))
        boxes.extend(_boxes(string, at, advance, measure))
        at += advance + right
    return Line(tuple(pieces), tuple(boxes), source)


def _directed(string: Sequence[_Cluster]) -> str:
    """The string in the order in which a shaping engine, which goes by the first letter, sets it as it runs here."""
    text = _text(string)
    if not string[0].backwards or any(unicodedata.bidirectional(character) in ("R", "AL") for character in text):
        return text
    return "".join(cluster.shown.translate(_MIRRORED) for cluster in reversed(string))


def _boxes(string: Sequence[_Cluster], left: float, advance: float, measure: Callable[[str], float]) -> Iterator[Box]:
    """One box a unit. Inside joined letters a box ends where the letters before it end, in their joined shapes."""
    edges = [at for at in range(1, len(string)) if string[at - 1].owner != string[at].owner]
    before, after = _padding(string)
    inner = [measure(_text(string[:at]) + _ZERO_WIDTH_JOINER) for at in edges]
    places = [-before, *inner, advance + after]
    for start, near, far in zip([0, *edges], places, places[1:], strict=False):
        if string[0].backwards:
            near, far = advance - far, advance - near
        if level := string[start].score_level:
            yield Box(left + near, left + far, level, string[start].owner)
