# SPDX-License-Identifier: Apache-2.0
"""`budget="auto"`: a model is asked in rounds about the texts whose leading words are not yet settled.

After each round the posterior (`refinement.py`) says how probable it is that the ranking of a text's leading words is
right: that the three words of the largest magnitudes are in the order in which they stand, and ahead of all others. A
text is settled when that is 1 - tolerance at the least. Words nearer to each other than a tenth of the largest
magnitude, one step of a page's colours, count as level, and words below a quarter of it do not lead, for their order
tells a reader nothing. (Ours, beyond the paper. By Bayes' rule it does not matter that one looks after every round.)

Axes: B inputs of a batch, N content tokens, P pairs of complementary subsets, T tokens of a text, W words, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..inputs.encoding import TokenisedText
from .asked_model import AskedModel, asked
from .assemble import align_item
from .budget import Gradients, PlaceAlone, ask_gradients, ask_places, posterior_evidence
from .refinement import Array, chosen_pairs
from .request import Request
from .scores import Evidence, attribute, stack
from .window_merger import join_windows

FIRST_ROUND = 8  # passes; each round doubles what was spent
LEADING = 3  # words at the most
LEADS, LEVEL = 0.25, 0.1  # of the largest magnitude: what a leading word has at least, what makes no difference
_DRAWS = 1000  # of the posterior: a probability of 0.95 is then within 0.014


@dataclass(slots=True)
class _Asked:
    """What was asked about one input so far, and what may be: a prefix of `pairs` (P, N)."""

    item: TokenisedText
    positions: list[int]
    pairs: NDArray[np.bool_]
    gradients: Gradients | None
    place: PlaceAlone | None
    spent: int = 0  # pairs
    firsts: list[Array] = field(default_factory=list)  # (p, C) of each round: of these subsets
    seconds: list[Array] = field(default_factory=list)  # of their complements
    empty: list[Array] = field(default_factory=list)  # (1, C), once it was asked for

    @classmethod
    def of(cls, item: TokenisedText, gradients: Gradients | None, place: PlaceAlone | None, request: Request) -> _Asked:
        """Nothing yet but gradients and the place alone."""
        positions = item.removable_positions(request.causal)
        most = (request.budget - (gradients.passes if gradients else 0)) // 2
        return cls(item, positions, nested_pairs(len(positions), most, request.seed), gradients, place)

    def pairs_within(self, passes: int) -> int:
        """How many pairs so many passes buy beside the gradients."""
        return max(passes - (self.gradients.passes if self.gradients else 0), 0) // 2

    def next_subsets(self, pairs: int) -> NDArray[np.bool_]:
        """(S, N) bool: the subsets not yet asked about, their complements, and once the empty one."""
        new = self.pairs[self.spent : pairs]
        nothing = np.zeros((0 if self.empty else 1, self.pairs.shape[1]), dtype=bool)
        return np.concatenate([new, ~new, nothing])

    def take(self, logits: Array, pairs: int) -> None:
        """The answers to `next_subsets`."""
        new = len(self.pairs[self.spent : pairs])
        self.firsts.append(logits[:new])
        self.seconds.append(logits[new : 2 * new])
        self.empty += [logits[2 * new :]] if len(logits) > 2 * new else []
        self.spent += new


def refine_in_rounds(
    texts: Sequence[TokenisedText], evidence: Evidence, request: Request, perturbed: AskedModel
) -> Evidence:
    """The evidence of the inputs of texts, in their order, each text asked about until it is settled.

    No text is asked about more than `request.budget` times, and none twice about the same.

    Raises:
        ValueError: logits that are not finite, or a foil that the model predicts.
    """
    inputs = [part for text in texts for part in text.inputs]
    positions = [part.removable_positions(request.causal) for part in inputs]
    gradients = ask_gradients(inputs, positions, evidence, request, perturbed)
    places = ask_places(inputs, perturbed)
    rows = iter(range(len(inputs)))
    rows_of = [[next(rows) for _ in text.inputs] for text in texts]
    asked_of = [
        [_Asked.of(inputs[row], gradients[row], places[row], request) for row in of_text] for of_text in rows_of
    ]
    words = [_rivals(text, request) for text in texts]
    results, waiting, passes = dict[int, Evidence](), list(range(len(texts))), FIRST_ROUND
    while waiting:
        _ask([one for number in waiting for one in asked_of[number]], passes, perturbed)
        still = []
        for number in waiting:
            part = _refined(asked_of[number], evidence.select(rows_of[number]), request)
            settled = _is_settled(texts[number], words[number], part, request)
            results[number] = replace(part, settled=(settled,) * len(part.logits))
            if not settled and any(one.spent < len(one.pairs) for one in asked_of[number]):
                still.append(number)
        waiting, passes = still, 2 * passes
    return stack([results[number] for number in range(len(texts))])


def nested_pairs(tokens: int, pairs: int, seed: int) -> NDArray[np.bool_]:
    """(P, N) bool: as `chosen_pairs`, in an order in which the first of them say most."""
    chosen = chosen_pairs(tokens, pairs, seed)
    if tokens < 2 or tokens > 30 or len(chosen) < 2 ** (tokens - 1) - 1:
        return chosen
    first = chosen_pairs(tokens, len(chosen) - 1, seed)  # all pairs are in the order of their numbers, these are not
    known = {row.tobytes() for row in np.concatenate([first, ~first])}
    return np.concatenate([first, [row for row in chosen if row.tobytes() not in known]])


def ranking_chance(scores: Array, covariance: Array, freedom: float, seed: int) -> float:
    """The posterior probability that the leading words are ranked right.

    Args:
        scores, covariance: (W,) and (W, W) of the words; errors are Student's of that variance.
        freedom: the degrees of freedom.
        seed: of the draws.
    """
    order = np.argsort(-np.abs(scores), kind="stable")
    sizes = np.abs(scores)[order]
    leading = min(LEADING, int((sizes >= LEADS * sizes[0]).sum()))
    generator, count = np.random.default_rng([seed, len(scores)]), (_DRAWS, len(scores))
    normal, square = generator.normal(size=count), generator.chisquare(freedom, size=(_DRAWS, 1))
    variances, axes = np.linalg.eigh(covariance[np.ix_(order, order)])
    scale = np.sqrt(np.maximum(variances, 0) * max(freedom - 2, 0.5) / freedom)  # as in `Sureness.covariance`
    drawn = np.abs(scores[order] + (normal * scale) @ axes.T * np.sqrt(freedom / square))
    highest_after = np.maximum.accumulate(drawn[:, ::-1], axis=1)[:, ::-1]
    ahead = drawn[:, :-1] + LEVEL * sizes[0] >= highest_after[:, 1:]
    return float(ahead[:, :leading].all(1).mean())


def _rivals(text: TokenisedText, request: Request) -> list[int | None]:
    """(T,): the word of each token, `None` for those of the template, and of the place explained, which would lead."""
    words = [token.word for token in align_item(text, request.language)]
    return [None if index in text.own else word for index, word in enumerate(words)]


def _ask(inputs: Sequence[_Asked], passes: int, perturbed: AskedModel) -> None:
    """Asks about inputs until each has had so many passes."""
    subsets = [one.next_subsets(one.pairs_within(passes)) for one in inputs]
    answers = asked(perturbed, [one.item for one in inputs], subsets)
    for one, logits in zip(inputs, answers, strict=True):
        one.take(logits, one.pairs_within(passes))


def _refined(asked: Sequence[_Asked], evidence: Evidence, request: Request) -> Evidence:
    """The evidence of inputs by all that was asked about them."""
    pairs = [one.pairs[: one.spent] for one in asked]
    logits = [np.concatenate([*one.firsts, *one.seconds, *one.empty]) for one in asked]
    gradients = [one.gradients for one in asked]
    positions, places = [one.positions for one in asked], [one.place for one in asked]
    return posterior_evidence(evidence, request, positions, pairs, logits, gradients, places)


def _is_settled(text: TokenisedText, words: Sequence[int | None], parts: Evidence, request: Request) -> bool:
    """Whether the leading words of a text are, by the evidence of its inputs."""
    whole = join_windows(parts, text) if text.windows else parts
    tokens = replace(request, non_negative=False, all_classes=False)
    numbers = attribute(whole, [text.name], tokens)
    names = sorted({word for word in words if word is not None})
    if not names:
        return True
    members = np.array([[word == name for word in words] for name in names], dtype=np.float64)  # (W, T)
    assert numbers.covariances is not None and parts.sureness is not None
    size = len(words)
    covariance = members @ numbers.covariances[0][:size, :size] @ members.T
    freedom = min(one.posterior.freedom for row in parts.sureness for one in row)
    scores = members @ numbers.scores[0, :size].astype(np.float64)
    return ranking_chance(scores, covariance, freedom, request.seed) >= 1 - (request.tolerance or 0.0)
