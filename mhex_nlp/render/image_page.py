# SPDX-License-Identifier: Apache-2.0
"""An image explanation as one self-contained HTML page, or as a fragment for notebooks: a map over the picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from .highlight import LEVELS
from .html import CLASSES_SHOWN, fill_fragment, fill_page, layer_strip
from .image_map import (
    MAP_COLOURS,
    ImageMap,
    Region,
    hatch_path,
    image_map,
    level_paths,
    opacity,
    outline_path,
    top_score,
)
from .image_overlay import GREY, smooth_map
from .image_pixels import packed, picture_of
from .image_summary import EXPERIMENTAL, READING, in_words, layer_sums_of, region_words, summarise_image
from .palette import level_name, light_palette
from .summary import number_format, percent

_SHEETS = ("image.css",)
_CELLS_DRAWN = 2_500  # in the maps of all classes of a page
_CELLS_TITLED = 800  # that are elements of their own, with a title, where there is no script
_CELLS_LISTED = 2_500
_PAGE = 190_000  # bytes, without the words of data; the picture gets what is left, but at least
_PICTURE = 40_000
_STYLED, _CELL_BYTES = 18_000, 32  # of what is on every page, and of a cell in the table of all cells
_PIXELATED = 128  # pixels a side: up to this size a picture shows its pixels


def image_page(
    form: Mapping[str, Any], pixels: Any = None, *, smooth: bool = False, title: str = "Highlighted image"
) -> str:
    """One HTML page of an image explanation: no request, its style and script allowed by hash.

    Cells that speak for the target are blue; those that speak against it orange and hatched. The script sets how
    strong the map is and tells the score of a cell that is pointed at, touched or reached by keyboard; without it the
    page reads the same, with a table of all cells.

    Args:
        form: an image explanation in JSON form.
        pixels: a PIL image, or a data URL of a PNG or JPEG, of the size that the form has. It goes into the page,
            shrunk to about 100 kB, and the page says so. Without it, and without pixels in the form, the map lies on
            grey.
        smooth: bilinear between cells; by default each cell has one colour.
        title: of the page.

    Raises:
        TypeError: pixels that are neither.
        ValueError: a malformed form, scores that are not finite, pixels of another image.
    """
    card = image_card(form, pixels, smooth=smooth, titles=False)
    return fill_page(
        "image_page.html.j2", *_SHEETS, title=title, script="image.js", rules=map_rules(), images=True, card=card
    )


def image_fragment(form: Mapping[str, Any], pixels: Any = None, *, smooth: bool = False) -> str:
    """The same for notebooks: a `<div class="mhex">` with its own style and no script; cells have titles instead."""
    card = image_card(form, pixels, smooth=smooth, titles=True)
    return fill_fragment("image_fragment.html.j2", *_SHEETS, rules=map_rules(), card=card)


def map_rules() -> str:
    """Colours that lie over the picture, in dark pages as in light ones, and the opacity of each level."""
    palette = light_palette()
    colours = f".mhex .im{{--pos:{palette['for']};--neg:{palette['against']};--ground:{GREY}}}"  # of numbers
    shades = (
        f".mhex .map .{level_name(sign * level)}{{fill:{MAP_COLOURS[side]};fill-opacity:{opacity(level):.3g}}}"
        for sign, side in ((1, "for"), (-1, "against"))
        for level in range(1, LEVELS + 1)
    )
    picked = (
        f".mhex .im:has(.x{n}:checked) .k{n}{{display:inline}}.mhex .im:has(.x{n}:checked) p.k{n}{{display:flex}}"
        for n in range(1, CLASSES_SHOWN + 1)
    )
    return colours + "".join(shades) + "".join(picked)


def image_card(form: Mapping[str, Any], pixels: Any = None, *, smooth: bool, titles: bool) -> dict[str, Any]:
    """What the template of a card shows; with `titles`, cells are elements that carry theirs."""
    drawn = image_map(form)
    picture = picture_of(form, pixels)
    summary = summarise_image(form, drawn)
    classes = _classes(form, drawn)
    maps = [(summary["target"], drawn), *((row["label"], row.pop("map")) for row in classes["rows"])]
    rooms = _CELLS_TITLED // (drawn.grid.rows * drawn.grid.cols) if titles else 0
    sums = number_format(region.score for region in drawn.regions)
    listed = drawn.grid.rows * drawn.grid.cols <= _CELLS_LISTED
    drawn_maps = [map_shapes(label, of, smooth, n < rooms) for n, (label, of) in enumerate(maps)]
    left = _PAGE - _STYLED - sum(_size(one) for one in drawn_maps) - _CELL_BYTES * drawn.grid.rows * drawn.grid.cols
    data, shown = (None, None) if picture is None else packed(picture, max(_PICTURE, left * 3 // 4))
    shrunk = shown is not None and shown != (drawn.grid.width, drawn.grid.height)
    return {
        **summary,
        **picture_view(drawn, drawn_maps, data, in_words(form, drawn)),
        "shown": f"{shown[0]:,} \u00d7 {shown[1]:,}" if shown is not None and shrunk else "",
        "sums": [sums(region.score) for region in drawn.strongest()],
        "classes": classes["rows"],
        "more_classes": classes["more"],
        "layers": layer_strip(layer_sums_of(form.get("layers")), form.get("depths") or ()),
        "cells": _cells(drawn) if listed else None,
        "reading": READING,
        "experimental": EXPERIMENTAL,
    }


def picture_view(
    drawn: ImageMap, maps: Sequence[Mapping[str, Any]], data: str | None, alt: str, count: int = 3
) -> dict[str, Any]:
    """What the template of a picture shows: `maps` over `data`, a URL, and regions of the first."""
    grid = drawn.grid
    return {
        "grid": grid,
        "alt": alt,
        "data": None if data is None else Markup(data),
        "pixelated": max(grid.width, grid.height) <= _PIXELATED,
        "maps": maps,
        "regions": [_region(drawn, region, number) for number, region in enumerate(drawn.strongest(count), 1)],
        "unseen": _unseen(drawn),
        "unit": round(max(grid.width, grid.height) / 50, 3),
    }


def map_shapes(label: str, drawn: ImageMap, smooth: bool = False, titled: bool = False) -> dict[str, Any]:
    """One map, in units of cells."""
    grid = drawn.grid
    number = number_format(score for row in drawn.scores for score in row)
    return {
        "label": label,
        "largest": number(drawn.largest).lstrip("+"),
        "paths": () if smooth else level_paths(drawn.levels),
        "smooth": Markup(smooth_map(drawn)) if smooth else None,
        "hatch": hatch_path(drawn),
        "scores": " ".join(number(score) for row in drawn.scores for score in row),
        "titles": [
            (r, c, number(score))
            for r, row in enumerate(drawn.scores)
            for c, score in enumerate(row)
            if titled and grid.shows(r, c)
        ],
    }


def _size(drawn_map: Mapping[str, Any]) -> int:
    """The bytes of a map on its page, about."""
    shapes = sum(len(path) for _, path in drawn_map["paths"]) + len(drawn_map["hatch"])
    return shapes + len(drawn_map["scores"]) + len(drawn_map["smooth"] or "") + 110 * len(drawn_map["titles"])


def _region(drawn: ImageMap, region: Region, number: int) -> dict[str, Any]:
    """A region's outline in cells, and in pixels the middle of its strongest cell, where its number stands."""
    left, top, right, bottom = drawn.grid.box(*region.peak)
    return {
        "number": number,
        "outline": outline_path(region.cells),
        "against": region.score < 0,
        "x": round((left + right) / 2, 2),
        "y": round((top + bottom) / 2, 2),
        "words": region_words(region),
    }


