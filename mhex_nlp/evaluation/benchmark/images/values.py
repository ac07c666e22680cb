# SPDX-License-Identifier: Apache-2.0
"""What comparisons ask an image classifier: its answers to an image from which cells of a grid were taken.

Axes: S subsets of N cells, C labels, H x W pixels as the processor gives them. Experimental.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ....explain.targets import ClassTable
from ....models.eval_mode import eval_view
from ....models.image_perturbed import PerturbedImages
from ....models.image_states import ImageGrid, on_grid, spatial_states
from ...metrics.arrays import Bools, Floats, as_finite


class ImageModelValues:
    """Runs any image classifier of transformers, plain or with heads, on images with cells taken out.

    >>> values = ImageModelValues(model, "blur")
    >>> image = values.of(pixel_values)
    >>> sampled_shapley(image.explained(target), image.n)

    Args:
        model: the classifier; it is run in eval mode without being switched to it.
        removal: "mean", "blur" or "attention"; errors as in `choose_image_removal`.
        colour: (channels,) that stands where cells are gone, in the processor's values; by default 0.
        grid: of the cells; by default the model's own.
        batch_size: images of one forward pass.
    """

    def __init__(
        self,
        model: Any,
        removal: str = "mean",
        colour: Tensor | None = None,
        *,
        grid: ImageGrid | None = None,
        batch_size: int = 64,
    ) -> None:
        self.model, self.classes = eval_view(model), ClassTable(model.config)
        self.perturbed = PerturbedImages(self.model, removal, colour, batch_size)
        self.batch_size, self._grid = batch_size, grid
        self._grids: dict[tuple[int, ...], ImageGrid] = {}

    def of(self, pixel_values: Tensor, number: int = 0) -> ImageValues:
        """The value function of one image, (1, 3, H, W) as its processor gives it; `number` seeds what is drawn for it.

        Raises:
            ValueError: another shape, no floats, fewer pixels than cells, or a family without cells.
        """
        if pixel_values.ndim != 4 or len(pixel_values) != 1 or not pixel_values.is_floating_point():
            raise ValueError(
                f"pixel_values must be (1, channels, height, width) of floats, got {tuple(pixel_values.shape)} of "
                f"{pixel_values.dtype}."
            )
        pixels = pixel_values.detach().to(self.model.device, self.model.dtype)
        size = tuple(pixels.shape[2:])
        if size not in self._grids:
            self._grids[size] = self._grid or spatial_states(self.model, pixels).grid
        grid = self._grids[size]
        if grid.rows > size[0] or grid.cols > size[1]:
            raise ValueError(f"grid must be of no more cells than the {size} pixels, got {grid.rows} x {grid.cols}.")
        return ImageValues(self, pixels, grid, number)

    def logits(self, pixels: Tensor) -> Floats:
        """What the model says of pixels (S, 3, H, W): (S, C) float64."""
        with torch.no_grad():
            said = [self.model(pixel_values=part).logits for part in pixels.split(self.batch_size)]
        return _as_floats(torch.cat(said))

    def explained(self, logits: Tensor, target: int) -> Tensor:
        """(S,) of (S, C) logits the target's, less the mean where classes exclude each other; keeps gradients."""
        centred = logits - logits.mean(-1, keepdim=True) if self.classes.exclusive else logits
        return centred[:, target]

    def probability(self, logits: Floats, target: int) -> Floats:
        """(S,) the probability of the target, of (S, C) logits."""
        rows = torch.from_numpy(logits)
        return (rows.softmax(-1) if self.classes.exclusive else rows.sigmoid())[:, target].numpy()


@dataclass
class ImageValues:
    """The value function of one image over the cells of its grid; made by `ImageModelValues.of`.

    `pixels` is (1, 3, H, W). Answers are kept, so that none is asked for twice.
    """

    owner: ImageModelValues
    pixels: Tensor
    grid: ImageGrid
    number: int

    def __post_init__(self) -> None:
        self._known: dict[bytes, Floats] = {}

    @property
    def n(self) -> int:
        """The number of cells."""
        return self.grid.cells

    @property
    def empty(self) -> Tensor:
        """(1, 3, H, W), the image with nothing kept."""
        return self.owner.perturbed.filling(self.pixels).expand_as(self.pixels)

    def logits(self, keep: ArrayLike) -> Floats:
        """What the model says of subsets (S, N) bool, true where a cell is kept: (S, C) float64.

        Raises:
            ValueError: another shape, or logits that are not finite.
        """
        masks = np.asarray(keep, dtype=bool)
        if masks.ndim != 2 or masks.shape[1] != self.n or not len(masks):
            raise ValueError(f"keep must be (S, {self.n}) with at least one subset, got {masks.shape}.")
        keys = [row.tobytes() for row in np.packbits(masks, axis=1)]
        if missing := list({key: row for row, key in enumerate(keys) if key not in self._known}.values()):
            kept = torch.from_numpy(masks[missing])
            (said,) = self.owner.perturbed.kept_logits(self.pixels, [kept], self.grid)
            self._known |= dict(zip([keys[row] for row in missing], _as_floats(said), strict=True))
        return np.stack([self._known[key] for key in keys])

    def explained(self, target: int) -> Callable[[Bools], Floats]:
        """The value of subsets: what is explained for the target, of what the model says of them."""
        return lambda keep: self.owner.explained(torch.from_numpy(self.logits(keep)), target).numpy()

    def probability(self, target: int) -> Callable[[Bools], Floats]:
        """The value of subsets: the target's probability."""
        return lambda keep: self.owner.probability(self.logits(keep), target)

    def predicted(self) -> int:
        """The class that the model predicts of the whole image."""
        return int(self.logits(np.ones((1, self.n), dtype=bool))[0].argmax())

    def cell_sums(self, pixels: Tensor) -> Floats:
        """(H, W) to (N,): the sum over the pixels of each cell, so that nothing is lost however they divide."""
        height, width = pixels.shape
        cell = self.grid.pixel_mask(torch.eye(self.n, dtype=torch.bool), height, width)[:, 0].int().argmax(0)
        values = pixels.detach().double().cpu().reshape(-1).numpy()
        return np.bincount(cell.reshape(-1).numpy(), values, self.n).astype(np.float64)

    def of_places(self, places: Tensor) -> Floats:
        """(h, w) of a state's places to (N,): means where finer than the grid, bilinear where coarser."""
        return on_grid(places.detach()[None, None], self.grid)[0, :, 0].double().cpu().numpy()

    def anew(self) -> ImageValues:
        """The same image, remembering no answer."""
        return ImageValues(self.owner, self.pixels, self.grid, self.number)


def _as_floats(logits: Tensor) -> Floats:
    return as_finite(logits.detach().float().cpu().numpy(), "the model's logits")
