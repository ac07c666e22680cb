# SPDX-License-Identifier: Apache-2.0
"""Faithfulness from probabilities: what becomes of a prediction when an explanation's top units are removed or kept.

Axes: B texts, K bins (or steps, or samples). Every function gives one float64 a text, (B,), since intervals need them;
the metric is their mean. f is the probability of the explained class, by convention the one predicted on the full text.

Left out on purpose: the MHEX paper's Effective Average Drop. Its definition is not known to us, and a formula of our
own under that name would pass for the published one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from .arrays import Bools, Floats, as_finite, as_scores
from .games import removal_order

ERASER_BINS = (0.01, 0.05, 0.1, 0.2, 0.5)
Divisor = Literal["bins", "paper"]


def bin_counts(n: int, bins: Sequence[float] = ERASER_BINS) -> tuple[int, ...]:
    """How many of n units each bin takes: ceil(k * n), so every bin takes one at least.

    ERASER's paper leaves rounding open; ceil is what ALTI's published evaluation does.

    Raises:
        ValueError: n < 1, no bins, or a bin that is not in (0, 1].
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}.")
    if not len(bins) or not all(0 < share <= 1 for share in bins):
        raise ValueError(f"bins must be shares in (0, 1], at least one of them, got {list(bins)}.")
    return tuple(math.ceil(share * n - 1e-9) for share in bins)  # 0.07 * 100 is a little more than 7


def bin_masks(scores: ArrayLike, bins: Sequence[float] = ERASER_BINS) -> tuple[Bools, Bools]:
    """What each bin keeps: all but its top units (comprehensiveness), and its top units alone (sufficiency).

    Args:
        scores: (n,) finite; the highest go first, equal scores in reading order.
        bins: K shares of n.

    Returns:
        (K, n) bool without the top units, and (K, n) bool with them only: each other's complement.

    Raises:
        ValueError: scores that are not finite, or as in `bin_counts`.
    """
    order = np.asarray(removal_order(scores))
    position = np.argsort(order)  # (n,) rank of each unit, 0 for the highest score
    only = position[None, :] < np.asarray(bin_counts(len(order), bins))[:, None]
    return ~only, only


def aopc(full: ArrayLike, changed: ArrayLike, divisor: Divisor = "paper") -> Floats:
    """Area over the perturbation curve: 1/(K+1) sum_{k=0..K} f(x) - f(x_k), x_0 = x (Samek et al. 2017).

    Args:
        full: (B,) f of the full texts.
        changed: (B, K) f after each of K steps, step 0 left out; or (B,) for a single step.
        divisor: "paper" divides by K + 1, counting the step 0 that adds nothing; "bins" by K, the plain mean.

    Returns:
        (B,) float64.

    Raises:
        ValueError: zero texts, shapes that do not fit, values that are not finite, an unknown divisor.
    """
    if divisor not in get_args(Divisor):
        raise ValueError(f"divisor must be one of {list(get_args(Divisor))}, got {divisor!r}.")
    before, after = _paired(full, changed)
    return (before - after).sum(1) / (after.shape[1] + (divisor == "paper"))


def comprehensiveness(full: ArrayLike, without: ArrayLike, divisor: Divisor = "bins") -> Floats:
    """f(x) - f(x without the top k %), averaged over the bins; higher is better (DeYoung et al. 2020, ERASER).

    Args:
        full: (B,) f of the full texts.
        without: (B, K) f without the top units of each bin; or (B,) for one bin.
        divisor: "bins", the mean over the K bins, as ERASER's own scorer does; "paper", the sum over the bins divided
            by K + 1, as the paper's formula and ALTI's evaluation do. They differ by (K + 1) / K.

    Returns:
        (B,) float64. Errors as in `aopc`.
    """
    return aopc(full, without, divisor)


def sufficiency(full: ArrayLike, only: ArrayLike, divisor: Divisor = "bins") -> Floats:
    """f(x) - f(the top k % alone), averaged over the bins; lower is better, may be negative (ERASER).

    `only` is (B, K) or (B,), f with nothing but the top units; the rest, and errors, as in `comprehensiveness`.
    """
    return aopc(full, only, divisor)


