# SPDX-License-Identifier: Apache-2.0
"""One Explanation for each text of a batch, from its `Scores`, the `Request` and the aligned tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from .._version import __version__
from ..inputs.alignment import AlignedToken, align
from ..inputs.encoding import TokenisedText
from .explanation import Explanation, Method, Place, Token
from .notes import notes_of, usual_misfit
from .request import Request
from .scores import Scores


def assemble(
    items: Sequence[TokenisedText],
    ids: Sequence[str],
    scores: Scores,
    request: Request,
    aligned: Sequence[Sequence[AlignedToken]] | None = None,
    places: Sequence[Place] | None = None,
) -> Iterator[Explanation]:
    """The explanations of a batch, in its order.

    `aligned` are the tokens of each text where they are known already, `places` what of the texts is explained.
    """
    table, method = request.table, describe_method(request, scores.fit_holds)
    for row, (item, id) in enumerate(zip(items, ids, strict=True)):
        heads = table.heads_choice(scores.explained[row], scores.logits[row]) if request.of_heads else None
        answer = None if scores.answers is None else scores.answers[row]
        notes = notes_of(item, heads, request, scores, row)
        tokens = _tokens(align_item(item, request.language) if aligned is None else aligned[row], scores, row)
        yield Explanation(
            id=id,
            text=item.text,
            text_pair=item.text_pair,
            prediction=table.prediction(scores.logits[row], *((answer.predicted, answer.chances) if answer else ())),
            target=table.class_ref(scores.targets[row]),
            foil=None if scores.foils is None else table.class_ref(scores.foils[row]),
            method=method,
            model=request.model,
            library=f"mhex_nlp {__version__}",
            heads=heads,
            tokens=tokens,
            sum=float(scores.sums[row]) if request.non_negative else math.fsum(token.score for token in tokens),
            base_value=float(scores.bases[row]),
            classes=table.labels if request.all_classes else None,
            truncated=item.truncated,
            windows=item.window_count,
            notes=tuple(note.sentence for note in notes),
            note_codes=tuple(note.code for note in notes),
            passes=1 + request.budget if scores.passes is None else scores.passes[row],
            covariance=_covariance(scores, row, len(tokens)),
            settled=None if scores.settled is None else scores.settled[row],
            misfit=None if math.isnan(scores.misfits[row]) else float(scores.misfits[row]),
            place=None if places is None else places[row],
            flips=None if scores.flips is None else scores.flips[row],
            depths=_depths(request, scores),
        )


def align_item(item: TokenisedText, language: str | None) -> list[AlignedToken]:
    """The tokens of a text with their places and words in it."""
    return align(item.encoding, item.text, item.text_pair, language=language)


def _tokens(aligned: Sequence[AlignedToken], scores: Scores, row: int) -> tuple[Token, ...]:
    size = len(aligned)
    by_class, by_layer = (
        [None] * size if values is None else [tuple(row_values) for row_values in values[row, :size].tolist()]
        for values in (scores.class_scores, scores.layer_scores)
    )
    errors: list[float | None] = [None] * size
    if scores.covariances is not None:
        errors = [max(value, 0.0) ** 0.5 for value in scores.covariances[row].diagonal()[:size].tolist()]
    return tuple(
        Token(*token, score, by_class[index], by_layer[index], errors[index])  # its first fields: an AlignedToken's
        for index, (token, score) in enumerate(zip(aligned, scores.scores[row, :size].tolist(), strict=True))
    )


def _depths(request: Request, scores: Scores) -> tuple[int, ...] | None:
    """The numbers of the depths that scores are told apart by: 0 is the stream that enters the first layer."""
    if scores.layer_scores is None:
        return None
    return tuple(range(1, scores.layer_scores.shape[2] + 1)) if request.fit is None else tuple(request.fit["depths"])


def _covariance(scores: Scores, row: int, size: int) -> tuple[tuple[float, ...], ...] | None:
    """The lower triangle, in the five digits that standard deviations are worth."""
    if scores.covariances is None:
        return None
    whole = scores.covariances[row]
    return tuple(tuple(float(f"{value:.5g}") for value in whole[index, : index + 1]) for index in range(size))


def describe_method(request: Request, fit_holds: bool | None) -> Method:
    """How the scores of a request come about, as explanations tell it.

    No figure of a fit is told that is not known (`fit_holds`) to be of the model's weights.
    """
    aggregation: Any = request.aggregation
    kind: Any = request.contrast
    if request.fit is None:
        explains: Any = "heads" if request.of_heads else "model"
        return Method("mhex", explains, aggregation, kind, request.non_negative, None, False, None, None)
    figures = {name: request.fit.get(name) for name in ("skill", "r2", "absolute_skill", "attainable")}
    if figures["absolute_skill"] is None:  # fits of earlier versions measured that one alone, and called it skill
        figures |= {"skill": None, "absolute_skill": figures["skill"]}
    figures["usual_misfit"] = usual_misfit(request)
    figures = figures if fit_holds else dict.fromkeys(figures)
    removal = request.fit.get("removal")
    return Method("mhex", "model", aggregation, kind, request.non_negative, removal, True, **figures)
