# SPDX-License-Identifier: Apache-2.0
"""Texts as users give them, checked at the door: every complaint names the argument and the row."""

from __future__ import annotations

import itertools
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SURROGATE_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_END = object()


def numbered(name: str, index: int | None) -> str:
    """What to call a row in a sentence: `text[3]`, or `text` where there is only one."""
    return name if index is None else f"{name}[{index}]"


def warn(message: str) -> None:
    """Warns from the first frame outside the package, however deep inside it, or in a generator, the cause is."""
    package, level, frame = __name__.partition(".")[0], 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)


def iter_rows(values: Any, name: str, expected: str = "an iterable of strings") -> Iterator[Any]:
    """The rows of `values`; TypeError for what has none, or has rows nobody can mean: a string, a mapping, a table."""
    kind = type(values).__name__
    if split := first_split(values):
        raise TypeError(f"{name} must be {expected}, got a {kind}; pass a column of a split, such as {split}['text'].")
    if hasattr(values, "columns") or hasattr(values, "column_names"):
        raise TypeError(f"{name} must be {expected}, got a {kind}; pass one column of it, such as df['text'].")
    if not isinstance(values, str | bytes | Mapping):
        try:
            return iter(values)
        except TypeError:  # numpy's 0-d arrays have __iter__ and still no rows
            pass
    raise TypeError(f"{name} must be {expected}, got {'one string' if isinstance(values, str) else kind}.")


def first_split(value: Any) -> str:
    """How to write the first split of a `datasets.DatasetDict`, for advice; "" for anything else."""
    splits = list(value) if isinstance(value, Mapping) and hasattr(value, "column_names") else []
    return f"dataset[{splits[0]!r}]" if splits else ""


@dataclass
class SurrogateWarnings:
    """Collects the names of texts with lone surrogates, so that one call warns once."""

    names: list[str] = field(default_factory=list)
    emitted: bool = False

    def emit(self) -> None:
        """Warns of the texts collected so far; later ones of the same call raise no second warning."""
        if self.names and not self.emitted:
            self.emitted = True
            more = f" (and {len(self.names) - 1} more)" if len(self.names) > 1 else ""
            warn(f"{self.names[0]}{more} holds lone surrogates, which were replaced by U+FFFD.")


def check_texts(
    texts: Any, name: str = "text", *, start: int = 0, surrogates: SurrogateWarnings | None = None
) -> list[str]:
    """The texts as a list of non-empty strings.

    Surrogates that make a pair become the character they stand for, so that offsets refer to the joined text; lone ones
    become U+FFFD, one for one, with one warning for all texts.

    Args:
        texts: a string, or an iterable of strings.
        name: what to call them in a sentence.
        start: number of the first one.
        surrogates: collects the texts with lone surrogates, of which the caller then warns.
    """
    collected = SurrogateWarnings() if surrogates is None else surrogates
    if isinstance(texts, str):
        checked = [_check_text(texts, name, collected)]
    else:
        rows = iter_rows(texts, name, "a string or a list of strings")
        checked = [_check_text(text, numbered(name, index), collected) for index, text in enumerate(rows, start)]
    if surrogates is None:
        collected.emit()
    return checked


def _check_text(text: Any, name: str, surrogates: SurrogateWarnings) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a string, got {'None' if text is None else f'{text!r:.80}'}.")
    if not text.strip():
        raise ValueError(f"{name} must hold at least one character that is not whitespace, got {text[:20]!r}.")
    repaired = repair_surrogates(text)
    if repaired is not text and repaired.count("\ufffd") > text.count("\ufffd"):
        surrogates.names.append(name)
    return repaired


def repair_surrogates(text: str) -> str:
    """The text with surrogates that make a pair joined, and lone ones replaced by U+FFFD, one for one."""
    if not _SURROGATE.search(text):
        return text
    joined = SURROGATE_PAIR.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)
    return encodable(joined)


def encodable(text: str) -> str:
    """The text with each surrogate replaced by U+FFFD, so that UTF-8 can hold it and offsets do not move."""
    return _SURROGATE.sub("\ufffd", text)


def check_pairs(
    texts: Sequence[str],
    pairs: Any,
    name: str = "text_pair",
    *,
    start: int = 0,
    surrogates: SurrogateWarnings | None = None,
) -> list[str] | None:
    """The second halves, one for each text, or `None` where there are none; options as in `check_texts`."""
    if pairs is None:
        return None
    if isinstance(pairs, str) and len(texts) == 1:
        return check_texts(pairs, name, surrogates=surrogates)
    halves = [pairs] if isinstance(pairs, str) else list(iter_rows(pairs, name))
    if len(halves) != len(texts):
        raise ValueError(f"{name} must have one entry for each of the {len(texts)} texts, got {len(halves)}.")
    for index, half in enumerate(halves):
        if half is None:
            label = numbered(name, start + index)
            raise ValueError(f"{label} is missing: got None beside the text {texts[index][:40]!r}.")
    return check_texts(halves, name, start=start, surrogates=surrogates)


def check_ids(ids: Any, count: int, single: bool, what: str = "texts") -> list[str]:
    """A name for each of `count` explanations: their numbers where `ids` is None; one string will do for one text."""
    if ids is None:
        return [str(index) for index in range(count)]
    names = [ids] if isinstance(ids, str) and single else [str(name) for name in iter_rows(ids, "ids")]
    if len(names) != count:
        raise ValueError(f"ids must have one entry for each of the {count} {what}, got {len(names)}.")
    return names


def zip_rows(texts: Iterable[Any], **others: Iterable[Any] | None) -> Iterator[dict[str, Any]]:
    """Rows of the texts and of the columns beside them that are given, by name.

    A column without rows is a TypeError at once, one of another length a ValueError when that shows.
    """
    columns = {"texts": texts, **{name: values for name, values in others.items() if values is not None}}
    return _zip({name: iter_rows(values, name) for name, values in columns.items()})


def _zip(columns: dict[str, Iterator[Any]]) -> Iterator[dict[str, Any]]:
    for index, values in enumerate(itertools.zip_longest(*columns.values(), fillvalue=_END)):
        row = dict(zip(columns, values, strict=True))
        ended = [name for name, value in row.items() if value is _END]
        if "texts" in ended:
            longer = next(name for name in row if name not in ended)
            raise ValueError(f"{longer} must have one entry for each text, got more than the {index} texts.")
        if ended:
            raise ValueError(f"{ended[0]} must have one entry for each text, got none for {numbered('texts', index)}.")
        yield row
