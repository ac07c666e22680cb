# SPDX-License-Identifier: Apache-2.0
"""Pages and fragments of image explanations: what they hold and say, their policy, their size, hostile strings."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from typing import Any

import pytest
from PIL import Image

from helpers.html import Reader
from helpers.image_examples import (
    CLASSES,
    EXAMPLE,
    UNTRUSTED,
    drawn_picture,
    hostile,
    image_example,
)
from helpers.render_examples import ATTACKS
from mhex_nlp.render import image_fragment, image_page
from mhex_nlp.render.image_pixels import packed, picture_of

RENDER = {"page": image_page, "fragment": image_fragment}
DATA = re.compile(r'href="data:image/(png|jpeg);base64,([A-Za-z0-9+/=]+)"')


def held_picture(html: str) -> Image.Image:
    [(_, data)] = DATA.findall(html)
    return Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.mark.parametrize("kind", RENDER)
def test_it_says_what_is_explained_and_how_far_to_trust_it(kind: str) -> None:
    said = Reader(RENDER[kind](CLASSES)).everything
    for expected in (
        "cat 90%",
        "Scores for cat rather than dog",
        "centre, 3 cells for",
        "lower right, 3 cells against",
        "Paired skill 0.42 [0.38, 0.46] (attainable by any scores of cells: 0.56)",
        "The map shows what the model used for its answer. It does not show where something, such as a disease, is",
        "Explanations of images are experimental.",
        "against \u22121.00",
        "+1.00 for",
        "logits a cell, for cat",
        "Grey: not seen by the model.",
        "The explanation came without its picture.",
    ):
        assert expected in re.sub(r"\s+", " ", said), expected
    for name, value in (("base value", "\u22120.250"), ("logit explained", "+0.350"), ("on an empty image", "dog 50%")):
        assert name + value in said
    untrusted = Reader(RENDER[kind](UNTRUSTED)).everything
    assert "That is too little: do not trust this map." in untrusted and UNTRUSTED["notes"][0] in untrusted
    assert "not seen" not in untrusted
    unknown = Reader(RENDER[kind](image_example(method={"skill": None, "trusted": None}))).everything
    assert "How far these scores can be trusted was not measured." in unknown


@pytest.mark.parametrize("kind", RENDER)
def test_pixels_are_there_only_if_they_were_handed_in(kind: str) -> None:
    assert not DATA.search(RENDER[kind](EXAMPLE)) and "<image" not in RENDER[kind](EXAMPLE)
    picture = drawn_picture()
    assert held_picture(RENDER[kind](EXAMPLE, picture)).convert("RGB").tobytes() == picture.tobytes(), "small: lossless"
    url, _ = packed(picture)
    embedded = image_example(image={**EXAMPLE["image"], "data": url})
    assert RENDER[kind](embedded) == RENDER[kind](EXAMPLE, picture) == RENDER[kind](EXAMPLE, url)


def test_metadata_stays_out_of_pages() -> None:
    noted = drawn_picture(300, 200)
    exif = noted.getexif()
    exif[0x010E] = "name of a patient"
    target = io.BytesIO()
    noted.save(target, "JPEG", exif=exif, comment=b"name of a patient")
    form = image_example(image={"width": 300, "height": 200, "sha256": "", "name": None})
    opened = Image.open(io.BytesIO(target.getvalue()))
    for pixels in (opened, f"data:image/jpeg;base64,{base64.b64encode(target.getvalue()).decode()}"):
        held = held_picture(image_page(form, pixels))
        assert not held.getexif() and "comment" not in held.info and held.size == (300, 200)


@pytest.mark.parametrize(
    ("pixels", "error", "said"),
    [
        (drawn_picture(80, 80), ValueError, "must be the explained image of 120 x 80 pixels, got 80 x 80"),
        ("https://example.org/x.png", ValueError, "must be a data URL of a PNG or JPEG in base64, got 'https"),
        ('data:image/png;base64,"><script>', ValueError, "must be a data URL of a PNG or JPEG"),
        ("data:image/svg+xml;base64,AAAA", ValueError, "must be a data URL of a PNG or JPEG"),
        ("data:image/png;base64,AAAA", ValueError, "pixels must hold an image"),
        (packed(drawn_picture())[0][:400], ValueError, "pixels must hold a"),
        (b"bytes", TypeError, "pixels must be a PIL image or a data URL, got bytes"),
    ],
)
def test_pixels_of_another_image_are_refused(pixels: Any, error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        image_page(EXAMPLE, pixels)


def test_a_camera_picture_may_lie_on_its_side() -> None:
    turned = drawn_picture().transpose(Image.Transpose.ROTATE_90)
    turned.getexif()[0x0112] = 6  # to be shown turned by a quarter, clockwise
    picture = picture_of(EXAMPLE, turned)
    assert picture is not None and picture.tobytes() == drawn_picture().tobytes()


def test_a_large_picture_is_shrunk_and_the_page_says_so() -> None:
    noise = Image.effect_noise((1000, 1000), 90).convert("RGB")  # what JPEG cannot shrink
    grid = {"rows": 32, "cols": 32, "x0": 0.0, "y0": 0.0, "dx": 31.25, "dy": 31.25}
    scores = [[(7 * r + 3 * c) % 11 - 5.0 for c in range(32)] for r in range(32)]
    size = {"width": 1000, "height": 1000, "sha256": "", "name": None}
    form = image_example(image=size, grid=grid, scores=scores, classes=["a", "b"] * 6, class_scores=[scores] * 12)
    for pixels in (noise, drawn_picture(1000, 1000)):
        page = image_page(form, pixels)
        assert len(page.encode()) < 200_000
        width, height = held_picture(page).size
        said = f"The picture is shown at {width} \u00d7 {height} pixels." in Reader(page).everything
        assert said is ((width, height) != (1000, 1000))
    assert width == 1000, "a picture that JPEG can shrink keeps its size"
    assert "and 10 more" in Reader(page).everything, "twelve maps of 1,024 cells are too many for a page"


@pytest.mark.parametrize("kind", RENDER)
@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_strings_stay_text(kind: str, attack: str) -> None:
    calm = Reader(RENDER[kind](hostile("x"), drawn_picture()))
    reader = Reader(RENDER[kind](hostile(attack), drawn_picture()))
    assert [(tag, sorted(attributes)) for tag, attributes in reader.tags] == [
        (tag, sorted(attributes)) for tag, attributes in calm.tags
    ]


@pytest.mark.parametrize("kind", RENDER)
def test_nothing_is_asked_for_and_nothing_has_an_id(kind: str) -> None:
    html = RENDER[kind](CLASSES, drawn_picture(), smooth=True)
    for tag, attributes in Reader(html).tags:
        assert tag not in ("iframe", "object", "embed", "link", "base", "img", "a", "use")
        for name, value in attributes.items():
            assert name not in ("id", "style", "src", "srcset", "action", "xlink:href") and not name.startswith("on")
            assert name != "href" or tag == "image" and str(value).startswith("data:image/")
    assert "url(" not in html, "so copies of a fragment do not share patterns"


def test_the_policy_allows_its_style_its_script_and_pictures_in_the_page() -> None:
    page = image_page(EXAMPLE, drawn_picture())
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].split(";"))
    assert rules["default-src"] == "'none'" and rules["img-src"] == "data:"
    for name, pattern in (("style-src", r"<style>(.*?)</style>"), ("script-src", r"<script>(.*?)</script>")):
        content = re.search(pattern, page, re.DOTALL)
        assert content
        digest = base64.b64encode(hashlib.sha256(content[1].encode()).digest()).decode()
        assert rules[name] == f"'sha256-{digest}'"
    assert "<script" not in image_fragment(EXAMPLE)


def test_a_fragment_has_titles_where_a_page_has_a_script() -> None:
    fragment = image_fragment(EXAMPLE)
    assert fragment.count('<rect class="hit"') == 25 and "<title>row 2, column 2: +1.00</title>" in fragment
    assert '<rect class="hit"' not in image_page(EXAMPLE)
    large = image_example(grid={**EXAMPLE["grid"], "rows": 60, "cols": 60}, scores=[[0.5] * 60] * 60)
    assert "<title>" not in image_fragment(large) and "The JSON form has the scores of all 3,600" in image_fragment(
        large
    )


def test_class_maps_must_fit_their_classes() -> None:
    with pytest.raises(ValueError, match="class_scores must have a map for each of the 3 classes, got 1"):
        image_page({**CLASSES, "class_scores": CLASSES["class_scores"][:1]})
