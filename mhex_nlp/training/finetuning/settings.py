# SPDX-License-Identifier: Apache-2.0
"""What fine-tuning of texts and of images makes of its settings alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from transformers import AutoConfig

from .config import FinetuneConfig

SPLIT_OPTIONS = (  # of `load_splits`, for texts and images
    *("label_column", "validation", "config_name", "train_split"),
    *("validation_split", "validation_share", "seed"),
)


def head_settings(config: FinetuneConfig) -> dict[str, Any]:
    """Those of the heads that are given; the rest is the checkpoint's."""
    settings = {name: getattr(config, name) for name in ("gate", "loss_weight", "faithfulness_weight")}
    return {name: value for name, value in settings.items() if value is not None}


def class_options(labels: Sequence[str]) -> dict[str, Any]:
    """What a model's config says of its classes, which exclude each other."""
    return {
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
        "problem_type": "single_label_classification",
    }


def named_classes(model: Any) -> list[str]:
    """The classes of a checkpoint that has names for them, in id order."""
    id2label = AutoConfig.from_pretrained(model).id2label or {}
    names = [str(id2label.get(index)) for index in range(len(id2label))]
    return [] if all(re.fullmatch(r"LABEL_\d+|None", name) for name in names) else names
