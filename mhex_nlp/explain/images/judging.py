# SPDX-License-Identifier: Apache-2.0
"""How well maps predict what their model says of parts of given images.

Axes: B images, N cells, S subsets of them, C labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ...inputs.removal import random_subsets
from ...models.fit_record import IMAGES, trusted_from
from ...models.image_perturbed import PerturbedImages
from ..judgement import Judgement
from ..skill import Rows
from .assemble import ImageRequest, Maps, contrasts


class ImageJudgement(Judgement):
    """What `MhexImageExplainer.judge` measured; `texts` are images."""

    __slots__ = ()

    @property
    def trusted(self) -> bool:
        """Whether the lower end of the skill's interval is above 0.2."""
        return self.skill_interval[0] > trusted_from(IMAGES)


def judged_rows(
    pixels: Tensor,
    maps: Maps,
    perturbed: PerturbedImages,
    request: ImageRequest,
    numbers: Sequence[int],
    masks: int,
    seed: int,
) -> Iterator[Rows]:
    """One batch's maps of the predicted classes against what the model says of random cells; passes are made here.

    Args:
        pixels: (B, channels, H, W).
        maps: what the pass over them showed.
        perturbed: the model, and how cells are taken out.
        request: of the call that made the maps.
        numbers: of the images; with the seed, they draw the subsets.
        masks: random subsets of each image, in complementary pairs.
        seed: of the subsets.
    """
    subsets = [random_subsets(maps.grid.cells, masks, [seed, number]) for number in numbers]
    answers = perturbed.kept_logits(
        pixels, [torch.cat([kept, torch.zeros_like(kept[:1])]) for kept in subsets], maps.grid
    )
    weights = contrasts(maps.targets, maps.logits.shape[1], request)[:, 0].double()  # (B, C)
    scores = maps.by_depth[:, 0].sum(1)  # (B, N)
    for row, (kept, logits) in enumerate(zip(subsets, answers, strict=True)):
        said = (logits.double() @ weights[row])[:, None]  # of the explained class alone, as fits of images are judged
        yield Rows(kept.double() @ scores[row][:, None], said[:-1] - said[-1], kept.sum(1), target=0)
