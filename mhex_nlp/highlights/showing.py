# SPDX-License-Identifier: Apache-2.0
"""Many texts: read from files or datasets, explanations shown or written as JSONL and one HTML page."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from ..explanation import Explanation
from ..explanation_io import write_jsonl
from ..render import render_page, render_terminal

FORMATS = ("jsonl", "html")


def check_formats(given: str, known: Sequence[str] = FORMATS) -> list[str]:
    """The formats of a comma-separated list; ValueError for one that is not `known`."""
    formats = [name.strip() for name in given.split(",") if name.strip()]
    if not formats or not set(formats) <= set(known):
        raise ValueError(f"format must be one or more of {', '.join(known)}, got {given!r}.")
    return formats


def read_texts(
    source: str, text_column: str = "text", text_pair_column: str | None = None, split: str = "train"
) -> tuple[Sequence[str], Sequence[str] | None]:
    """The texts of a file or dataset, and their second halves where a column of those is named.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that cannot be read or without a text, no such split or column (lists those there are), an
            empty text (with its row).
    """
    from ..training.data import checked_columns, read_source

    splits = read_source(source)
    if split not in splits:
        raise ValueError(f"{source} has no split {split!r}; it has {', '.join(splits)}.")
    wanted = {"text": text_column} | ({} if text_pair_column is None else {"text_pair": text_pair_column})
    if not len(splits[split]):
        raise ValueError(f"data must have at least one text, got none in {source!r}.")
    rows = checked_columns(splits[split], wanted, split)
    return rows["text"], None if text_pair_column is None else rows["text_pair"]


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
