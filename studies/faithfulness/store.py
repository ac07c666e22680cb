# SPDX-License-Identifier: Apache-2.0
"""Per-text results on disk: one .npz a unit of work, written whole or not at all, and only read for what made it."""

from __future__ import annotations

import functools
import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from mhex_nlp.corpus.atomic_files import durable

Columns = dict[str, np.ndarray]


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which takes its name when the block ends without an error."""
    partial = path.with_name(f".{path.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    partial.rename(path)


def unit(path: Path, made_of: str, count: int, make: Callable[[], Columns]) -> Columns:
    """The arrays on disk, if they are of this origin and of at least `count` texts; else made anew and kept."""
    columns = load(path, made_of)
    if columns and columns["texts"] >= count:
        return columns
    start = time.perf_counter()
    columns = {**make(), "texts": np.asarray(count)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with durable(path) as file:
        np.savez_compressed(file, made_of=np.asarray(made_of), **columns)
    print(f"{'/'.join(path.parts[-3:])}: {count} texts, {time.perf_counter() - start:.1f} s", flush=True)
    return columns


def load(path: Path, made_of: str) -> Columns:
    """The arrays; empty where there are none, or they were made of something else (another model, fit or setting)."""
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as file:
        columns = dict(file)
    return columns if str(columns.pop("made_of")) == made_of else {}


def pack(rows: Sequence[np.ndarray]) -> Columns:
    """Rows of different lengths as two arrays."""
    return {"flat": np.concatenate([*rows, np.empty(0)]), "lengths": np.asarray([len(row) for row in rows], dtype=int)}


def unpack(columns: Columns) -> list[np.ndarray]:
    """The rows that `pack` was given; none of nothing."""
    return np.split(columns["flat"], np.cumsum(columns["lengths"])[:-1]) if columns else []


@functools.cache  # a report reads hundreds of units of one model
def digest(path: Path) -> str:
    """The first 12 digits of a file's sha256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
