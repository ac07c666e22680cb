# SPDX-License-Identifier: Apache-2.0
"""What a comparison has measured so far, in a file: one that was stopped goes on there.

Axes: B texts, n_i units of text i, k columns of a figure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from ..._version import __version__
from ...inputs.atomic_files import durable
from ...models.weights_hash import model_hash
from ..metrics.arrays import Floats
from ..model_values import ModelValues, TextValues
from .results import Cost

SCHEMA = "mhex-evaluation-kept/1"


class KeptFigures:
    """Reference scores of a comparison, and each method's figures text by text.

    Args:
        path: the file; `None` keeps nothing. What is there of another comparison, or of none, is written over.
        made_of: what the figures depend on.
    """

    def __init__(self, path: str | PathLike[str] | None, made_of: Mapping[str, Any]) -> None:
        self.path = None if path is None else Path(path)
        self.content: dict[str, Any] = {"schema": SCHEMA, "made_of": dict(made_of), "references": None, "methods": {}}
        try:
            known = json.loads(self.path.read_text("utf-8")) if self.path is not None else None
        except (OSError, ValueError):
            return
        if isinstance(known, dict) and (known.get("schema"), known.get("made_of")) == (SCHEMA, dict(made_of)):
            self.content = known

    @property
    def references(self) -> dict[str, list[Any]] | None:
        """Lists by name, as they were kept."""
        kept: dict[str, list[Any]] | None = self.content["references"]
        return kept

    def keep_references(self, **rows: Sequence[Floats] | None) -> None:
        """Keeps scores of B texts by name, (n_i,) each."""
        self.content["references"] = {
            name: None if of_texts is None else [np.asarray(row).tolist() for row in of_texts]
            for name, of_texts in rows.items()
        }
        self._write()

    def method(self, key: str) -> tuple[dict[str, Floats], Cost] | None:
        """Figures (B, k) by name and cost of a method; `None` where it was not measured."""
        kept = self.content["methods"].get(key)
        if kept is None:
            return None
        columns = {name: np.asarray(rows, dtype=np.float64) for name, rows in kept["columns"].items()}
        return columns, Cost(**kept["cost"])

    def keep_method(self, key: str, columns: Mapping[str, Floats], cost: Cost) -> None:
        """Keeps what `method` gives back."""
        rows = {name: values.tolist() for name, values in columns.items()}
        self.content["methods"][key] = {"columns": rows, "cost": asdict(cost)}
        self._write()

    def _write(self) -> None:
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with durable(self.path) as file:
            file.write(json.dumps(self.content).encode())

    def remove(self) -> None:
        """Takes the file away."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def made_of(values: ModelValues, texts: Sequence[TextValues], marks: Sequence[Any], **options: Any) -> dict[str, Any]:
    """What the figures of texts depend on: the model's weights, the texts and their marks, how units are removed."""
    digest = hashlib.sha256()
    for text, mark in zip(texts, marks, strict=True):
        row = [
            *text.item.sources,
            text.unit,
            text.item.features["input_ids"].tolist(),
            None if mark is None else np.asarray(mark).tolist(),
        ]
        digest.update(repr(row).encode())
    return {
        "weights": model_hash(values.model),
        "texts": digest.hexdigest(),
        "removal": values.removal,
        **options,
        "versions": [__version__, torch.__version__, transformers.__version__],
    }
