# SPDX-License-Identifier: Apache-2.0
"""Maps of images: do they mark the true region, and does the model do what they say?

Axes: B images, R x C cells of a map (or pixels), N = R C of them, K points of a curve, P pairs of subsets. Every
function gives one float64 an image, (B,), since intervals need them; the metric is their mean.

Average drop and increase in confidence are those of `metrics.perturbation`, the relative form max(0, Y - O) / Y in
percent, with O under the soft mask that `soft_weights` makes of the map. torchcam's is relative as well;
pytorch-grad-cam's figure of that name is max(0, Y - O), which must not share a table with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .arrays import Bools, Floats, as_finite, as_scores
from .games import removal_order

ROAD_SHARES = tuple(round(step / 10, 1) for step in range(1, 10))
# direct neighbours and diagonal ones: Rong et al. (2022), section 4.2
_WEIGHTS = {(i, j): 1 / 6 if 0 in (i, j) else 1 / 12 for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)}


def mask_iou(predicted: Sequence[ArrayLike], truths: Sequence[ArrayLike]) -> Floats:
    """Intersection over union of a predicted region and the true one, |P and T| / |P or T|.

    Args:
        predicted: B masks (R, C) of 0 and 1, such as the cells or pixels of `ImageExplanation.regions()`.
        truths: B masks of the same shapes, each with something marked.

    Returns:
        (B,) float64 in [0, 1]; 0 where nothing is predicted.

    Raises:
        ValueError: no image, shapes that differ, values that are not 0 and 1, a truth without a mark.
    """
    pairs = _with_truth(predicted, truths, "predicted")
    masks = [(_as_mask(one, name), truth) for name, one, truth in pairs]
    return np.asarray([(mask & truth).sum() / (mask | truth).sum() for mask, truth in masks], dtype=np.float64)


def region_energy(maps: Sequence[ArrayLike], truths: Sequence[ArrayLike]) -> Floats:
    """The share of a map's positive mass that lies inside the true region (Wang et al. 2020, Score-CAM, section 4.3).

    Args:
        maps: B maps (R, C), finite; negative scores count as 0.
        truths: B masks (R, C) of 0 and 1, each with something marked.

    Returns:
        (B,) float64 in [0, 1]; 0 where no score is positive.

    Raises:
        ValueError: as in `mask_iou`, or scores that are not finite.
    """
    shares = []
    for _, scores, truth in _with_truth(maps, truths, "maps"):
        positive = np.maximum(scores, 0.0)
        total = positive.sum()
        shares.append(positive[truth].sum() / total if total > 0 else 0.0)
    return np.asarray(shares, dtype=np.float64)


def precision_at(maps: Sequence[ArrayLike], truths: Sequence[ArrayLike], k: int | None = None) -> Floats:
    """The share of the k best cells that lie inside the true region.

    Args:
        maps, truths: as in `region_energy`.
        k: cells of each image; by default as many as its true region has. Equal scores count in reading order.

    Raises:
        ValueError: as in `region_energy`, or a k that is not from 1 to the number of cells.
    """
    shares = []
    for name, scores, truth in _with_truth(maps, truths, "maps"):
        best = int(truth.sum()) if k is None else k
        if not 1 <= best <= scores.size:
            raise ValueError(f"k must be from 1 to the {scores.size} cells of {name}, got {k}.")
        order = np.asarray(removal_order(scores.reshape(-1)))
        shares.append(truth.reshape(-1)[order[:best]].mean())
    return np.asarray(shares, dtype=np.float64)


def pointing_game(maps: Sequence[ArrayLike], truths: Sequence[ArrayLike]) -> Floats:
    """1 where the best cell lies inside the true region, else 0 (Zhang et al. 2018), without their tolerance of 15 px.

    Arguments and errors as in `region_energy`; of equally good cells the first in reading order is taken.
    """
    return precision_at(maps, truths, k=1)


def removal_curve(scores: ArrayLike, points: int = 17) -> tuple[Floats, Bools]:
    """Which cells are gone at each point of a deletion curve, best first; an insertion curve has these cells alone.

    Args:
        scores: (N,) finite, of the cells in reading order; equal scores in reading order.
        points: K, evenly from nothing to everything; no more than there are cells and one.

    Returns:
        (K,) the share of cells that is gone, from 0 to 1, and (K, N) bool.

    Raises:
        ValueError: fewer than two points, or as in `as_scores`.
    """
    order = np.asarray(removal_order(scores))
    if points < 2:
        raise ValueError(f"points must be at least 2, got {points}.")
    counts = np.unique(np.rint(np.linspace(0, len(order), points)).astype(int))
    return counts / len(order), np.argsort(order)[None, :] < counts[:, None]


def deletion_auc(curves: Sequence[ArrayLike], shares: Sequence[ArrayLike]) -> Floats:
    """Area under p(target) while the best cells are removed, by trapezoids; lower is better (Petsiuk et al. 2018).

    Both ends count, over the share of cells that is really gone. What stands in for removed cells (RISE: grey) decides
    much: state it.

    Args:
        curves: B rows (K_i,) of probabilities, K_i at least 2.
        shares: B rows (K_i,) that rise from 0 to 1, such as `removal_curve` gives.

    Returns:
        (B,) float64 in [0, 1].

    Raises:
        ValueError: no image, rows that do not align, values outside [0, 1], shares that do not rise from 0 to 1.
    """
    return _areas(curves, shares)


def insertion_auc(curves: Sequence[ArrayLike], shares: Sequence[ArrayLike]) -> Floats:
    """Area under p(target) while the best cells are put into an empty image; higher is better (Petsiuk et al. 2018).

    RISE starts from a blurred image and deletes to a grey one; what is used here stands in both. Arguments, result and
    errors as in `deletion_auc`.
    """
    return _areas(curves, shares)


def road(least_first: Sequence[ArrayLike], most_first: Sequence[ArrayLike]) -> Floats:
    """Remove and debias: half of p without the least relevant less p without the most relevant, mean over K shares.

    After Rong et al. (2022), "A Consistent and Efficient Evaluation Strategy for Attribution Methods", in the combined
    form of pytorch-grad-cam, at the shares `ROAD_SHARES` there and here. What is gone is to be filled by
    `noisy_linear_imputation`, which leaves no edge that gives the removal away.

    Args:
        least_first, most_first: B rows (K,) of probabilities.

    Returns:
        (B,) float64 in [-1/2, 1/2]; higher is better, a random map averages 0.

    Raises:
        ValueError: no image, rows that do not align, values outside [0, 1].
    """
    rows = _aligned(least_first, most_first, ("least_first", "most_first"))
    pairs = [(_as_probabilities(least, name), _as_probabilities(most, other)) for name, other, least, most in rows]
    return np.asarray([(least - most).mean() / 2 for least, most in pairs], dtype=np.float64)


def noisy_linear_imputation(image: ArrayLike, removed: ArrayLike, *, noise: float = 0.01, seed: int = 0) -> Floats:
    """Fills removed pixels with the weighted mean of their neighbours, solved for all at once (Rong et al. 2022).

    Direct neighbours weigh 1/6, diagonal ones 1/12; at the border those that exist share the weight.

    Args:
        image: (channels, height, width) finite.
        removed: (height, width) of 0 and 1, 1 where a pixel is gone; not everywhere.
        noise: standard deviation of what is added to each filled value.
        seed: of the noise.

    Returns:
        (channels, height, width) float64; what was not removed as it was.

    Raises:
        ValueError: shapes that do not fit, values that are not finite, nothing left to fill from.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.linalg import spsolve

    pixels, gone = as_finite(image, "image"), _as_mask(removed, "removed")
    if pixels.ndim != 3 or pixels.shape[1:] != gone.shape:
        raise ValueError(f"image must be (channels, {gone.shape[0]}, {gone.shape[1]}) as removed, got {pixels.shape}.")
    if gone.all():
        raise ValueError("removed must leave at least one pixel to fill from, got none.")
    filled = pixels.copy()
    if not gone.any():
        return filled
    where = np.argwhere(gone)  # (U, 2)
    number = np.full(gone.shape, -1)
    number[gone] = np.arange(len(where))
    diagonal, known = np.zeros(len(where)), np.zeros((len(where), len(pixels)))
    entries: list[tuple[Any, Any, Any]] = []
    for (down, right), weight in _WEIGHTS.items():
        neighbour = where + (down, right)
        inside = np.flatnonzero(((neighbour >= 0) & (neighbour < gone.shape)).all(1))
        rows, columns = neighbour[inside].T
        diagonal[inside] += weight
        unknown = number[rows, columns]
        entries.append((inside[unknown >= 0], unknown[unknown >= 0], np.full((unknown >= 0).sum(), -weight)))
        known[inside[unknown < 0]] += weight * pixels[:, rows[unknown < 0], columns[unknown < 0]].T
    entries.append((np.arange(len(where)), np.arange(len(where)), diagonal))
    row, column, value = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    solved = spsolve(coo_array((value, (row, column)), shape=(len(where), len(where))).tocsc(), known)
    drawn = np.random.default_rng(seed).normal(0.0, noise, (len(where), len(pixels)))
    filled[:, gone] = (solved.reshape(len(where), -1) + drawn).T
    return filled