def log_odds(full: ArrayLike, without: ArrayLike) -> Floats:
    """ln[f(x without the top units) / f(x)], averaged over K; more negative is better (Shrikumar et al. 2017).

    Named log-odds in print though it is a ratio of probabilities, in nats. Published tables remove the top 20 %.

    Args:
        full: (B,) probabilities above 0.
        without: (B, K) or (B,) probabilities above 0.

    Returns:
        (B,) float64.

    Raises:
        ValueError: as in `aopc`; no probabilities; or one of exactly 0, whose logarithm would be infinite.
    """
    before, after = _probabilities(full, without)
    if not (before > 0).all() or not (after > 0).all():
        raise ValueError("full and without must be above 0 for log-odds; take the probabilities in float64.")
    return np.log(after / before).mean(1)


def average_drop(full: ArrayLike, only: ArrayLike) -> Floats:
    """100 * max(0, Y - O) / Y in percent; lower is better (Chattopadhay et al. 2018, Grad-CAM++).

    Y = f(x), O = f(the highlighted part alone); state with it what was highlighted (top k %) and how the rest was
    removed. Where Y = 0 nothing can drop, and it is 0.

    Args:
        full: (B,) probabilities Y.
        only: (B, K) or (B,) probabilities O, averaged over K.

    Returns:
        (B,) float64, 0 to 100.

    Raises:
        ValueError: as in `aopc`, or values outside [0, 1].
    """
    before, after = _probabilities(full, only)
    return _percent(np.maximum(before - after, 0.0), before)


def increase_in_confidence(full: ArrayLike, only: ArrayLike) -> Floats:
    """100 where O > Y, else 0, averaged over K; higher is better (Grad-CAM++). Arguments as in `average_drop`."""
    before, after = _probabilities(full, only)
    return 100.0 * (after > before).mean(1)


def average_gain(full: ArrayLike, only: ArrayLike) -> Floats:
    """100 * max(0, O - Y) / (1 - Y) in percent; higher is better (Zhang et al. 2023, Opti-CAM).

    Where Y = 1 nothing can be gained, and it is 0. Arguments as in `average_drop`.
    """
    before, after = _probabilities(full, only)
    return _percent(np.maximum(after - before, 0.0), 1.0 - before)


def soft_weights(scores: ArrayLike) -> Floats:
    """How much of each unit a soft mask keeps: max(score, 0) / max score, (n,) float64 in [0, 1].

    All 0 where no score is positive: an explanation that names nothing keeps nothing. ValueError as in `as_scores`.
    """
    positive = np.maximum(as_scores(scores), 0.0)
    highest = positive.max()
    return positive / highest if highest > 0 else positive


def soft_average_drop(full: ArrayLike, soft: ArrayLike) -> Floats:
    """`average_drop` under a soft mask: our reading of the MHEX paper's Soft Average Drop (SAD), not its formula.

    The paper's definition is not known to us. We take O = f(x softly masked), where each unit's embedding is
    w * (its own) + (1 - w) * (the mask token's) with w = `soft_weights` of the scores, so that no cut-off k is needed.
    `TextValues.soft_probabilities` computes it.

    Args:
        full: (B,) probabilities.
        soft: (B,) probabilities under the soft masks.

    Returns:
        (B,) float64, 0 to 100; lower is better. Errors as in `average_drop`.
    """
    return average_drop(full, soft)


def _percent(parts: Floats, wholes: Floats) -> Floats:
    return 100.0 * np.divide(parts, wholes, out=np.zeros_like(parts), where=wholes > 0).mean(1)


def _probabilities(full: ArrayLike, changed: ArrayLike) -> tuple[Floats, Floats]:
    before, after = _paired(full, changed)
    for values in (before, after):
        if values.min() < 0 or values.max() > 1:
            raise ValueError(f"probabilities must be in [0, 1], got {values.min():.6g} to {values.max():.6g}.")
    return before, after


def _paired(full: ArrayLike, changed: ArrayLike) -> tuple[Floats, Floats]:
    """(B, 1) and (B, K) float64."""
    before, after = as_finite(full, "full"), as_finite(changed, "the changed texts' values")
    if before.ndim != 1 or after.ndim not in (1, 2) or len(before) != len(after):
        raise ValueError(
            f"full must be (B,) and the changed texts' values (B,) or (B, K), got {before.shape} and {after.shape}."
        )
    if not before.size or not after.size:
        raise ValueError("at least one text and one value for it must be given, got none.")
    return before[:, None], after.reshape(len(before), -1)
