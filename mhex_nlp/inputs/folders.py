# SPDX-License-Identifier: Apache-2.0
"""Folders that users name for output, looked at before anything in them changes. Pure Python."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def check_folder(path: Path, argument: str = "output") -> None:
    """NotADirectoryError where there is a file of that name, or a link that leads nowhere."""
    if not path.is_dir() and (path.exists() or path.is_symlink()):
        kind = "file" if path.exists() else "broken link"
        raise NotADirectoryError(f"{argument} must be a folder, got the {kind} {path}.")


def odd_kind(path: Path) -> str | None:
    """What is there instead of a plain file, such as "a link"; `None` for a plain file and where there is nothing."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISREG(mode):
        return None
    return "a link" if stat.S_ISLNK(mode) else "a folder" if stat.S_ISDIR(mode) else "no plain file"


def check_plain(folder: Path, names: Iterable[str], argument: str = "output") -> None:
    """ValueError where something else than a plain file has one of the names: writing to it would reach elsewhere."""
    for name in names:
        if (kind := odd_kind(folder / name)) is not None:
            raise ValueError(f"{argument} must hold plain files, got {folder}, where {name} is {kind}.")


def check_replaced(folder: Path, names: Iterable[str], ours: bool, argument: str = "output") -> None:
    """Before files of these names are written to a folder: NotADirectoryError where it is none, ValueError where one
    of them is a link, or is there and the folder is not `ours`.
    """
    check_folder(folder, argument)
    check_plain(folder, names, argument)
    if others := [name for name in names if not ours and (folder / name).exists()]:
        raise ValueError(
            f"{argument} must be a folder where nothing of others is replaced, got {folder}, which holds {others[0]}."
        )


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object of a plain file; an empty one where there is none."""
    try:
        document = json.loads(path.read_bytes()) if odd_kind(path) is None else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
