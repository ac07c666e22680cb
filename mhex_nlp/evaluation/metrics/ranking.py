# SPDX-License-Identifier: Apache-2.0
"""Rank agreement of scores: with leave one out, with reference Shapley values, with a randomised model's map.

Axes: n units of one text, B texts, R re-initialisations. The correlations are scipy's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from .arrays import Floats, as_scores, text_pairs

Correlation = Literal["spearman", "kendall"]


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's rho: the Pearson correlation of average ranks.

    Args:
        first, second: (n,) finite, n at least 2.

    Returns:
        -1 to 1; 0 where all values of one side are equal (scipy gives NaN): such scores order nothing.

    Raises:
        ValueError: different lengths, fewer than two values, values that are not finite.
    """
    return _correlation("spearman", as_scores(first, "first"), as_scores(second, "second"))


def kendall(first: ArrayLike, second: ArrayLike) -> float:
    """Kendall's tau-b: (concordant - discordant) / sqrt((P - ties in first) (P - ties in second)), P = n (n - 1) / 2.

    Args, result and errors as in `spearman`.
    """
    return _correlation("kendall", as_scores(first, "first"), as_scores(second, "second"))


def rank_agreement(
    scores: Sequence[ArrayLike], references: Sequence[ArrayLike], correlation: Correlation = "spearman"
) -> Floats:
    """How alike two explanations order the units of each text; their mean over texts is the metric.

    With `leave_one_out` scores as references and "kendall" it is the agreement of Jain and Wallace (2019), ferret's
    tau-LOO; with `sampled_shapley` values and "spearman" the agreement with reference Shapley values, which no method
    can be expected to bring above the square root of the reference's reliability.

    Args:
        scores, references: B arrays (n_i,) of the same units, n_i at least 2.
        correlation: "spearman" or "kendall".

    Returns:
        (B,) float64.

    Raises:
        ValueError: zero texts, texts that do not align or have fewer than two units, values that are not finite.
    """
    if correlation not in get_args(Correlation):
        raise ValueError(f"correlation must be one of {list(get_args(Correlation))}, got {correlation!r}.")
    correlations = []
    for name, reference_name, row, reference in text_pairs(scores, references, ("scores", "references")):
        if len(row) < 2:
            raise ValueError(f"{name} must have at least two units to be ordered, got {len(row)}: leave it out.")
        correlations.append(_correlation(correlation, as_scores(row, name), as_scores(reference, reference_name)))
    return np.asarray(correlations, dtype=np.float64)


def randomisation_similarity(original: Sequence[ArrayLike], randomised: Sequence[Sequence[ArrayLike]]) -> Floats:
    """Signed Spearman between the map of the model and that of the model with random parameters, text by text.

    Parameter randomisation after Adebayo et al. (2018): an explanation that stays the same explains something else
    than the model. Signed, so that a random map averages 0; |mean| near 0 is what is wanted (below 0.2 here).

    Args:
        original: B arrays (n_i,), content units only, for a fixed class of each text.
        randomised: for each of R re-initialisations B arrays of the same units and classes.

    Returns:
        (R, B) float64; report its mean.

    Raises:
        ValueError: no re-initialisation, or as in `rank_agreement`.
    """
    if not len(randomised):
        raise ValueError("randomised must hold the maps of at least one re-initialisation, got none.")
    return np.stack([rank_agreement(maps, original) for maps in randomised])


def _correlation(correlation: Correlation, first: Floats, second: Floats) -> float:
    from scipy import stats

    if len(first) != len(second) or len(first) < 2:
        raise ValueError(
            f"first and second must have equal lengths of at least two, got {len(first)} and {len(second)} values."
        )
    if (first == first[0]).all() or (second == second[0]).all():
        return 0.0
    measure = stats.spearmanr if correlation == "spearman" else stats.kendalltau
    return float(measure(first, second).statistic)
