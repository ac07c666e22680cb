# SPDX-License-Identifier: Apache-2.0
"""The figures of a comparison of images: what each is called, which way is better, and how it comes from scores.

Axes: B images, N cells of an image, k columns of a figure. Experimental.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import interpolate

from ....inputs.removal import random_subsets
from ...metrics import images as metrics
from ...metrics.arrays import Bools, Floats
from ...metrics.games import removal_order
from ...metrics.perturbation import average_drop, increase_in_confidence, soft_weights
from ...metrics.ranking import rank_agreement
from ...metrics.shapley import ShapleyEstimate, sampled_shapley
from ..measures import Measure
from .values import ImageValues

POINTS = 17  # of the curves of insertion and deletion


def skill_of(means: Floats) -> Floats:
    """The paired skill of mean squared errors, of the scores and of an even spread, (R, 2) to (R,)."""
    return 1 - np.divide(means[:, 0], means[:, 1], out=np.ones(len(means)), where=means[:, 1] > 0)


MEASURES: dict[str, Measure] = {
    "paired_skill": Measure("paired skill", "higher", statistic=skill_of),
    "insertion": Measure("insertion AUC", "higher"),
    "deletion": Measure("deletion AUC", "lower"),
    "spearman_shapley": Measure("Spearman ρ to Shapley", "higher", 2),
    "average_drop": Measure("average drop, %", "lower", 1),
    "increase": Measure("increase, %", "higher", 1),
    "road": Measure("ROAD", "higher"),
    "pointing": Measure("pointing game", "higher", 2),
    "precision": Measure("precision at the region's size", "higher", 2),
    "energy": Measure("energy in the region", "higher", 2),
}
REGION = ("pointing", "precision", "energy")


@dataclass(frozen=True)
class References:
    """What one way of removal says of B images, to judge any scores of them by.

    `kept` (P, N) bool are the first halves of each image's pairs of subsets, `answers` (2 P + 1,) what their values
    are more than that of an empty image; `shapley` are reference values, `None` where none were asked for.
    """

    images: Sequence[ImageValues]
    targets: Sequence[int]
    kept: list[Bools]
    answers: list[Floats]
    shapley: list[ShapleyEstimate] | None


def references(
    images: Sequence[ImageValues], targets: Sequence[int], *, pairs: int, permutations: int, seed: int
) -> References:
    """Asks the model about `pairs` random pairs of subsets of each image, and `permutations` orders (0: none)."""
    kept, answers, shapley = [], [], []
    for image, target in zip(images, targets, strict=True):
        subsets = random_subsets(image.n, 2 * pairs, [seed, image.number]).numpy()  # the whole image last
        value = image.explained(target)
        said = value(np.concatenate([subsets, np.zeros((1, image.n), dtype=bool)]))
        kept.append(subsets[:pairs])
        answers.append(said[:-1] - said[-1])
        if permutations:
            shapley.append(sampled_shapley(value, image.n, permutations=permutations, seed=seed + image.number))
    return References(images, targets, kept, answers, shapley or None)


def faithfulness_columns(known: References, scores: Sequence[Floats], *, scaled: bool) -> dict[str, Floats]:
    """Each figure of one method's scores, B arrays (N,): (B, k).

    Args:
        known: of the images.
        scaled: the scores get the one factor over all images that suits their paired skill best.
    """
    curves = [_curves(*row) for row in _rows(known, scores)]
    full, soft = (np.array(part) for part in zip(*(_soft(*row) for row in _rows(known, scores)), strict=True))
    shares = [share for share, _, _ in curves]
    columns = {
        "insertion": metrics.insertion_auc([insertion for _, insertion, _ in curves], shares),
        "deletion": metrics.deletion_auc([deletion for _, _, deletion in curves], shares),
        "average_drop": average_drop(full, soft),
        "increase": increase_in_confidence(full, soft),
    }
    if known.shapley is not None:
        columns["spearman_shapley"] = rank_agreement(scores, [estimate.values for estimate in known.shapley])
    tables = {name: values[:, None] for name, values in columns.items()}
    tables["paired_skill"] = metrics.paired_errors(scores, known.kept, known.answers, scaled=scaled)
    return tables


def road_column(known: References, scores: Sequence[Floats]) -> Floats:
    """Remove and debias, (B, 1), of B arrays (N,); solves for the removed pixels 18 times an image."""
    least, most = zip(*(_road(*row) for row in _rows(known, scores)), strict=True)
    return metrics.road(least, most)[:, None]


def region_columns(scores: Sequence[Floats], regions: Sequence[Bools]) -> dict[str, Floats]:
    """Pointing game, precision and energy, (B, 1), of B arrays (N,) and the true regions (R, C) of the same cells."""
    maps = [row.reshape(region.shape) for row, region in zip(scores, regions, strict=True)]
    columns = {
        "pointing": metrics.pointing_game(maps, regions),
        "precision": metrics.precision_at(maps, regions),
        "energy": metrics.region_energy(maps, regions),
    }
    return {name: values[:, None] for name, values in columns.items()}


def _rows(known: References, scores: Sequence[Floats]) -> list[tuple[ImageValues, int, Floats]]:
    return list(zip(known.images, known.targets, scores, strict=True))


def _curves(image: ImageValues, target: int, scores: Floats) -> tuple[Floats, Floats, Floats]:
    """Shares, and the target's probability with the best cells alone, and without them."""
    shares, gone = metrics.removal_curve(scores, POINTS)
    said = image.probability(target)(np.concatenate([gone, ~gone]))
    return shares, said[: len(gone)], said[len(gone) :]


def _soft(image: ImageValues, target: int, scores: Floats) -> tuple[float, float]:
    """The target's probability of the image, and of it under the soft mask of the positive scores, bilinear."""
    height, width = image.pixels.shape[2:]
    cells = torch.from_numpy(soft_weights(scores)).reshape(1, 1, image.grid.rows, image.grid.cols).to(image.pixels)
    mask = interpolate(cells, (height, width), mode="bilinear", align_corners=False)
    both = torch.cat([image.pixels, image.pixels * mask + image.empty * (1 - mask)])
    full, soft = image.owner.probability(image.owner.logits(both), target)
    return float(full), float(soft)


def _road(image: ImageValues, target: int, scores: Floats) -> tuple[Floats, Floats]:
    """The target's probability with the least, and with the most relevant cells filled in, at ROAD's shares."""
    order, (height, width) = np.asarray(removal_order(scores)), image.pixels.shape[2:]
    filled = []
    for cells in (order[::-1], order):
        for share in metrics.ROAD_SHARES:
            kept = torch.ones(1, image.n, dtype=torch.bool)
            kept[0, cells[: round(share * image.n)].copy()] = False
            removed = ~image.grid.pixel_mask(kept, height, width)[0, 0].numpy()
            pixels = image.pixels[0].float().cpu().numpy()
            filled.append(metrics.noisy_linear_imputation(pixels, removed, seed=image.number))
    said = image.owner.probability(image.owner.logits(torch.from_numpy(np.stack(filled)).to(image.pixels)), target)
    half = len(metrics.ROAD_SHARES)
    return said[:half], said[half:]
