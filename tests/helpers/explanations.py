# SPDX-License-Identifier: Apache-2.0
"""Explanations made by hand, one of each kind, and ways to spoil them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from mhex_nlp.explain.explanation import (
    ClassRef,
    Explanation,
    HeadsChoice,
    Method,
    ModelRef,
    Place,
    Prediction,
    Token,
)
from mhex_nlp.inputs.segmentation import assign_to_spans, segment_words

METHOD = Method("mhex", "heads", "mean", "centred", False, None, False, None, None)
TEXT, PAIR = "It was thin. But superb 👍🏽!", "Not good."
TEMPLATE = (None, None, None, None)  # start, end, sequence and word of a special token


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
    """An explanation with tokens of three code points and `score` of each; `changes` replace other parts."""
    places: list[tuple[str, str, Any]] = [("", "[CLS]", TEMPLATE)]
    first_word = 0
    for sequence, source in enumerate([text] if text_pair is None else [text, text_pair]):
        pieces, words = pieces_of(source), segment_words(source)
        for (start, end), word in zip(pieces, assign_to_spans(source, pieces, words) if words else (), strict=True):
            places.append((source[start:end], source[start:end], (start, end, sequence, first_word + word)))
        first_word += len(words)
        places.append(("", "[SEP]", TEMPLATE))
    tokens = []
    for index, (token_text, piece, place) in enumerate(places):
        value = score(index)
        scores = None if classes is None else tuple(value * (c + 1) for c in range(len(classes)))
        layers = tuple(value / depths for _ in range(depths)) if depths else None
        tokens.append(Token(token_text, piece, *place, place == TEMPLATE, value, scores, layers))
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


def scored(text: str, scores: list[float], text_pair: str | None = None, special: float = 0.5) -> Explanation:
    """An explanation with one token a word, of these scores, between special tokens."""
    tokens = [Token("", "[CLS]", *TEMPLATE, True, special)]
    word = 0
    for sequence, source in enumerate([text] if text_pair is None else [text, text_pair]):
        for start, end in segment_words(source):
            piece = source[start:end]
            tokens.append(Token(piece, piece, start, end, sequence, word, False, scores[word]))
            word += 1
        tokens.append(Token("", "[SEP]", *TEMPLATE, True, special))
    assert word == len(scores)
    return make(text, text_pair, tokens=tuple(tokens), sum=math.fsum(token.score for token in tokens))


def parts_of(explanation: Explanation) -> dict[str, Any]:
    """Its fields, to make another one of."""
    return {field.name: getattr(explanation, field.name) for field in dataclasses.fields(Explanation)}


def tokens_with(index: int, **changes: Any) -> tuple[Token, ...]:
    """The tokens of `make()`, with one of them changed."""
    tokens = list(make().tokens)
    tokens[index] = dataclasses.replace(tokens[index], **changes)
    return tuple(tokens)


def edit(document: Any, path: str, value: Any) -> Any:
    """The JSON form with another value at a path such as "tokens.3.score", or nothing there for `...`; in place."""
    *parents, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    inner = document
    for step in parents:
        inner = inner[step]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return document


# One of each kind there is; made when called for, so that what a class refuses fails in its own test.
EXAMPLES: dict[str, Callable[[], Explanation]] = {
    "single label": make,
    "one text": lambda: make(text_pair=None),
    "empty text": lambda: make("", None),
    "whitespace": lambda: make("  \n ", ""),
    "classes and layers": lambda: make(classes=("neg", "pos"), depths=3),
    "foil": lambda: make(
        foil=ClassRef("neg", 0),
        method=Method("mhex", "model", "fitted", "foil", False, "mask", True, 0.44, 0.8),
        model=ModelRef("org/name", "0123abc"),
        notes=("The heads choose neg.",),
        heads=HeadsChoice("neg", 0, False),
        truncated=True,
        windows=3,
    ),
    "multi-label": lambda: make(
        prediction=Prediction("a", 0, 0.9, {"a": 0.9, "b": 0.6, "pos": 0.1}, labels=("a", "b")), heads=None
    ),
    "regression": lambda: make(prediction=Prediction(None, None, None, None, value=2.5), heads=None),
    "two outputs": lambda: make(prediction=Prediction(None, None, None, None, value=(2.5, -1.0)), heads=None),
    "clamped": lambda: make(
        score=lambda i: max(0.0, (-1.0) ** i), sum=-2.0, method=dataclasses.replace(METHOD, non_negative=True)
    ),
    "place": lambda: make(place=Place("was", 3, 6, 0, "PER", (2,))),
    "place of a pair": lambda: make(place=Place(PAIR[3:9], 3, 9, 1, "answer", (13,))),
    "surrogate": lambda: make("a \ud800 b", None),
    "line separators": lambda: make('a\u2028b\u0085c\r\n"d"\\ </script>\x00', None),
    "numpy numbers": lambda: make(score=lambda i: np.float32(i) / np.float32(3), base_value=np.float64(1), windows=1),
    "whole numbers": lambda: make(score=lambda i: i, base_value=1),
}
