# SPDX-License-Identifier: Apache-2.0
"""Hidden states of image classifiers as grids of cells, whatever the family: what a fit reads.

Any transformers image classifier is read by its `output_hidden_states`: convolutional stages (B, D, h, w), or tokens
(B, T, D) that are patches, row by row, with special ones before them (class, distillation, registers).

Axes: B images, H x W pixels, h x w a depth's own grid, N = rows x cols cells of the common grid, D channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig

from .eval_mode import run_in_eval_mode
from .heads.image_head import common_size
from .loading import readable

_MOST_SPECIAL = 16  # tokens before the patches
_NOT_SPATIAL = {
    "imagegpt": "it reads ids of colours, one a pixel, in place of pixel_values",
    "perceiver": "its states are latents without a place in the image",
    "siglip2": "its processor cuts an image into patches of its own, a row each, in place of (channels, rows, columns)",
    "shieldgemma2": "it is a language model that answers a question about the image",
}


@dataclass(frozen=True, slots=True)
class SpatialStates:
    """What one pass over B images shows of their cells, on one grid.

    Args:
        logits: (B, C) float32.
        states: (B, N, D) float32 of each depth, the last hidden state among them where it is another.
        flows: (B, N, A) float32 of each layer, or none.
        blocks: whether states are those of blocks, between the first and the last hidden state.
    """

    logits: Tensor
    states: tuple[Tensor, ...]
    flows: tuple[Tensor, ...]
    grid: ImageGrid
    blocks: bool = False


@dataclass(frozen=True, slots=True)
class ImageGrid:
    """The common grid of a model's states.

    Args:
        rows, cols: of cells.
        special: tokens before the patches, 0 in a convolutional network.
        patch: pixels of a cell of patches, which what is left over at the end of an image belongs to none of; `None`
            where the cells fill the image.
    """

    rows: int
    cols: int
    special: int = 0
    patch: int | None = None

    @property
    def cells(self) -> int:
        """N."""
        return self.rows * self.cols

    def pixel_mask(self, kept: Tensor, height: int, width: int) -> Tensor:
        """(S, N) bool of cells as (S, 1, H, W) bool of pixels; pixels that no cell has go with the last ones."""
        rows, cols = (
            (torch.arange(size) // self.patch if self.patch else torch.arange(size) * count // size).clamp(
                max=count - 1
            )
            for size, count in ((height, self.rows), (width, self.cols))
        )
        return kept.view(len(kept), 1, self.rows, self.cols)[:, :, rows[:, None], cols]


def read_grids(output: Any, pixel_values: Tensor, config: Any) -> list[Tensor]:
    """The states of every depth, (B, D, h, w) each, of an output with hidden states.

    Raises:
        ValueError: a family whose states have no places in the image; says why.
    """
    height, width = pixel_values.shape[-2:]
    states = getattr(output, "reshaped_hidden_states", None) or getattr(output, "hidden_states", None)
    if not states:
        raise ValueError(_refusal(config.model_type, "it gives no hidden states"))
    return [_as_map(state, height, width, config) for state in states]


def common_grid(output: Any, pixel_values: Tensor, config: Any) -> ImageGrid:
    """The grid that the states of all depths are brought to: patches, or the coarsest of 7 and more cells a side."""
    maps = read_grids(output, pixel_values, config)
    states = getattr(output, "reshaped_hidden_states", None) or output.hidden_states
    height, width = pixel_values.shape[-2:]
    first = states[0]
    if first.dim() == 3 and all(state.shape[1] == first.shape[1] for state in states):
        rows, cols, special, patch = _token_grid(first.shape[1], height, width, config)
        return ImageGrid(rows, cols, special, patch)
    return ImageGrid(*common_size([(grid.shape[-2], grid.shape[-1]) for grid in maps]))


def on_grid(state: Tensor, grid: ImageGrid) -> Tensor:
    """(B, D, h, w) as (B, N, D) float32: means of finer cells, bilinear between coarser ones."""
    size = (grid.rows, grid.cols)
    state = state.float()
    if state.shape[-2:] != size:
        finer = state.shape[-2] >= grid.rows and state.shape[-1] >= grid.cols
        if finer and state.shape[-2] % grid.rows == 0 and state.shape[-1] % grid.cols == 0:
            # the same as below, in a fifth less time
            state = nn.functional.avg_pool2d(state, (state.shape[-2] // grid.rows, state.shape[-1] // grid.cols))
        elif finer:
            state = nn.functional.adaptive_avg_pool2d(state, size)
        else:
            state = nn.functional.interpolate(state, size, mode="bilinear", align_corners=False)
    return state.flatten(2).transpose(1, 2)


def _as_map(state: Tensor, height: int, width: int, config: Any) -> Tensor:
    if state.dim() == 4:
        (_, one, two, three) = state.shape
        if _fits(two, three, height, width):
            return state
        if _fits(one, two, height, width):
            return state.permute(0, 3, 1, 2)
    if state.dim() == 3:
        rows, cols, special, _ = _token_grid(state.shape[1], height, width, config)
        return state[:, special:].transpose(1, 2).unflatten(2, (rows, cols))
    shown = f"its hidden states are {tuple(state.shape)} for images of {height} x {width} pixels"
    raise ValueError(_refusal(config.model_type, shown))


def _fits(rows: int, cols: int, height: int, width: int) -> bool:
    """Whether a grid has the shape of the image, but for rounding."""
    return rows <= height and cols <= width and abs(rows * width - cols * height) <= max(height, width)


def _token_grid(tokens: int, height: int, width: int, config: Any) -> tuple[int, int, int, int | None]:
    """Rows and columns of patches among tokens, how many tokens stand before them, and the side of a patch.

    Raises:
        ValueError: tokens that are no patches of the image.
    """
    patch = getattr(getattr(config, "vision_config", config), "patch_size", None)
    if isinstance(patch, int) and patch > 0:
        rows, cols = height // patch, width // patch
        if 0 <= tokens - rows * cols <= _MOST_SPECIAL:
            return rows, cols, tokens - rows * cols, patch if height % patch or width % patch else None
    for special in range(_MOST_SPECIAL + 1):
        for rows in range(1, height + 1):
            if (tokens - special) % rows == 0 and _fits(rows, (tokens - special) // rows, height, width):
                return rows, (tokens - special) // rows, special, None
    raise ValueError(
        _refusal(config.model_type, f"its {tokens} tokens are no patches of an image of {height} x {width} pixels")
    )


def reads_images(model: Any) -> bool:
    """Whether a model is an image classifier of transformers, plain or with heads."""
    return any("ForImageClassification" in cls.__name__ for cls in type(model).__mro__)


def image_classifier_in(model: Any) -> Any:
    """The image classifier that a model is, or that DataParallel, torch.compile or PEFT holds; `None` without one."""
    modules = model.modules() if isinstance(model, nn.Module) else ()
    return next((module for module in modules if reads_images(module)), None)


def architecture_of(name: str, revision: str | None = None) -> str:
    """The class that the config of a folder, or of the hub, names; empty where it cannot be read or names none."""
    try:
        with readable(name):
            named = AutoConfig.from_pretrained(name, revision=revision).architectures
            return str((named or [""])[0])
    except (OSError, ValueError, TypeError, ImportError):
        return ""


def spatial_states(model: Any, pixel_values: Tensor, *, blocks: bool = False, **arguments: Any) -> SpatialStates:
    """One pass in eval mode over images, with the states of every depth on one grid.

    Args:
        model: an image classifier.
        pixel_values: (B, channels, H, W).
        blocks: read the states of all blocks, which heads show with `output_states=True`, where hidden states are
            fewer, as in networks that give those of their stages alone.
        arguments: more of its forward.

    Raises:
        ValueError: a family whose states have no places in the image; says why. Pixel values that the model refuses.
    """
    family = model.config.model_type
    if family in _NOT_SPATIAL:
        raise ValueError(_refusal(family, _NOT_SPATIAL[family]))
    if pixel_values.dim() != 4:
        came = f"its processor gives {tuple(pixel_values.shape)} in place of (images, channels, rows, columns)"
        raise ValueError(_refusal(family, came))
    inputs = {"pixel_values": pixel_values, "output_hidden_states": True, "return_dict": True, **arguments}
    with _last_state(model) as last, _of_its_processor(model, pixel_values):
        output = run_in_eval_mode(model, inputs)
    grid = common_grid(output, pixel_values, model.config)
    maps = read_grids(output, pixel_values, model.config)
    final = last[-1] if last else None
    of_blocks = (getattr(output, "states", None) or ())[1:-1] if blocks else ()  # without what enters and leaves
    blocks = len(of_blocks) >= len(maps)
    states = [on_grid(state, grid) for state in ([maps[0], *of_blocks] if blocks else maps)]
    if final is not None and (blocks or not any(final is state for state in output.hidden_states or ())):
        with suppress(ValueError):  # not of cells: it is let be
            states.append(on_grid(_as_map(final, pixel_values.shape[2], pixel_values.shape[3], model.config), grid))
    return SpatialStates(logits_of(output), tuple(states), _flow(output, grid), grid, blocks)


@contextmanager
def _of_its_processor(model: Any, pixel_values: Tensor) -> Iterator[None]:
    """What a model raises of pixel values of the wrong size, which may be anything, says what came."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (ValueError, RuntimeError) as error:
        channels, height, width = pixel_values.shape[1:]
        raise ValueError(
            f"image_processor must be the model's own: {type(model).__name__} does not read what it gives, {channels} "
            f"channels of {height} x {width} pixels ({' '.join(str(error).split()).rstrip('.')})."
        ) from error


@contextmanager
def _last_state(model: Any) -> Iterator[list[Tensor]]:
    """Keeps the base model's last hidden state, after its last normalisation, of passes of this thread."""
    kept: list[Tensor] = []
    thread, base = get_ident(), model.base_model

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        state = getattr(output, "last_hidden_state", None)
        if isinstance(state, Tensor) and get_ident() == thread:
            kept.append(state)

    if base is model:
        yield kept
        return
    handle = base.register_forward_hook(keep)
    try:
        yield kept
    finally:
        handle.remove()


def _flow(output: Any, grid: ImageGrid) -> tuple[Tensor, ...]:
    """What each layer's attention carries from cells to where the label is read, (B, N, A) each, where it is shown."""
    flows = getattr(output, "attention_flow", None) or ()
    return tuple(flow[:, flow.shape[1] - grid.cells :].float() for flow in flows)


def logits_of(output: Any) -> Tensor:
    """(B, C) float32; one family (pp_lcnet) calls its logits the last hidden state."""
    logits = getattr(output, "logits", None)
    said: Tensor = output.last_hidden_state if logits is None else logits
    return said.float()


def _refusal(family: str, why: str) -> str:
    return f"the family {family!r} cannot be explained by cells of the image: {why}."
