# SPDX-License-Identifier: Apache-2.0
"""Image explanations as figures and on terminals."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from helpers.image_examples import CLASSES, EXAMPLE, UNTRUSTED, drawn_picture, image_example, scaled
from mhex_nlp.render import image_figure, image_terminal

SVG = "{http://www.w3.org/2000/svg}"
BEGINNINGS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


def printed(form: dict[str, Any], width: int = 200, color: str | None = None) -> str:
    file = io.StringIO()
    image_terminal(form, Console(file=file, width=width, color_system=color, force_terminal=color is not None))  # type: ignore[arg-type]
    return file.getvalue()


@pytest.mark.parametrize(("format", "smooth"), [("svg", False), ("pdf", False), ("png", True)])
def test_a_figure_is_the_same_each_time(format: str, smooth: bool) -> None:
    one = image_figure(CLASSES, format, drawn_picture(), smooth=smooth)
    assert one.startswith(BEGINNINGS[format]) and one == image_figure(CLASSES, format, drawn_picture(), smooth=smooth)


def test_a_figure_shows_the_picture_under_its_map() -> None:
    white = Image.new("RGB", drawn_picture().size, "white")
    pixels = np.asarray(Image.open(io.BytesIO(image_figure(EXAMPLE, "png", white, width=3, dpi=100))).convert("RGB"))
    bare = np.asarray(Image.open(io.BytesIO(image_figure(EXAMPLE, "png", width=3, dpi=100))).convert("RGB"))
    assert pixels.shape == bare.shape and pixels.shape[1] == 300
    row = 124
    assert (pixels[row, 72] == 255).all() and (bare[row, 72] == (139, 143, 150)).all()
    assert (pixels[row, 10] < 200).all(), "not seen: greyed"


def test_an_svg_has_shapes_for_levels_and_no_picture_of_its_own() -> None:
    tree = ElementTree.fromstring(image_figure(EXAMPLE, "svg"))
    assert not list(tree.iter(f"{SVG}image"))
    fills = [path.get("style", "") for path in tree.iter(f"{SVG}path")]
    assert any("fill: #4d8cda; opacity: 0.78" in fill for fill in fills)
    assert any("stroke-dasharray" in fill for fill in fills), "dashed: against"
    assert len(list(ElementTree.fromstring(image_figure(EXAMPLE, "svg", drawn_picture())).iter(f"{SVG}image"))) == 1


def test_a_figure_checks_its_arguments() -> None:
    with pytest.raises(ValueError, match="format must be one of svg, png, pdf, got 'gif'"):
        image_figure(EXAMPLE, "gif")
    with pytest.raises(ValueError, match="pixels must be the explained image"):
        image_figure(EXAMPLE, "png", drawn_picture(10, 10))
    assert image_figure(image_example(scores=scaled(0)), "svg")


def test_a_terminal_shows_the_map_and_its_regions() -> None:
    lines = printed(EXAMPLE).splitlines()
    assert lines[0] == "cat 90%"
    assert [line.rstrip() for line in lines[1:6]] == ["   +", " +++++", "  ++     -", "     - ---", "      --"]
    text = " ".join(lines)
    assert "+1.90 for: centre, 3 cells" in text and "-1.40 against: lower right, 3 cells" in text
    assert "a cell at most \u00b11.00 logits" in text and "It does not show where something" in text
    assert "\x1b[" not in text and "\x1b[" in printed(EXAMPLE, color="truecolor")
    narrow = printed(EXAMPLE, width=9)
    assert "-----" not in narrow and "centre" in narrow.replace("\n", " ")


def test_a_terminal_passes_no_commands_on() -> None:
    form = image_example(target={"label": "\x1b[2Jx", "id": 5}, notes=["\x1b]0;x\x07"])
    assert "\x1b" not in printed(form)
    assert "scores for cat rather than dog" in printed(CLASSES) and UNTRUSTED["notes"][0] in printed(UNTRUSTED)


def test_a_terminal_without_colours_says_what_its_marks_mean() -> None:
    assert "scale: + speaks for it, - against it, ++ and -- strongly" in printed(EXAMPLE)