def paired_errors(
    maps: Sequence[ArrayLike], kept: Sequence[ArrayLike], values: Sequence[ArrayLike], *, scaled: bool = False
) -> Floats:
    """Squared errors of scores and of an even spread on v(S) - v(N - S), over pairs of complementary subsets S.

    Scores predict a subset by their sum; what they miss of v(N) is spread evenly, so that both get the whole image
    right (ours: `explain/skill.py`, which has the same of texts).

    Args:
        maps: B maps (R, C) or (N,), finite.
        kept: B arrays (P, N) of 0 and 1, the first half of each pair, P at least 1.
        values: B arrays (2 P + 1,): what the model says more of each subset than of an empty image, then of the
            complements in the same order, then of the whole image.
        scaled: gives the maps the one factor over all images that suits them best, for methods whose scores are not in
            the unit of the values.

    Returns:
        (B, 2) float64.

    Raises:
        ValueError: no image, shapes that do not fit, values that are not finite.
    """
    if not len(maps) == len(kept) == len(values) or not len(maps):
        raise ValueError(
            "maps, kept and values must have one entry an image and one image at least, got "
            f"{len(maps)}, {len(kept)} and {len(values)}."
        )
    rows = [_beyond_even(*row) for row in zip(range(len(maps)), maps, kept, values, strict=True)]
    norm = sum(float(said @ said) for said, _ in rows)
    scale = sum(float(said @ true) for said, true in rows) / norm if scaled and norm else 1.0
    return np.asarray([[((true - scale * said) ** 2).sum(), (true**2).sum()] for said, true in rows])


