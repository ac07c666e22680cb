# SPDX-License-Identifier: Apache-2.0
"""Explanations on spaCy Docs: extension attributes, a span group, categories.

The JSON form is what a Doc keeps (`doc._.mhex_json`), since user data must survive msgpack; all else is computed from
it when asked for. Token and span scores are sums over characters, so they stay whole when tokens are merged or split.
"""

from __future__ import annotations

import bisect
import math
from functools import lru_cache
from typing import Any, Literal

from spacy.language import Language
from spacy.tokens import Doc, Span, Token

from ..explain.explanation import Explanation

KEY = "mhex"
Half = Literal["text", "text_pair"]


def register_extensions() -> None:
    """Makes `doc._.mhex`, `span._.mhex` and `token._.mhex` known to spaCy; needed only to read Docs that were saved.

    Raises:
        ValueError: one of the names is taken by other code.
    """
    wanted: list[tuple[Any, str, dict[str, Any]]] = [
        (Doc, KEY, {"getter": _explanation}),
        (Span, KEY, {"getter": _span_score}),
        (Token, KEY, {"getter": _token_score}),
        (Doc, f"{KEY}_json", {"default": None}),
        (Doc, f"{KEY}_half", {"default": "text"}),
    ]
    for kind, name, given in wanted:
        if kind.has_extension(name) and not _same(kind.get_extension(name), given):
            raise ValueError(
                f"the spaCy extension {kind.__name__}._.{name} is needed for explanations, got one that other code has "
                f"set; remove it with {kind.__name__}.remove_extension({name!r})."
            )
    for kind, name, given in wanted:
        kind.set_extension(name, force=True, **given)


def annotate(doc: Doc, explanation: Explanation, top_k: int | None = None, half: Half = "text") -> Doc:
    """Puts an explanation of the text of `doc` on it, and returns it.

    Sets `doc._.mhex`, `doc.spans["mhex"]` (one span for each token that holds scores, labelled with its score; with
    `top_k` the strongest alone) and `doc.cats` (label: probability; left as it is for regression).

    Raises:
        ValueError: an explanation of another text.
    """
    register_extensions()
    text = explanation.text if half == "text" else explanation.text_pair
    if doc.text != text:
        raise ValueError(f"explanation must be of the text of doc, {doc.text[:40]!r}, got one of {text!r:.42}.")
    doc._.mhex_json, doc._.mhex_half = explanation.to_json(), half
    _mark(doc, _anchored(explanation, half), top_k)
    if explanation.prediction.probabilities is not None:
        doc.cats = {**doc.cats, **explanation.prediction.probabilities}
    return doc


def clear(doc: Doc) -> Doc:
    """Leaves a Doc that has no text to explain without an explanation: `doc._.mhex` is None, the span group empty."""
    register_extensions()
    doc._.mhex_json = None
    doc.spans[KEY] = []
    return doc


def to_doc(explanation: Explanation, nlp: Language, half: Half | None = None) -> Doc:
    """An explanation as a Doc, tokenised by `nlp` and annotated as the component does.

    Args:
        explanation: of a text, or of a pair.
        nlp: the pipeline whose tokenizer is used; its components do not run.
        half: for a pair, "text" or "text_pair": a Doc holds one of them. `doc._.mhex` is the whole explanation, token
            and span scores are those of the half.

    Raises:
        TypeError: not an Explanation, or not a pipeline with a tokenizer.
        ValueError: a pair without `half`, half of no pair, or a tokenizer that changes the text.
    """
    if not isinstance(explanation, Explanation):
        raise TypeError(f"explanation must be an Explanation, got {type(explanation).__name__}.")
    if not isinstance(nlp, Language) or not callable(getattr(nlp, "tokenizer", None)):
        raise TypeError(f"nlp must be a spaCy pipeline with a tokenizer, got {type(nlp).__name__}.")
    if half not in (None, "text", "text_pair"):
        raise ValueError(f"half must be 'text' or 'text_pair', got {half!r}.")
    pair = explanation.text_pair is not None
    if half is None and pair:
        raise ValueError(
            "explanation is of a pair of texts and a Doc holds one: take half='text' or half='text_pair', got None."
        )
    if half == "text_pair" and not pair:
        raise ValueError("half='text_pair' needs an explanation of a pair of texts, got one of a single text.")
    chosen: Half = half or "text"
    text = explanation.text if chosen == "text" else explanation.text_pair or ""
    try:
        doc = nlp.make_doc(text)
    except UnicodeEncodeError as error:
        raise ValueError(f"explanation must have a text that UTF-8 can hold, got {text!r:.42}.") from error
    if doc.text != text:
        raise ValueError(f"nlp must have a tokenizer that keeps the text, got {doc.text[:40]!r} of {text!r:.42}.")
    return annotate(doc, explanation, half=chosen)


