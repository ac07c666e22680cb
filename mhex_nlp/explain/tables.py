# SPDX-License-Identifier: Apache-2.0
"""Explanations as tables: a row for each word or token, for pandas and polars."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

Unit = Literal["words", "tokens"]
_INTEGERS = ("start", "end", "sequence")
_TEXTS = ("id", "label", "target", "foil", "text")
_FLAGS = ("special",)


class Tables:
    """An explanation, or a list of them, as a table."""

    __slots__ = ()

    def to_pandas(self, unit: Unit = "words") -> Any:
        """A `pandas.DataFrame` with a row for each word or token: `columns_of`, in pandas' nullable types.

        Raises:
            ValueError: another unit.
        """
        import pandas

        columns = columns_of(self if isinstance(self, list) else [self], unit)
        kinds: dict[str, Any] = {
            **dict.fromkeys(_INTEGERS, "Int64"),
            **dict.fromkeys(_TEXTS, "string"),
            **dict.fromkeys(_FLAGS, "boolean"),
        }
        arrays = {name: pandas.array(values, dtype=kinds.get(name, "Float64")) for name, values in columns.items()}
        return pandas.DataFrame(arrays)

    def to_polars(self, unit: Unit = "words") -> Any:
        """A `polars.DataFrame` with a row for each word or token: `columns_of`.

        Raises:
            ImportError: polars is not installed.
            ValueError: another unit.
        """
        try:
            import polars
        except ImportError as error:
            raise ImportError("to_polars() needs polars, which is not installed: pip install polars.") from error
        columns = columns_of(self if isinstance(self, list) else [self], unit)
        kinds: dict[str, Any] = {
            **dict.fromkeys(_INTEGERS, polars.Int64),
            **dict.fromkeys(_TEXTS, polars.String),
            **dict.fromkeys(_FLAGS, polars.Boolean),
        }
        return polars.DataFrame(columns, schema={name: kinds.get(name, polars.Float64) for name in columns})


def columns_of(explanations: Iterable[Any], unit: Unit = "words") -> dict[str, list[Any]]:
    """The columns of a table with a row for each word or token, in reading order, one text after the other.

    `id`, `label`, `probability`, `target` and `foil` of the explanation; `text`, the code points [`start`, `end`) of
    text (`sequence` 0) or pair (1), `score` and `error`; of tokens `special` as well, and of words a last row a text,
    without a place, with the sum of the special tokens, so that the scores of a text add up to its sum. Where all
    have scores of the same classes, `score_<class>` for each. What is not known is null.

    Raises:
        ValueError: another unit.
    """
    if unit not in ("words", "tokens"):
        raise ValueError(f"unit must be 'words' or 'tokens', got {unit!r}.")
    explanations = list(explanations)
    classes = explanations[0].classes if explanations else None
    if any(one.classes != classes for one in explanations):
        classes = None
    names = ["id", "label", "probability", "target", "foil", "text", "start", "end", "sequence", "score", "error"]
    names += ["special"] if unit == "tokens" else []
    names += [f"score_{label}" for label in classes or ()]
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for one in explanations:
        about = (one.id, one.label, one.probability, one.target.label, None if one.foil is None else one.foil.label)
        for part, tokens in _parts(one, unit):
            sums = one.class_scores[tokens].sum(0).tolist() if classes else []
            for name, value in zip(names, (*about, *part, *sums), strict=True):
                columns[name].append(value)
    return columns


def _parts(one: Any, unit: Unit) -> Iterable[tuple[tuple[Any, ...], list[int]]]:
    """Text, start, end, sequence, score and error of each part, and its tokens."""
    if unit == "tokens":
        for index, token in enumerate(one.tokens):
            text = token.piece if token.special else token.text
            row = (text, token.start, token.end, token.sequence, token.score, token.error, token.special)
            yield row, [index]
        return
    for span in one.words():
        yield (span.text, span.start, span.end, span.sequence, span.score, span.error), list(span.tokens)
    if special := [index for index, token in enumerate(one.tokens) if token.special]:
        yield (None, None, None, None, sum(one.tokens[index].score for index in special), None), special
