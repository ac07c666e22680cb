# SPDX-License-Identifier: Apache-2.0
"""Units of work: reference and answers of a block of texts, and each method's scores at each budget.

On disk are the scores of all tokens in a row and what removing top tokens does; agreement is worked out from them.

Axes: B texts of a block, n tokens of a text, P pairs of complementary subsets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from mhex_nlp.evaluation.benchmark.peers import captum_integrated_gradients
from mhex_nlp.evaluation.metrics.arrays import Bools, Floats
from mhex_nlp.evaluation.metrics.shapley import sampled_shapley
from mhex_nlp.evaluation.model_values import TextValues
from mhex_nlp.inputs.removal import random_subsets

from ..faithfulness.measuring import removed, targets_of
from ..faithfulness.models import Case, Columns, draw_texts
from .methods import BUDGETS, GAMES, ONCE, PEER_BUDGETS, Counted, Game

TABLE, BLOCK = "budget", 10
FIT_TEXTS = {"sst2": None, "ag_news": 1500}  # None: all training texts
PERMUTATIONS = 64  # of the reference, antithetic, reverses included
ANSWERS = 128  # random subsets of each text for the paired skill, in complementary pairs


def block_texts(case: Case, block: int) -> tuple[list[TextValues], list[int]]:
    """The texts of a block and the classes predicted for them."""
    texts = draw_texts(case, (block + 1) * BLOCK)[block * BLOCK :]
    return texts, targets_of(case, texts)


def block_units(case: Case, block: int) -> None:
    """Does all units of one block of texts: reference first, then peers, ours last."""
    texts, targets = block_texts(case, block)

    def unit(name: str, make: Callable[[Sequence[TextValues], Sequence[int]], Columns]) -> None:
        case.unit(TABLE, f"{name}-{block}", len(texts), lambda: make(texts, targets))

    unit("reference", partial(_reference, block))
    unit("answers", partial(_answers, block))
    for name, game in ONCE.items():
        unit(f"{name}-1", partial(_play, game, 1))
    for name, budgets in PEER_BUDGETS.items():
        for passes in budgets:
            if name == "integrated_gradients":
                unit(f"{name}-{passes}", partial(_gradients, case, passes))
            else:
                unit(f"{name}-{passes}", partial(_play, GAMES[name], passes))
    for passes in (0, *BUDGETS):
        unit(f"mhex_fitted-{passes}", partial(_ours, case, passes))
    unit("mhex_fitted-auto", partial(_auto, case))


def methods_and_budgets() -> Iterator[tuple[str, int]]:
    """All that `block_units` measures."""
    yield from ((name, 1) for name in ONCE)
    for name, budgets in {**PEER_BUDGETS, "mhex_fitted": (0, *BUDGETS)}.items():
        yield from ((name, passes) for passes in budgets)


def _columns(texts: Sequence[TextValues], scores: Sequence[Floats], targets: Sequence[int], **more: Any) -> Columns:
    lengths = np.asarray([len(row) for row in scores])
    return {"scores": np.concatenate(scores), "lengths": lengths, **removed(texts, scores, targets), **more}


def _reference(block: int, texts: Sequence[TextValues], targets: Sequence[int]) -> Columns:
    """Shapley values of the centred logit, with those of either half of the orders, (2, all tokens)."""
    estimates = [
        sampled_shapley(text.explained(target), text.n, permutations=PERMUTATIONS, seed=1000 * block + index)
        for index, (text, target) in enumerate(zip(texts, targets, strict=True))
    ]
    halves = np.concatenate([estimate.halves for estimate in estimates], axis=1)
    return _columns(texts, [estimate.values for estimate in estimates], targets, halves=halves)


def _answers(block: int, texts: Sequence[TextValues], targets: Sequence[int]) -> Columns:
    """What the model says of random pairs: `kept` (B, P, most n), `differences` (B, P), `total` (B,)."""
    kept, differences, total = [], [], []
    most = max(text.n for text in texts)
    for index, (text, target) in enumerate(zip(texts, targets, strict=True)):
        subsets, answers = ask_pairs(text, target, ANSWERS // 2, [99, block, index])
        differences.append(answers)
        whole, empty = np.ravel(text.explained(target)(np.array([[True] * text.n, [False] * text.n])))
        total.append(whole - empty)
        kept.append(np.pad(subsets, ((0, 0), (0, most - text.n))))
    return {"kept": np.stack(kept), "differences": np.stack(differences), "total": np.asarray(total)}


def ask_pairs(text: TextValues, target: int, pairs: int, seed: Sequence[int]) -> tuple[Bools, Floats]:
    """(P, n) one subset of each random pair, and (P,) what the model says of it less what it says of the other."""
    subsets = random_subsets(text.n, 2 * pairs, list(seed))[:pairs].numpy()
    value = text.explained(target)
    return subsets, np.asarray(value(subsets)) - np.asarray(value(~subsets))


def _play(game: Game, passes: int, texts: Sequence[TextValues], targets: Sequence[int]) -> Columns:
    scores, spent = [], []
    for index, (text, target) in enumerate(zip(texts, targets, strict=True)):
        value = Counted(text.explained(target))
        scores.append(np.nan_to_num(game(text, value, passes, index)))  # a peer's NaN says nothing of any token
        spent.append(value.passes)
    return _columns(texts, scores, targets, passes=np.asarray(spent))


def _gradients(case: Case, steps: int, texts: Sequence[TextValues], targets: Sequence[int]) -> Columns:
    scores = captum_integrated_gradients(case.values["mask"], texts, targets, steps)
    return _columns(texts, scores, targets, passes=np.full(len(texts), steps))


def _ours(case: Case, passes: int, texts: Sequence[TextValues], targets: Sequence[int]) -> Columns:
    """With the standard deviation of each token's error, where it has one."""
    explanations = case.explainer([text.item.text for text in texts], budget=passes)  # of the predicted classes
    scores = [text.unit_scores(e.scores) for text, e in zip(texts, explanations, strict=True)]
    tokens = [e.tokens[unit[0]] for text, e in zip(texts, explanations, strict=True) for unit in text.units]
    errors = np.asarray([np.nan if token.error is None else token.error for token in tokens])
    spent = np.asarray([e.passes - 1 for e in explanations])
    return _columns(texts, scores, targets, errors=errors, passes=spent)


def _auto(case: Case, texts: Sequence[TextValues], targets: Sequence[int]) -> Columns:
    """`budget="auto"`: what it spent, whether that settled the ranking, and the word of each token."""
    explanations = case.explainer([text.item.text for text in texts], budget="auto")
    tokens = [e.tokens[unit[0]] for text, e in zip(texts, explanations, strict=True) for unit in text.units]
    return {
        "scores": np.asarray([token.score for token in tokens]),
        "words": np.asarray([-1 if token.word is None else token.word for token in tokens]),
        "passes": np.asarray([e.passes - 1 for e in explanations]),
        "settled": np.asarray([bool(e.settled) for e in explanations]),
    }
