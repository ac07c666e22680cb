# SPDX-License-Identifier: Apache-2.0
"""Figures: lines set by widths, right-to-left order, fonts, and the three formats."""

from __future__ import annotations

import copy
import io
import re
import subprocess
import sys
import warnings
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import matplotlib
import pytest
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib import font_manager
from matplotlib.ft2font import LoadFlags
from PIL import Image

from helpers.html import explanations
from helpers.render_examples import ATTACKS, EXAMPLES, NEGATIVE, PAIR, POSITIVE, REGRESSION, attacked, explanation
from mhex_nlp import Explanation
from mhex_nlp.render import render_figure
from mhex_nlp.render.controls import BREAKS, without_controls
from mhex_nlp.render.figure.bidi import base_level, levels, visual_order
from mhex_nlp.render.figure.fonts import DEFAULT, find_fonts
from mhex_nlp.render.figure.layout import PADDING, Line, may_break, set_lines
from mhex_nlp.render.highlight import Segment, highlight, texts_of
from mhex_nlp.render.palette import light_palette

SVG = "{http://www.w3.org/2000/svg}"


def half(text: str) -> float:
    """A font in which every code point is half an em wide, U+200D none."""
    return 0.5 * len(text.replace("\u200d", ""))


def as_is(text: str) -> str:
    return text


def lines_of(text: str, width: float, levels_: dict[str, int] | None = None) -> list[Line]:
    """`text` set in `half`, its words coloured as `levels_` says."""
    parts = [match[0] for match in re.finditer(r"\w+|\W+", text)]
    at, segments = 0, []
    for part in parts:
        segments.append(Segment(part, at, at + len(part), 0.0, (levels_ or {}).get(part, 0)))
        at += len(part)
    return set_lines(segments, width, half, as_is)


# ---- lines


@given(explanations(), st.floats(2, 40))
@settings(max_examples=80, deadline=None)
def test_lines_hold_the_text_and_stay_inside(document: dict[str, Any], width: float) -> None:
    try:
        drawn = highlight(document)
    except ValueError:  # sums of the largest floats
        return
    for text, segments in zip(texts_of(document), drawn.lines, strict=True):
        lines = set_lines(segments, width, half, as_is)
        safe = without_controls(text)
        assert "".join(line.source for line in lines) == BREAKS.sub("", safe)
        assert len(lines) >= 1 + len(BREAKS.findall(safe))
        for line in lines:
            # A character that is wider than the line stands alone, and may reach over its edge.
            alone = len(regex.findall(r"\X", line.source.strip())) <= 1
            places = sorted((box.left, box.right) for box in line.boxes)
            for left, right in places:
                assert left <= right and (alone or (left >= -1e-6 and right <= width + 1e-6))
            for (_, right), (left, _) in zip(places, places[1:], strict=False):
                assert right <= left + 1e-6
            for piece in line.pieces:
                assert alone or (piece.left >= -1e-6 and piece.left + half(piece.text.strip()) <= width + 1e-6)
        coloured = [s for s in segments if s.level and without_controls(s.text).strip()]
        assert sum(len(line.boxes) for line in lines) >= len(coloured)


def test_lines_break_at_spaces_and_keep_those_of_the_text() -> None:
    assert [line.source for line in lines_of("one two three\n\nfour", 5)] == ["one two ", "three", "", "four"]
    assert [line.source for line in lines_of("a  b\r\nc\u2028d", 50)] == ["a  b", "c", "d"]
    assert [line.source for line in lines_of("x" * 25, 5)] == ["x" * 10, "x" * 10, "x" * 5]
    assert [line.source for line in lines_of("see well-known things", 5)] == ["see well-", "known ", "things"]


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("a", "b", False),
        ("a", ".", False),
        (" ", "a", True),
        ("a", " ", False),
        ("\u00a0", "a", False),
        ("好", "吃", True),
        ("好", "。", False),
        ("。", "好", True),
        ("「", "好", False),
        ("ア", "ー", False),
        ("เ", "ก", False),
        ("ก", "า", False),
        ("ก", "ข", True),
        ("👍🏽", "👨\u200d👩", True),
        ("-", "a", True),
        ("-", "5", False),
        ("/", "o", True),
    ],
)
def test_where_lines_may_break(left: str, right: str, expected: bool) -> None:
    assert may_break(left, right) is expected