def paired_skill(
    maps: Sequence[ArrayLike],
    kept: Sequence[ArrayLike],
    values: Sequence[ArrayLike],
    *,
    scaled: bool = False,
    seed: int = 0,
) -> tuple[float, tuple[float, float]]:
    """1 - the maps' error / that of an even spread, and its 95 % bootstrap interval over images; 1 is perfect.

    0 is no better than knowing nothing of where. Arguments and errors as in `paired_errors`; `seed` is the bootstrap's.
    """
    from ...explain import skill  # here: it imports torch

    errors = paired_errors(maps, kept, values, scaled=scaled)
    return skill.ratio(errors), skill.interval(errors, seed)


def _beyond_even(index: int, one: ArrayLike, subsets: ArrayLike, answers: ArrayLike) -> tuple[Floats, Floats]:
    """(P,) what the scores of an image say beyond the even spread, and (P,) what the model says beyond it."""
    import torch

    from ...explain import skill

    scores = as_scores(np.asarray(one).reshape(-1), f"maps[{index}]")
    masks, seen = np.asarray(subsets), as_finite(answers, f"values[{index}]")
    if masks.ndim != 2 or not len(masks) or masks.shape[1] != len(scores) or seen.shape != (2 * len(masks) + 1,):
        raise ValueError(
            f"kept[{index}] must be (P, {len(scores)}) with P at least 1 and values[{index}] (2 P + 1,), got "
            f"{masks.shape} and {seen.shape}."
        )
    first = _as_mask(masks, f"kept[{index}]").astype(np.float64)
    every = torch.from_numpy(np.concatenate([first, 1 - first, np.ones((1, len(scores)))]))
    sums = every @ torch.from_numpy(scores)[:, None]
    rows = skill.Rows(sums, torch.from_numpy(seen)[:, None], every.sum(1), 0)
    missed, even = skill.paired_residuals(torch.ones(1, 1, dtype=torch.float64), rows)
    return (even - missed)[:, 0].numpy(), even[:, 0].numpy()


