# SPDX-License-Identifier: Apache-2.0
"""Explanations in files: JSONL, one explanation a line, alone or in the folder of a job."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path

from ..explain.explanation import Explanation
from .atomic_files import durable
from .job.ledger import MANIFEST, Ledger


def write_jsonl(explanations: Iterable[Explanation], path: str | PathLike[str]) -> int:
    """Write one JSON line for each explanation and return how many; the file appears only once it is complete."""
    count = 0
    with durable(Path(path)) as file:
        for explanation in explanations:
            file.write(f"{explanation.to_json()}\n".encode())
            count += 1
    return count


def read_jsonl(path: str | PathLike[str]) -> Iterator[Explanation]:
    """The explanations of a JSONL file, one by one; blank lines are skipped, errors name file and line."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield Explanation.from_json(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except ValueError as error:
                raise ValueError(f"{os.fspath(path)}, line {number}: {error}") from error


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
    try:
        names = [name for part in manifest["parts"] for name in part["files"] if name.endswith(".jsonl")]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / MANIFEST} does not list the files of its parts: run the job again.") from error
    if outside := [name for name in names if Path(name).name != name]:
        raise ValueError(f"{folder / MANIFEST} names {outside[0]!r:.60}, which is no file of its folder.")
    if not names:
        raise ValueError(f"source must hold JSONL files, got {folder} with none: highlight with --format jsonl.")
    return [folder / name for name in names]