def test_boxes_stand_behind_their_words() -> None:
    [line] = lines_of("ab cd.", 50, {"ab": 3, "cd": -4})
    assert [(box.left, box.right, box.level) for box in line.boxes] == [
        (0, pytest.approx(1 + 2 * PADDING), 3),
        (pytest.approx(1.5 + 2 * PADDING), pytest.approx(2.5 + 4 * PADDING), -4),
    ]
    assert [(piece.text, piece.left) for piece in line.pieces if piece.text == "ab"] == [("ab", PADDING)]


def test_right_to_left_lines_start_at_the_right() -> None:
    first, second = "\u05e9\u05dc", "\u05d5\u05dd"
    [line] = lines_of(f"{first} ({second}) ab", 10, {first: 5, second: -5, "ab": 2})
    [one, two, latin] = sorted(line.boxes, key=lambda box: -box.right)
    assert (one.level, two.level, latin.level) == (5, -5, 2)
    assert one.right == 10 and one.left == pytest.approx(9 - 2 * PADDING)
    # Brackets are mirrored where they stand among right-to-left letters: `(` shows as `)`.
    shown = "".join(piece.text for piece in sorted(line.pieces, key=lambda piece: piece.left))
    assert shown.replace(" ", "") == f"ab({second}){first}"


def test_joined_letters_are_one_string_with_a_box_each() -> None:
    segments = [Segment("\u0645\u0631", 0, 2, 1.0, 10), Segment("\u062d\u0628", 2, 4, -1.0, -10)]
    [line] = set_lines(segments, 10, half, as_is)
    assert [piece.text for piece in line.pieces] == ["\u0645\u0631\u062d\u0628"]
    assert [(box.left, box.right, box.level) for box in line.boxes] == [
        (pytest.approx(9 - PADDING), pytest.approx(10), 10),
        (pytest.approx(8 - 2 * PADDING), pytest.approx(9 - PADDING), -10),
    ]


@pytest.mark.skipif(not hasattr(font_manager.get_font(font_manager.findfont(DEFAULT)), "_layout"), reason="no libraqm")
@given(
    st.lists(st.sampled_from("abcשלוםمرحب0123456789١٢٣"), max_size=9, unique=True),
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from(' ()[].,+-%:$!"')), max_size=6),
)
@example(list("ab"), [(1, "-")])
@settings(max_examples=200, deadline=None)
def test_order_is_that_of_fribidi(letters: list[str], marks: list[tuple[int, str]]) -> None:
    """matplotlib shapes through libraqm, which orders by fribidi, an implementation of UAX #9 of its own."""
    for place, mark in marks:
        letters.insert(place, mark)
    text = "".join(letters).strip()  # white space at the end of a line is another rule's
    order = visual_order(levels(text, base_level(text)))
    font = font_manager.get_font(font_manager.findfont(DEFAULT))
    font.set_size(10, 72)
    theirs = "".join(item.char for item in font._layout(text, LoadFlags.NO_HINTING))
    assert "".join(text[index] for index in order) == theirs or len(theirs) != len(text)


# ---- fonts


def test_widths_are_those_of_the_font() -> None:
    fonts = find_fonts("Wide")
    assert fonts.families == (DEFAULT,)
    assert fonts.width("WW") == pytest.approx(2 * fonts.width("W"), rel=1e-3)
    assert fonts.width("W") > 3 * fonts.width("i") and fonts.width("a ") > fonts.width("a")
    assert fonts.width("Wide", bold=True) > fonts.width("Wide")


def test_a_character_without_a_glyph_is_named() -> None:
    document = explanation("good \u0378\U000f1234 $5$", [("good", 0, 0.5)])
    with pytest.warns(UserWarning, match=r"No installed font holds .*U\+0378.*U\+F1234.*in fonts") as caught:
        svg = render_figure(document, "svg")
    assert len(caught) == 1
    replaced = explanation("good \ufffd\ufffd $5$", [("good", 0, 0.5)])
    assert shapes(svg) == shapes(render_figure(replaced, "svg"))


def test_the_warning_points_at_the_caller(tmp_path: Path) -> None:
    document = Explanation.from_dict(explanation("\u0378 good", [("good", 1, 0.5)]))
    with pytest.warns(UserWarning, match="U\\+0378") as caught:
        document.to_figure(tmp_path / "x.svg")
    assert caught[0].filename == __file__


