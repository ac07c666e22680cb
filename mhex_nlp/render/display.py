# SPDX-License-Identifier: Apache-2.0
"""Where what was rendered goes: back to the caller, to a file, to a notebook, to the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


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


def in_notebook() -> bool:
    """Whether cells of a notebook run here, which display what is rich."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def followed(items: Sequence[T], say: str, shown: bool = True) -> Iterable[T]:
    """The items, with a bar while somebody sees it: on a terminal, or below the cell of a notebook."""
    if shown and in_notebook():
        from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

        return tqdm(items, desc=say, file=sys.stderr)  # as text, which needs no widgets
    from rich.console import Console
    from rich.progress import track

    return track(items, say, console=Console(stderr=True), disable=not (shown and sys.stderr.isatty()))


def show_here(fragment: Callable[[], str], terminal: Callable[[], None]) -> None:
    """Displays the HTML of `fragment` in a notebook; calls `terminal` where there is no notebook."""
    if in_notebook():
        ipython = sys.modules["IPython"]
        ipython.display.display(ipython.display.HTML(fragment()))
    else:
        terminal()
