# SPDX-License-Identifier: Apache-2.0
"""A model repository of Triton Inference Server, around an exported graph."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .record import GraphExport

FOLDER, MODEL = "triton", "mhex"
_LARGEST_BATCH = 64


def write_triton(folder: Path, export: GraphExport, files: list[str]) -> None:
    """Puts `triton/mhex/config.pbtxt` and `triton/mhex/1/` with the graph's files beside the graph.

    Files are linked where the disk can, copied elsewhere. The server's `--model-repository` is the folder `triton`.
    """
    version = folder / FOLDER / MODEL / "1"
    version.mkdir(parents=True, exist_ok=True)
    for name in files:
        target = version / name
        target.unlink(missing_ok=True)
        try:
            os.link(folder / name, target)
        except OSError:
            shutil.copyfile(folder / name, target)
    (version.parent / "config.pbtxt").write_text(configuration(export), "utf-8")


def configuration(export: GraphExport) -> str:
    """`config.pbtxt` of the graph: a batch axis of its own, requests of equal length batched dynamically.

    Without an id to pad with, texts go one at a time.
    """
    batch = _LARGEST_BATCH if export.pad_token_id is not None else 1
    labels = len(export.labels)
    inputs = [_tensor(name, "TYPE_INT64", [-1]) for name in export.inputs]
    outputs = [
        _tensor("logits", "TYPE_FP32", [labels]),
        _tensor("scores", "TYPE_FP32", [-1, labels]),
        _tensor("token_scores", "TYPE_FP32", [-1, labels]),
    ]
    comma = ",\n"
    parts = [
        f'name: "{MODEL}"',
        'backend: "onnxruntime"',
        f"max_batch_size: {batch}",
        f"input [\n{comma.join(inputs)}\n]",
        f"output [\n{comma.join(outputs)}\n]",
        *(["dynamic_batching { }"] if batch > 1 else []),
    ]
    return "\n".join(parts) + "\n"


def _tensor(name: str, kind: str, dims: list[int]) -> str:
    return f'  {{ name: "{name}" data_type: {kind} dims: {dims} }}'
