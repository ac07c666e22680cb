# SPDX-License-Identifier: Apache-2.0
"""The pages of a report over many image explanations: an index with mean maps and mistakes, pages of small cards."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .controls import without_controls
from .corpus_pages import (
    address_of,
    cell_anchors,
    confusion_cells,
    linked_group,
    number_labels,
    ordered_confusion,
    script_row,
)
from .html import fill_page
from .image_map import Grid, ImageMap, image_map, top_score
from .image_page import map_rules, map_shapes, picture_view
from .image_pixels import packed, picture_of
from .image_summary import EXPERIMENTAL, READING, in_words, region_words, summarise_image
from .summary import number_format, percent

_SHEETS = ("summary.css", "report.css", "image.css", "image_report.css")
_THUMBNAIL, _SIDE = 10_000, 320  # bytes of a small picture before base64, and its pixels a side
_NAMED = 1  # regions of each sign on a small card


def image_report(
    report: Mapping[str, Any],
    *,
    title: str,
    groups: Sequence[Mapping[str, Any]],
    pages: Sequence[str],
    rows: Sequence[Sequence[Any]],
    places: Sequence[str],
) -> str:
    """The index: readable and linked without its script, which filters and sorts the list of images.

    (Long because of the many values of its template.)

    Args:
        report: as `ImageGathering.report` makes it: counts, `confusion`, `classes` with mean maps, and `mistakes`.
        title: of the page.
        groups: `gold`, `predicted`, `count` and `pages` of the images with one answer.
        pages: names of all pages.
        rows: for each listed image [number, id, predicted, probability, gold, name, page, places of its regions].
        places: those that rows refer to by number, counted from 1, below 0 where they speak against the target.
    """
    number_of = number_labels(report, groups)
    complete = len(rows) == report["images"]
    predicted, gold = ({row[column] for row in rows} for column in (2, 4))
    form = report["example"]
    words = summarise_image(form, image_map(form))
    return fill_page(
        "image_report.html.j2",
        *_SHEETS,
        title=title,
        script="report.js",
        rules=map_rules(),
        images=True,
        words=words,
        trust=() if words["trusted"] is False else (words["trust"],),
        experimental=EXPERIMENTAL,
        reading=READING,
        facts=_facts(report),
        confusion=ordered_confusion(report),
        classes=list(report["classes"]),
        cells=confusion_cells(groups, number_of if complete else None),
        anchors=cell_anchors(groups),
        means=[_mean(label, entry) for label, entry in report["classes"].items() if entry["mean"]],
        mistakes=[_card(entry, address_of(pages[entry["page"]])) for entry in report["mistakes"]],
        groups=[linked_group(group) for group in groups],
        listed=None if complete else f"{len(rows):,}",
        golds=[(number, label) for label, number in number_of.items() if label in gold],
        predictions=[(number, label) for label, number in number_of.items() if label in predicted],
        data={
            "pages": [address_of(name) for name in pages],
            "labels": [without_controls(label) for label in number_of],
            "words": list(places),
            "rows": [script_row(row, number_of) for row in rows],
        },
    )


def _facts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = [("images", f"{report['images']:,}")]
    if report["accuracy"] is not None:
        facts.append(("accuracy", f"{percent(report['accuracy'])} of {report['labelled']:,} with a label"))
    border = f"{percent(report['border_share'])}, where {percent(report['border_cells'])} of the cells are"
    facts.append(("of the evidence on the border", border))
    if report["with_empty"]:
        facts.append(("predicted as an empty image is", f"{report['as_empty']:,} of {report['with_empty']:,}"))
    return facts


def _mean(label: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The mean map of a class, on grey in the shape of its cells."""
    rows, cols = len(entry["mean"]), len(entry["mean"][0])
    height = max(1, round(100 * rows * entry["cell_height"] / (cols * entry["cell_width"])))
    grid = Grid(rows, cols, 0.0, 0.0, 100 / cols, height / rows, 100, height)
    drawn = ImageMap(grid, entry["mean"], top_score(entry["mean"]))
    sums = number_format(region.score for region in drawn.regions)
    regions = [f"{region_words(region)}, {sums(region.score)}" for region in drawn.strongest(_NAMED)]
    alt = f"Mean map for {label} over {entry['averaged']:,} images: {'; '.join(regions) or 'no evidence'}"
    shapes = map_shapes(label, drawn)
    return {
        **picture_view(drawn, [shapes], None, alt, _NAMED),
        "label": label,
        "averaged": entry["averaged"],
        "images": entry["images"],
        "border": percent(entry["border_share"]),
        "largest": shapes["largest"],
    }


def image_report_page(
    entries: Sequence[Mapping[str, Any]],
    *,
    title: str,
    gold: str | None,
    predicted: str | None,
    number: int,
    previous: str | None,
    following: str | None,
    group: int | None = None,
) -> str:
    """Page `number`, from 1, of the images of one answer, whose number is `group`, between those two files.

    Each of `entries` has a `form` (an image explanation in JSON form), its `number` in the input, its `gold` label or
    `None`, and `pixels`, a PIL image or a data URL, or `None`: pictures are kept as JPEGs of at most 320 pixels a side.
    """
    return fill_page(
        "image_report_page.html.j2",
        *_SHEETS,
        title=title,
        rules=map_rules(),
        images=True,
        cards=[_card(entry) for entry in entries],
        gold=gold,
        predicted=predicted,
        number=number,
        group=group,
        previous=previous,
        following=following,
        reading=READING,
    )


def _card(entry: Mapping[str, Any], address: str | None = None) -> dict[str, Any]:
    form = entry["form"]
    drawn = image_map(form)
    picture = picture_of(form, entry["pixels"])
    data = None if picture is None else packed(picture, _THUMBNAIL, _SIDE)[0]
    words = summarise_image(form, drawn)
    sums = number_format([*(region.score for region in drawn.regions), form["sum"]])
    shapes = {**map_shapes(words["target"], drawn), "scores": None}
    return {
        **words,
        **picture_view(drawn, [shapes], data, in_words(form, drawn), _NAMED),
        "number": entry["number"],
        "gold": entry["gold"],
        "wrong": entry["gold"] is not None and entry["gold"] != form["prediction"]["label"],
        "address": address,
        "sum": sums(form["sum"]),
        "parts": [(region_words(region), sums(region.score), region.score < 0) for region in drawn.strongest(_NAMED)],
    }


def border_share(scores: Sequence[Sequence[float]]) -> tuple[float, float]:
    """The share of the sum of |score| on the outermost cells, and the share of the cells that these are."""
    rows, cols = len(scores), len(scores[0])
    outer = [(r, c) for r in range(rows) for c in range(cols) if r in (0, rows - 1) or c in (0, cols - 1)]
    total = math.fsum(abs(score) for row in scores for score in row)
    return (math.fsum(abs(scores[r][c]) for r, c in outer) / total if total else 0.0), len(outer) / (rows * cols)
