# SPDX-License-Identifier: Apache-2.0
"""Explanations in files: JSONL, one explanation a line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path

from .explanation import Explanation


def write_jsonl(explanations: Iterable[Explanation], path: str | PathLike[str]) -> int:
    """Write one JSON line for each explanation and return how many; the file appears only once it is
    complete.
    """
    target = Path(path)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.unfinished")
    count = 0
    try:
        with open(unfinished, "w", encoding="utf-8", newline="\n") as file:
            for explanation in explanations:
                file.write(explanation.to_json() + "\n")
                count += 1
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)
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
