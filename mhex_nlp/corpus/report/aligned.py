# SPDX-License-Identifier: Apache-2.0
"""Explanations in step with what is known of their texts: right labels, and values of columns to slice by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from numbers import Real
from typing import Any

from ...explain.explanation import Explanation
from ...explain.gold_labels import class_of
from ...inputs.texts import iter_rows, zip_rows
from .slices import NONE

Labels = Mapping[str, str | float | None] | Iterable[str | float | None]
Slices = Mapping[str, Iterable[Any] | Mapping[str, Any]] | Sequence[str]
LONGEST = 80  # characters of a value


def with_labels(
    explanations: Iterable[Explanation], labels: Labels | None, classes: Sequence[str]
) -> Iterator[tuple[Explanation, str | None]]:
    """Explanations with the classes that their labels name, in step; labels at hand are all checked at once."""
    if isinstance(labels, str):
        raise ValueError(f"labels must be one a text, or a mapping from ids, got the string {labels!r}.")
    if labels is None or isinstance(labels, Mapping):
        golds = {id_: class_of(label, classes, f"labels[{id_!r:.80}]") for id_, label in (labels or {}).items()}
        return ((explanation, golds.get(explanation.id)) for explanation in explanations)
    rows = enumerate(iter_rows(labels, "labels"))
    named: Iterable[str | None] = (class_of(label, classes, f"labels[{index}]") for index, label in rows)
    if isinstance(labels, Sized):
        named = list(named)
    return ((row["texts"], row["labels"]) for row in zip_rows(explanations, labels=named))


def slice_columns(slices: Slices | None, data: Any) -> dict[str, Any]:
    """The columns to slice by: a mapping of them, or those of `data` that are named.

    Raises:
        TypeError: a string, or `data` that has no columns.
        ValueError: a column that is not in `data`, names without `data`.
    """
    if slices is None:
        return {}
    if isinstance(slices, str):
        raise TypeError(f"slices must be names of columns, or columns by name, got the string {slices!r}.")
    if isinstance(slices, Mapping):
        return dict(slices)
    names = list(slices)
    if data is None:
        raise ValueError("slices that name columns need data, whose columns they are, got none.")
    known = getattr(data, "column_names", None)  # of a Dataset; a frame and a mapping give theirs as keys
    if known is None and not hasattr(data, "keys"):
        raise TypeError(f"data must be a data set, a frame or columns by name, got {type(data).__name__}.")
    known = list(known if known is not None else data.keys())
    for name in names:
        if name not in known:
            raise ValueError(
                f"slices must name columns of data, got {name!r}; it has {', '.join(map(str, known[:20]))}."
            )
    return {name: data[name] for name in names}


def with_slices(
    pairs: Iterable[tuple[Explanation, str | None]], columns: Mapping[str, Any]
) -> Iterator[tuple[Explanation, str | None, tuple[str, ...]]]:
    """Explanations and labels with the text's value in each of the columns, one a text or by its id."""
    by_id = {name: values for name, values in columns.items() if isinstance(values, Mapping)}
    beside = {f"slices[{name!r}]": values for name, values in columns.items() if name not in by_id}
    for number, row in enumerate(zip_rows(pairs, **beside)):
        explanation, gold = row["texts"]
        values = []
        for name in columns:
            value = by_id[name].get(explanation.id) if name in by_id else row[f"slices[{name!r}]"]
            values.append(as_value(value, f"slices[{name!r}][{explanation.id if name in by_id else number!r}]"))
        yield explanation, gold, tuple(values)


def as_value(value: Any, name: str) -> str:
    """The cell of a column as it is shown: its beginning where it is long.

    Raises:
        TypeError: something else than a string, a number, a truth value, or nothing.
    """
    if value is None or (isinstance(value, Real) and value != value):
        return NONE
    if isinstance(value, str):
        text = " ".join(value.split())
        return (text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}\u2026") or NONE
    if isinstance(value, Real) or type(value).__name__ in ("bool", "bool_"):
        whole = not isinstance(value, bool) and isinstance(value, float) and value.is_integer()
        return str(int(value) if whole else value)
    raise TypeError(f"{name} must be a string, a number, a truth value or None, got {type(value).__name__}.")
