# SPDX-License-Identifier: Apache-2.0
"""Maps of image explanations: regions, places in words, paths of cells, and the map as pixels."""

from __future__ import annotations

import io
import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.image_examples import EXAMPLE, HEIGHT, SCORES, UNTRUSTED, WIDTH, drawn_picture, image_example, scaled
from mhex_nlp.render import overlay_png
from mhex_nlp.render.figure.picture_sheet import drawn_path
from mhex_nlp.render.image_map import MAP_COLOURS, hatch_path, image_map, level_paths, outline_path
from mhex_nlp.render.image_overlay import smooth_image
from mhex_nlp.render.image_summary import in_words
from mhex_nlp.render.palette import read_template

MAPS = st.integers(1, 6).flatmap(
    lambda cols: st.lists(st.lists(st.floats(-3, 3), min_size=cols, max_size=cols), min_size=1, max_size=6)
)


def on_grid(scores: list[list[float]], width: int = 60, height: int = 60) -> dict[str, Any]:
    """`scores` over a whole picture."""
    rows, cols = len(scores), len(scores[0])
    grid = {"rows": rows, "cols": cols, "x0": 0.0, "y0": 0.0, "dx": width / cols, "dy": height / rows}
    return image_example(scores=scores, grid=grid, image={"width": width, "height": height, "sha256": "", "name": None})


def pixels_of(png: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_regions_are_connected_cells_of_one_sign_largest_sum_first() -> None:
    first, second = image_map(EXAMPLE).regions
    assert first.cells == ((1, 1), (1, 2), (2, 1)) and first.peak == (1, 1) and first.score == pytest.approx(1.9)
    assert second.cells == ((3, 3), (3, 4), (4, 3)) and second.score == pytest.approx(-1.4)
    # In places of the whole picture, of which the model sees the middle.
    assert (first.where, second.where) == ("centre", "lower right")


@pytest.mark.parametrize(
    ("cell", "where"),
    [
        ((0, 0), "upper left"),
        ((0, 1), "top"),
        ((1, 2), "right"),
        ((1, 1), "centre"),
        ((2, 1), "bottom"),
        ((2, 0), "lower left"),
    ],
)
def test_a_place_is_the_ninth_of_the_picture(cell: tuple[int, int], where: str) -> None:
    scores = [[0.0] * 3 for _ in range(3)]
    scores[cell[0]][cell[1]] = 1.0
    assert image_map(on_grid(scores)).regions[0].where == where
    everywhere = image_map(on_grid([[1.0] * 3] * 3)).regions
    assert [region.where for region in everywhere] == ["most of the picture"]


@given(MAPS)
@settings(max_examples=80, deadline=None)
def test_regions_and_paths_hold_each_cell_once(scores: list[list[float]]) -> None:
    drawn = image_map(on_grid(scores))
    cells = [cell for region in drawn.regions for cell in region.cells]
    least = 0.25 * drawn.largest
    strong = {(r, c) for r, row in enumerate(scores) for c, score in enumerate(row) if score and abs(score) >= least}
    assert len(cells) == len(set(cells)) and set(cells) == strong
    for region in drawn.regions:
        assert len({math.copysign(1, drawn.scores[r][c]) for r, c in region.cells}) == 1
        assert region.score == pytest.approx(sum(drawn.scores[r][c] for r, c in region.cells))
    levels = np.zeros((drawn.grid.rows, drawn.grid.cols), int)
    for level, shape in level_paths(drawn.levels):
        for x, y, length in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\3z", shape):
            levels[int(y), int(x) : int(x) + int(length)] += level
    assert levels.tolist() == drawn.levels


def test_hatching_covers_what_speaks_against_and_nothing_else() -> None:
    shape = hatch_path(image_map(on_grid([[-1.0, 1.0], [-0.1, -0.2]])))
    lines = np.array(re.findall(r"M([\d.]+) ([\d.]+)l([\d.]+)-([\d.]+)", shape), float)
    cells = {(int(y - down / 2), int(x + right / 2)) for x, y, right, down in lines}
    assert cells == {(0, 0), (1, 1)} and len(lines) == 2 * (2 * 20 - 1)
    assert (lines[:, 2] == lines[:, 3]).all(), "diagonals"


def test_an_outline_runs_around_a_region() -> None:
    assert outline_path([(0, 0)]) == "M0 0h1M0 1h1M0 0v1M1 0v1"
    assert outline_path([(0, 0), (0, 1)]).count("M") == 6, "not between its cells"
    drawn = drawn_path("M1 2h3v1h-3z")
    assert drawn.vertices.tolist() == [[1, 2], [4, 2], [4, 3], [1, 3], [1, 3]]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": "mhex-explanation/1.2"}, "form has schema 'mhex-explanation/1.2', expected"),
        ({"scores": SCORES[:4]}, "scores must be 5 rows of 5, got 4 rows"),
        ({"scores": [*SCORES[:4], [1.0]]}, r"got 5 rows of \[1, 5\]"),
        ({"scores": scaled(math.nan)}, "scores must be finite numbers"),
        ({"image": {"width": 0, "height": 5}}, "image must have a width and a height of at least 1"),
        ({"grid": {**EXAMPLE["grid"], "dx": 0.0}}, "cells larger than 0"),
        ({"grid": {**EXAMPLE["grid"], "x0": math.inf}}, "finite places"),
    ],
)
def test_a_malformed_form_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        image_map(image_example(**changes))
    form = image_example()
    del form["sum"]
    with pytest.raises(ValueError, match="form lacks sum"):
        image_map(form)


