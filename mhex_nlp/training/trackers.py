# SPDX-License-Identifier: Apache-2.0
"""Highlights of training as artifacts of the run that MLflow or Weights & Biases follows."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from transformers.utils import logging

logger = logging.get_logger(__name__)
Tracker = Literal["mlflow", "wandb"]
_FOLDER = "highlights"


def check_trackers(log_to: Tracker | Iterable[Tracker] | None) -> tuple[Tracker, ...]:
    """The trackers, each of which can be imported.

    Raises:
        ValueError: a name of none.
        ImportError: one that is not installed.
    """
    names: Sequence[Any] = (log_to,) if isinstance(log_to, str) else tuple(log_to or ())
    for name in names:
        if name not in get_args(Tracker):
            raise ValueError(f"log_to must be of {list(get_args(Tracker))}, got {name!r}.")
        if importlib.util.find_spec(name) is None:
            raise ImportError(f"log_to={name!r} needs {name}, which is not installed: pip install {name}.")
    return tuple(names)


def log_highlights(trackers: Iterable[Tracker], files: Sequence[Path], step: int) -> None:
    """Hands the files of a step to the run that is active; where there is none, training goes on with a warning.

    MLflow keeps them as artifacts under `highlights/`. Weights & Biases shows the page as `highlights` and keeps the
    files as a version of the artifact `highlights-<run id>`.
    """
    for tracker in trackers:
        if not (_to_mlflow(files) if tracker == "mlflow" else _to_wandb(files, step)):
            start = "mlflow.start_run()" if tracker == "mlflow" else "wandb.init()"
            logger.warning(f"step {step}: no run of {tracker} is active, so highlights are not logged; {start} first.")


def _to_mlflow(files: Sequence[Path]) -> bool:
    import mlflow

    if mlflow.active_run() is None:
        return False
    for file in files:
        mlflow.log_artifact(str(file), _FOLDER)
    return True


def _to_wandb(files: Sequence[Path], step: int) -> bool:
    import wandb

    if (run := wandb.run) is None:
        return False
    artifact = wandb.Artifact(f"{_FOLDER}-{run.id}", type="explanations", metadata={"step": step})
    for file in files:
        artifact.add_file(str(file))
    run.log_artifact(artifact)
    page = next(file for file in files if file.suffix == ".html")
    run.log({_FOLDER: wandb.Html(page.read_text("utf-8"), inject=False), "train/global_step": step})
    return True
