# SPDX-License-Identifier: Apache-2.0
"""The explanations of a highlight job's folder, or of a JSONL file, in their order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...explain.explanation import Explanation
from ..job.ledger import MANIFEST, Ledger
from ..jsonl import read_jsonl


def read_explanations(source: Path) -> Iterator[Explanation]:
    """Explanations one by one; that there is a file, or a finished job that wrote JSONL, is checked at once."""
    files = [source] if source.is_file() else _files_of_job(source)
    return (explanation for file in files for explanation in read_jsonl(file))


def _files_of_job(folder: Path) -> list[Path]:
    must_be = f"source must be a folder of `mhex highlight` or a JSONL file, got {folder}"
    if not folder.exists():
        raise FileNotFoundError(f"{must_be}: no such file.")
    try:
        manifest = Ledger(folder, 0).read_manifest()
    except FileNotFoundError:
        if (single := folder / "explanations.jsonl").is_file():
            return [single]
        raise ValueError(f"{must_be} without {MANIFEST}.") from None
    if not manifest.get("complete"):
        raise ValueError(f"source must be a finished job, got {folder}; run the same `mhex highlight` again to go on.")
    names = [name for part in manifest["parts"] for name in part["files"] if name.endswith(".jsonl")]
    if not names:
        raise ValueError(f"source must hold JSONL files, got {folder} with none: highlight with --format jsonl.")
    return [folder / name for name in names]
