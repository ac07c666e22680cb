# SPDX-License-Identifier: Apache-2.0
"""One Explanation for each text of a batch, from its `Scores`, the `Request` and the aligned tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .._version import __version__
from ..inputs.alignment import AlignedToken, align
from ..inputs.encoding import TokenisedText
from ..inputs.scripts import foreign_script
from .explanation import Explanation, HeadsChoice, Method, Place, Token
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
            notes=notes_of(item, heads, request.fit, scores, row),
            passes=1 + request.budget if scores.passes is None else scores.passes[row],
            covariance=_covariance(scores, row, len(tokens)),
            settled=None if scores.settled is None else scores.settled[row],
            misfit=None if math.isnan(scores.misfits[row]) else float(scores.misfits[row]),
            place=None if places is None else places[row],
            flips=None if scores.flips is None else scores.flips[row],
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
    figures["usual_misfit"] = _usual_misfit(request)
    figures = figures if fit_holds else dict.fromkeys(figures)
    removal = request.fit.get("removal")
    return Method("mhex", "model", aggregation, kind, request.non_negative, removal, True, **figures)


def _usual_misfit(request: Request) -> float | None:
    """What nine in ten held-out texts of the fit do not exceed, which was measured for the predicted class."""
    if request.fit is None or "misfit" not in request.fit:
        return None
    squares = {"foil": 2.0, "centred": 1 - 1 / len(request.table), "none": 1.0}  # of the norms of contrasts
    return float(request.fit["misfit"][1] * (squares[request.contrast] / squares[request.fit["contrast"]]) ** 0.5)


def notes_of(
    item: TokenisedText, heads: HeadsChoice | None, fit: Mapping[str, Any] | None, scores: Scores, row: int
) -> tuple[str, ...]:
    """What a reader must know of one explanation, row `row` of the scores, a sentence each."""
    fit_holds = scores.fit_holds
    notes = [item.cut_note()] if item.truncated else []
    if item.windows:
        notes.append(item.windows_note())
    if fit is not None and not fit_holds:
        unknown = "does not record which weights it was made on" if fit_holds is None else "was made on other weights"
        notes.append(f"The fit {unknown}: how far to trust these scores is not known.")
    elif fit is not None and fit.get("skill_interval", [1.0])[0] <= 0:
        notes.append(
            f"Do not trust single words: on held-out texts the fit has skill {fit['skill']:.2f}, no better than none."
        )
    if fit is not None:
        notes += _other_kind(item, fit)
    if scores.settled is not None and scores.passes is not None and not scores.settled[row]:
        notes.append(f"After {scores.passes[row] - 1} further passes the ranking of the leading words is still open.")
    if scores.answers is not None:
        notes += scores.answers[row].notes
    if heads is not None and not heads.agrees:
        notes.append(f"The heads choose {heads.label}, the model does not: the scores explain the heads.")
    return tuple(notes)


def _other_kind(item: TokenisedText, fit: Mapping[str, Any]) -> list[str]:
    """How a text differs from those that its fit was made on."""
    notes, pair = [], item.text_pair is not None
    if fit.get("pairs", pair) is not pair:
        kinds = ("pairs of texts", "a single text") if fit["pairs"] else ("single texts", "a pair")
        notes.append(f"The fit was made on {kinds[0]}, and this is {kinds[1]}.")
    tokens = max(len(part.content_positions(causal=False)) for part in item.inputs)
    if tokens > fit.get("longest", tokens):
        notes.append(f"The fit was made on texts of at most {fit['longest']} tokens, and this has {tokens}.")
    scripts = fit.get("scripts")
    if scripts and (foreign := foreign_script(" ".join(item.sources), scripts)):
        notes.append(f"The fit was made on texts in {' and '.join(scripts)} letters, and this is mostly in {foreign}.")
    return notes
