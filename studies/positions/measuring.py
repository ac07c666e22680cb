# SPDX-License-Identifier: Apache-2.0
"""Places of held-out texts, a reference for each, and how far each method's scores are from it.

Everything is judged on the other tokens of the text: the place's own stay as they are.

Axes: n content tokens beside the place, K bins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mhex_nlp.evaluation.benchmark.gradients import gradient_scores
from mhex_nlp.evaluation.benchmark.peers import captum_integrated_gradients
from mhex_nlp.evaluation.metrics.arrays import Floats
from mhex_nlp.evaluation.metrics.perturbation import comprehensiveness, sufficiency
from mhex_nlp.evaluation.metrics.ranking import spearman
from mhex_nlp.evaluation.metrics.shapley import sampled_shapley
from mhex_nlp.evaluation.model_values import TextValues, perturb
from mhex_nlp.inputs.removal import random_subsets

from .placed import PlacedClassifier, values_at

PERMUTATIONS = {"entities": 32, "answers": 8}  # of the reference, antithetic, reverses included
PAIRS = 32  # of random halves, for the paired skill
FEWEST = 6  # other tokens: fewer have no ranking worth a figure
BUDGETS = (0, 8, 16, 32)
METHODS = ("integrated_gradients-50", "integrated_gradients-20", "leave_one_out", "gradient_norm", "rollout", "random")


@dataclass(frozen=True)
class Placed:
    """One place of one text.

    `explained` says what is explained of it, `chance` the probability that removal lowers; both of the same units.
    `explanations` holds ours by budget, `positions` where the label is read from.
    """

    text: int
    explained: TextValues
    chance: TextValues
    target: int
    positions: tuple[int, ...]
    explanations: dict[int, Any]


def entity_places(model: Any, tokenizer: Any, explainer: Any, texts: Sequence[str], most: int) -> Iterator[Placed]:
    """The predicted entities of the texts, no more than `most`, with the explainer's scores at every budget."""
    made = 0
    for number, text in enumerate(texts):
        by_budget = {budget: list(explainer(text, budget=budget, seed=number)) for budget in BUDGETS}
        for index, first in enumerate(by_budget[0]):
            starts = first_tokens(first)
            columns = [swapped(list(model.config.id2label.values()), place) for place in range(len(starts))]
            placed = PlacedClassifier(model, starts, columns)
            values = values_at(placed, tokenizer, first.place.tokens, text)
            if values.n < FEWEST:
                continue
            explanations = {budget: by_budget[budget][index] for budget in BUDGETS}
            yield Placed(number, values, values, first.target.id, tuple(starts), explanations)
            made += 1
            if made == most:
                return


def answer_places(
    model: Any, tokenizer: Any, explainer: Any, questions: Sequence[tuple[str, str]], most: int
) -> Iterator[Placed]:
    """The predicted answers, no more than `most`."""
    made = 0
    for number, (question, context) in enumerate(questions):
        explanations = {budget: explainer(question, context, budget=budget, seed=number) for budget in BUDGETS}
        place = explanations[0].place
        ends = (place.tokens[0], place.tokens[-1])
        explained, chance = (
            values_at(PlacedClassifier(model, ends, span_chance=flag), tokenizer, place.tokens, question, context)
            for flag in (False, True)
        )
        if explained.n < FEWEST:
            continue
        yield Placed(number, explained, chance, 0, ends, explanations)
        made += 1
        if made == most:
            return


def first_tokens(explanation: Any) -> list[int]:
    """The first token of each word of the place."""
    words = {}
    for token in explanation.place.tokens:
        words.setdefault(explanation.tokens[token].word, token)
    return list(words.values())


def swapped(labels: Sequence[str], word: int) -> list[int]:
    """For each label the one that a later word of the same entity has: B- and I- change places."""
    if word == 0:
        return list(range(len(labels)))
    other = {"B-": "I-", "I-": "B-"}
    return [labels.index(other.get(name[:2], name[:2]) + name[2:]) for name in labels]


def method_scores(name: str, place: Placed, seed: int) -> Floats:
    """(n,) scores of a method."""
    values = place.explained
    if name.startswith("mhex-"):
        return values.unit_scores(place.explanations[int(name.removeprefix("mhex-"))].scores)
    if name.startswith("integrated_gradients-"):
        steps = int(name.removeprefix("integrated_gradients-"))
        return captum_integrated_gradients(values.owner, [values], [place.target], steps)[0]
    value = values.explained(place.target)
    simple: dict[str, Callable[[], Floats]] = {
        "leave_one_out": lambda: _leave_one_out(value, values.n),
        "gradient_norm": lambda: gradient_scores("gradient_norm", values.owner, [values], [place.target])[0],
        "rollout": lambda: _rollout(place),
        "random": lambda: np.random.default_rng(seed).standard_normal(values.n),
    }
    return np.asarray(simple[name]())


def _leave_one_out(value: Any, n: int) -> Floats:
    whole = np.ones((1, n), dtype=bool)
    return np.asarray(value(whole)[0] - value(~np.eye(n, dtype=bool)))


@torch.inference_mode()
def _rollout(place: Placed) -> Floats:
    """Attention rollout (Abnar and Zuidema 2020), mean over heads, of the rows of the place."""
    values = place.explained
    model = values.owner.model.inner[0]
    inputs = {name: tensor[None] for name, tensor in values.item.features.items()}
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    attentions = model(**inputs, output_attentions=True).attentions
    model.set_attn_implementation(before)
    rows = torch.zeros(len(values.tokens))
    rows[list(place.positions)] = 1 / len(place.positions)
    for attention in reversed(attentions):
        rows = (rows + rows @ attention[0].mean(0)) / 2
    return values.unit_scores(rows.double().numpy())


def measure(place: Placed, names: Sequence[str], seed: int, permutations: int) -> dict[str, dict[str, float]]:
    """Figures of each method on one place; "shapley" is the reference itself."""
    values, n = place.explained, place.explained.n
    value = values.explained(place.target)
    reference = sampled_shapley(value, n, permutations=permutations, seed=seed)
    scores = {"shapley": reference.values, **{name: method_scores(name, place, seed) for name in names}}
    subsets = random_subsets(n, 2 * PAIRS, [77, seed])[:PAIRS].numpy()
    differences = np.asarray(value(subsets)) - np.asarray(value(~subsets))
    signs = 2.0 * subsets - 1
    total = float(value(np.ones((1, n), dtype=bool))[0] - value(np.zeros((1, n), dtype=bool))[0])
    figures = {}
    for name, row in scores.items():
        outputs = perturb([place.chance], [row], [place.target])
        shifted = row + (total - row.sum()) / n  # the whole text is right for all, as in the fit's skill
        figures[name] = {
            "comprehensiveness": float(comprehensiveness(outputs.full, outputs.without)[0]),
            "sufficiency": float(sufficiency(outputs.full, outputs.only)[0]),
            "spearman": float(spearman(row, reference.values)),
            "missed": float(np.square(differences - signs @ shifted).sum()),
        }
    even = float(np.square(differences - signs.sum(1) * total / n).sum())
    figures["shapley"] |= {"reliability": float(reference.corrected or 0.0), "even": even, "tokens": float(n)}
    return figures
