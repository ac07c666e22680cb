# SPDX-License-Identifier: Apache-2.0
"""From the numbers of a batch to its Explanations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .._version import __version__
from ..inputs.alignment import AlignedToken, align
from ..inputs.encoding import TokenisedText
from .explanation import Explanation, HeadsChoice, Method, Token
from .request import Request
from .scores import Attributed


def assemble(
    items: Sequence[TokenisedText],
    names: Sequence[str],
    found: Attributed,
    asked: Request,
    aligned: Sequence[Sequence[AlignedToken]] | None = None,
) -> Iterator[Explanation]:
    """The explanations of a batch, in its order; `aligned` are the tokens' places where they are known already."""
    table, method = asked.table, describe_method(asked)
    for row, (item, name) in enumerate(zip(items, names, strict=True)):
        heads = table.heads_choice(found.explained[row], found.logits[row]) if asked.fit is None else None
        places = align_item(item, asked.language) if aligned is None else aligned[row]
        tokens = _tokens(places, found, row)
        yield Explanation(
            id=name,
            text=item.text,
            text_pair=item.text_pair,
            prediction=table.prediction(found.logits[row]),
            target=table.ref(found.targets[row]),
            foil=None if asked.foil is None else table.ref(asked.foil),
            method=method,
            model=asked.model,
            library=f"mhex_nlp {__version__}",
            heads=heads,
            tokens=tokens,
            sum=float(found.sums[row]) if asked.non_negative else math.fsum(token.score for token in tokens),
            base_value=float(found.bases[row]),
            classes=table.labels if asked.all_classes else None,
            truncated=item.truncated,
            windows=max(1, len(item.windows)),
            notes=notes_of(item, heads, asked.fit),
        )


def align_item(item: TokenisedText, language: str | None) -> list[AlignedToken]:
    """The tokens of a text with their places and words in it."""
    return align(item.encoding, item.text, item.text_pair, language=language)


def _tokens(places: Sequence[AlignedToken], found: Attributed, row: int) -> tuple[Token, ...]:
    size = len(places)
    scores = found.scores[row, :size].tolist()
    classes, layers = (
        [None] * size if each is None else [tuple(values) for values in each[row, :size].tolist()]
        for each in (found.class_scores, found.layer_scores)
    )
    return tuple(
        Token(
            text=aligned.text,
            piece=aligned.piece,
            start=aligned.start,
            end=aligned.end,
            sequence=aligned.sequence,
            word=aligned.word,
            special=aligned.special,
            score=scores[index],
            scores=classes[index],
            layers=layers[index],
        )
        for index, aligned in enumerate(places)
    )


def describe_method(asked: Request) -> Method:
    """How the scores of a request come about, as explanations tell it."""
    aggregation: Any = asked.aggregation
    kind: Any = asked.contrast
    if asked.fit is None:
        return Method("mhex", "heads", aggregation, kind, asked.non_negative, None, False, None, None)
    removal, skill, r2 = (asked.fit.get(name) for name in ("removal", "skill", "r2"))
    return Method("mhex", "model", aggregation, kind, asked.non_negative, removal, True, skill, r2)


def notes_of(item: TokenisedText, heads: HeadsChoice | None, fit: Mapping[str, Any] | None) -> tuple[str, ...]:
    """What a reader must know of one explanation, a sentence each."""
    notes = [item.cut_note()] if item.truncated else []
    if item.windows:
        notes.append(item.windows_note())
    if fit is not None and fit.get("skill_interval", [1.0])[0] <= 0:
        notes.append(
            f"Do not trust single words: on held-out texts the fit has skill {fit['skill']:.2f}, no better than none."
        )
    if heads is not None and not heads.agrees:
        notes.append(f"The heads choose {heads.label}, the model does not: the scores explain the heads.")
    return tuple(notes)
