# SPDX-License-Identifier: Apache-2.0
"""Explanations as `shap.Explanation`, for the plots and tools of shap: its values are ours, none is computed anew."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

Unit = Literal["words", "tokens"]
SPECIAL, OTHERS = "[special tokens]", "[other words]"


class _Parts(NamedTuple):
    """Of one text: the pieces that joined are the text, their names, their scores and the errors of these."""

    pieces: list[str]
    names: list[str]
    scores: list[float]
    errors: list[float]


def to_shap(explanation: Any, unit: Unit = "words") -> Any:
    """One text's `Explanation` as a `shap.Explanation`: `values` (n,) float64, signed, for the target.

    `base_values` is a float. `data` are the pieces of the text, which joined give it (of a pair with a space between
    the halves), so that the text plot shows it as it is. Special tokens are one piece of no text in front, so that base
    value and values add up to the (contrasted) logit explained.

    >>> shap.plots.text(explanation.to_shap()); shap.plots.waterfall(explanation.to_shap())

    Raises:
        ImportError: shap is not installed.
        ValueError: another unit.
    """
    shap, parts = _shap(), _parts(explanation, unit)
    return shap.Explanation(
        values=np.asarray(parts.scores, dtype=np.float64),
        base_values=float(explanation.base_value),
        data=np.asarray(parts.pieces, dtype=object),
        display_data=np.ones(len(parts.names)),
        feature_names=parts.names,
        error_std=np.asarray(parts.errors) if explanation.covariance is not None else None,
    )


def explanations_to_shap(
    explanations: Iterable[Any],
    *,
    by: Literal["text", "word"] = "text",
    unit: Unit = "words",
    max_words: int = 1000,
) -> Any:
    """Many texts as one `shap.Explanation`.

    Args:
        explanations: of one target or of several, such as the list that an explainer returns.
        by: "text" keeps each text as it reads, as shap's own text explainers do: `values` is an (N,) object array with
            an array a text, for `shap.plots.text`, `shap.plots.waterfall` of a row, and `shap.plots.bar` of the mean
            over texts, `.mean(0)` or `.abs.mean(0)`, which joins words by their name. "word" is a table of the texts
            by the words that occur in any: `values` (N, V) float64, the summed scores of a word in a text, `data` how
            often it stands there, for `shap.plots.beeswarm`, `shap.plots.bar` and all else that wants a matrix.
            Upper and lower case are one word then.
        unit: "words" or "tokens", for `by="text"`.
        max_words: columns of the table: those with the largest sum of magnitudes; the rest share one column, and the
            special tokens have another, so that each row adds up.

    Raises:
        ImportError: shap is not installed.
        ValueError: no explanation, or another option.
    """
    shap, explanations = _shap(), list(explanations)
    if not explanations:
        raise ValueError("explanations must hold at least one, got none.")
    if by not in ("text", "word"):
        raise ValueError(f"by must be 'text' or 'word', got {by!r}.")
    base, targets = np.asarray([one.base_value for one in explanations]), {one.target.label for one in explanations}
    about = {"base_values": base, "output_names": targets.pop() if len(targets) == 1 else None}
    if by == "word":
        return shap.Explanation(**_table(explanations, max_words), **about)
    rows = [_parts(one, unit) for one in explanations]
    return shap.Explanation(
        values=_ragged([np.asarray(row.scores, dtype=np.float64) for row in rows]),
        data=_ragged([np.asarray(row.pieces, dtype=object) for row in rows]),
        display_data=_ragged([np.ones(len(row.names)) for row in rows]),
        feature_names=[row.names for row in rows],
        **about,
    )


def _shap() -> Any:
    try:
        import shap
    except ImportError as error:
        raise ImportError('shap is not installed: pip install "mhex_nlp[bench]" or pip install shap.') from error
    return shap


def _ragged(rows: Sequence[Any]) -> Any:
    array = np.empty(len(rows), dtype=object)
    array[:] = rows
    return array


def _parts(one: Any, unit: Unit) -> _Parts:
    """The special tokens, and then the words or tokens with all that stands around them."""
    if unit not in ("words", "tokens"):
        raise ValueError(f"unit must be 'words' or 'tokens', got {unit!r}.")
    special = [token.score for token in one.tokens if token.special]
    parts = _Parts([""], [SPECIAL], [math.fsum(special)], [0.0]) if special else _Parts([], [], [], [])
    sources = (one.text,) if one.text_pair is None else (one.text, one.text_pair)
    spans = list(_spans(one, unit))
    for sequence, source in enumerate(sources):
        inside = [span for span in spans if span[2] == sequence]
        # a piece reaches up to the next one; tokens inside one character share it, and the first has its text
        ends = [max(following[0], start) for (start, *_), following in zip(inside, inside[1:], strict=False)]
        after = len(source)
        for index, (start, end, _, score, error) in enumerate(inside):
            begin = 0 if index == 0 else start
            stop = ends[index] if index < len(ends) else after
            gap = " " if sequence == 0 and index == len(inside) - 1 and len(sources) == 2 else ""
            parts.pieces.append(source[begin:stop] + gap)
            parts.names.append(source[start:end])
            parts.scores.append(score)
            parts.errors.append(error or 0.0)
    return parts


def _spans(one: Any, unit: Unit) -> Iterator[tuple[int, int, int, float, float | None]]:
    """Start, end, sequence, score and error of each word, or of each token of the text."""
    if unit == "words":
        yield from ((span.start, span.end, span.sequence, span.score, span.error) for span in one.words())
        return
    for token in one.tokens:
        if token.start is not None and token.end is not None and token.sequence is not None:
            yield token.start, token.end, token.sequence, token.score, token.error


def _table(explanations: Sequence[Any], max_words: int) -> dict[str, Any]:
    """Values and counts (N, V) by word, with the rest and the special tokens, and the names of the columns."""
    if max_words < 1:
        raise ValueError(f"max_words must be at least 1, got {max_words!r}.")
    sums: list[dict[str, float]] = []
    counts: list[dict[str, int]] = []
    magnitudes: dict[str, float] = defaultdict(float)
    for one in explanations:
        of_text: dict[str, float] = defaultdict(float)
        often: dict[str, int] = defaultdict(int)
        for span in one.words():
            word = span.text.casefold()
            of_text[word] += span.score
            often[word] += 1
        for word, score in of_text.items():
            magnitudes[word] += abs(score)
        sums.append(of_text)
        counts.append(often)
    words = sorted(magnitudes, key=lambda word: (-magnitudes[word], word))[:max_words]
    columns = {word: index for index, word in enumerate(words)}
    rest = len(words)
    values = np.zeros((len(explanations), rest + 2))
    data = np.zeros(values.shape)
    for row, (of_text, often) in enumerate(zip(sums, counts, strict=True)):
        for word, score in of_text.items():
            values[row, columns.get(word, rest)] += score
            data[row, columns.get(word, rest)] += often[word]
        special = [token.score for token in explanations[row].tokens if token.special]
        values[row, rest + 1], data[row, rest + 1] = math.fsum(special), len(special)
    kept = [index for index in range(rest + 2) if index < rest or data[:, index].any()]
    names = [*words, OTHERS, SPECIAL]
    return {"values": values[:, kept], "data": data[:, kept], "feature_names": [names[index] for index in kept]}
