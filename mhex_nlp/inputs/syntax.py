# SPDX-License-Identifier: Apache-2.0
"""Sentences and phrases of a source text as a spaCy pipeline of the user's finds them.

spaCy is never imported here: whoever has a pipeline has done so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .segmentation import CharSpan, trimmed
from .texts import encodable

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc


def parsed_sentences(nlp: Language, text: str) -> list[CharSpan]:
    """Spans of the sentences of `text` by the boundaries that `nlp` sets, without outer whitespace."""
    if not text.strip():
        return [(0, len(text))] if text else []
    boundaries = "set sentence boundaries: add a parser, a senter or nlp.add_pipe('sentencizer')"
    doc = _read(nlp, text, "SENT_START", boundaries)
    return _cut(text, [sentence.start_char for sentence in doc.sents])


def parsed_phrases(nlp: Language, text: str) -> list[CharSpan]:
    """Spans of the phrases of `text`, in order: noun chunks, and the runs between them within a sentence.

    Together they hold every character that is not whitespace, each once. A text of whitespace alone is one phrase; ""
    has none.
    """
    if not text.strip():
        return [(0, len(text))] if text else []
    parser = "have a parser, as trained pipelines such as en_core_web_sm have, for there to be noun chunks"
    doc = _read(nlp, text, "DEP", parser)
    try:
        chunks = [(chunk.start, chunk.end) for chunk in doc.noun_chunks]
    except NotImplementedError:
        raise ValueError(
            f"nlp must be for a language whose noun chunks spaCy knows, such as 'en', got {nlp.lang!r}."
        ) from None
    owner = [-1] * len(doc)
    for number, (start, end) in enumerate(chunks):
        owner[start:end] = [number] * (end - start)
    sentences = {sentence.start for sentence in doc.sents} if doc.has_annotation("SENT_START") else set()
    starts = [i for i in range(len(doc)) if i == 0 or i in sentences or owner[i] != owner[i - 1]]
    return _cut(text, [doc[index].idx for index in starts])


def _read(nlp: Any, text: str, annotation: str, need: str) -> Doc:
    if not callable(nlp) or not hasattr(nlp, "pipe_names"):
        raise TypeError(f"nlp must be a spaCy pipeline, as spacy.load returns it, got {type(nlp).__name__}.")
    readable = encodable(text)
    doc: Doc = nlp(readable)
    if doc.text != readable:
        raise ValueError(f"nlp must keep the text as it is, got {doc.text[:40]!r} for {text[:40]!r}.")
    if not doc.has_annotation(annotation):
        raise ValueError(f"nlp must {need}; got a pipeline of {', '.join(nlp.pipe_names) or 'a tokenizer alone'}.")
    return doc


def _cut(text: str, starts: list[int]) -> list[CharSpan]:
    """The spans that begin at `starts`, the first with the text; each ends where the next begins."""
    return trimmed(text, zip([0, *starts[1:]], [*starts[1:], len(text)], strict=True))
