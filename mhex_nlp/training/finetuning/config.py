# SPDX-License-Identifier: Apache-2.0
"""Settings of the fine-tuning loop, checked before anything is loaded. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from os import PathLike
from typing import TYPE_CHECKING, Any

from ...inputs.checks import check_share
from ...models.checkpoint import shown_name

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

PRECISIONS = ("no", "bf16", "fp16")
_TYPES: dict[str, tuple[Any, str]] = {  # by annotation; paths and data are checked where they are read
    "int": (int, "an integer"),
    "float": (int | float, "a number"),
    "bool": (bool, "True or False"),
    "str": (str, "a string"),
}
_PLACES = ("model", "data", "output_dir", "validation", "resume_from")
_MOST = {"lr": math.inf, "head_lr": math.inf, "max_grad_norm": math.inf, "validation_share": 1.0}
_WEIGHTS = ("weight_decay", "loss_weight", "faithfulness_weight")


@dataclass(kw_only=True)
class FinetuneConfig:
    """What `finetune` trains, on what, and how.

    Args:
        model: name or folder of a model; heads are added where it has none. An image model may be a folder with its
            config and image processor alone, which is trained from random weights.
        data: a CSV, TSV, JSON, JSONL or Parquet file, a folder, the name of a hub dataset, or a `datasets` object; for
            images also a folder with a folder a class.
        output_dir: gets the model, the tokenizer, `metrics.json` and `checkpoints/`.
        validation: a source of its own for validation; by default the data's own split, else a share of the texts.
        config_name: configuration of a hub dataset.
        train_split: name of the training split.
        validation_split: name of the validation split.
        validation_share: part of the training split that validates where there is no validation split.
        text_column: column of the text.
        text_pair_column: column of a second text, such as a hypothesis.
        image_column: column of the image, where `model` reads images (experimental); no augmentation is done.
        label_column: column of the label.
        max_characters: of a text; a longer one is an error.
        max_length: tokens a text is cut at; by default what the model takes.
        gate: heads scale what attention adds; `False` leaves the heads to read only. By default as a checkpoint with
            heads says, which cannot be changed, else `True`.
        loss_weight: weight of the mean head loss beside the task loss; by default as the checkpoint says, else 0.3.
        faithfulness_weight: weight of the faithfulness loss, which costs a second forward and backward pass a step; by
            default as the checkpoint says, else 0.
        masked_words: share of the texts of each batch of which a random part of the words is masked in training; needs
            a tokenizer with a mask token. For answers to removals that are sums over words it did nothing on AG News,
            where `faithfulness_weight` did much (docs/masked_words.md).
        epochs: passes over the training split.
        max_steps: optimiser steps after which to stop, whatever `epochs` says.
        batch_size: texts per process and forward pass.
        gradient_accumulation_steps: forward passes per optimiser step.
        eval_batch_size: by default `batch_size`.
        lr: learning rate of the backbone.
        head_lr: of the heads; by default 20 times `lr`.
        weight_decay: of everything but biases and norms.
        warmup: share of the steps in which the rate rises, before it falls linearly to 0.
        max_grad_norm: gradients are clipped at this norm.
        mixed_precision: "no", "bf16" or "fp16"; by default what `accelerate launch` says, else "no".
        gradient_checkpointing: trade time for memory.
        seed: of weights, order of the texts and dropout.
        logging_steps: optimiser steps between two log lines.
        log_with: an accelerate tracker such as "tensorboard", written to `output_dir/logs`.
        save_steps: optimiser steps between two checkpoints; by default one at the end of each epoch.
        save_limit: checkpoints kept.
        resume_from: "latest" or a checkpoint folder.
        num_processes: how many processes are expected; a launch with another number is an error.

    Raises:
        TypeError, ValueError: a value of the wrong type or out of range.
    """

    model: str | PathLike[str]
    data: str | PathLike[str] | Dataset | DatasetDict
    output_dir: str | PathLike[str]
    validation: str | PathLike[str] | Dataset | DatasetDict | None = None
    config_name: str | None = None
    train_split: str = "train"
    validation_split: str | None = None
    validation_share: float = 0.1
    text_column: str = "text"
    text_pair_column: str | None = None
    image_column: str = "image"
    label_column: str = "label"
    max_characters: int = 1_000_000
    max_length: int | None = None
    gate: bool | None = None
    loss_weight: float | None = None
    faithfulness_weight: float | None = None
    masked_words: float = 0.0
    epochs: int = 3
    max_steps: int | None = None
    batch_size: int = 16
    gradient_accumulation_steps: int = 1
    eval_batch_size: int | None = None
    lr: float = 5e-5
    head_lr: float | None = None
    weight_decay: float = 0.01
    warmup: float = 0.1
    max_grad_norm: float = 1.0
    mixed_precision: str | None = None
    gradient_checkpointing: bool = False
    seed: int = 42
    logging_steps: int = 10
    log_with: str | None = None
    save_steps: int | None = None
    save_limit: int = 2
    resume_from: str | PathLike[str] | None = None
    num_processes: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            name, value, annotation = field.name, getattr(self, field.name), str(field.type).removesuffix(" | None")
            if annotation not in _TYPES or (value is None and field.default is None):
                continue
            kind, kind_name = _TYPES[annotation]
            if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
                raise TypeError(f"{name} must be {kind_name}, got {value!r}.")
            if annotation == "int" and name != "seed" and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
            if name in _MOST and not 0 < value < _MOST[name]:
                raise ValueError(f"{name} must be between 0 and {_MOST[name]:g}, got {value!r}.")
            if name in _WEIGHTS and not 0 <= value < math.inf:
                raise ValueError(f"{name} must be at least 0 and finite, got {value!r}.")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup must be in [0, 1), a share of the steps, got {self.warmup!r}.")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be between 0 and {2**32 - 1}, got {self.seed}.")
        check_share(self.masked_words, "masked_words")
        if self.mixed_precision is not None and self.mixed_precision not in PRECISIONS:
            raise ValueError(f"mixed_precision must be one of {list(PRECISIONS)}, got {self.mixed_precision!r}.")

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON, to be passed on with the model: folders and files by their own names alone, a dataset
        by its type and number of rows.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: _as_json(name, value) for name, value in values.items()}


def _as_json(name: str, value: Any) -> Any:
    if isinstance(value, PathLike) or (name in _PLACES and isinstance(value, str)):
        return shown_name(str(value))
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return f"{type(value).__name__} {value.num_rows}"