def _areas(curves: Sequence[ArrayLike], shares: Sequence[ArrayLike]) -> Floats:
    areas = []
    for name, share_name, curve, share in _aligned(curves, shares, ("curves", "shares")):
        height, width = _as_probabilities(curve, name), as_scores(share, share_name)
        if width[0] != 0 or width[-1] != 1 or not (np.diff(width) > 0).all():
            raise ValueError(f"{share_name} must rise from 0 to 1, got {width!r:.80}.")
        areas.append(np.trapezoid(height, width))
    return np.asarray(areas, dtype=np.float64)


def _as_probabilities(values: ArrayLike, name: str) -> Floats:
    row = as_scores(values, name)
    if row.min() < 0 or row.max() > 1:
        raise ValueError(f"{name} must be probabilities in [0, 1], got {row.min():.6g} to {row.max():.6g}.")
    return row


def _as_mask(mask: ArrayLike, name: str) -> Bools:
    """(R, C) bool, from bools or from 0 and 1."""
    array = np.asarray(mask)
    if array.ndim != 2 or not array.size or not np.isin(array, (0, 1)).all():
        raise ValueError(f"{name} must be (rows, columns) of 0 and 1, got {array!r:.80}.")
    return array.astype(bool)


def _with_truth(maps: Sequence[ArrayLike], truths: Sequence[ArrayLike], name: str) -> list[tuple[str, Floats, Bools]]:
    """(name, finite map, true region) of each of B images."""
    rows = []
    for one_name, truth_name, one, truth in _aligned(maps, truths, (name, "truths")):
        region = _as_mask(truth, truth_name)
        if not region.any():
            raise ValueError(f"{truth_name} must mark something, got nothing: leave the image out.")
        rows.append((one_name, as_finite(one, one_name), region))
    return rows


def _aligned(
    first: Sequence[ArrayLike], second: Sequence[ArrayLike], names: tuple[str, str]
) -> list[tuple[str, str, Any, Any]]:
    """(name, name, entry, entry) of each of B images; ValueError for no image, or entries whose shapes differ."""
    if len(first) != len(second) or not len(first):
        raise ValueError(
            f"{names[0]} and {names[1]} must have one entry an image and one image at least, got {len(first)} and "
            f"{len(second)}."
        )
    rows = []
    for index, (one, other) in enumerate(zip(first, second, strict=True)):
        if np.shape(one) != np.shape(other):
            raise ValueError(
                f"{names[0]}[{index}] and {names[1]}[{index}] must have the same shape, got {np.shape(one)} and "
                f"{np.shape(other)}."
            )
        rows.append((f"{names[0]}[{index}]", f"{names[1]}[{index}]", one, other))
    return rows