def _unseen(drawn: ImageMap) -> dict[str, Any] | None:
    """What no cell covers: a path with a hole, and the largest strip beside the hole, where the words fit."""
    grid = drawn.grid
    if not grid.unseen_share:
        return None
    left, top, right, bottom = (round(side, 2) for side in grid.seen)
    width, height = grid.width, grid.height
    hole = f"M{left} {top}V{bottom}H{right}V{top}z" if right > left and bottom > top else ""
    strips = [(0, 0, left, height), (right, 0, width, height), (0, 0, width, top), (0, bottom, width, height)]
    x0, y0, x1, y1 = max(strips, key=lambda strip: (strip[2] - strip[0]) * (strip[3] - strip[1]))
    thin = min(x1 - x0, y1 - y0) < max(width, height) / 25
    words = None if thin else (round((x0 + x1) / 2, 2), round((y0 + y1) / 2, 2))
    return {"path": f"M0 0H{width}V{height}H0z{hole}", "words": words}


def _classes(form: Mapping[str, Any], drawn: ImageMap) -> dict[str, Any]:
    """Rows of the class picker, highest sum first, with their maps; one scale of levels for all classes."""
    labels, scores = form.get("classes"), form.get("class_scores")
    if not labels or not scores:
        return {"rows": [], "more": 0}
    if len(labels) != len(scores):
        raise ValueError(f"class_scores must have a map for each of the {len(labels)} classes, got {len(scores)}.")
    room = _CELLS_DRAWN // (drawn.grid.rows * drawn.grid.cols)
    count = max(1, min(CLASSES_SHOWN, room))
    largest = max(map(top_score, scores))
    sums = [math.fsum(score for row in of_class for score in row) for of_class in scores]
    number = number_format(sums)
    probabilities = form["prediction"].get("probabilities") or {}
    rows = [
        {
            "label": labels[index],
            "probability": percent(probabilities[labels[index]]) if labels[index] in probabilities else "",
            "sum": number(sums[index]),
            "map": image_map(form, scores[index], largest),
        }
        for index in sorted(range(len(labels)), key=lambda i: -sums[i])[:count]
    ]
    return {"rows": rows, "more": len(labels) - len(rows)}


def _cells(drawn: ImageMap) -> Sequence[Sequence[tuple[int, str]]]:
    """The table of all cells: level and number."""
    number = number_format(score for row in drawn.scores for score in row)
    return [
        [(level, number(score)) for level, score in zip(levels, scores, strict=True)]
        for levels, scores in zip(drawn.levels, drawn.scores, strict=True)
    ]
