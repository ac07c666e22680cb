# SPDX-License-Identifier: Apache-2.0
"""Per-text results on disk: one .npz a unit of work, written whole or not at all, and only read for what made it."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

DIGITS = 6
Columns = dict[str, np.ndarray]


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


def unit(path: Path, made_of: str, count: int, make: Callable[[], Columns]) -> Columns:
    """The arrays on disk, if they are of this origin and of at least `count` texts; else made anew and kept."""
    columns = load(path, made_of)
    if columns and columns["texts"] >= count:
        return columns
    start = time.perf_counter()
    columns = {**make(), "texts": np.asarray(count)}

    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            np.savez_compressed(file, made_of=np.asarray(made_of), **columns)

    write_whole(path, write)
    where = "/".join(path.with_suffix("").parts[-3:])
    print(f"{where}: {count} texts, {time.perf_counter() - start:.1f} s", flush=True)
    return columns


def load(path: Path, made_of: str) -> Columns:
    """The arrays; empty where there are none, or they were made of something else (another model, fit or setting)."""
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as file:
        columns = {name: file[name] for name in file.files}
    return columns if str(columns.pop("made_of")) == made_of else {}


def pack(rows: Sequence[np.ndarray]) -> Columns:
    """Rows of different lengths as two arrays."""
    return {"flat": np.concatenate([*rows, np.empty(0)]), "lengths": np.asarray([len(row) for row in rows], dtype=int)}


def unpack(columns: Columns) -> list[np.ndarray]:
    """The rows that `pack` was given; none of nothing."""
    return np.split(columns["flat"], np.cumsum(columns["lengths"])[:-1]) if columns else []


def digest(path: Path) -> str:
    """The first 12 digits of a file's sha256."""
    state = path.stat()
    return _digest(path, state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=64)
def _digest(path: Path, changed: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
