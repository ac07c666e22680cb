# SPDX-License-Identifier: Apache-2.0
"""Where each family of image classifiers adds what a block computes to its residual stream.

Read in transformers' own code. A family without a row gets no heads; its states can be fitted all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class ImageSite:
    """Where one family of image classifiers exposes the residual addition of a block. Paths are dotted names.

    Args:
        blocks: path from the base model to its blocks; `*` stands for every child, and the blocks are what it ends on.
        stream: submodule of a block that receives the residual stream (x_global) as its first argument, or returns it.
        output: submodule whose first output is what the block adds to that stream (x).
        returns_stream: `stream` returns x_global, as a convolution in the short cut does.
        addition: submodule that receives x_global + x where the block adds in place, so that x is gated there.
        scale: parameter of the block that x is multiplied with before it is added, outside any module.
        only: attribute of `output`'s parent, or of the block, that is true where there is a residual at all.
        tokens: states are (B, T, H) rather than (B, C, H, W).
        special: tokens before the patches.
        registers: config field with how many more there are.
        halves: later depths have half as many cells a side (rounded up).
        pre_norm: the stream is not normalised, so heads divide by its root mean square.
        pooled: where the label is read from: the "first" position, the first "two" (half each), the "mean" of the
            patches, or "both": half the first, half the mean. With it the flow of attention can be followed.
    """

    blocks: str
    stream: str
    output: str
    returns_stream: bool = False
    addition: str | None = None
    scale: str | None = None
    only: str | None = None
    tokens: bool = False
    special: int = 0
    registers: str | None = None
    halves: bool = False
    pre_norm: bool = False
    pooled: Literal["first", "two", "mean", "both"] | None = None

    @property
    def layers(self) -> str:
        """Where the blocks lie in the base model, without `*`."""
        return self.blocks.partition(".*")[0]

    def find_blocks(self, base_model: nn.Module) -> list[nn.Module]:
        """The blocks that have a residual, in order of depth.

        Raises:
            ValueError: `base_model` has no such path, or a block lacks one of the submodules.
        """
        blocks: list[nn.Module] = [base_model]
        try:
            for name in self.blocks.split("."):
                blocks = [c for m in blocks for c in (m.children() if name == "*" else [m.get_submodule(name)])]
            kept = [block for block in blocks if self._has_residual(block)]
            for block in kept:
                for path in (self.stream, self.output, self.addition or self.output):
                    block.get_submodule(path)
        except AttributeError as error:
            raise ValueError(f"{self} does not fit {type(base_model).__name__}: {error}.") from error
        if not kept:
            raise ValueError(f"{self} finds no block in {type(base_model).__name__}.")
        return kept

    def _has_residual(self, block: nn.Module) -> bool:
        if self.only is None:
            return True
        path, _, name = self.only.rpartition(".")
        return bool(getattr(block.get_submodule(path), name))

    def specials(self, config: Any) -> int:
        """How many tokens stand before the patches."""
        return self.special + (int(getattr(config, self.registers)) if self.registers else 0)

    @staticmethod
    def patch_sides(config: Any) -> tuple[int, int]:
        """Height and width of a patch, in pixels."""
        patch = config.patch_size
        return (patch, patch) if isinstance(patch, int) else (patch[0], patch[1])

    def token_grid(self, tokens: int, height: int, width: int, config: Any) -> tuple[int, int]:
        """Rows and columns of so many cells (special tokens do not count) of an image of height x width pixels.

        Raises:
            ValueError: they are no grid of patches of such an image.
        """
        patch = self.patch_sides(config)
        rows, cols = height // patch[0], width // patch[1]
        if self.halves:  # padded at the end
            rows, cols = -(-height // patch[0]), -(-width // patch[1])
            while rows * cols > tokens and rows * cols > 1:
                rows, cols = -(-rows // 2), -(-cols // 2)
        if rows * cols != tokens:
            raise ValueError(
                f"pixel_values must give one token for each patch of {patch[0]} x {patch[1]} pixels, got {tokens} "
                f"tokens of an image of {height} x {width}."
            )
        return rows, cols

    def start_row(self, model: Any, tokens: int) -> tuple[Tensor, int | None] | None:
        """Where the label is read from: (T,) float32, adding up to 1, and the position, where it is a single one.

        `None` where that is not known. T counts special tokens.
        """
        pooled, special = self.pooled, self.specials(model.config)
        if pooled == "mean" and not getattr(model.config, "use_mean_pooling", True):
            pooled = "first"
        if pooled == "two" and "WithTeacher" not in type(model).__name__:
            pooled = "first"
        start = torch.zeros(tokens)
        if pooled is None:
            return None
        if pooled == "first":
            start[0] = 1
            return start, 0
        if pooled == "two":
            start[:2] = 0.5
        else:
            share = 0.5 if pooled == "both" else 1.0
            start[0] = 1 - share
            start[special:] = share / (tokens - special)
        return start, None


_RESNET = ImageSite("encoder.stages.*.layers.*", "shortcut", "layer", returns_stream=True, addition="activation")
_CONVNEXT = ImageSite("encoder.stages.*.layers.*", "dwconv", "drop_path", pre_norm=True)
_VIT = ImageSite("layers.*", "layernorm_before", "attention", tokens=True, special=1, pre_norm=True, pooled="first")
_DINO = replace(_VIT, blocks="encoder.layer.*", stream="norm1", output="layer_scale1", pooled="both")
_BEIT = replace(_VIT, scale="lambda_1", pooled="mean")
_SWIN = ImageSite("encoder.layers.*.blocks.*", "layernorm_before", "drop_path", tokens=True, halves=True, pre_norm=True)

IMAGE_SITES: dict[str, ImageSite] = {
    "resnet": _RESNET,
    "regnet": _RESNET,
    "convnext": _CONVNEXT,
    "convnextv2": _CONVNEXT,
    "vit": _VIT,
    "vit_msn": _VIT,
    "deit": replace(_VIT, special=2, pooled="two"),
    "dinov2": _DINO,
    "dinov2_with_registers": replace(_DINO, registers="num_register_tokens"),
    "beit": _BEIT,
    "data2vec-vision": replace(_BEIT, blocks="encoder.layer.*"),
    "swin": _SWIN,
    "mobilenet_v2": ImageSite("layer.*", "expand_1x1", "reduce_1x1", only="use_residual"),
    "efficientnet": ImageSite("encoder.blocks.*", "projection", "projection.dropout", only="projection.apply_dropout"),
}


def find_image_site(model_type: str) -> ImageSite | None:
    """The row of a family; `None` where it has none, and its models no heads."""
    return IMAGE_SITES.get(model_type)
