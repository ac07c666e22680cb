# SPDX-License-Identifier: Apache-2.0
"""The style sheets: text is readable on every level, in both schemes and in notebooks."""

from __future__ import annotations

import re

import pytest

from helpers.html import contrast, luminance
from mhex_nlp.render.palette import light_palette, read_template


def palettes(name: str) -> list[dict[str, str]]:
    """The light and the dark palette of a style sheet."""
    blocks = re.findall(r"\{([^{}]*--bg:[^{}]*)\}", read_template(name))
    return [dict(re.findall(r"--(\w+):\s*(#[0-9a-f]+)", block)) for block in blocks]


LIGHT, DARK = palettes("highlight.css")


def test_the_schemes_are_light_and_dark() -> None:
    assert luminance(LIGHT["bg"]) > luminance(LIGHT["fg"]) and luminance(DARK["bg"]) < luminance(DARK["fg"])


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_text_reads_on_every_level(palette: dict[str, str]) -> None:
    levels = [palette[f"{sign}{level}"] for sign in "pn" for level in range(1, 11)]
    for background in (*levels, palette["bg"]):
        assert contrast(palette["fg"], background) >= 4.5
    assert contrast(palette["mute"], palette["bg"]) >= 4.5
    for sign in "pn":  # each level further from the plain background than the one before
        steps = [contrast(palette["bg"], palette[f"{sign}{level}"]) for level in range(1, 11)]
        assert steps == sorted(set(steps))


def test_text_reads_on_the_ground_of_the_page() -> None:
    grounds = re.findall(r"background: (#\w{6})", read_template("page.css"))
    for palette, ground in zip((LIGHT, DARK), grounds, strict=True):
        assert contrast(palette["mute"], ground) >= 4.5 and contrast(palette["fg"], ground) >= 4.5


@pytest.mark.parametrize("name", [f"{sign}{level}" for sign in "pn" for level in range(1, 11)])
def test_a_class_for_each_level(name: str) -> None:
    css = read_template("highlight.css")
    assert f".mhex .{name} {{ background: var(--{name}); }}" in css
    assert ".mhex .z0" in css


def test_notebook_themes_use_the_same_palettes() -> None:
    assert palettes("notebook.css") == [LIGHT, DARK]


def test_displays_without_a_style_sheet_use_its_light_palette() -> None:
    palette = light_palette()
    assert {f"{sign}{level}" for sign in "pn" for level in range(1, 11)} <= set(palette)
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in palette.values())
    assert (palette["bg"], palette["p10"]) == ("#ffffff", "#6aaef5")
