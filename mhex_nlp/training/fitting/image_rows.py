# SPDX-License-Identifier: Apache-2.0
"""The rows of the fit's regression for images: what a model says of random cells, and the cells' own features.

Axes: N cells, S subsets, F features, C labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...explain.skill import Rows
from ...inputs.image_inputs import ImageInputs, same_shape_groups
from ...inputs.images import load_image
from ...inputs.removal import random_subsets
from ...models.heads.readout import FeatureLayout
from ...models.image_perturbed import PerturbedImages
from ...models.tasks.sequence_classification import is_exclusive
from .equations import contrasted


class ImageRowSource:
    """Makes rows: one forward pass over an image, and one over each of its subsets.

    Args:
        perturbed: the model, and how cells are taken out.
        inputs: the image processor.
        masks: random subsets of each image.
        window: of deep images, as `load_image` has it.
    """

    def __init__(
        self, perturbed: PerturbedImages, inputs: ImageInputs, masks: int, window: tuple[float, float] | None
    ) -> None:
        self.perturbed, self.inputs, self.masks, self.window = perturbed, inputs, masks, window
        self.removal: str = perturbed.removal
        self.contrast = "centred" if is_exclusive(perturbed.model.config) else "none"
        self.layout = FeatureLayout((), (), ())

    @property
    def rows_per_image(self) -> int:
        """How many equations an image has."""
        return self.masks // 2 + 1

    def pixel_values(self, images: Sequence[Any]) -> list[Tensor]:
        """(channels, H, W) of each image."""
        return [self.inputs.pixel_values(load_image(image, window=self.window)) for image in images]

    def content_sizes(self, texts: Sequence[Any], pairs: Sequence[str] | None = None) -> list[int]:
        """N of each image."""
        values = self.pixel_values(texts)
        cells = {value.shape: self.perturbed.grid_of(value[None]).cells for value in values}
        return [cells[value.shape] for value in values]

    def rows(
        self,
        texts: Sequence[Any],
        pairs: Sequence[str] | None,
        numbers: Sequence[int],
        seed: int,
        masks: int | None = None,
    ) -> Iterator[Rows]:
        """The rows of each image; the subsets depend on its number, the seed and their count alone."""
        values = self.pixel_values(texts)
        for group in same_shape_groups(values, self.perturbed.batch_size):
            yield from self._rows(torch.stack([values[i] for i in group]), [numbers[i] for i in group], seed, masks)

    def _rows(self, pixels: Tensor, numbers: Sequence[int], seed: int, masks: int | None) -> Iterator[Rows]:
        states = self.perturbed.read(pixels)
        grid, whole = states.grid, contrasted(states.logits.cpu(), self.contrast)
        if grid.cells < 2:
            raise ValueError(f"images must have two cells and more to be fitted, got a grid of {grid.cells}.")
        subsets = [random_subsets(grid.cells, masks or self.masks, [seed, number]) for number in numbers]
        # nothing in the place of the whole image, which was run for its states
        answered = [torch.cat([kept[:-1], torch.zeros_like(kept[-1:])]) for kept in subsets]
        answers = self.perturbed.kept_logits(pixels, answered, grid)
        for row, (kept, logits) in enumerate(zip(subsets, answers, strict=True)):
            answer = contrasted(logits, self.contrast)
            chosen = kept.to(states.states[0].device, torch.float32)
            summed = ([chosen @ part[row] for part in parts] for parts in (states.states, states.flows))
            sums = self.layout.join(*summed)
            sums[:, 0] = kept.sum(1)
            target = int(states.logits[row].argmax())
            values = torch.cat([answer[:-1], whole[row][None]]) - answer[-1]
            yield Rows(sums, values, kept.sum(1), target, label=target)

    def contrast_of(self, target: int, labels: int) -> Tensor:
        """(C,) float64: the weights of the labels in what is explained of one."""
        weights = torch.zeros(labels, dtype=torch.float64)
        weights[target] = 1
        return contrasted(weights, self.contrast)

    def gradients(
        self, texts: Sequence[Any], pairs: Sequence[str] | None, contrast: Tensor, steps: int, seed: Sequence[int]
    ) -> NDArray[np.float64] | None:
        """None: no budget refines maps of images."""
        return None
