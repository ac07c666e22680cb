# SPDX-License-Identifier: Apache-2.0
"""Heads in the checkpoints of a Trainer that trains an adapter, of which PEFT itself keeps the adapter alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import logging

from ..inputs.folders import read_object
from ..models.adapters import is_peft_model
from ..models.heads.head import trained
from ..models.sidecar import load_weights, save_explainer
from .optimizer import require_heads

logger = logging.get_logger(__name__)


def checkpoint_folder(args: TrainingArguments, state: TrainerState) -> Path:
    """Where Trainer keeps the step that it is at."""
    return Path(args.output_dir or ".") / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"


def keep_heads(model: Any, folder: Path) -> None:
    """Puts trained heads beside the adapter of a checkpoint; of a model without adapter Trainer keeps them itself."""
    if is_peft_model(model) and folder.is_dir() and trained(require_heads(model).mhex.modules()):
        save_explainer(model, folder)


def restore_heads(model: Any, folder: Path) -> None:
    """Fills the heads from a checkpoint, after Trainer has loaded its adapter; warns where there are none.

    Raises:
        ValueError: files that do not fit.
    """
    if not is_peft_model(model):
        return
    if record := read_object(folder / "explainer.json"):
        load_weights(folder, require_heads(model), record.get("sha256"))
    else:
        logger.warning(f"{folder} holds no MHEX heads beside its adapter: the heads stay as they are.")
