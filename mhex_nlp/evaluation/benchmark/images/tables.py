# SPDX-License-Identifier: Apache-2.0
"""A comparison of images as files: tables to read, JSON to compute with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from os import PathLike
from pathlib import Path

from ....inputs.folders import check_replaced, read_object
from ..tables import figure_cell, table_lines
from .measures import MEASURES, POINTS
from .study import IMAGE_EVALUATION, OURS, ImageEvaluationReport, RemovalResult


def write_image_evaluation(report: ImageEvaluationReport, directory: str | PathLike[str]) -> list[Path]:
    """Writes `evaluation.md` and `evaluation.json` to `directory`, not a file; the paths written."""
    folder = check_image_output(directory)
    folder.mkdir(parents=True, exist_ok=True)
    page, data = folder / "evaluation.md", folder / "evaluation.json"
    page.write_text("\n\n".join(_page(report)) + "\n", "utf-8")
    data.write_text(json.dumps(report.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
    return [page, data]


def check_image_output(directory: str | PathLike[str]) -> Path:
    """`directory` as a path; ValueError where files that are no evaluation would be replaced, or links followed."""
    folder = Path(directory)
    names = ["evaluation.json", "evaluation.md"]
    check_replaced(folder, names, read_object(folder / names[0]).get("schema") == IMAGE_EVALUATION)
    return folder


def image_table(result: RemovalResult) -> list[str]:
    """The figures of every method by one removal as lines of a Markdown table, best paired skill first."""
    return _table(result, differences=False)


def _page(report: ImageEvaluationReport) -> Iterator[str]:
    """The paragraphs of the page, tables among them."""
    yield f"# Explanations of {report.model} compared"
    yield (
        f"{report.images} images in {report.cells} cells. Every method explains the {report.explained}, by the first "
        f"removal below. Brackets: 95 % bootstrap intervals over the images ({report.bootstrap_draws} draws). "
        f"Seed {report.seed}. Experimental."
    )
    yield (
        f"Paired skill: 1 - error / error of an even spread on v(S) - v(rest) of {report.pairs} random pairs of an "
        "image; methods but MHEX get the one scale that suits them best. Insertion and deletion: area under the "
        f"probability over {POINTS} points, best cells first, put into an empty image or taken out. Average drop: "
        "max(0, Y - O) / Y in percent, relative, O under the soft mask of the positive scores; increase: share of "
        "images with O > Y."
    )
    for number, result in enumerate(report.results):
        yield f"## Judged by {result.removal}" + (", which methods explain by" if not number else "")
        yield from _of_removal(report, result)
    yield "## Cost"
    yield (
        f"Of explaining image after image ({report.machine}): rows are images or variants of them that went through "
        "the model; a gradient's backward pass is not among them."
    )
    rows = [
        [row.label, f"{1000 * row.cost.seconds_per_text:.2f}", f"{row.cost.rows_per_text:.0f}"]
        for row in report.results[0].methods
    ]
    yield "\n".join(table_lines(["scores", "ms an image", "rows an image"], rows))
    if report.notes:
        yield "## Left out"
        yield "\n".join(f"- {note}" for note in report.notes)


def _of_removal(report: ImageEvaluationReport, result: RemovalResult) -> Iterator[str]:
    yield "\n".join(image_table(result))
    yield (
        f"Of {result.empty_is_prediction:.0%} of the images the model predicts the same of an empty image: little of "
        "such a prediction may lie in the image."
    )
    if result.shapley_skill is not None and result.reliability is not None:
        yield (
            f"Shapley values from {report.permutations} antithetic permutations, of reliability "
            f"{figure_cell(MEASURES['spearman_shapley'], result.reliability)}, have a paired skill of "
            f"{figure_cell(MEASURES['paired_skill'], result.shapley_skill)} themselves."
        )
    if any(method.name == OURS for method in result.methods) and len(result.methods) > 1:
        yield "Method less MHEX on the same images; an interval without 0 tells them apart."
        yield "\n".join(_table(result, differences=True))


def _table(result: RemovalResult, differences: bool) -> list[str]:
    ranked = sorted(result.methods, key=lambda method: -method.figures["paired_skill"].value)
    rows = [(method.label, method.differences if differences else method.figures) for method in ranked]
    shown = [key for key in MEASURES if any(key in row for _, row in rows)]
    head = ["scores", *(f"{MEASURES[key].title} {MEASURES[key].arrow}" for key in shown)]
    cells = [
        [label, *(figure_cell(MEASURES[key], row[key], differences) for key in shown)] for label, row in rows if row
    ]
    return table_lines(head, cells)
