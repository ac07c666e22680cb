# SPDX-License-Identifier: Apache-2.0
"""Files that are there whole, and on the disk, or not at all; and the folders that hold them."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import xxhash

_ENDING = ".unfinished"


@contextmanager
def durable(path: Path) -> Iterator[BinaryIO]:
    """A file to write; it takes its name, and the place of an earlier one, when the block ends without an error.

    Written under another name beside it, synced, renamed; then the folder is synced. A link of that name is replaced,
    and what it leads to stays as it is.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}{_ENDING}")
    unfinished.unlink(missing_ok=True)
    try:
        with open(unfinished, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
        sync_folder(path.parent)
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Puts the names in a folder on the disk, where the system can."""
    with suppress(OSError, AttributeError):  # Windows opens no folders
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def temporary_for(name: str) -> str | None:
    """The name that a file was to get, if this is what a killed process left of it."""
    match = re.fullmatch(rf"\.(.+)\.\d+{re.escape(_ENDING)}", name)
    return match and match[1]


def content_hash(path: Path) -> str:
    """XXH3 of a file's bytes, 128 bits in hex: against damage, not against forgery."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()
