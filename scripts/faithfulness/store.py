# SPDX-License-Identifier: Apache-2.0
"""Per-text results on disk: one .npz a unit of work, written whole or not at all, and only read for what made it."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """`write` to a temporary neighbour (file or folder), then rename: whoever kills this leaves old or new, no half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        write(partial)
        os.replace(partial, path)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        partial.unlink(missing_ok=True)


def save(path: Path, made_of: str, **columns: Any) -> None:
    """Arrays, with the line that says what they were made of."""

    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            np.savez_compressed(file, made_of=np.asarray(made_of), **columns)

    write_whole(path, write)


def load(path: Path, made_of: str) -> dict[str, np.ndarray]:
    """The arrays; empty where there are none, or they were made of something else (another model, fit or setting)."""
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as file:
        found = {name: file[name] for name in file.files}
    return found if str(found.pop("made_of")) == made_of else {}


def pack(rows: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Rows of different lengths as two arrays."""
    return {"flat": np.concatenate([*rows, np.empty(0)]), "lengths": np.asarray([len(row) for row in rows], dtype=int)}


def unpack(columns: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The rows that `pack` was given; none of nothing."""
    if not columns:
        return []
    return np.split(columns["flat"], np.cumsum(columns["lengths"])[:-1]) if len(columns["lengths"]) else []


def digest(path: Path) -> str:
    """The first 12 digits of a file's sha256."""
    state = path.stat()
    return _digest(path, state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=64)
def _digest(path: Path, changed: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