def test_preferred_fonts_come_first() -> None:
    assert find_fonts("a", ["DejaVu Serif"]).families == ("DejaVu Serif", DEFAULT)
    assert render_figure(POSITIVE, "svg", fonts=["DejaVu Serif"]) != render_figure(POSITIVE, "svg")
    with pytest.raises(ValueError, match="'No Such Family', which matplotlib does not find"):
        find_fonts("a", ["No Such Family"])
    with pytest.raises(TypeError, match="the string 'DejaVu Serif'"):
        find_fonts("a", "DejaVu Serif")


# ---- figures


def colours(png: bytes) -> set[str]:
    image = Image.open(io.BytesIO(png)).convert("RGB")
    return {f"#{bytes(colour).hex()}" for _, colour in image.getcolors(image.width * image.height) or []}


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.filterwarnings("ignore:No installed font holds")
def test_a_png_has_its_width_and_shows_the_levels(name: str) -> None:
    png = render_figure(EXAMPLES[name], "png", width=4, dpi=150)
    image = Image.open(io.BytesIO(png)).convert("RGB")
    assert image.width == 600
    assert {image.getpixel((x, y)) for x in (0, 599) for y in (0, image.height - 1)} == {(255, 255, 255)}
    drawn = highlight(EXAMPLES[name])
    shown = {s.level for line in drawn.lines for s in line if s.level}
    palette = light_palette()
    assert {palette[f"{'p' if level > 0 else 'n'}{abs(level)}"] for level in shown} <= colours(png)


