# SPDX-License-Identifier: Apache-2.0
"""Explanations in files: JSONL, one explanation a line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path

from ..explain.explanation import Explanation
from .atomic_files import durable


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
