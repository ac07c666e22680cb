# SPDX-License-Identifier: Apache-2.0
"""Explanations in files: JSONL, one explanation a line, alone or in the folder of a job."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

from ..explain.explanation import Explanation
from ..explain.images.explanation import ImageExplanation
from ..explain.json_form import loads
from ..explain.positioned import PositionedExplanation, read_any
from ..inputs.atomic_files import content_hash, durable
from ..inputs.folders import odd_kind
from .job.folder import ERRORS, MANIFEST, files_of_parts, read_manifest

TextExplanation = Explanation | PositionedExplanation
AnyExplanation = TextExplanation | ImageExplanation
_OF_IMAGES = '"schema": "mhex-image-explanation/'


def write_jsonl(explanations: Iterable[AnyExplanation], path: str | PathLike[str]) -> int:
    """Write one JSON line for each explanation and return how many; the file appears only once it is complete."""
    count = 0
    with durable(Path(path)) as file:
        for explanation in explanations:
            file.write(f"{explanation.to_json()}\n".encode())
            count += 1
    return count


def read_jsonl(path: str | PathLike[str]) -> Iterator[AnyExplanation]:
    """The explanations of a JSONL file, one by one; blank lines are skipped, errors name file and line."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield _read(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except ValueError as error:
                raise ValueError(f"{os.fspath(path)}, line {number}: {error}") from error


def _read(line: str) -> AnyExplanation:
    if _OF_IMAGES in line[:200]:
        return ImageExplanation.from_json(line)
    return read_any(line)


def read_explanations(source: Path) -> Iterator[AnyExplanation]:
    """Explanations one by one; that there is a file, or a finished job that wrote JSONL, is checked at once.

    ValueError at the end where a job counts more of them, or fewer.
    """
    if source.is_file():
        return read_jsonl(source)
    return _read_all(*_files_of_job(source), source)


def failed_rows(source: Path) -> Iterator[dict[str, Any]]:
    """The rows that a finished job could not explain: `row`, `id`, `reason`; none of a JSONL file."""
    errors = source / ERRORS
    if source.is_dir() and odd_kind(errors) is None and errors.exists():
        with open(errors, "rb") as file:
            for number, line in enumerate(file, start=1):
                row = loads(line) if line.strip() else {}
                if not isinstance(row, dict):
                    raise ValueError(f"{errors}, line {number}: expected an object, got {row!r:.60}.")
                if row:
                    yield row


def _read_all(files: dict[Path, str | None], expected: int | None, source: Path) -> Iterator[AnyExplanation]:
    count = 0
    for file, content in files.items():
        if content is not None and content_hash(file) != content:
            raise ValueError(f"{file} is not what the job wrote there; run the same `mhex highlight` again.")
        for explanation in read_jsonl(file):
            count += 1
            yield explanation
    if expected is not None and count != expected:
        raise ValueError(f"source must hold the {expected} explanations that {source / MANIFEST} counts, got {count}.")


def _files_of_job(folder: Path) -> tuple[dict[Path, str | None], int | None]:
    """The files of a finished job, and how many explanations they hold, where that is known."""
    must_be = f"source must be a folder of `mhex highlight` or a JSONL file, got {folder}"
    if not folder.exists():
        raise FileNotFoundError(f"{must_be}: no such file.")
    if not folder.is_dir():
        raise ValueError(f"{must_be}, which is neither.")
    try:
        manifest = read_manifest(folder)
    except FileNotFoundError:
        if odd_kind(single := folder / "explanations.jsonl") is None and single.exists():
            return {single: None}, None
        raise ValueError(f"{must_be} without {MANIFEST}.") from None
    if manifest.get("complete") is not True:
        raise ValueError(f"source must be a finished job, got {folder}; run the same `mhex highlight` again to go on.")
    files = files_of_parts(folder, manifest, ".jsonl")
    if not files:
        raise ValueError(f"source must hold JSONL files, got {folder} with none: highlight with --format jsonl.")
    return files, manifest.get("explained")
