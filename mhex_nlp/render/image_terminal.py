# SPDX-License-Identifier: Apache-2.0
"""An image explanation on a terminal: the map in cells of two characters, and the regions with most evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from .image_map import ImageMap, image_map
from .image_summary import EXPERIMENTAL, READING, region_words, summarise_image
from .summary import number_format
from .terminal import Part, color_system, level_style, printer, scale_parts

_MARKS = ((1, "  "), (4, " {}"), (11, "{0}{0}"))  # from which |level| on a cell has which


def image_terminal(form: Mapping[str, Any], console: Console | None = None) -> None:
    """Print one image explanation (JSON form): prediction, map, regions, facts, notes.

    A cell is two characters, `++` where it speaks for the target strongly and `--` against it, coloured where there are
    colours. The map is left out where the terminal is too narrow. Raises ValueError on a malformed form.
    """
    console = console or Console()
    show, system = printer(console), color_system(console)
    drawn = image_map(form)
    summary = summarise_image(form, drawn)
    answers = ", ".join(f"{label} {value}".strip() for label, value in summary["answers"])
    foil = f" rather than {summary['foil']}" if summary["foil"] is not None else ""
    show((answers, "bold"), f" \u00b7 scores for {summary['target']}{foil}" if summary["other_target"] else "")
    if 2 * drawn.grid.cols <= console.width:
        for parts in _rows(drawn, system):
            show(*parts)
    show(
        *scale_parts(system, marks="+ speaks for it, - against it, ++ and -- strongly"),
        f" \u00b7 a cell at most \u00b1{number_format([drawn.largest])(drawn.largest).removeprefix('+')} logits",
    )
    sums = number_format(region.score for region in drawn.regions)
    for region in drawn.strongest():
        side = "for" if region.score > 0 else "against"
        show((f"{sums(region.score):>9}", "bold"), f" {side}: {region_words(region)}")
    show((" \u00b7 ".join(f"{name} {value}" for name, value in summary["facts"]), "dim"))
    show(summary["trust"])
    show((f"{EXPERIMENTAL} {summary['about']} {summary['model']}", "dim"))
    for note in summary["notes"]:
        show(("note: ", "bold"), note)
    show(READING)


def _rows(drawn: ImageMap, system: str | None) -> list[list[Part]]:
    return [[(_mark(level), level_style(level, system) if level else "") for level in row] for row in drawn.levels]


def _mark(level: int) -> str:
    sign = "+" if level > 0 else "-"
    return next(mark.format(sign) for below, mark in _MARKS if abs(level) < below)
