# SPDX-License-Identifier: Apache-2.0
"""Many texts: read from files or datasets, explanations shown or written as JSONL and one HTML page."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from ..corpus.jsonl import write_jsonl
from ..explain.explanation import Explanation
from ..render import render_page, render_terminal

FORMATS = ("jsonl", "html")


def check_formats(given: str, known: Sequence[str] = FORMATS) -> list[str]:
    """The formats of a comma-separated list; ValueError for one that is not `known`."""
    formats = [name.strip() for name in given.split(",") if name.strip()]
    if not formats or not set(formats) <= set(known):
        raise ValueError(f"format must be one or more of {', '.join(known)}, got {given!r}.")
    return formats


def show_explanations(explanations: Iterable[Explanation], unit: str = "words") -> None:
    """Highlights on the terminal, one after the other."""
    console = Console()
    for explanation in explanations:
        render_terminal(explanation.to_dict(), console, unit=unit)
        console.print()


def write_explanations(
    explanations: Iterable[Explanation],
    directory: Path,
    formats: Sequence[str] = FORMATS,
    *,
    total: int | None = None,
    unit: str = "words",
    title: str = "Highlighted texts",
) -> list[Path]:
    """Writes `explanations.jsonl` and `report.html` to `directory`; the paths written.

    All explanations are held until the last is there: for some thousand texts.

    Raises:
        NotADirectoryError: `directory` is a file.
    """
    if directory.exists() and not directory.is_dir():
        raise NotADirectoryError(f"output must be a folder, got the file {directory}.")
    directory.mkdir(parents=True, exist_ok=True)
    bar = track(
        explanations,
        "Explaining",
        total=total,
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    )
    found = list(bar)
    written = []
    if "jsonl" in formats:
        written.append(directory / "explanations.jsonl")
        write_jsonl(found, written[-1])
    if "html" in formats:
        written.append(directory / "report.html")
        page = render_page((each.to_dict() for each in found), title=title, unit=unit)
        written[-1].write_text(page, "utf-8")
    return written
