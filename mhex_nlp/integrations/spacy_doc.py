# SPDX-License-Identifier: Apache-2.0
"""Explanations on spaCy Docs: extension attributes, a span group, categories.

The JSON form is what a Doc keeps (`doc._.mhex_json`), since user data must survive msgpack; all else is computed from
it when asked for. Token and span scores are sums over characters, so they stay whole when tokens are merged or split.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from functools import lru_cache
from typing import Any, Literal

from spacy.language import Language
from spacy.tokens import Doc, Span, Token
from spacy.util import filter_spans

from ..explain.explanation import Explanation
from ..explain.positioned import PositionedExplanation, read_any
from ..explain.tags import OUTSIDE

AnyExplanation = Explanation | PositionedExplanation
KEY = "mhex"
TOP_K = 8  # spans of a text that displaCy shows legibly
Half = Literal["text", "text_pair"]


def register_extensions() -> None:
    """Makes `doc._.mhex`, `span._.mhex` and `token._.mhex` known to spaCy; needed only to read Docs that were saved.

    Raises:
        ValueError: one of the names is taken by other code.
    """
    extensions: list[tuple[Any, str, dict[str, Any]]] = [
        (Doc, KEY, {"getter": _explanation}),
        (Span, KEY, {"getter": _score}),
        (Token, KEY, {"getter": _score}),
        (Doc, f"{KEY}_json", {"default": None}),
        (Doc, f"{KEY}_half", {"default": "text"}),
    ]
    for kind, name, options in extensions:
        if kind.has_extension(name) and not _same(kind.get_extension(name), options):
            raise ValueError(
                f"the spaCy extension {kind.__name__}._.{name} is needed for explanations, got one that other code has "
                f"set; remove it with {kind.__name__}.remove_extension({name!r})."
            )
    for kind, name, options in extensions:
        kind.set_extension(name, force=True, **options)


def annotate(doc: Doc, explanation: AnyExplanation, top_k: int | None = TOP_K, half: Half = "text") -> Doc:
    """Puts an explanation of the text of `doc` on it, and returns it.

    Sets `doc._.mhex`, `doc.spans["mhex"]` (one span for each of the `top_k` strongest tokens, or with None for each
    that holds scores, labelled with its score) and `doc.cats` (label: probability; left as it is for regression).

    Of entities it sets `doc.ents`, of whole tokens, and the `_.mhex` of each is its Explanation; `doc.spans["mhex"]`
    holds all places explained, also those that overlap.

    Raises:
        ValueError: an explanation of another text.
    """
    register_extensions()
    if isinstance(explanation, PositionedExplanation):
        return _annotate_entities(doc, explanation)
    text = explanation.text if half == "text" else explanation.text_pair
    if doc.text != text:
        raise ValueError(f"explanation must be of the text of doc, {doc.text[:40]!r}, got one of {text!r:.42}.")
    doc._.mhex_json, doc._.mhex_half = explanation.to_json(), half
    _mark(doc, _Anchored(explanation, half), top_k)
    if explanation.prediction.probabilities is not None:
        doc.cats = {**doc.cats, **explanation.prediction.probabilities}
    return doc


def _annotate_entities(doc: Doc, explanation: PositionedExplanation) -> Doc:
    if doc.text != explanation.text:
        raise ValueError(
            f"explanation must be of the text of doc, {doc.text[:40]!r}, got one of {explanation.text!r:.42}."
        )
    doc._.mhex_json, doc._.mhex_half = explanation.to_json(), "text"
    spans = [span for one in explanation if (span := _span_of(doc, one)) is not None]
    doc.spans[KEY] = spans
    doc.ents = filter_spans([span for span in spans if span.label_ != OUTSIDE])
    return doc


def _span_of(doc: Doc, explanation: Explanation) -> Span | None:
    """The tokens of a Doc that a place touches, with its label."""
    place = explanation.place
    assert place is not None
    return doc.char_span(place.start, place.end, label=place.label, alignment_mode="expand")


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
    """Options for `displacy.render(doc, style="span", options=...)`: the span group in the colours of pages, blue for
    and orange against, as deep as `render/ink.py` says.
    """
    from ..render.highlight import highlight, to_levels  # imported late: starting spaCy needs no templates
    from ..render.palette import level_name, light_palette

    scores = {span.label_: float(span.label_) for span in doc.spans.get(KEY, [])}
    palette, colors, explanation = light_palette(), {}, doc._.mhex
    full = highlight(explanation.to_dict()).full if isinstance(explanation, Explanation) else None
    for (label, score), level in zip(scores.items(), to_levels(list(scores.values()), full), strict=True):
        weakest = int(math.copysign(1, score)) if score else 0  # a score that is not 0 shows its side
        colors[label] = palette[level_name(level or weakest)] if score else palette["bg"]
    return {"spans_key": KEY, "colors": colors}


def label_of(score: float) -> str:
    """A score as the label of its span: signed, two significant digits; few labels keep the string store small."""
    return f"{score:+.2g}" if score else "0"


class _Anchored:
    """Scores by the character that owns them, in ascending order: a token's first that is not whitespace."""

    def __init__(self, explanation: Explanation, half: str) -> None:
        text, sequence = (explanation.text, 0) if half == "text" else (explanation.text_pair or "", 1)
        pairs = []
        for token in explanation.tokens:
            if token.sequence == sequence and token.start is not None and token.end is not None:
                content = text[token.start : token.end].lstrip()
                # Whitespace, and a token without characters, belong to what stands before, as in `assign_to_spans`.
                pairs.append((token.end - len(content) if content else max(token.start - 1, 0), token.score))
        pairs.sort(key=lambda pair: pair[0])
        self.offsets, self.scores = [offset for offset, _ in pairs], [score for _, score in pairs]

    def of(self, doc: Doc, start: int, end: int) -> list[float]:
        """The scores in the spaCy tokens [start, end), with the space up to the next token."""
        if start >= end:
            return []
        stop = doc[end].idx if end < len(doc) else len(doc.text) + 1
        return self.scores[bisect_left(self.offsets, doc[start].idx) : bisect_left(self.offsets, stop)]


