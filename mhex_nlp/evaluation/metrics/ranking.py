# SPDX-License-Identifier: Apache-2.0
"""Rank agreement of scores: with leave one out, with reference Shapley values, with a randomised model's map.

Axes: n units of one text, B texts, R re-initialisations. Written with numpy alone; equal to scipy where scipy has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from .arrays import Floats, as_scores, text_pairs

Correlation = Literal["spearman", "kendall"]


def average_ranks(values: ArrayLike) -> Floats:
    """Ranks from 1, equal values sharing the mean of their ranks: (n,) float64. ValueError for values not finite."""
    array = as_scores(values, "values")
    _, inverse, counts = np.unique(array, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Floats = (last - (counts - 1) / 2)[inverse.reshape(-1)]
    return ranks


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's rho: the Pearson correlation of average ranks.

    Args:
        first, second: (n,) finite, n at least 2.

    Returns:
        -1 to 1; 0 where all values of one side are equal (scipy gives NaN): such scores order nothing.

    Raises:
        ValueError: different lengths, fewer than two values, values that are not finite.
    """
    one, other = _pair(first, second)
    a, b = (ranks - ranks.mean() for ranks in (average_ranks(one), average_ranks(other)))
    scale = np.sqrt((a @ a) * (b @ b))
    return float(np.clip(a @ b / scale, -1.0, 1.0)) if scale > 0 else 0.0


def kendall(first: ArrayLike, second: ArrayLike) -> float:
    """Kendall's tau-b: (concordant - discordant) / sqrt((P - ties in first) (P - ties in second)), P = n (n - 1) / 2.

    Args, result and errors as in `spearman`. Time and memory grow with n squared: 512 tokens take 2 MB.
    """
    one, other = _pair(first, second)
    upper = np.triu_indices(len(one), k=1)
    a, b = (np.sign(values[:, None] - values[None, :])[upper] for values in (one, other))
    scale = np.sqrt(float(np.abs(a).sum()) * float(np.abs(b).sum()))
    return float(np.clip(a @ b / scale, -1.0, 1.0)) if scale > 0 else 0.0


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
    measure = spearman if correlation == "spearman" else kendall
    found = []
    for name, other_name, one, other in text_pairs(scores, references, ("scores", "references")):
        if len(one) < 2:
            raise ValueError(f"{name} must have at least two units to be ordered, got {len(one)}: leave it out.")
        found.append(measure(as_scores(one, name), as_scores(other, other_name)))
    return np.asarray(found, dtype=np.float64)


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


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[Floats, Floats]:
    one, other = as_scores(first, "first"), as_scores(second, "second")
    if len(one) != len(other) or len(one) < 2:
        raise ValueError(
            f"first and second must have equal lengths of at least two, got {len(one)} and {len(other)} values."
        )
    return one, other
