# SPDX-License-Identifier: Apache-2.0
"""Runs an image classifier on images of which only some cells are left.

What is taken out becomes one colour ("mean"), a blurred copy of the image ("blur"), or, in vision transformers whose
forward takes an attention mask, patches that nothing attends to ("attention"). These get the colour too, which shows
only where the label is read off the mean of all patches, as in DINOv2, masked ones included.

Axes: B images, S variants of an image, N cells, C labels.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from .eval_mode import run_in_eval_mode
from .image_states import ImageGrid, SpatialStates, logits_of, spatial_states
from .modeling import MhexMixin
from .perturbed import check_finite_logits

ImageRemoval = Literal["mean", "blur", "attention"]
IMAGE_REMOVALS: tuple[str, ...] = get_args(ImageRemoval)
_BLUR = 1 / 8  # of the image's side: the standard deviation of the blur
_MASKABLE = ("vit", "deit", "dinov2", "dinov2_with_registers")


def takes_attention_mask(model: Any) -> bool:
    """Whether patches can be dropped by an attention mask over special tokens and patches."""
    names = inspect.signature(type(model).forward).parameters
    return model.config.model_type in _MASKABLE and ("attention_mask" in names or "kwargs" in names)


def choose_image_removal(how: str, model: Any) -> ImageRemoval:
    """`how` checked; "auto" is "mean".

    Raises:
        ValueError: no such removal, or one that the family cannot do.
    """
    if how == "auto":
        return "mean"
    if how not in IMAGE_REMOVALS:
        raise ValueError(f"removal must be one of {['auto', *IMAGE_REMOVALS]} for images, got {how!r}.")
    if how == "attention" and not takes_attention_mask(model):
        raise ValueError(
            f"removal='attention' drops patches, which the family {model.config.model_type!r} cannot do: use "
            "removal='mean' or removal='blur'."
        )
    return how  # type: ignore[return-value]


class PerturbedImages:
    """An image classifier asked about images with cells removed.

    Args:
        model: the classifier; its modes are not touched.
        removal: as `choose_image_removal`.
        colour: (channels,) what takes the place of cells, in the units of pixel_values; for "mean".
        batch_size: variants in one batch.
        flow: read what attention carries into the place of the label, where heads show it.
        blocks: read the states of all blocks, where heads show them and they are more than hidden states.

    `rows` counts the images that went through the model.
    """

    def __init__(
        self,
        model: Any,
        removal: str,
        colour: Tensor | None,
        batch_size: int,
        *,
        flow: bool = False,
        blocks: bool = False,
    ) -> None:
        self.model, self.batch_size = model, batch_size
        self.removal = choose_image_removal(removal, model)
        with_heads = bool(len(getattr(model, "mhex", ())))
        self.colour, self.flow, self.blocks = colour, flow and with_heads, blocks and with_heads
        self.rows = 0
        self._grids: dict[tuple[int, ...], ImageGrid] = {}

    def read(self, pixel_values: Tensor) -> SpatialStates:
        """One pass over whole images (B, channels, H, W), in the form that variants are run in.

        Raises:
            ValueError: logits that are not finite, and as `spatial_states`.
        """
        self.rows += len(pixel_values)
        images = self._placed(pixel_values)
        further: dict[str, Any] = {}
        if self.removal == "attention":
            grid = self.grid_of(images)
            further["attention_mask"] = torch.ones(len(images), grid.special + grid.cells).long().to(images.device)
        if isinstance(self.model, MhexMixin):
            further |= {"output_states": self.flow or self.blocks, "output_head_logits": False}
        states = spatial_states(self.model, images, blocks=self.blocks, **further)
        check_finite_logits(states.logits)
        return states

    def kept_logits(self, pixel_values: Tensor, kept: Sequence[Tensor], grid: ImageGrid) -> list[Tensor]:
        """The logits of images of which only some cells are kept, (S, C) float32 on the CPU each.

        Args:
            pixel_values: (B, channels, H, W).
            kept: (S, N) bool for each image.
            grid: of the cells.

        Raises:
            ValueError: logits that are not finite.
        """
        images = self._placed(pixel_values)
        filling = self.filling(images)
        owners = torch.arange(len(images)).repeat_interleave(torch.tensor([len(subsets) for subsets in kept]))
        logits = []
        for rows, chosen in zip(
            owners.split(self.batch_size), torch.cat(list(kept)).split(self.batch_size), strict=True
        ):
            owner = rows.to(images.device)
            mask = grid.pixel_mask(chosen, *images.shape[-2:]).to(images.device)
            painted = torch.where(mask, images[owner], filling[owner] if len(filling) > 1 else filling)
            inputs: dict[str, Any] = {"pixel_values": painted, "return_dict": True}
            if self.removal == "attention":
                special = torch.ones(len(chosen), grid.special, dtype=torch.bool)
                inputs["attention_mask"] = torch.cat([special, chosen], dim=1).long().to(images.device)
            if isinstance(self.model, MhexMixin):
                inputs["output_head_logits"] = False
            self.rows += len(chosen)
            with torch.inference_mode():  # a graph that callers forgot would keep the states of all subsets
                logits.append(logits_of(run_in_eval_mode(self.model, inputs)).cpu())
        answers = check_finite_logits(torch.cat(logits))
        return list(answers.split([len(subsets) for subsets in kept]))

    def grid_of(self, images: Tensor) -> ImageGrid:
        """The grid of images of this size, by a pass over one of them that is made once."""
        size = tuple(images.shape[-2:])
        if size not in self._grids:
            self._grids[size] = spatial_states(self.model, self._placed(images[:1])).grid
        return self._grids[size]

    def _placed(self, pixel_values: Tensor) -> Tensor:
        return pixel_values.to(self.model.device, self.model.dtype)

    def filling(self, image: Tensor) -> Tensor:
        """What stands where cells are taken out: (1 or B, channels, 1 or H, 1 or W)."""
        if self.removal == "blur":
            return blurred(image)
        colour = torch.zeros(image.shape[1]) if self.colour is None else self.colour
        return colour.to(image).view(1, -1, 1, 1)


def blurred(image: Tensor) -> Tensor:
    """(B, channels, H, W), each side smoothed by a Gaussian of an eighth of its length; mirrored at the border."""
    for axis in (2, 3):
        side = image.shape[axis]
        deviation = max(side * _BLUR, 0.5)
        reach = min(round(3 * deviation), side - 1)
        offsets = torch.arange(-reach, reach + 1, device=image.device, dtype=torch.float32)
        kernel = torch.exp(-(offsets**2) / (2 * deviation**2))
        kernel = (kernel / kernel.sum()).to(image.dtype)
        rows = image.movedim(axis, -1)
        flat = rows.reshape(-1, 1, side)
        padded = nn.functional.pad(flat, (reach, reach), mode="reflect") if reach else flat
        smooth = nn.functional.conv1d(padded, kernel.view(1, 1, -1))
        image = smooth.view(rows.shape).movedim(-1, axis)
    return image
