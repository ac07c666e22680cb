# SPDX-License-Identifier: Apache-2.0
"""Settings of the fine-tuning loop, checked before anything is loaded. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

PRECISIONS = ("no", "bf16", "fp16")


@dataclass(kw_only=True)
class FinetuneConfig:
    """What `finetune` trains, on what, and how.

    Args:
        model: name or folder of a model; heads are added where it has none.
        data: see `load_splits`: a file, a folder, a hub dataset or a `datasets` object.
        output_dir: gets the model, the tokenizer, `metrics.json` and `checkpoints/`.
        validation: a source of its own for validation.
        config_name: configuration of a hub dataset.
        train_split, validation_split: names of the data's splits.
        validation_share: part of the training split that validates where there is no validation split.
        text_column, text_pair_column, label_column: their names in the data.
        max_length: tokens a text is cut at; by default what the tokenizer knows.
        gate: heads scale what attention adds; `False` leaves the heads to read only.
        loss_weight: weight of the mean head loss beside the task loss.
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
    label_column: str = "label"
    max_length: int | None = None
    gate: bool = True
    loss_weight: float = 0.3
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
        for name in (
            *("epochs", "max_steps", "batch_size", "gradient_accumulation_steps", "eval_batch_size", "max_length"),
            *("logging_steps", "save_steps", "save_limit", "num_processes"),
        ):
            value = getattr(self, name)
            if value is None and FinetuneConfig.__dataclass_fields__[name].default is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} must be an integer, got {value!r}.")
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
        for name, least, most in (
            ("lr", 0.0, math.inf),
            ("head_lr", 0.0, math.inf),
            ("max_grad_norm", 0.0, math.inf),
            ("validation_share", 0.0, 1.0),
        ):
            value = getattr(self, name)
            if value is not None and not least < value < most:
                raise ValueError(f"{name} must be between {least:g} and {most:g}, got {value!r}.")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup must be in [0, 1), a share of the steps, got {self.warmup!r}.")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay must be at least 0, got {self.weight_decay!r}.")
        if self.mixed_precision is not None and self.mixed_precision not in PRECISIONS:
            raise ValueError(f"mixed_precision must be one of {list(PRECISIONS)}, got {self.mixed_precision!r}.")

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON: paths as strings, a dataset by its type and number of rows."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: _as_json(value) for name, value in values.items()}


def _as_json(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value) if isinstance(value, PathLike) else f"{type(value).__name__} {value.num_rows}"
