# SPDX-License-Identifier: Apache-2.0
"""Explanations on spaCy's Docs: extension attributes, spans and categories, and a Doc of an explanation."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from spacy.attrs import IDX
from spacy.language import Language
from spacy.tokens import Doc, Span, SpanGroup, Token

from ..explanation import Explanation
from ..render.highlight import LEVELS, to_levels
from ..render.palette import level_name, light_palette
from ..segmentation import assign_to_spans

KEY = "mhex"
_JSON = "mhex_json"  # what is kept in `doc.user_data`, and so by `Doc.to_bytes`


def set_extensions() -> None:
    """Registers `doc._.mhex`, `token._.mhex` and `span._.mhex`.

    Raises:
        ValueError: somebody else has registered an attribute of that name.
    """
    for owner, getter in ((Doc, _explanation_of), (Token, _score_of_token), (Span, _score_of_span)):
        if not owner.has_extension(KEY):
            owner.set_extension(KEY, getter=getter)
        elif owner.get_extension(KEY)[2] is not getter:
            raise ValueError(
                f"{owner.__name__}._.{KEY} must be free for mhex_nlp, got an extension that somebody else registered; "
                f"{owner.__name__}.remove_extension({KEY!r}) removes it."
            )
    if not Doc.has_extension(_JSON):
        Doc.set_extension(_JSON, default=None)


def attach(doc: Doc, explanation: Explanation) -> None:
    """Puts an explanation of `doc.text` on the Doc: attributes, `doc.spans["mhex"]` and `doc.cats`.

    The spans are the tokens that weigh something; their labels, "-10" to "+10", are the steps of their own scale.
    """
    set_extensions()
    setattr(doc._, _JSON, explanation.to_json())
    scores = token_scores(doc)
    levels = to_levels(scores)
    weighing = [
        Span(doc, index, index + 1, label=f"{level:+d}")
        for index, level in enumerate(levels)
        if level and not doc[index].is_space
    ]
    doc.spans[KEY] = SpanGroup(doc, name=KEY, spans=weighing, attrs={"target": explanation.target.label})
    doc.cats.update(_categories(explanation))


def token_scores(doc: Doc) -> list[float]:
    """The score of each of the Doc's tokens: the sum over the model's tokens whose first visible character it holds.

    With the model's special tokens they add up to `doc._.mhex.sum`. Zeros where the Doc has no explanation.
    """
    source = getattr(doc._, _JSON)
    if source is None or not len(doc):
        return [0.0] * len(doc)
    places = doc.to_array([IDX]).astype(np.int64).tobytes()
    return list(_token_scores(source, places))


def to_doc(explanation: Explanation, nlp: Language) -> Doc:
    """A Doc of the explanation's text, tokenised by `nlp`, as the component would have left it.

    No other component of `nlp` runs.

    Raises:
        TypeError: no Explanation.
        ValueError: an explanation of a pair, since a Doc is one text; or an `nlp` without a tokenizer.
    """
    if not isinstance(explanation, Explanation):
        raise TypeError(f"explanation must be an Explanation, got {type(explanation).__name__}.")
    if explanation.text_pair is not None:
        raise ValueError("explanation must be of one text, got one of a pair: a Doc holds one text.")
    if not callable(getattr(nlp, "make_doc", None)) or getattr(nlp, "tokenizer", None) is None:
        raise ValueError(f"nlp must be a spaCy pipeline with a tokenizer, got {type(nlp).__name__}.")
    doc = nlp.make_doc(explanation.text)
    attach(doc, explanation)
    return doc


def displacy_colors() -> dict[str, str]:
    """Colours of the labels in `doc.spans["mhex"]`, blue for and orange against, as pages have them.

    >>> displacy.render(doc, style="span", options={"spans_key": "mhex", "colors": displacy_colors()})
    """
    colours = light_palette()
    return {f"{level:+d}": colours[level_name(level)] for level in range(-LEVELS, LEVELS + 1) if level}


def _categories(explanation: Explanation) -> dict[str, float]:
    """Every class's probability; of a regression with one output its value."""
    prediction = explanation.prediction
    if prediction.probabilities is not None:
        return dict(prediction.probabilities)
    return {explanation.target.label: prediction.value} if isinstance(prediction.value, float) else {}


@lru_cache(maxsize=64)  # attributes are asked for token by token
def _read(source: str) -> Explanation:
    return Explanation.from_json(source)


@lru_cache(maxsize=64)
def _token_scores(source: str, places: bytes) -> tuple[float, ...]:
    explanation = _read(source)
    starts = np.frombuffer(places, dtype=np.int64).tolist()
    text = explanation.text
    spans = list(zip(starts, [*starts[1:], len(text)], strict=True))
    own = [token for token in explanation.tokens if not token.special]
    owners = assign_to_spans(text, [(token.start or 0, token.end or 0) for token in own], spans)
    parts: list[list[float]] = [[] for _ in starts]
    for token, owner in zip(own, owners, strict=True):
        parts[owner].append(token.score)
    return tuple(map(math.fsum, parts))


def _explanation_of(doc: Doc) -> Explanation | None:
    source: Any = getattr(doc._, _JSON)
    return None if source is None else _read(source)


def _score_of_token(token: Token) -> float:
    return token_scores(token.doc)[token.i]


def _score_of_span(span: Span) -> float:
    return math.fsum(token_scores(span.doc)[span.start : span.end])