@pytest.mark.parametrize("format", ["svg", "png", "pdf"])
def test_the_same_explanation_gives_the_same_bytes(format: str) -> None:
    part = "text" if format == "pdf" else "both"
    first = render_figure(POSITIVE, format, part=part)
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 30, "text.color": "red", "axes.grid": True}):
        assert render_figure(copy.deepcopy(POSITIVE), format, part=part) == first
    changed = copy.deepcopy(POSITIVE)
    changed["tokens"][4]["score"] *= -1
    assert render_figure(changed, format, part=part) != first
    assert first.startswith({"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[format])


def test_an_svg_is_vectors_alone() -> None:
    root = ElementTree.fromstring(render_figure(PAIR, "svg"))
    assert not list(root.iter(f"{SVG}text")) and not list(root.iter(f"{SVG}image"))
    links = [value for element in root.iter() for key, value in element.attrib.items() if key.endswith("href")]
    assert links and all(link.startswith("#") for link in links)
    styles = " ".join(element.get("style", "") for element in root.iter())
    assert light_palette()["for"] in styles and light_palette()["against"] in styles


def test_signs_show_without_colour() -> None:
    """A wavy line has curves, a straight one has none, and nothing else than these two is a stroke of its colour."""
    root = ElementTree.fromstring(render_figure(POSITIVE, "svg"))
    strokes: dict[str, list[str]] = {"for": [], "against": []}
    for path in root.iter(f"{SVG}path"):
        for name, shapes_ in strokes.items():
            if f"stroke: {light_palette()[name]}" in path.get("style", ""):
                shapes_.append(path.get("d", ""))
    levels_ = [s.level for line in highlight(POSITIVE).lines for s in line]
    # one more each, of the legend
    assert len(strokes["for"]) == sum(level > 3 for level in levels_) + 1
    assert len(strokes["against"]) == sum(level < -3 for level in levels_) + 1
    assert not any("Q" in d for d in strokes["for"]) and all("Q" in d for d in strokes["against"])


def shapes(svg: bytes) -> list[dict[str, str]]:
    return [dict(element.attrib) for element in ElementTree.fromstring(svg).iter(f"{SVG}use")]


def glyphs(text: str) -> int:
    return len(shapes(render_figure(explanation(text, [("zz", 0, 0.5)]), "svg")))


def test_no_formula_is_read_out_of_a_text() -> None:
    assert glyphs("zz $x^2_a$ \\alpha") == glyphs("zz abcdefg hijklm")


# Those of HTML are letters to a figure; the last ones are of direction, controls, surrogates, breaks and lengths.
@pytest.mark.parametrize("attack", [*ATTACKS[16:19], *ATTACKS[32:]], ids=ascii)
@pytest.mark.filterwarnings("ignore:No installed font holds")
def test_any_text_can_be_drawn(attack: str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Glyph")  # matplotlib's own complaint
        svg = render_figure(attacked(attack), "svg", width=3)
    assert not [element for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("script")]


@pytest.mark.parametrize("text", ["", "a b"])
def test_empty_texts_and_zero_scores_are_drawn(text: str) -> None:
    document = explanation(
        text, [("[CLS]", None, 0.1), *((word, index, 0.0) for index, word in enumerate(text.split()))]
    )
    assert render_figure(document, "png", dpi=72).startswith(b"\x89PNG")


def test_huge_scores_are_drawn() -> None:
    document = explanation("a b", [("a", 0, 1e308), ("b", 1, -1e308)])
    assert ElementTree.fromstring(render_figure(document, "svg")).tag == f"{SVG}svg"


def height(document: dict[str, Any], **settings_: Any) -> int:
    return Image.open(io.BytesIO(render_figure(document, "png", dpi=72, **settings_))).height


def test_parts_and_sizes() -> None:
    text, layers, both = (height(POSITIVE, part=part) for part in ("text", "layers", "both"))
    assert max(text, layers) < both < text + layers
    assert height(POSITIVE, width=3) > text > height(POSITIVE, width=9)
    assert height(POSITIVE, font_size=12) > text
    tokens = render_figure(POSITIVE, "svg", unit="tokens")
    assert tokens != render_figure(POSITIVE, "svg")


@pytest.mark.parametrize(("depths", "scale"), [(1, 1.0), (12, 1e-7), (48, 1e7)])
def test_the_bars_stay_inside(depths: int, scale: float) -> None:
    document = copy.deepcopy(POSITIVE)
    for token in document["tokens"]:
        token["layers"] = [scale * token["score"] * (depth + 1) for depth in range(depths)]
    png = render_figure(document, "png", part="layers", width=3, dpi=100)
    assert {light_palette()["for"], light_palette()["against"]} <= colours(png)
    image = Image.open(io.BytesIO(png)).convert("L")
    edge = [image.getpixel((x, y)) for x in (0, image.width - 1) for y in range(image.height)]
    edge += [image.getpixel((x, y)) for y in (0, image.height - 1) for x in range(image.width)]
    assert set(edge) == {255}


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"format": "jpg"}, "format must be one of svg, png, pdf, got 'jpg'"),
        ({"unit": "letters"}, "unit must be 'words' or 'tokens', not 'letters'"),
        ({"part": "all"}, "part must be one of auto, text, words, layers, both, got 'all'"),
        ({"width": 0}, "width must be a positive number, got 0"),
        ({"width": float("nan")}, "width must be a positive number, got nan"),
        ({"width": "5"}, "width must be a positive number, got '5'"),
        ({"width": 0.5}, "width must be at least 1.50 inches at a font_size of 9, got 0.5"),
        ({"font_size": -1}, "font_size must be a positive number, got -1"),
        ({"dpi": float("inf")}, "dpi must be a positive number, got inf"),
        ({"part": "layers"}, "part 'layers' needs scores per layer, which this explanation lacks"),
        ({"part": "both"}, "part 'both' needs scores per layer"),
        ({"format": "png", "dpi": 40_000}, "too large for PNG at a dpi of 40000"),
    ],
)
def test_bad_settings_are_refused_by_name(settings_: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        render_figure(NEGATIVE, **{"format": "svg", **settings_})


@pytest.mark.parametrize("name", ["f.jpg", "f", "svg", "f.svg.gz"])
def test_a_path_says_the_format(tmp_path: Path, name: str) -> None:
    document = Explanation.from_dict(POSITIVE)
    with pytest.raises(ValueError, match=r"path must end in .svg, .pdf or .png, got '.*" + re.escape(name)):
        document.to_figure(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_files_are_written(tmp_path: Path) -> None:
    document = Explanation.from_dict(REGRESSION)
    for path in (tmp_path / "f.svg", str(tmp_path / "f.PNG")):
        document.to_figure(path, width=4, dpi=100)
        format = str(path)[-3:].lower()
        assert Path(path).read_bytes() == render_figure(REGRESSION, format, width=4, dpi=100)


def test_matplotlib_is_loaded_late_and_pyplot_never() -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests'); from mhex_nlp.render import render_figure;"
        "from helpers.render_examples import POSITIVE; assert 'matplotlib' not in sys.modules;"
        "render_figure(POSITIVE, 'svg', part='both'); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
