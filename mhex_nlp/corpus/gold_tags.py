# SPDX-License-Identifier: Apache-2.0
"""The right entities of a text, as data sets hold them, against those that a model finds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..explain.parts import Place
from ..explain.tags import OUTSIDE, TagTable
from ..inputs.checks import integer_or_none
from .readers.rows import Row

GoldEntity = tuple[int, int, str]  # [start, end) in code points, and the type
OTHER_SPAN = "another span"  # stands for the type of an entity that only overlaps a right one
_EXPECTED = "the gold tags must be a tag for each word that white space separates, or [start, end, type] of each entity"


def gold_entities(cell: Any, text: str, labels: Sequence[str] = ()) -> list[GoldEntity] | None:
    """The right entities that a cell says a text has; None where it says nothing.

    Args:
        cell: a list, or its JSON: of tags, by name or by id in `labels`, one for each word that white space separates;
            of [start, end, type]; or of mappings with `start`, `end` and `label` or `type`.
        text: the text.
        labels: the model's, in id order.

    Raises:
        ValueError: something else, a span outside of the text, or another number of tags than of words.
    """
    if cell is None or cell != cell or isinstance(cell, str) and not cell.strip():
        return None
    try:
        entries = json.loads(cell) if isinstance(cell, str) else list(cell)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{_EXPECTED}, got {cell!r:.60}.") from error
    if not isinstance(entries, list):
        raise ValueError(f"{_EXPECTED}, got {cell!r:.60}.")
    if entries and all(isinstance(entry, str) or integer_or_none(entry) is not None for entry in entries):
        return _of_tags(entries, text, labels)
    return sorted(_entity(entry, text) for entry in entries)


def tagged_rows(rows: Iterable[Row], labels: Sequence[str]) -> Iterator[Row]:
    """The rows with the right entities in the place of their rationales; a cell that holds none is its row's problem.

    Args:
        rows: whose rationales are cells of gold tags.
        labels: the model's, in id order.
    """
    for row in rows:
        try:
            yield replace(row, rationale=None if row.problem else gold_entities(row.rationale, row.text, labels))
        except ValueError as error:
            yield Row(row.number, row.id, "", None, None, str(error))


def _of_tags(entries: Sequence[Any], text: str, labels: Sequence[str]) -> list[GoldEntity]:
    words = [match.span() for match in re.finditer(r"\S+", text)]
    if len(words) != len(entries):
        raise ValueError(f"{_EXPECTED}, got {len(entries)} tags for {len(words)} words.")
    if any(not isinstance(entry, str) and not 0 <= entry < len(labels) for entry in entries):
        raise ValueError(
            f"the gold tags must be labels or their ids, from 0 to {len(labels) - 1}, got {entries!r:.60}."
        )
    names = [entry if isinstance(entry, str) else labels[entry] for entry in entries]
    known = [OUTSIDE, *dict.fromkeys(name for name in names if name != OUTSIDE)]
    table = TagTable(known, 0)
    runs = table.runs([known.index(name) for name in names], [False] * len(names))
    return [(words[first][0], words[stop - 1][1], table.tags[known.index(names[first])].type) for first, stop in runs]


def _entity(entry: Any, text: str) -> GoldEntity:
    if isinstance(entry, Mapping):
        entry = (entry.get("start"), entry.get("end"), entry.get("label", entry.get("type")))
    parts = list(entry) if isinstance(entry, list | tuple) else []
    start, end, kind = parts if len(parts) == 3 else (None, None, None)
    first, stop = integer_or_none(start), integer_or_none(end)
    if first is None or stop is None or not isinstance(kind, str) or not 0 <= first < stop <= len(text):
        raise ValueError(f"{_EXPECTED} inside its text, got {entry!r:.60}.")
    return first, stop, kind


def compared(places: Sequence[Place], gold: Sequence[GoldEntity]) -> tuple[list[str], list[GoldEntity]]:
    """For each place the type that it has by the gold entities, and the gold entities that are no place.

    The type of a place that is no gold entity is "O", or `OTHER_SPAN` where it overlaps one.
    """
    types = []
    for place in places:
        exact = next((kind for start, end, kind in gold if (start, end) == (place.start, place.end)), None)
        touches = any(start < place.end and place.start < end for start, end, _ in gold)
        types.append(exact or (OTHER_SPAN if touches else OUTSIDE))
    explained = {(place.start, place.end) for place in places}
    return types, [entity for entity in gold if entity[:2] not in explained]
