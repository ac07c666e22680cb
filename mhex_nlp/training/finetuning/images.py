# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning of image classifiers: what is loaded, and how images become batches. Experimental.

Images go through the model's own processor and nothing else: there is no augmentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import DatasetDict
from transformers import AutoConfig

from ...corpus.images.explained import load_row
from ...corpus.readers.images import ImageColumns, image_columns
from ...inputs.image_inputs import coloured_for
from ...models.auto import AutoMhexModelForImageClassification
from ...models.config import MhexConfig
from ...models.loading import readable
from .config import FinetuneConfig
from .data import load_splits
from .settings import SPLIT_OPTIONS, class_options, head_settings, named_classes

_OF_TEXTS = ("text_pair_column", "max_length", "masked_words", "faithfulness_weight")
_WEIGHTS = ("*.safetensors", "*.bin", "*.safetensors.index.json")


def load_images(config: FinetuneConfig) -> tuple[DatasetDict, Any, Any, Collator]:
    """The splits of undecoded images, the image processor, the model, and what makes batches; errors as `finetune`."""
    for name in _OF_TEXTS:
        if value := getattr(config, name):
            raise ValueError(f"{name} is for texts, got {value!r} with {config.model}, which reads images.")
    processor = load_processor(str(config.model))
    options = {name: getattr(config, name) for name in SPLIT_OPTIONS}
    splits = load_splits(config.data, **options, image_column=config.image_column, classes=named_classes(config.model))
    model = _model(config, splits["train"].features["label"].names)
    return _undecoded(splits), processor, model, Collator(processor, image_columns(config.data, "image"))


def load_processor(name: str) -> Any:
    """The image processor of a folder or hub name; ValueError where there is none."""
    from transformers import AutoImageProcessor

    try:
        with readable(name):
            return AutoImageProcessor.from_pretrained(name, backend="pil")  # explanations are made with the same
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{name} must have an image processor, such as preprocessor_config.json; save it there with "
            f"image_processor.save_pretrained ({str(error).splitlines()[0][:200]})."
        ) from error


def _undecoded(splits: DatasetDict) -> DatasetDict:
    from datasets import Image

    is_image = isinstance(splits["train"].features["image"], Image)
    return splits.cast_column("image", Image(decode=False)) if is_image else splits


def _model(config: FinetuneConfig, labels: list[str]) -> Any:
    """The checkpoint with heads, or, where the folder holds a config alone, a model of random weights."""
    settings, folder = head_settings(config), Path(config.model)
    if folder.is_dir() and not any(any(folder.glob(pattern)) for pattern in _WEIGHTS):
        with readable(config.model):
            fresh = AutoConfig.from_pretrained(folder, **class_options(labels))
        fresh.mhex = MhexConfig(**{"gate": False, **settings}).to_dict()
        model = AutoMhexModelForImageClassification.from_config(fresh, dtype=torch.float32)
    else:
        model = AutoMhexModelForImageClassification.from_pretrained(
            config.model,
            mhex=settings or None,
            **class_options(labels),
            ignore_mismatched_sizes=True,  # a classifier of other classes starts anew
            dtype=torch.float32,
        )
        model.drop_readout()
    if config.gradient_checkpointing:
        model.activation_checkpointing_enable()
    return model


@dataclass(frozen=True)
class Collator:
    """Makes pixel values and labels of rows that hold images."""

    processor: Any
    columns: ImageColumns

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        images = []
        for number, example in enumerate(examples):
            loaded = load_row(self.columns.row(number, example))
            if isinstance(loaded, str):
                raise ValueError(f"data must stay readable while it is trained on, got an image of which: {loaded}")
            images.append(coloured_for(self.processor, loaded.image))
        values = self.processor(images=images, return_tensors="pt")
        labels = torch.tensor([example["label"] for example in examples], dtype=torch.long)
        return {"pixel_values": values["pixel_values"], "labels": labels}
