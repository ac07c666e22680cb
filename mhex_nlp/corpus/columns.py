# SPDX-License-Identifier: Apache-2.0
"""Explained texts as Arrow columns of fixed types."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

from ..explain.parts import FlipSet
from ..inputs.checks import as_integer
from ..models.tasks.names import Task
from ..render.errors import span_error
from .explained_rows import ExplainedRow, ExplainedText

UNITS = ("words", "tokens")
PREFIX = "mhex_"

# With flip: words whose removal turns the prediction, and words that alone are predicted as the whole text is. Null
# where none were found, empty where none are needed.
_FLIPS = {"removal": "flip", "insertion": "alone"}
_FLIP_TYPES: dict[str, pa.DataType] = {
    f"{name}_{part}": kind
    for name in _FLIPS.values()
    for part, kind in {
        "spans": pa.list_(pa.string()),
        "starts": pa.list_(pa.int32()),
        "ends": pa.list_(pa.int32()),
        "sequences": pa.list_(pa.int8()),
        "label": pa.string(),  # what is predicted without them, or of them alone
        "probability": pa.float32(),
    }.items()
}
_TYPES: dict[str, pa.DataType] = {
    "label": pa.string(),  # the predicted class; null for regression
    "probability": pa.float32(),  # its probability
    "probabilities": pa.list_(pa.float32()),  # every class's, in id order
    "labels": pa.list_(pa.string()),  # multi-label models: the classes at 0.5 or above
    "values": pa.list_(pa.float32()),  # regression: the outputs
    "target": pa.string(),  # the class that the scores are for
    "foil": pa.string(),
    "spans": pa.list_(pa.string()),  # the words or tokens, as they stand in the text
    "starts": pa.list_(pa.int32()),  # in Unicode code points
    "ends": pa.list_(pa.int32()),
    "sequences": pa.list_(pa.int8()),  # 0: text, 1: text pair
    "scores": pa.list_(pa.float32()),
    "score_errors": pa.list_(pa.float32()),  # after a budget of passes: the standard deviation of each
    "class_scores": pa.list_(pa.list_(pa.float32())),  # with classes="all": those of a span, in id order
    "special_score": pa.float32(),  # of the tokens that the template adds
    "sum": pa.float32(),  # of all scores, special tokens included
    "base_value": pa.float32(),  # with the sum: the (contrasted) logit
    "misfit": pa.float32(),  # what the scores miss of the text less the empty one; null where it is not known
    "truncated": pa.bool_(),
    "windows": pa.int32(),
    "notes": pa.list_(pa.string()),
    "note_codes": pa.list_(pa.string()),  # the kind of each note, in their order, to be counted and filtered by
    "answer": pa.string(),  # question answering: the answer, and its place in the context
    "answer_start": pa.int32(),
    "answer_end": pa.int32(),
    **_FLIP_TYPES,
    "skill": pa.float32(),  # with judge: the same in all rows
    "skill_interval": pa.list_(pa.float32()),
    "error": pa.string(),  # why there is nothing else in this row
}
# Of token classification: a list a row, with an entry an entity; the others above hold lists of what they hold there.
_ENTITY_TYPES: dict[str, pa.DataType] = {
    "entities": pa.list_(pa.string()),  # as they stand in the text
    "entity_types": pa.list_(pa.string()),  # PER for B-PER
    "entity_starts": pa.list_(pa.int32()),
    "entity_ends": pa.list_(pa.int32()),
    "own_scores": pa.list_(pa.float32()),  # the sum over the entity's own tokens
    "rest_scores": pa.list_(pa.float32()),  # over the text's other tokens
}
_OF_TEXT = ("truncated", "windows", "notes", "note_codes", "skill", "skill_interval", "error")  # one a row in any task


@dataclass(frozen=True, slots=True)
class ColumnOptions:
    """What stands in the columns.

    Args:
        unit: "words" or "tokens".
        top_k: only that many units a text, those with the largest magnitudes, in reading order.
        all_classes: every class's scores as well.
        errors: those of the scores, which a budget of passes tells.
        judged: how far the scores can be trusted on these rows.
        flips: words that turn the prediction.
        task: of the model.
    """

    unit: str = "words"
    top_k: int | None = None
    all_classes: bool = False
    errors: bool = False
    judged: bool = False
    flips: bool = False
    task: Task = "sequence_classification"

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ValueError(f"unit must be 'words' or 'tokens', got {self.unit!r}.")
        if self.top_k is not None:
            as_integer(self.top_k, "top_k", at_least=1, expected="an integer of at least 1, or None for all")

    @property
    def types(self) -> dict[str, pa.DataType]:
        """The columns by name, with their types."""
        asked_for = {"class_scores": self.all_classes, "score_errors": self.errors}
        asked_for |= dict.fromkeys(_FLIP_TYPES, self.flips)
        asked_for |= {"skill": self.judged, "skill_interval": self.judged}
        asked_for |= dict.fromkeys(("answer", "answer_start", "answer_end"), self.task == "question_answering")
        types = {name: kind for name, kind in _TYPES.items() if asked_for.get(name, True)}
        if self.task == "token_classification":
            types = {
                **_ENTITY_TYPES,
                **{
                    name: kind if name in _OF_TEXT else pa.list_(kind)
                    for name, kind in types.items()
                    if name not in ("labels", "values")
                },
            }
        return {PREFIX + name: kind for name, kind in types.items()}


def to_columns(
    rows: Iterable[ExplainedRow | str], options: ColumnOptions, of_all: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, pa.Array]:
    """The columns of a chunk, one entry a row; a reason in the place of a text leaves all but `mhex_error` null.

    `of_all` are values that every row has.
    """
    types = {name.removeprefix(PREFIX): kind for name, kind in options.types.items()}
    columns: dict[str, list[Any]] = {name: [] for name in types}
    empty = {name: of_all.get(name) for name in types}
    for row in rows:
        values = {"error": row} if isinstance(row, str) else _of_row(row, options)
        for name, column in columns.items():
            column.append(values.get(name, empty[name]))
    return {PREFIX + name: pa.array(column, types[name]) for name, column in columns.items()}


def _of_row(row: ExplainedRow, options: ColumnOptions) -> dict[str, Any]:
    if isinstance(row, ExplainedText):
        return _values(row, options)
    values: dict[str, Any] = {name.removeprefix(PREFIX): [] for name in options.types}
    values |= {"error": None, "skill": None, "skill_interval": None}
    for entity in row.entities:
        for name, value in (_values(entity, options) | _entity(entity)).items():
            if name in values and name not in _OF_TEXT:
                values[name].append(value)
    of_text = {"truncated": row.item.truncated, "windows": row.item.window_count, **_notes(row)}
    return {name: value for name, value in (values | of_text).items() if value is not None}


def _entity(row: ExplainedText) -> dict[str, Any]:
    """What the columns of entities say of one."""
    place, scores = row.place, row.scores.tolist()
    assert place is not None
    rest = [i for i, token in enumerate(row.tokens) if not token.special and i not in row.item.own]
    return {
        "entities": place.text,
        "entity_types": place.label,
        "entity_starts": place.start,
        "entity_ends": place.end,
        "own_scores": math.fsum(scores[i] for i in place.tokens),
        "rest_scores": math.fsum(scores[i] for i in rest),
    }


def _values(row: ExplainedText, options: ColumnOptions) -> dict[str, Any]:
    table, item, numbers = row.request.table, row.item, row.numbers
    values: dict[str, Any] = _spans(row, options)
    if row.place is not None:
        values |= {"answer": row.place.text, "answer_start": row.place.start, "answer_end": row.place.end}
    if row.probabilities is None:
        values["values"] = numbers.logits[row.row].tolist()
    else:
        predicted = row.predicted
        values["label"], values["probability"] = table.labels[predicted], row.probabilities[predicted]
        values["probabilities"] = row.probabilities
        if table.task == "multi_label_classification":
            values["labels"] = table.labels_above_half(row.probabilities)
    for flip in row.numbers.flips[row.row] if options.flips and row.numbers.flips else ():
        values |= _flip(flip)
    return values | {
        "target": table.labels[row.target],
        "foil": None if numbers.foils is None else table.labels[numbers.foils[row.row]],
        "sum": numbers.sums[row.row],
        "base_value": numbers.bases[row.row],
        "misfit": None if math.isnan(numbers.misfits[row.row]) else numbers.misfits[row.row],
        "truncated": item.truncated,
        "windows": item.window_count,
        **_notes(row),
    }


def _notes(row: ExplainedRow) -> dict[str, list[str]]:
    notes = row.notes()
    return {"notes": [note.sentence for note in notes], "note_codes": [note.code for note in notes]}


def _flip(flip: FlipSet) -> dict[str, Any]:
    """What the columns say of a flip set."""
    name = _FLIPS[flip.kind]
    if flip.label_after is None:
        return {}
    return {
        f"{name}_spans": [word.text for word in flip.words],
        f"{name}_starts": [word.start for word in flip.words],
        f"{name}_ends": [word.end for word in flip.words],
        f"{name}_sequences": [word.sequence for word in flip.words],
        f"{name}_label": flip.label_after,
        f"{name}_probability": flip.probability_after,
    }


def _spans(row: ExplainedText, options: ColumnOptions) -> dict[str, Any]:
    """The units of a text: their slices, places and scores, and what is left for special tokens."""
    scores = row.scores.tolist()
    sources = [row.item.text, row.item.text_pair or ""]
    if options.unit == "words":
        units = [
            (start, end, sequence, math.fsum([scores[i] for i in tokens]), tokens)
            for start, end, sequence, tokens in row.words
        ]
    else:
        units = [
            (token.start or 0, token.end or 0, token.sequence or 0, scores[i], (i,))
            for i, token in enumerate(row.tokens)
            if not token.special
        ]
    if options.top_k is not None and len(units) > options.top_k:
        order = sorted(range(len(units)), key=lambda i: -abs(units[i][3]))[: options.top_k]
        units = [units[i] for i in sorted(order)]
    values: dict[str, Any] = {
        "spans": [sources[sequence][start:end] for start, end, sequence, _, _ in units],
        "starts": [unit[0] for unit in units],
        "ends": [unit[1] for unit in units],
        "sequences": [unit[2] for unit in units],
        "scores": [unit[3] for unit in units],
        "special_score": math.fsum([score for score, token in zip(scores, row.tokens, strict=True) if token.special]),
    }
    covariances = row.numbers.covariances
    if options.errors and covariances is not None:
        covariance: Any = covariances[row.row]
        values["score_errors"] = [span_error(covariance, unit[4]) for unit in units]
    classes = row.class_scores
    if options.all_classes and classes is not None:
        values["class_scores"] = [classes[list(unit[4])].sum(0, dtype=np.float64).tolist() for unit in units]
    return values
