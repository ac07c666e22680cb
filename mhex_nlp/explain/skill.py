# SPDX-License-Identifier: Apache-2.0
"""How far scores predict what a model does with parts of texts.

Axes: S subsets of a text's tokens, F features of a token, C labels. Scores of tokens are features times weights; scores
that are known are their own features, with the weights of identity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .bootstrap import bootstrap, percentile_interval

Residuals = Callable[[Tensor, "Rows"], tuple[Tensor, Tensor]]


@dataclass(slots=True)
class Rows:
    """One text's rows, one for each subset: first halves, then their complements in the same order, last the whole."""

    sums: Tensor  # (S, F), features summed over the subset
    values: Tensor  # (S, C), v(S) - v(empty)
    sizes: Tensor  # (S,), tokens in the subset
    target: int  # the predicted class
    text: int | None = None  # its number, where a text has several: those of one place each
    label: int | None = None  # the one that scores are judged by; None: all

    @property
    def columns(self) -> slice:
        """The labels that scores are judged by."""
        return slice(None) if self.label is None else slice(self.label, self.label + 1)

    def equations(self) -> tuple[Tensor, Tensor]:
        """(R, F) and (R, C) of the regression: each subset less its complement, and the whole text at weight 1.

        Where tokens i and j are worth I more together, v(S) - v(complement) has I (x_i x_j - (1 - x_i)(1 - x_j)), which
        is I (x_i + x_j - 1), with x_i = 1 for tokens in S: linear, I shared evenly, as Shapley values have it. So the
        difference is an exact sum of token scores in any game of pairs, which v(S) by itself is not (ours; antithetic
        permutations use the same fact). The factor keeps the weight of a pair of rows.
        """
        half = (len(self.sums) - 1) // 2
        x, y = (0.5**0.5 * (rows[:half] - rows[half : 2 * half]) for rows in (self.sums, self.values))
        return torch.cat([x, self.sums[-1:]]), torch.cat([y, self.values[-1:]])


def absolute_residuals(weights: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
    """What the scores, and what the even spread, miss of v(S) - v(empty) of each random subset: (S - 1, C) float64."""
    return _residuals(weights, rows, rows.sums[:-1], rows.values[:-1], rows.sizes[:-1])


def paired_residuals(weights: Tensor | None, rows: Rows) -> tuple[Tensor, Tensor]:
    """What the scores, and what the even spread, miss of v(S) - v(N - S) of each pair: ((S - 1) / 2, C) float64.

    Without `weights` the scores are the even spread.
    """
    half = (len(rows.sums) - 1) // 2
    differences = [part[:half] - part[half : 2 * half] for part in (rows.sums, rows.values, rows.sizes)]
    return _residuals(weights, rows, *differences)


def _residuals(
    weights: Tensor | None, rows: Rows, sums: Tensor, values: Tensor, sizes: Tensor
) -> tuple[Tensor, Tensor]:
    """Both get the whole text right, for what the scores miss of it is spread evenly over its tokens."""
    total, share = rows.values[-1].double(), (sizes.double() / rows.sizes[-1])[:, None]
    even = values.double() - share * total
    if weights is None:
        return even, even
    missed = total - rows.sums[-1].double() @ weights
    return values.double() - sums.double() @ weights - share * missed, even


def errors(weights: Tensor, held: Sequence[Rows], residuals: Residuals = paired_residuals) -> np.ndarray:
    """(texts, 2): squared errors of the scores and of the even spread; texts of a single token are left out.

    Places of one text, which are not independent, count together.
    """
    by_text: dict[int, np.ndarray] = {}
    for number, rows in enumerate(_judgeable(held)):
        parts = [part[:, rows.columns].square().sum() for part in residuals(weights, rows)]
        key = -1 - number if rows.text is None else rows.text
        by_text[key] = by_text.get(key, 0) + np.array([float(part) for part in parts])
    return np.array(list(by_text.values()))


def ratio(errors: np.ndarray) -> float:
    """The skill: 1 - squared error / squared error of the even spread; 0 where even that makes none."""
    ours, even = errors.sum(0)
    return float(1 - ours / even) if even > 0 else 0.0


def skill(weights: Tensor, held: Sequence[Rows]) -> float:
    """The paired skill: `ratio` of the `errors` of pairs."""
    return ratio(errors(weights, held))


def interval(errors: np.ndarray, seed: int, draws: int = 2000) -> tuple[float, float]:
    """The 95 % interval of the skill, by bootstrap over texts."""
    return percentile_interval(bootstrap(errors, lambda samples: [ratio(sample) for sample in samples], draws, seed))


def r2(weights: Tensor, held: Sequence[Rows]) -> float:
    """The share of variance of the random subsets that the scores explain."""
    missed = torch.cat([absolute_residuals(weights, rows)[0][:, rows.columns] for rows in _judgeable(held)])
    values = torch.cat([rows.values[:-1, rows.columns].double() for rows in _judgeable(held)])
    spread = (values - values.mean(0)).square().sum()
    return float(1 - missed.square().sum() / spread) if spread > 0 else 0.0


def _judgeable(held: Sequence[Rows]) -> list[Rows]:
    judgeable = [rows for rows in held if len(rows.sizes) > 1]
    if not judgeable:
        raise ValueError("texts must have more than one token to judge a fit on, got held-out texts of a single one.")
    return judgeable
