# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of `finetune`: looked up, checked before anything is loaded, resumed from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from .config import FinetuneConfig

_STATE = "custom_checkpoint_0.pkl"  # accelerate's name for what `register_for_checkpointing` got; it is written last


def check_checkpoints(config: FinetuneConfig) -> Path | None:
    """The checkpoint to resume from, if any; refuses now what accelerate would refuse after the first epoch."""
    folder = Path(config.output_dir) / "checkpoints"
    if config.resume_from is None:
        if folder.is_dir() and any(folder.iterdir()):
            raise ValueError(
                f"output_dir must hold no checkpoints of an earlier run, got some in {folder}; go on with them by "
                "resume_from='latest', or remove them."
            )
        return None
    if config.resume_from == "latest":
        complete = {number: path for number, path in _numbered(folder).items() if (path / _STATE).is_file()}
        if not complete:
            raise ValueError(f"resume_from='latest' needs a checkpoint in {folder}, got none.")
        return complete[max(complete)]
    checkpoint = Path(config.resume_from)
    if not checkpoint.is_dir():
        raise FileNotFoundError(f"resume_from must be 'latest' or a checkpoint folder, got {str(checkpoint)!r}.")
    if not (checkpoint / _STATE).is_file():
        raise ValueError(
            f"resume_from must be a checkpoint of finetune, such as {folder / 'checkpoint_0'}, got "
            f"{str(checkpoint)!r}, which holds no state of a training run; a model is trained further as model=."
        )
    return checkpoint


def resume(accelerator: Accelerator, config: FinetuneConfig, checkpoint: Path) -> None:
    """Loads the state of a run; its next checkpoint gets a number of its own in `output_dir`."""
    try:
        accelerator.load_state(str(checkpoint))
    except RuntimeError as error:
        if "state_dict" not in str(error):
            raise
        raise ValueError(
            f"resume_from must be a checkpoint of the model that is trained, got {str(checkpoint)!r}, whose weights "
            f"do not fit {str(config.model)!r}."
        ) from error
    taken = _numbered(Path(config.output_dir) / "checkpoints")
    accelerator.project_configuration.iteration = max(taken, default=-1) + 1


def _numbered(folder: Path) -> dict[int, Any]:
    paths = folder.iterdir() if folder.is_dir() else ()
    matches = {path: re.fullmatch(r"checkpoint_(\d+)", path.name) for path in paths}
    return {int(match[1]): path for path, match in matches.items() if match}
