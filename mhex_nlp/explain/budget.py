# SPDX-License-Identifier: Apache-2.0
"""Spends a budget of further passes on a batch: its evidence, refined text by text (`refinement.py`).

Axes: B inputs of a batch, T tokens, N content tokens, C labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..inputs.encoding import TokenisedText
from .asked_model import AskedModel, asked
from .explanation import Explanation
from .refinement import Array, Mix, Prior, Sureness, chosen_pairs, refine
from .request import CallOptions, Request, RequestOptions
from .scores import Evidence, contrast_weights


class PlaceAlone(NamedTuple):
    """What the words of a place say alone: where its tokens are in an input, and the answer (C,) without even them.

    A place is never removed: without it a model's answer there is of another kind. Its own score is what it adds to the
    empty text, v(place) - v(empty), and the other tokens share the rest, v(N) - v(place).
    """

    positions: list[int]
    empty: Array


class Gradients(NamedTuple):
    """Integrated gradients of one input, and what they are of."""

    weights: Array  # (C,) of the labels in the contrast that is explained
    scores: Array  # (N,)
    passes: int  # that they cost


def refine_evidence(
    items: Sequence[TokenisedText], evidence: Evidence, request: Request, perturbed: AskedModel
) -> Evidence:
    """The evidence of a batch after `request.budget` further passes over each input, all of it of the model itself.

    The answer to the empty text is asked for besides, once for each length where tokens are removed by mask.

    Raises:
        ValueError: logits that are not finite.
    """
    positions = [item.removable_positions(request.causal) for item in items]
    gradients = ask_gradients(items, positions, evidence, request, perturbed)
    pairs = [
        chosen_pairs(len(p), (request.budget - (one.passes if one else 0)) // 2, request.seed)
        for p, one in zip(positions, gradients, strict=True)
    ]
    subsets = [np.concatenate([kept, ~kept, np.zeros((1, kept.shape[1]), dtype=bool)]) for kept in pairs]
    logits = asked(perturbed, items, subsets)
    return posterior_evidence(evidence, request, positions, pairs, logits, gradients, ask_places(items, perturbed))


def ask_places(items: Sequence[TokenisedText], perturbed: AskedModel) -> list[PlaceAlone | None]:
    """What the place of each input is beside its other tokens; None where it is explained as a whole."""
    empty_logits = getattr(perturbed, "empty_logits", None)
    if empty_logits is None:
        return [None] * len(items)
    answers = empty_logits(items)
    return [
        PlaceAlone(item.own_positions(), empty.double().numpy()) for item, empty in zip(items, answers, strict=True)
    ]


def ask_gradients(
    items: Sequence[TokenisedText],
    positions: Sequence[list[int]],
    evidence: Evidence,
    request: Request,
    perturbed: AskedModel,
) -> list[Gradients | None]:
    """Integrated gradients of each input where they pay at the request's budget; else None, as where there are none.

    They are of the class that the request names, or the input's own: that of a window may not be its text's.
    """
    gradients: list[Gradients | None] = [None] * len(items)
    mix = Prior.of(request.fit).mix
    if mix is None:
        return gradients
    weights = [contrast_weights(target, request, foil) for target, foil in _compared(evidence, request)]
    rows = [row for row, p in enumerate(positions) if mix.pays(len(p), request.budget) and weights[row].any()]
    if not rows:
        return gradients
    import torch  # no graph has gradients, nor a fit beside it that mixes them in

    from ..models.path_gradients import integrated_gradients

    chosen = torch.from_numpy(np.array([weights[row] for row in rows]))
    model: Any = perturbed
    ask = getattr(model, "gradients", None) or partial(integrated_gradients, model)
    scores_of_rows = ask([items[row] for row in rows], chosen, mix.steps)
    for row, scores in zip(rows, scores_of_rows or (), strict=False):
        gradients[row] = Gradients(weights[row], scores.numpy(), mix.passes)
    return gradients


def _compared(evidence: Evidence, request: Request) -> list[tuple[int, int | None]]:
    """The target, and where there is one the foil, of each input."""
    if evidence.answers is not None:
        return [(answer.target, answer.foil) for answer in evidence.answers]
    predicted: list[int] = evidence.logits.argmax(-1).tolist()
    return [(label if request.target is None else request.target, request.foil) for label in predicted]


def posterior_evidence(
    evidence: Evidence,
    request: Request,
    positions: Sequence[list[int]],
    pairs: Sequence[NDArray[np.bool_]],
    logits: Sequence[Array],
    gradients: Sequence[Gradients | None],
    places: Sequence[PlaceAlone | None],
) -> Evidence:
    """The evidence of a batch, refined by answers that are there.

    Args:
        evidence: of the one pass.
        request: of the call.
        positions: (N,) of each input's tokens that are removed.
        pairs: (P, N) of each input, one subset of each pair.
        logits: (2 P + 1, C) of each input: of these subsets, of their complements, of none of these tokens.
        gradients, places: of each input, or None.
    """
    centred = request.table.exclusive and request.contrast != "none"
    phi = evidence.per_depth.sum(2).astype(np.float64)  # (B, T, C)
    scores, sureness, empty = np.zeros_like(phi), [], []
    prior = Prior.of(request.fit)
    for row, (kept, said, gradient, place) in enumerate(zip(pairs, logits, gradients, places, strict=True)):
        start, whole = phi[row, positions[row]], evidence.logits[row].astype(np.float64)
        if centred:
            start, said, whole = (values - values.mean(-1, keepdims=True) for values in (start, said, whole))
        total, answers = whole - said[-1], said[: len(kept)] - said[len(kept) : -1]
        if request.fit is None:
            start = _scaled(start, kept, answers, total)
        if gradient is None or prior.mix is None:
            posterior = refine(kept, answers, start, total, prior)
        else:
            posterior = refine(kept, answers, _mixed(start, gradient, prior.mix), total, prior.mix.prior)
            posterior = replace(posterior, gradient_passes=gradient.passes)
        scores[row, positions[row]] = posterior.scores
        sureness.append((Sureness(positions[row], posterior),))
        empty.append(logits[row][-1] if place is None else place.empty)
        if place is not None:
            nothing = place.empty - place.empty.mean() if centred else place.empty
            missed = said[-1] - nothing - phi[row, place.positions].sum(0)
            scores[row, place.positions] = phi[row, place.positions] + missed / len(place.positions)
    per_depth = scores.astype(np.float32)[:, :, None]
    return replace(
        evidence,
        per_depth=per_depth,
        explained=evidence.logits,
        empty=np.stack(empty),
        sureness=tuple(sureness),
    )


def refine_explanations(explainer: Any, explanation: Any, options: RequestOptions) -> Any:
    """`MhexExplainer.refine`: those that were asked the same go through the explainer together.

    Raises:
        TypeError, ValueError: as there.
    """
    if not explainer.request(**options).budget:
        raise ValueError(f"budget must be at least 2 to refine, got {options['budget']}.")
    if isinstance(explanation, Explanation):
        return refine_explanations(explainer, [explanation], options)[0]
    several = None if isinstance(explanation, str) or not isinstance(explanation, Iterable) else list(explanation)
    for one in [explanation] if several is None else several:
        if not isinstance(one, Explanation):
            raise TypeError(f"explanation must be an Explanation, or several, got {type(one).__name__}.")
    groups: dict[Any, list[int]] = {}
    for number, one in enumerate(several or []):
        kind = one.target.id, one.foil and one.foil.id, one.classes is None, one.text_pair is None
        groups.setdefault(kind, []).append(number)
    refined: dict[int, Explanation] = {}
    for (target, foil, target_alone, single), numbers in groups.items():
        group = [several[number] for number in numbers] if several else []
        call: CallOptions = {**options, "target": target, "foil": foil, "ids": [one.id for one in group]}
        call["classes"] = "target" if target_alone else "all"
        pairs = None if single else [one.text_pair for one in group]
        refined.update(zip(numbers, explainer([one.text for one in group], pairs, **call), strict=True))
    for number, one in enumerate(several or []):
        check_same_model(one, refined[number])
        refined[number] = replace(refined[number], flips=one.flips)  # the model said so, whatever the scores are
    return [refined[number] for number in range(len(refined))]


def check_same_model(before: Explanation, after: Explanation) -> None:
    """ValueError where the two are not of one text and model: predictions and tokens would differ."""
    one, other = (
        [e.label, *((e.prediction.probabilities or {}).values()), *np.ravel(e.prediction.value or 0.0)]
        for e in (before, after)
    )
    same = one[0] == other[0] and len(one) == len(other) and np.allclose(one[1:], other[1:], rtol=1e-3, atol=1e-3)
    if not same or [token.piece for token in before.tokens] != [token.piece for token in after.tokens]:
        raise ValueError(
            f"explanation must be of the explainer's own model and weights, got one of {before.model.name} that "
            f"predicted {before.label} where the model now says {after.label}, or reads other tokens."
        )


def _mixed(scores: Array, gradients: Gradients, mix: Mix) -> Array:
    """(N, C) scores whose contrast is the mix; other contrasts stay."""
    weights = gradients.weights
    before = scores @ weights
    moved = mix.mean(before, gradients.scores) - before
    return scores + np.outer(moved, weights) / float(weights @ weights)


def _scaled(scores: Array, kept: NDArray[np.bool_], answers: Array, total: Array) -> Array:
    """Scores of heads, whose unit is not the model's: less their mean, times the scale that the answers ask for."""
    if not len(kept):
        return scores * 0
    x, apart = kept * 2.0 - 1, scores - scores.mean(0)
    predicted, left = x @ apart, answers - np.outer(x.sum(1), total / len(scores))
    size = float((predicted**2).sum())
    scale = max(float((predicted * left).sum()) / size, 0.0) if size > 0 else 0.0
    return scale * apart
