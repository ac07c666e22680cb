# SPDX-License-Identifier: Apache-2.0
"""Where what was rendered goes: back to the caller, to a file, to a notebook, to the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from os import PathLike
from pathlib import Path


def text_or_file(text: str, path: str | PathLike[str] | None) -> str | None:
    """`text` where there is no `path`; else it is written there, in UTF-8 with its line ends as they are."""
    if path is None:
        return text
    Path(path).write_text(text, encoding="utf-8", newline="\n")
    return None


def figure_format(path: str | PathLike[str]) -> str:
    """The format that the end of `path` names: "svg", "pdf" or "png". ValueError for another end."""
    suffix = Path(path).suffix.lower()
    if suffix not in (".svg", ".pdf", ".png"):
        raise ValueError(f"path must end in .svg, .pdf or .png, got {os.fspath(path)!r}")
    return suffix[1:]


def show_here(fragment: Callable[[], str], terminal: Callable[[], None]) -> None:
    """Displays the HTML of `fragment` in a notebook; calls `terminal` where there is no notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if ipython is not None and hasattr(shell, "kernel"):
        ipython.display.display(ipython.display.HTML(fragment()))
    else:
        terminal()
