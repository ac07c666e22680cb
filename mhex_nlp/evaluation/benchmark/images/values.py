# SPDX-License-Identifier: Apache-2.0
"""What comparisons ask an image classifier: its answers to an image from which cells of a grid were taken.

Axes: S subsets of the N = R x C cells, C labels, H x W pixels as the processor gives them. Experimental.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from ....explain.targets import ClassTable
from ....models.eval_mode import eval_view
from ...metrics.arrays import Floats, as_finite
from ...metrics.games import ValueFunction

Baseline = Callable[[Tensor], Tensor]  # (1, 3, H, W) of an image to what stands where its cells are gone
# model, pixels (1, 3, H, W) and (S, N) bool, true where a cell is kept, to (S, C) logits: removal by other means
Answer = Callable[[Any, Tensor, Tensor], Tensor]


class ImageModelValues:
    """Runs any image classifier of transformers, plain or with heads, on images with cells taken out.

    >>> values = ImageModelValues(model, grid=(7, 7), baseline=torch.zeros_like)
    >>> image = values.of(pixel_values)
    >>> sampled_shapley(image.explained(target), image.n)

    Args:
        model: the classifier; it is run in eval mode without being switched to it.
        grid: rows and columns.
        baseline: of an image what stands where cells are gone, (3, H, W) or what broadcasts to it, in the processor's
            values.
        answer: asks the model in a way of its own, such as without some patches; `baseline` then is the empty image
            that a path to the whole one starts from.
        batch: images of one forward pass.
    """

    def __init__(
        self,
        model: Any,
        grid: tuple[int, int],
        baseline: Baseline,
        *,
        answer: Answer | None = None,
        batch: int = 64,
    ) -> None:
        self.model, self.classes = eval_view(model), ClassTable(model.config)
        self.grid, self.baseline, self.batch = (int(grid[0]), int(grid[1])), baseline, batch
        self.answer = answer or self._painted

    def of(self, pixel_values: Tensor, number: int = 0) -> ImageValues:
        """The value function of one image, (1, 3, H, W) as its processor gives it; `number` seeds what is drawn for it.

        Raises:
            ValueError: another shape, no floats, or fewer pixels than cells.
        """
        if pixel_values.ndim != 4 or len(pixel_values) != 1 or not pixel_values.is_floating_point():
            raise ValueError(
                f"pixel_values must be (1, channels, height, width) of floats, got {tuple(pixel_values.shape)} of "
                f"{pixel_values.dtype}."
            )
        if min(self.grid) < 1 or self.grid[0] > pixel_values.shape[2] or self.grid[1] > pixel_values.shape[3]:
            raise ValueError(f"grid must be of 1 to {tuple(pixel_values.shape[2:])} cells, got {self.grid}.")
        return ImageValues(self, pixel_values.detach().to(next(self.model.parameters()).device), number)

    def logits(self, pixels: Tensor) -> Floats:
        """What the model says of pixels (S, 3, H, W): (S, C) float64."""
        with torch.no_grad():
            said = [self.model(pixel_values=part).logits for part in pixels.split(self.batch)]
        return _as_floats(torch.cat(said))

    def explained(self, logits: Tensor, target: int) -> Tensor:
        """(S,) of (S, C) logits the target's, less the mean where classes exclude each other; keeps gradients."""
        centred = logits - logits.mean(-1, keepdim=True) if self.classes.exclusive else logits
        return centred[:, target]

    def probability(self, logits: Floats, target: int) -> Floats:
        """(S,) the probability of the target, of (S, C) logits."""
        rows = torch.from_numpy(logits)
        return (rows.softmax(-1) if self.classes.exclusive else rows.sigmoid())[:, target].numpy()

    def spread(self, cells: Tensor, size: Sequence[int]) -> Tensor:
        """(S, N) of cells to (S, 1, H, W) of pixels, each as its cell."""
        return interpolate(cells.reshape(-1, 1, *self.grid).float(), list(size), mode="nearest")

    def on_grid(self, places: Tensor) -> Floats:
        """(h, w) of places spread evenly over the image to (N,): the mean over each cell where finer, else bilinear."""
        image = places.detach()[None, None].double()
        if image.shape[2] >= self.grid[0] and image.shape[3] >= self.grid[1]:
            return adaptive_avg_pool2d(image, self.grid).reshape(-1).cpu().numpy()
        return interpolate(image, self.grid, mode="bilinear", align_corners=False).reshape(-1).cpu().numpy()

    def _painted(self, model: Any, pixels: Tensor, keep: Tensor) -> Tensor:
        kept = self.spread(keep, pixels.shape[2:]).to(pixels.dtype)
        empty = self.baseline(pixels).to(pixels)
        return model(pixel_values=pixels * kept + empty * (1 - kept)).logits


class ImageValues:
    """The value function of one image over the cells of the grid; made by `ImageModelValues.of`.

    `pixels` (1, 3, H, W) is the image, `n` the number of cells. Answers are kept, so that none is asked for twice.
    """

    def __init__(self, owner: ImageModelValues, pixels: Tensor, number: int = 0) -> None:
        self.owner, self.pixels, self.number = owner, pixels, number
        self.n = owner.grid[0] * owner.grid[1]
        self._known: dict[bytes, Floats] = {}

    @property
    def empty(self) -> Tensor:
        """(1, 3, H, W), the image with nothing kept."""
        return self.owner.baseline(self.pixels).to(self.pixels).expand_as(self.pixels)

    def logits(self, keep: ArrayLike) -> Floats:
        """What the model says of subsets (S, N) bool, true where a cell is kept: (S, C) float64.

        Raises:
            ValueError: another shape, or logits that are not finite.
        """
        masks = np.asarray(keep, dtype=bool)
        if masks.ndim != 2 or masks.shape[1] != self.n or not len(masks):
            raise ValueError(f"keep must be (S, {self.n}) with at least one subset, got {masks.shape}.")
        keys = [row.tobytes() for row in np.packbits(masks, axis=1)]
        missing = list({key: row for row, key in enumerate(keys) if key not in self._known}.values())
        for start in range(0, len(missing), self.owner.batch):
            rows = missing[start : start + self.owner.batch]
            kept = torch.from_numpy(masks[rows]).to(self.pixels.device)
            with torch.no_grad():
                said = self.owner.answer(self.owner.model, self.pixels, kept)
            self._known |= dict(zip([keys[row] for row in rows], _as_floats(said), strict=True))
        return np.stack([self._known[key] for key in keys])

    def explained(self, target: int) -> ValueFunction:
        """The value of subsets: what is explained for the target, of what the model says of them."""
        return lambda keep: self.owner.explained(torch.from_numpy(self.logits(keep)), target).numpy()

    def probability(self, target: int) -> ValueFunction:
        """The value of subsets: the target's probability."""
        return lambda keep: self.owner.probability(self.logits(keep), target)

    def predicted(self) -> int:
        """The class that the model predicts of the whole image."""
        return int(self.logits(np.ones((1, self.n), dtype=bool))[0].argmax())

    def anew(self) -> ImageValues:
        """The same image, remembering no answer."""
        return ImageValues(self.owner, self.pixels, self.number)


def _as_floats(logits: Tensor) -> Floats:
    return as_finite(logits.detach().float().cpu().numpy(), "the model's logits")