@lru_cache(maxsize=32)
def _read(document: str, half: str) -> tuple[AnyExplanation, _Anchored | None]:
    """Cached, since every token of a Doc calls it."""
    explanation = read_any(document)
    return explanation, _Anchored(explanation, half) if isinstance(explanation, Explanation) else None


def _explanation(doc: Doc) -> AnyExplanation | None:
    return None if doc._.mhex_json is None else _read(doc._.mhex_json, doc._.mhex_half)[0]


def _score(part: Span | Token) -> float | Explanation | None:
    """The score of a span or token; None where the Doc has no explanation. Of an entity's span its Explanation."""
    doc = part.doc
    if doc._.mhex_json is None:
        return None
    start, end = (part.i, part.i + 1) if isinstance(part, Token) else (part.start, part.end)
    explanation, scores = _read(doc._.mhex_json, doc._.mhex_half)
    if scores is not None:
        return math.fsum(scores.of(doc, start, end))
    assert isinstance(explanation, PositionedExplanation)
    ends = ((one, _span_of(doc, one)) for one in explanation)
    return next((one for one, span in ends if span is not None and (span.start, span.end) == (start, end)), None)


def _mark(doc: Doc, scores: _Anchored, top_k: int | None) -> None:
    scored = [(index, math.fsum(parts)) for index in range(len(doc)) if (parts := scores.of(doc, index, index + 1))]
    if top_k is not None:
        scored = sorted(sorted(scored, key=lambda pair: -abs(pair[1]))[:top_k])
    doc.spans[KEY] = [Span(doc, index, index + 1, label=label_of(score)) for index, score in scored]


def _same(registered: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Whether an extension is the one we set, also after a module was reloaded."""
    default, method, getter, setter = registered
    if method is not None or setter is not None:
        return False
    return default == options.get("default") and _qualified(getter) == _qualified(options.get("getter"))


def _qualified(function: Any) -> tuple[Any, Any]:
    return getattr(function, "__module__", None), getattr(function, "__qualname__", None)
