# SPDX-License-Identifier: Apache-2.0
"""Explanations made by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from mhex_nlp.explain.explanation import (
    ClassRef,
    Explanation,
    HeadsChoice,
    Method,
    ModelRef,
    Prediction,
    Token,
)
from mhex_nlp.inputs.segmentation import assign_to_spans, segment_words

METHOD = Method("mhex", "heads", "mean", "centred", False, None, False, None, None)


TEXT, PAIR = "It was thin. But superb 👍🏽!", "Not good."


def pieces_of(text: str) -> list[tuple[int, int]]:
    """Tokens of three code points, whitespace and all: no tokenizer is needed to test what follows one."""
    return [(at, min(at + 3, len(text))) for at in range(0, len(text), 3)]


def make(
    text: str = TEXT,
    text_pair: str | None = PAIR,
    *,
    classes: tuple[str, ...] | None = None,
    depths: int = 0,
    score: Callable[[int], float] = lambda i: (-1) ** i * 0.25 * i,
    **changes: Any,
) -> Explanation:
    tokens, first = [_token("", "[CLS]", None, None, None, None, 0, classes, depths, score)], 0
    for sequence, source in enumerate([text] if text_pair is None else [text, text_pair]):
        places, words = pieces_of(source), segment_words(source)
        for (start, end), word in zip(places, assign_to_spans(source, places, words) if words else (), strict=True):
            piece = source[start:end]
            place = (start, end, sequence, first + word)
            tokens.append(_token(piece, piece, *place, len(tokens), classes, depths, score))
        first += len(words)
        tokens.append(_token("", "[SEP]", None, None, None, None, len(tokens), classes, depths, score))
    parts: dict[str, Any] = {
        "id": "7",
        "text": text,
        "text_pair": text_pair,
        "prediction": Prediction("pos", 1, 0.75, {"neg": 0.25, "pos": 0.75}),
        "target": ClassRef("pos", 1),
        "foil": None,
        "method": METHOD,
        "model": ModelRef("tiny", None),
        "library": "mhex_nlp 0.1.0",
        "heads": HeadsChoice("pos", 1, True),
        "tokens": tuple(tokens),
        "classes": classes,
        "sum": math.fsum(token.score for token in tokens),
        "base_value": 0.5,
        "truncated": False,
        "windows": 1,
        "notes": (),
    }
    return Explanation(**{**parts, **changes})


def _token(
    text: str,
    piece: str,
    start: int | None,
    end: int | None,
    sequence: int | None,
    word: int | None,
    index: int,
    classes: tuple[str, ...] | None,
    depths: int,
    score: Callable[[int], float],
) -> Token:
    value = score(index)
    return Token(
        text,
        piece,
        start,
        end,
        sequence,
        word,
        start is None,
        value,
        scores=None if classes is None else tuple(value * (c + 1) for c in range(len(classes))),
        layers=tuple(value / depths for _ in range(depths)) if depths else None,
    )
