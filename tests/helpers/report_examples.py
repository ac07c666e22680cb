# SPDX-License-Identifier: Apache-2.0
"""Explanations written by hand, in any number: a token for each word between spaces."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mhex_nlp import Explanation
from mhex_nlp.explain.parts import ClassRef, HeadsChoice, Method, ModelRef, Prediction, Token

METHOD = Method("mhex", "model", "fitted", "centred", False, "mask", True, 0.71, 0.64)
LABELS = ("negative", "positive")


def example(
    text: str,
    *,
    id: str = "0",
    label: str | None = "positive",
    probability: float = 0.9,
    labels: Sequence[str] = LABELS,
    target: str | None = None,
    foil: str | None = None,
    scores: Mapping[str, float] | None = None,
    text_pair: str | None = None,
    value: float | tuple[float, ...] | None = None,
    chosen: Sequence[str] | None = None,
    model: str = "reviews-minilm",
    revision: str | None = None,
    library: str = "mhex_nlp",
    notes: Sequence[str] = (),
    every_class: bool = False,
    depths: int = 0,
) -> Explanation:
    """One text; words in `scores` have that score, others small ones of both signs.

    Args:
        label: predicted, with `probability`; the other `labels` share the rest.
        value: makes it a regression.
        chosen: makes it multi-label, with these labels at 0.5 and up.
        every_class, depths: adds scores for each class, or for so many layers.
    """
    tokens = [_special("[CLS]", 0.1)]
    for sequence, source in enumerate((text,) if text_pair is None else (text, text_pair)):
        for match in re.finditer(r"\S+", source):
            word = len(tokens)
            score = (scores or {}).get(match[0], ((7 * word) % 11 - 5) / 20)
            tokens.append(Token(match[0], match[0], *match.span(), sequence, word, False, score))
        tokens.append(_special("[SEP]", -0.05))
    prediction, names = _prediction(label, probability, labels, value, chosen)
    target = str(target if target is not None else label if value is None else "stars")
    tokens = [_with_parts(token, len(names) if every_class else 0, depths) for token in tokens]
    ids = {name: index for index, name in enumerate(names)}
    return Explanation(
        id=id,
        text=text,
        text_pair=text_pair,
        prediction=prediction,
        target=ClassRef(target, ids.get(target, 0)),
        foil=None if foil is None else ClassRef(foil, ids.get(foil, 0)),
        method=METHOD,
        model=ModelRef(model, revision),
        library=library,
        heads=None if value is not None else HeadsChoice(names[-1], len(names) - 1, names[-1] == label),
        tokens=tuple(tokens),
        classes=tuple(names) if every_class else None,
        sum=sum(token.score for token in tokens),
        base_value=0.04,
        truncated=False,
        windows=1,
        notes=tuple(notes),
    )


def _special(piece: str, score: float) -> Token:
    return Token("", piece, None, None, None, None, True, score)


def _prediction(
    label: str | None,
    probability: float,
    labels: Sequence[str],
    value: float | tuple[float, ...] | None,
    chosen: Sequence[str] | None,
) -> tuple[Prediction, list[str]]:
    if value is not None:
        return Prediction(None, None, None, None, value=value), ["stars"]
    names = list(labels)
    shares = dict.fromkeys(names, (1 - probability) / max(1, len(names) - 1))
    shares[str(label)] = probability
    if chosen is not None:
        shares.update(dict.fromkeys(chosen, probability))
    index = names.index(label) if label in names else 0
    return Prediction(label, index, probability, shares, None if chosen is None else tuple(chosen)), names


def _with_parts(token: Token, classes: int, depths: int) -> Token:
    parts: dict[str, Any] = {name: getattr(token, name) for name in Token.__slots__}
    if classes:
        parts["scores"] = tuple(token.score * (index + 1) / classes - 0.1 * (index % 2) for index in range(classes))
    if depths:
        parts["layers"] = tuple(token.score * (depth + 1) / depths for depth in range(depths))
    return Token(**parts)
