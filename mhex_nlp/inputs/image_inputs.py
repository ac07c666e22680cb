# SPDX-License-Identifier: Apache-2.0
"""A user's image processor: what a model is given for an image, where that lies in it, and which processor it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .image_geometry import GeometryFinder, ImageGeometry
from .images import LoadedImage

_NAMES = ("image_processor_type", "processor_class", "feature_extractor_type")  # that say nothing of what it does
OTHER_SETTINGS = "other settings"


class ImageInputs:
    """Makes pixel values of images that were loaded, by the user's processor.

    Args:
        image_processor: of transformers, or a processor that holds one.

    Raises:
        TypeError: it makes no pixel values, such as a tokenizer, or is a class of processors.
    """

    def __init__(self, image_processor: Any) -> None:
        processor = getattr(image_processor, "image_processor", image_processor)
        is_class = isinstance(processor, type)
        if is_class or not callable(processor) or "pixel_values" not in getattr(processor, "model_input_names", ()):
            kind = f"the class {processor.__name__}" if is_class else type(image_processor).__name__
            raise TypeError(
                f"image_processor must be an image processor of transformers, got {kind}; "
                'AutoImageProcessor.from_pretrained(name, backend="pil") loads one.'
            )
        self.image_processor = processor
        self._finder = GeometryFinder(lambda images: np.stack([self._values(image).numpy() for image in images]))

    def pixel_values(self, image: LoadedImage) -> Tensor:
        """(channels, H, W) float32, as the model is given it.

        Raises:
            ValueError: a processor that makes something else of one image, such as several crops.
        """
        return self._values(image.image)

    def geometry(self, image: LoadedImage, rows: int, cols: int, patch: int | None = None) -> ImageGeometry:
        """Where a grid over the model's input lies in the image; `patch` as `GeometryFinder.geometry` has it."""
        return self._finder.geometry(image.size, rows, cols, patch)

    def identity(self) -> dict[str, str]:
        """Class, backend and a hash of the settings: pixels of two backends differ in bits."""
        settings = {key: value for key, value in self.image_processor.to_dict().items() if key not in _NAMES}
        plain = json.dumps(settings, sort_keys=True, default=str)
        return {
            "class": type(self.image_processor).__name__,
            "backend": str(getattr(self.image_processor, "backend", "unknown")),
            "sha256": hashlib.sha256(plain.encode()).hexdigest(),
        }

    def _values(self, image: Image.Image) -> Tensor:
        image = coloured_for(self.image_processor, image)
        made = self.image_processor(images=image, return_tensors="pt")["pixel_values"]
        values = made if isinstance(made, Tensor) else torch.as_tensor(np.asarray(made))
        if values.dim() != 4 or len(values) != 1:
            raise ValueError(
                f"image_processor must make pixel values (1, channels, rows, columns) of an image, got "
                f"{tuple(values.shape)} from {type(self.image_processor).__name__}."
            )
        return values[0].float()


def coloured_for(processor: Any, image: Image.Image) -> Image.Image:
    """An RGB image as a processor takes it: grey where that has one mean, as those of models of grey images do."""
    mean = getattr(processor, "image_mean", None)
    return image.convert("L") if isinstance(mean, list | tuple) and len(mean) == 1 else image


def same_shape_groups(values: Sequence[Tensor], most: int) -> list[list[int]]:
    """Indices of neighbours of one shape, at most so many together."""
    groups: list[list[int]] = []
    for index, value in enumerate(values):
        if groups and len(groups[-1]) < most and values[groups[-1][0]].shape == value.shape:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def other_processor(made_by: Mapping[str, Any] | None, now: Mapping[str, str]) -> str | None:
    """In what a processor differs from that of a record, in words; `None` where it does not, or none is recorded."""
    if made_by is None or dict(made_by) == dict(now):
        return None
    if made_by.get("sha256") != now["sha256"]:
        return OTHER_SETTINGS
    if made_by.get("backend") != now["backend"]:
        return f"the backend {now['backend']!r} in place of {made_by.get('backend')!r}"
    return f"the class {now['class']} in place of {made_by.get('class')}"
