# SPDX-License-Identifier: Apache-2.0
"""One call for an adapter and its heads: the base that the adapter names, the adapter on it, the heads on both."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers
from transformers.utils import cached_file

from ..inputs.folders import read_object
from .conversion import get_mhex_model
from .loading import readable
from .tasks.names import KINDS, Task, auto_class, task_named

RECORD, ADAPTER = "explainer.json", "adapter_config.json"
_PLACES = ("revision", "cache_dir", "token", "local_files_only")  # options that say where files are


def adapter_folder(name: Any, options: Mapping[str, Any]) -> Path | None:
    """The folder of `name`, here or on the hub, where it holds an adapter with heads beside it; else `None`."""
    if os.path.isdir(name):
        folder = Path(name)
        return folder if (folder / RECORD).is_file() and (folder / ADAPTER).is_file() else None
    if not isinstance(name, str):
        return None
    where = {key: options[key] for key in _PLACES if options.get(key) is not None}
    quiet = {f"_raise_exceptions_for_{what}": False for what in ("gated_repo", "missing_entries", "connection_errors")}
    try:
        paths = [cached_file(name, file, **where, **quiet) for file in (RECORD, ADAPTER, "explainer.safetensors")]
    except (OSError, ValueError):  # what loads the model says so
        return None
    return None if None in paths else Path(str(paths[0])).parent


def adapted_task(name: Any, revision: str | None = None) -> Task | None:
    """What an adapter with heads beside it is for; `None` of any other folder or name."""
    folder = adapter_folder(name, {"revision": revision})
    if folder is None:
        return None
    task = (read_object(folder / RECORD).get("adapter") or {}).get("task")
    return task if task in KINDS else "sequence_classification"


def load_adapted(folder: Path, task: Task, options: Mapping[str, Any]) -> Any:
    """A `PeftModel` with the heads that `save_explainer` wrote beside it.

    Args:
        folder: of `PeftModel.save_pretrained` and `save_explainer`.
        task: of the Auto class.
        options: of `from_pretrained`, for the base model; with `is_trainable=True` the adapter learns on.

    Raises:
        ImportError: PEFT is not installed.
        ValueError: an adapter for another task, or of another base model than the one that it names; as `read_record`.
        OSError: the base model is not there.
    """
    try:
        from peft import PeftModel
    except ImportError as error:
        raise ImportError(f"peft must be installed to load the adapter in {folder}: pip install peft.") from error
    record = read_object(folder / RECORD).get("adapter") or {}
    base = read_object(folder / ADAPTER).get("base_model_name_or_path")
    if not base:
        raise ValueError(
            f"{folder / ADAPTER} must name the base model of the adapter, got {base!r}: load the base yourself, and "
            "call get_mhex_model(PeftModel.from_pretrained(base, folder), folder)."
        )
    if record.get("task", task) != task:
        raise ValueError(f"the adapter in {folder} must be loaded by {auto_class(record['task'])}.")
    options = {key: value for key, value in options.items() if key != "mhex_settings"}
    trainable = bool(options.pop("is_trainable", False))
    options.pop("revision", None)  # of the adapter, not of its base
    if record.get("id2label"):
        labels = {int(key): label for key, label in record["id2label"].items()}
        names = {"id2label": labels, "label2id": {label: key for key, label in labels.items()}}
        options = {"problem_type": record.get("problem_type"), **names, **options}
    plain = getattr(transformers, auto_class(task).replace("Mhex", ""))
    with readable(base):
        model = plain.from_pretrained(base, **options)
    assert task_named(type(model).__name__) == task
    with readable(folder):
        adapted = PeftModel.from_pretrained(model, str(folder), is_trainable=trainable)
    return get_mhex_model(adapted.train(trainable), folder)
