# SPDX-License-Identifier: Apache-2.0
"""An image explanation as a figure for papers: the picture with its map, as SVG, PDF or PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..controls import without_controls
from ..image_map import ImageMap, image_map
from ..image_pixels import picture_of
from ..image_summary import summarise_image
from ..summary import Summary, number_format
from .draw import STYLE, check_settings, saved

_SIDE = 1200  # pixels of a picture in a figure, at most


def image_figure(
    form: Mapping[str, Any],
    format: str,
    pixels: Any = None,
    *,
    smooth: bool = False,
    width: float = 3.25,
    font_size: float = 9.0,
    fonts: Sequence[str] = (),
    dpi: float = 300.0,
) -> bytes:
    """A figure of one image explanation (JSON form) on white: the same bytes for the same explanation and fonts.

    Cells, outlines and letters are shapes in SVG and PDF; the picture lies under them, at most 1,200 pixels a side.
    What speaks against the target is orange and hatched, its regions have dashed outlines. (Long because of its many
    arguments.)

    Args:
        form: in JSON form.
        format: "svg", "png" or "pdf".
        pixels: a PIL image, or a data URL of a PNG or JPEG; without it the map lies on grey.
        smooth: bilinear between cells; by default each cell has one colour.
        width: in inches; the height follows.
        font_size: in points.
        fonts: installed families, as for texts.
        dpi: dots per inch of a PNG.

    Raises:
        TypeError: `fonts` is a string; pixels of another type.
        ValueError: an unknown format, a size that is not positive or too small or large to draw, a font that is not
            installed, a malformed form, pixels of another image.
    """
    em = check_settings(format, width, font_size, dpi)
    drawn = image_map(form)
    picture = picture_of(form, pixels)
    if picture is not None:
        picture.thumbnail((_SIDE, _SIDE))

    from matplotlib import style  # it and the modules that need it come with the first figure

    from .fonts import find_fonts
    from .picture_sheet import PictureSheet
    from .sheet import MARGIN

    words = summarise_image(form, drawn)
    summary = Summary(
        answers=tuple(words["answers"]),
        others=(),
        target=words["target"] if words["other_target"] else None,
        foil=words["foil"],
        explained="",
        facts=(),
        notes=(),
        model="",
    )
    labels = [text for answer in summary.answers for text in answer] + [summary.target or "", summary.foil or ""]
    with style.context(["default", STYLE]):
        chosen = find_fonts(without_controls("".join(labels)), fonts)
        sheet = PictureSheet(width / em - 2 * MARGIN, em, chosen, outlines=format == "pdf")
        sheet.head(summary)
        sheet.picture(drawn, picture, smooth)
        if drawn.largest:
            sheet.scale(drawn.largest)
        sheet.note(_said(drawn))
        return saved(sheet, (), format, dpi)


def _said(drawn: ImageMap) -> str:
    """The regions by their numbers, and what the signs mean."""
    sums = number_format(region.score for region in drawn.regions)
    named = [f"{n}: {sums(one.score)}".replace("-", "\u2212") for n, one in enumerate(drawn.strongest(), 1)]
    grey = " Grey: not seen." if drawn.grid.unseen_share else ""
    return f"Logits a cell; hatched: against.{grey}{' Sums of regions: ' if named else ''}{', '.join(named)}"