def displacy_options(doc: Doc) -> dict[str, Any]:
    """Options for `displacy.render(doc, style="span", options=...)`: the span group, blue for and orange against, the
    stronger the deeper, as on pages.
    """
    from ..render.highlight import to_levels  # templates and colours are no matter of starting spaCy
    from ..render.palette import level_name, light_palette

    scores = {span.label_: float(span.label_) for span in doc.spans.get(KEY, [])}
    palette, colors = light_palette(), {}
    for (label, score), level in zip(scores.items(), to_levels(list(scores.values())), strict=True):
        weakest = int(math.copysign(1, score)) if score else 0  # a score that is not 0 shows its side
        colors[label] = palette[level_name(level or weakest)] if score else palette["bg"]
    return {"spans_key": KEY, "colors": colors}


def label_of(score: float) -> str:
    """A score as the label of its span: signed, two digits that count; few labels, so the string store stays small."""
    return f"{score:+.2g}" if score else "0"


class _Anchored:
    """Scores by the character that owns them, in ascending order: a token's first that is not whitespace."""

    def __init__(self, pairs: list[tuple[int, float]]) -> None:
        self.places = [place for place, _ in pairs]
        self.scores = [score for _, score in pairs]

    def slice(self, start: int, end: int) -> list[float]:
        """The scores owned by the characters [start, end)."""
        return self.scores[bisect.bisect_left(self.places, start) : bisect.bisect_left(self.places, end)]


def _anchored(explanation: Explanation, half: str) -> _Anchored:
    text, sequence = (explanation.text, 0) if half == "text" else (explanation.text_pair or "", 1)
    pairs = []
    for token in explanation.tokens:
        if token.sequence == sequence and token.start is not None and token.end is not None:
            content = text[token.start : token.end].lstrip()
            # whitespace, or nothing at all, belongs to what stands before it, as in `assign_to_spans`
            place = token.end - len(content) if content else max(token.start - 1, 0)
            pairs.append((place, token.score))
    return _Anchored(sorted(pairs, key=lambda pair: pair[0]))


@lru_cache(maxsize=32)
def _read(document: str, half: str) -> tuple[Explanation, _Anchored]:
    """Remembered, since every token of a Doc asks."""
    explanation = Explanation.from_json(document)
    return explanation, _anchored(explanation, half)


def _stored(doc: Doc) -> tuple[Explanation, _Anchored] | None:
    document = doc._.mhex_json
    return None if document is None else _read(document, doc._.mhex_half)


def _explanation(doc: Doc) -> Explanation | None:
    found = _stored(doc)
    return found and found[0]


def _token_score(token: Token) -> float | None:
    return _range_score(token.doc, token.i, token.i + 1)


def _span_score(span: Span) -> float | None:
    return _range_score(span.doc, span.start, span.end)


def _range_score(doc: Doc, start: int, end: int) -> float | None:
    """The sum over the tokens [start, end); None where the Doc has no explanation."""
    found = _stored(doc)
    return None if found is None else math.fsum(found[1].slice(*_characters(doc, start, end)))


def _characters(doc: Doc, start: int, end: int) -> tuple[int, int]:
    """The characters of the tokens [start, end), up to the next token: the space between belongs to the one before."""
    if start >= end:
        return 0, 0
    return doc[start].idx, doc[end].idx if end < len(doc) else len(doc.text) + 1


def _mark(doc: Doc, scores: _Anchored, top_k: int | None) -> None:
    found = []
    for token in doc:
        if own := scores.slice(*_characters(doc, token.i, token.i + 1)):
            found.append((token.i, math.fsum(own)))
    if top_k is not None:
        found = sorted(sorted(found, key=lambda each: -abs(each[1]))[:top_k])
    doc.spans[KEY] = [Span(doc, index, index + 1, label=label_of(score)) for index, score in found]


def _same(registered: tuple[Any, ...], given: dict[str, Any]) -> bool:
    """Whether an extension is the one we set, also after a module was reloaded."""
    default, method, getter, setter = registered
    wanted = given.get("getter")
    if method is not None or setter is not None or (getter is None) != (wanted is None):
        return False
    if wanted is None:
        return bool(default == given["default"])
    named = (getattr(getter, "__module__", None), getattr(getter, "__qualname__", None))
    return named == (wanted.__module__, wanted.__qualname__)
