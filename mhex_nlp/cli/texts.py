# SPDX-License-Identifier: Apache-2.0
"""Explanations of some texts, shown on the terminal or written as JSONL and one HTML page."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from ..corpus.jsonl import AnyExplanation, write_jsonl
from ..explain.positioned import render_any_page, render_any_terminal
from ..inputs.atomic_files import durable
from ..inputs.folders import check_replaced

FORMATS = ("jsonl", "html")


def check_formats(names: str, known: Sequence[str] = FORMATS) -> list[str]:
    """The formats of a comma-separated list; ValueError for one that is not `known`."""
    formats = [name.strip() for name in names.split(",") if name.strip()]
    if not formats or not set(formats) <= set(known):
        raise ValueError(f"format must be one or more of {', '.join(known)}, got {names!r}.")
    return formats


def show_explanations(explanations: Iterable[AnyExplanation], unit: str = "words") -> None:
    """Highlights on the terminal, one after the other."""
    console = Console()
    for explanation in explanations:
        render_any_terminal(explanation.to_dict(), console, unit=unit)
        console.print()


def check_output(directory: Path, formats: Sequence[str]) -> None:
    """Refuses a folder whose files of the names that are written are none that were written here."""
    marks = {"explanations.jsonl": b'{"schema": "mhex-', "report.html": b"mhex"}
    check_replaced(directory, marks, True)
    for name, mark in marks.items():
        if name.rpartition(".")[2] in formats and (directory / name).exists():
            with open(directory / name, "rb") as file:
                beginning = file.read(1 << 17)
            check_replaced(directory, [name], not beginning or mark in beginning)


def write_explanations(
    explanations: Iterable[AnyExplanation],
    directory: Path,
    formats: Sequence[str] = FORMATS,
    *,
    total: int | None = None,
    unit: str = "words",
    title: str = "Highlighted texts",
) -> list[Path]:
    """Writes `explanations.jsonl` and `report.html` to `directory`; the paths written.

    All explanations are held until the last is there: for some thousand texts.
    """
    check_output(directory, formats)
    directory.mkdir(parents=True, exist_ok=True)
    console, quiet = Console(stderr=True), not sys.stderr.isatty()
    documents = list(track(explanations, "Explaining", total, console=console, disable=quiet, transient=True))
    paths = []
    if "jsonl" in formats:
        paths.append(directory / "explanations.jsonl")
        write_jsonl(documents, paths[-1])
    if "html" in formats:
        paths.append(directory / "report.html")
        page = render_any_page((explanation.to_dict() for explanation in documents), title=title, unit=unit)
        with durable(paths[-1]) as file:
            file.write(page.encode())
    return paths
