# SPDX-License-Identifier: Apache-2.0
"""What stands beside an exported graph: what it reads, what its scores are, and how far they can be trusted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ...inputs.atomic_files import durable

NAME = "mhex_graph.json"
SCHEMA = "mhex-graph/1"
INSTALL = 'pip install "mhex_nlp[onnx]"'


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphExport:
    """An exported classifier, as its folder says it.

    `explains` says what the scores are in words; `difference` is the largest of the graph from the model that it was
    exported from, over logits and scores of a few texts.
    """

    library: str
    format: str  # "onnx" or "pt2"
    files: Mapping[str, str]  # sha256 of each by its name, the graph first
    opset: int | None
    precision: str  # "float32" or "int8"
    explains: str
    aggregation: str
    inputs: tuple[str, ...]  # names, (B, T) int64 each
    labels: tuple[str, ...]
    problem_type: str
    model: str
    revision: str | None
    model_type: str
    weights: str  # hash of those that were exported
    causal: bool
    pads: bool  # whether texts of several lengths may share a batch
    pad_token_id: int | None
    template: tuple[int, ...]  # ids whose `scores` are zero
    longest: int | None  # tokens that the model takes
    tokenizer: Mapping[str, Any]
    fit: Mapping[str, Any] | None  # the record of the fit, where fitted matrices explain
    fit_holds: bool | None
    bias: tuple[float, ...] | None  # (C,), of supervised heads: with the scores it adds up to what they explain
    settings: Mapping[str, Any] = field(default_factory=dict)  # of the explainer that was exported
    difference: float = 0.0
    folder: str = ""  # where it lies; not written

    @property
    def record(self) -> Mapping[str, Any]:
        """Of the fit, as the matrices in the graph have it."""
        return self.fit or {}

    def write(self, folder: Path) -> None:
        """Writes the record, last of all files."""
        document = {"schema": SCHEMA, **asdict(self)}
        del document["folder"]
        with durable(folder / NAME) as file:
            file.write(f"{json.dumps(document, indent=1)}\n".encode())


def read_export(folder: Path, kind: str = "onnx") -> GraphExport:
    """The record of a folder, whose files are those that were written with it.

    Raises:
        FileNotFoundError: no such folder, or a file that is missing.
        ValueError: not such a record, another format, or files that were changed.
    """
    path = folder / NAME
    if not path.is_file():
        raise FileNotFoundError(f"folder must be one that export_onnx wrote, got {folder}, which has no {NAME}.")
    try:
        document = json.loads(path.read_bytes())
        schema = document.pop("schema")
        known = {one.name for one in fields(GraphExport)} - {"folder"}
        export = GraphExport(**{name: _frozen(value) for name, value in document.items() if name in known})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is not a record of export_onnx: {error}.") from error
    if schema != SCHEMA:
        raise ValueError(f"{path} has schema {schema!r:.80}; this version reads {SCHEMA!r}.")
    if export.format != kind:
        raise ValueError(f"folder must hold a graph in the format {kind!r}, got {export.format!r} in {folder}.")
    for name, expected in export.files.items():
        file = folder / name
        if not file.is_file():
            raise FileNotFoundError(f"folder must hold {name}, got {folder} without it.")
        if file_hash(file) != expected:
            raise ValueError(f"{file} is not the file that was exported with {NAME}: its hash is another one.")
    return export


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def file_hash(path: Path) -> str:
    """sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
