# SPDX-License-Identifier: Apache-2.0
"""The fit of image classifiers: `fit_equivalent_matrices` of images. Experimental.

As for texts (`fit`), with the cells of a grid in the place of tokens: cell scores phi[n] = W f[n] are to satisfy sum
over S of phi - sum over the rest = v(S) - v(rest) for random cells S. Axes: N cells, F features, C labels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...explain.skill import Rows
from ...inputs.checks import as_integer
from ...inputs.image_inputs import ImageInputs
from ...inputs.images import LoadedImage, iterate_images, load_image
from ...models.eval_mode import eval_view
from ...models.fit_record import IMAGES
from ...models.fit_weights import fit_hashes
from ...models.image_fit import add_image_fit, layout_of
from ...models.image_perturbed import PerturbedImages
from ...models.image_states import SpatialStates
from ...render.display import followed
from .attainable import attainable
from .image_rows import ImageRowSource
from .learning import check_min_gain, learn
from .report import FitReport
from .reporting import report_fit, warn_few
from .ridge import RidgeStream
from .splits import Splits, check_drawing, connected, split_groups

MIN_IMAGES = 20
_CHUNK = 64  # images that are loaded together
_THUMB = 16  # pixels a side of what near-duplicates are told by
_ALIKE = 4  # of its 256 signs, at the most, that differ between near-duplicates


def fit_images(
    model: Any,
    image_processor: Any,
    images: Any,
    *,
    masks: int = 8,
    held_out: float = 0.1,
    max_features: int = 20_000,
    removal: str = "auto",
    seed: int = 0,
    batch_size: int | None = None,
    attainable_images: int = 20,
    min_gain: float | None = None,
    window: tuple[float, float] | None = None,
    colour: Sequence[float] | None = None,
    progress: bool = True,
) -> FitReport:
    """Fits an image classifier's equivalent matrices to its behaviour on `images`; no labels, no weight changes.

    (Long because of its many arguments.)

    Args:
        model: any image classifier of transformers whose hidden states have places in the image.
        image_processor: the model's own.
        images: some thousand of the kind to be explained: a list, a folder, an Image column; a generator is kept whole.
        masks: random subsets of each image's cells, in complementary pairs.
        held_out: share of the images that the fit is judged on, and of those by which the ridge strength is chosen.
        max_features: depths are thinned evenly until the features are no more than this.
        removal: "mean", "blur", "attention" (ViT, DeiT, DINOv2), or "auto", which is "mean".
        seed: of the split and of the subsets.
        batch_size: images of one forward pass; by default 16 on a CPU, else 64.
        attainable_images: held-out images on which the attainable skill is measured; 0 leaves it out.
        min_gain: learn in stages until one raises the skill by less, as of texts; by default from all images.
        window: of images of more than 8 bits, as `load_image` has it.
        colour: red, green and blue, 0 to 255, of what is taken out by "mean"; by default the images' mean.
        progress: show bars on a terminal.

    Raises:
        TypeError: no image processor, or no images.
        ValueError: a family without spatial states, too few images that differ, an option out of range, an image that
            cannot be read.
        RuntimeError: somebody trained the model meanwhile.
        MemoryError: the features would not fit into half of the free memory.
    """
    start = time.perf_counter()
    masks = as_integer(masks, "masks", at_least=2)
    attainable_images = as_integer(attainable_images, "attainable_images", at_least=0)
    min_gain = check_min_gain(min_gain)
    seed = check_drawing(held_out, seed)
    inputs, sources = ImageInputs(image_processor), _indexed(images)
    size = (16 if model.device.type == "cpu" else 64) if batch_size is None else batch_size
    size = as_integer(size, "batch_size", at_least=1)
    perturbed = PerturbedImages(eval_view(model), removal, None, size, flow=True, blocks=True)
    source = ImageRowSource(perturbed, inputs, masks, window)
    bars = _bars(progress)
    seen = _Survey(inputs, sources, window, bars)
    perturbed.colour = seen.mean_colour if colour is None else _of_rgb(inputs, colour)
    splits, weights_hashes = _split(seen, held_out, seed), fit_hashes(model)

    def rows(indices: Sequence[int], say: str) -> Iterator[Rows]:
        for begin in bars(range(0, len(indices), _CHUNK), say):
            chosen = indices[begin : begin + _CHUNK]
            yield from source.rows([sources[i] for i in chosen], None, chosen, seed)

    with torch.inference_mode():
        (pixels,) = source.pixel_values(sources[:1])
        first = perturbed.read(pixels[None])
        layout = source.layout = layout_of(first).thinned(max_features)
        stream = RidgeStream(layout.parts, model.config.num_labels, len(splits.learn) * source.rows_per_image)
        chosen_on = list(rows(splits.choose, "Choosing"))
        learnt = learn(stream, splits.learn, lambda indices: rows(indices, "Fitting"), chosen_on, min_gain)
        weights, row_count = learnt.weights, stream.rows
        del stream, chosen_on  # before there are other rows
        held = list(rows(splits.judge, "Judging"))
        warn_few(len(held), "images", stacklevel=4)
        passes, measured = max(4096, masks * len(sources) // 4), splits.judge[:attainable_images]
        arguments = (source, weights, [sources[i] for i in measured], None, measured)
        best = attainable(*arguments, passes=passes, seed=seed, with_prior=False)
        image = _describe(source, pixels, first)
    report = report_fit(
        model,
        source,
        learnt,
        held,
        best,
        seed=seed,
        masks=masks,
        rows=row_count,
        hashes=weights_hashes,
        start=start,
        empty=None,
        texts=learnt.curve[-1][0],
        chosen_on=len(splits.choose),
        held_out=len(splits.judge),
        pairs=False,
        longest=max(int(item.sizes[-1]) for item in held),
        scripts=(),
        task=IMAGES,
        image=image,
    )
    add_image_fit(model, report.to_dict(), weights)
    return report


class _Survey:
    """What one look at all images tells: their mean colour as the model sees it, and which are near-duplicates."""

    def __init__(
        self, inputs: ImageInputs, sources: Sequence[Any], window: tuple[float, float] | None, bars: Callable[..., Any]
    ) -> None:
        colours, thumbs = [], []
        for number in bars(range(len(sources)), "Reading"):
            image = load_image(sources[number], window=window, id=str(number))
            colours.append(inputs.pixel_values(image).mean((1, 2)))
            thumbs.append(_thumb(image))
        self.mean_colour = torch.stack(colours).mean(0)  # (channels,)
        self.groups = _near_duplicates(np.stack(thumbs))


def _thumb(image: LoadedImage) -> np.ndarray:
    """(32,) uint8: the signs of the differences between neighbours of a small grey copy."""
    small = image.image.convert("L").resize((_THUMB + 1, _THUMB), Image.Resampling.BOX)
    return np.packbits(np.diff(np.asarray(small, np.int16), axis=1) > 0)


def _near_duplicates(thumbs: np.ndarray) -> np.ndarray:
    """(images,) int: equal numbers are near-duplicates; plain images, which have no signs, are so where alike."""
    edges = []
    for number in range(1, len(thumbs)):
        apart = np.bitwise_count(thumbs[:number] ^ thumbs[number]).sum(1)
        edges += [(int(other), number) for other in np.flatnonzero(apart <= _ALIKE)]
    return connected(edges, len(thumbs))


def _split(seen: _Survey, held_out: float, seed: int) -> Splits:
    splits = split_groups(seen.groups, held_out, seed)
    if len(splits.learn) < 5 or min(map(len, splits)) < 2:
        raise ValueError(
            f"images must be at least {MIN_IMAGES} that differ, got {len(seen.groups)} that are mostly near-duplicates "
            "of each other."
        )
    return splits


def _indexed(images: Any) -> Sequence[Any]:
    """The sources by number: an Image column stays where it is, and is decoded image by image."""
    iterator = iterate_images(images)  # refuses what holds none
    by_number = hasattr(images, "__getitem__") and hasattr(images, "__len__") and not isinstance(images, str)
    sources: Sequence[Any] = images if by_number else list(iterator)
    if len(sources) < MIN_IMAGES:
        raise ValueError(f"images must be at least {MIN_IMAGES} to fit, got {len(sources)}; a thousand are better.")
    return sources


def _of_rgb(inputs: ImageInputs, colour: Sequence[float]) -> Tensor:
    """(channels,) what the processor makes of a colour."""
    values = list(colour)
    if len(values) != 3 or not all(isinstance(value, int | float) and 0 <= value <= 255 for value in values):
        raise ValueError(f"colour must be red, green and blue from 0 to 255, got {colour!r}.")
    flat = Image.new("RGB", (64, 64), tuple(round(value) for value in values))
    return inputs.pixel_values(load_image(flat)).mean((1, 2))


def _describe(source: ImageRowSource, pixels: Tensor, states: SpatialStates) -> dict[str, Any]:
    """What the record says of the images: how the model sees them, and what it says of one with nothing in it.

    Args:
        pixels: (channels, H, W) of an image.
        states: what a pass over it showed.
    """
    grid, colour = states.grid, source.perturbed.colour
    assert colour is not None
    empty = None
    if source.perturbed.removal != "blur":  # which leaves something of each image
        nothing = torch.zeros(1, grid.cells, dtype=torch.bool)
        (logits,) = source.perturbed.kept_logits(pixels[None], [nothing], grid)
        empty = [float(f"{value:.6g}") for value in logits[0].tolist()]
    return {
        "size": list(pixels.shape[-2:]),
        "grid": [grid.rows, grid.cols],
        "colour": colour.tolist(),
        "empty": empty,
        "blocks": states.blocks,
        "processor": source.inputs.identity(),
    }


def _bars(progress: bool) -> Callable[..., Any]:
    """Wraps a range so that a terminal shows how far it is."""
    return lambda steps, say: followed(steps, say, progress)
