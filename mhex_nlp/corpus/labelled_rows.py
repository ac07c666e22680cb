# SPDX-License-Identifier: Apache-2.0
"""Rows whose labels are classes of the model: one that is none is a problem of its row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice

from ..explain.gold_labels import class_of, classes_of_names
from .readers.rows import Row, RowSource

AHEAD = 1000  # rows that are looked through for a label that is a class


def labelled_rows(rows: Iterable[Row], source: RowSource, classes: Sequence[str], ahead: int = AHEAD) -> Iterator[Row]:
    """The rows of `source` with the name of the class in place of each label; see `class_of`.

    Reads on, up to `ahead` rows, to the first label that is a class.

    Raises:
        ValueError: labels among these rows, of which none is a class; a ClassLabel column of other classes.
    """
    if source.columns.label is None:
        return iter(rows)
    declared = classes_of_names(source.label_names, classes)
    named = (_named(row, classes, declared) for row in rows)
    first: list[Row] = []
    for row in islice(named, ahead):
        first.append(row)
        if row.label is not None:
            break
    else:
        unknown = next((row for row in first if (row.problem or "").startswith("the label must be a class")), None)
        if unknown is not None:
            raise ValueError(
                f"row {unknown.number} (counted from 0): {unknown.problem} None of the first {len(first)} rows has one."
            )
    return chain(first, named)


def _named(row: Row, classes: Sequence[str], declared: Mapping[str, str]) -> Row:
    if row.problem is not None:
        return replace(row, label=None)
    try:
        label = row.label if isinstance(row.label, int) else declared.get(row.label or "", row.label)
        return replace(row, label=class_of(label, classes, "the label"))
    except ValueError as error:
        return Row(row.number, row.id, "", None, None, str(error))