def test_what_is_not_seen_and_what_is_padding() -> None:
    cut, padded = image_map(EXAMPLE), image_map(UNTRUSTED)
    assert cut.grid.seen == (20, 0, 100, 80) and cut.grid.unseen_share == pytest.approx(1 / 3) and not cut.hidden_share
    assert padded.grid.unseen_share == 0 and padded.grid.box(0, 0) == (0, 0, 24, 4)
    large = {"width": 2000, "height": 1500, "sha256": "", "name": None}
    rounded = {"rows": 4, "cols": 4, "x0": 5.1, "y0": 0.0, "dx": 497.5, "dy": 375.0}  # as measured, for 0 to 2000
    assert image_map(image_example(scores=[[0.0] * 4] * 4, grid=rounded, image=large)).grid.unseen_share == 0
    assert image_map(image_example(scores=[[0.0] * 4] * 4, grid={**rounded, "x0": 9.0}, image=large)).grid.unseen_share
    beside = image_map(image_example(grid={**EXAMPLE["grid"], "y0": -16.0}))
    total = sum(abs(score) for row in SCORES for score in row)
    assert beside.hidden_share == pytest.approx(0.1 / total), "its first row lies above the picture"
    assert all(row > 0 for region in beside.regions for row, _ in region.cells)


def test_the_map_in_words() -> None:
    assert in_words(EXAMPLE, image_map(EXAMPLE)) == (
        "Map over a picture of 120 by 80 pixels in 5 by 5 cells. Speaks for cat: centre, 3 cells, sum +1.90. "
        "Speaks against cat: lower right, 3 cells, sum -1.40."
    )
    empty = image_example(scores=scaled(0), foil={"label": "dog", "id": 1})
    assert in_words(empty, image_map(empty)).endswith("no cell speaks for or against cat rather than dog.")


def test_the_colours_of_maps_are_between_those_of_the_schemes() -> None:
    for name, colour in MAP_COLOURS.items():
        light, dark = re.findall(rf"--{name}: #(\w{{6}});", read_template("highlight.css"))
        between = [(a + b) // 2 for a, b in zip(bytes.fromhex(light), bytes.fromhex(dark), strict=True)]
        assert np.abs(np.array(between) - list(bytes.fromhex(colour[1:]))).max() <= 1


def test_a_png_colours_each_cell_by_its_level() -> None:
    grey = Image.new("RGB", (WIDTH, HEIGHT), (128, 128, 128))
    plain = pixels_of(overlay_png(EXAMPLE, grey, regions=False, size=WIDTH))
    assert plain.shape == (HEIGHT, WIDTH, 3)

    def mixed(name: str, level: int) -> Any:
        colour = np.array(list(bytes.fromhex(MAP_COLOURS[name][1:])))
        return 128 + (colour - 128) * 0.078 * level

    assert np.abs(plain[24, 44] - mixed("for", 10)).max() <= 1, "row 1, column 1"
    assert np.abs(plain[24, 60] - mixed("for", 5)).max() <= 1
    assert (plain[8, 28] == 128).all(), "a score of 0 leaves the picture as it is"
    against = plain[48:64, 84:100].reshape(-1, 3)
    hatched = np.abs(against - mixed("against", 6)).max(1) > 1
    assert 0.1 < hatched.mean() < 0.5, "hatched beside its colour"
    assert (plain[:, :20] == plain[0, 0]).all() and np.abs(plain[0, 0] - (121, 124, 129)).max() <= 1, "not seen"
    outlined = pixels_of(overlay_png(EXAMPLE, grey, size=480))
    white = (outlined == 255).all(2)
    assert white[64:128, 144:208].any() and not white[64:128, 340:400].any()


def test_a_smooth_map_is_bilinear_between_the_middles_of_cells() -> None:
    form = on_grid([[0.0, 1.0], [0.0, 1.0]], 40, 40)
    black = Image.new("RGB", (40, 40))
    blue = pixels_of(overlay_png(form, black, smooth=True, regions=False, size=40))[20, :, 2]
    step = int(MAP_COLOURS["for"][5:], 16) * 0.78 / 20
    assert np.abs(blue[10:30] - (np.arange(20) + 0.5) * step).max() <= 1 and (blue[:10] == 0).all()
    assert len(set(pixels_of(overlay_png(form, black, regions=False, size=40))[20, :, 2])) == 2, "cells by default"
    alone = np.asarray(smooth_image(image_map(form)).convert("RGBA"))
    assert alone[0, 0, 3] == 0 and alone[0, -1, 3] == round(255 * 0.78)


def test_the_size_of_a_png() -> None:
    assert pixels_of(overlay_png(EXAMPLE)).shape == (341, 512, 3), "enlarged, without a picture too"
    large = image_example(image={"width": 1000, "height": 800, "sha256": "", "name": None})
    assert pixels_of(overlay_png(large)).shape == (800, 1000, 3)
    with pytest.raises(ValueError, match="size must be an integer from 16 to 16,384, got 2.5"):
        overlay_png(EXAMPLE, size=2.5)  # type: ignore[arg-type]
    assert overlay_png(EXAMPLE, drawn_picture()) == overlay_png(EXAMPLE, drawn_picture())
