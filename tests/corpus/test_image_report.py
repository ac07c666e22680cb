# SPDX-License-Identifier: Apache-2.0
"""Reports over many image explanations: what the index counts, where images stand, what is refused, in a browser."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.browser_watch import Watched
from helpers.html import Reader, contrast, hex_colour
from helpers.image_examples import SCORES, drawn_picture, hostile, image_example, scaled
from helpers.render_examples import ATTACKS
from mhex_nlp.corpus.report import write_image_report
from mhex_nlp.corpus.report.images import ImageGathering
from mhex_nlp.render.image_report import border_share

CLASSES = ("cat", "dog", "cup")


def explained(number: int, factor: float = 1.0, **changes: Any) -> dict[str, Any]:
    """Image `number`, predicted as the class of that number."""
    index = number % 3
    label = CLASSES[index]
    probabilities = {name: 0.8 if name == label else 0.1 for name in CLASSES}
    prediction = {"label": label, "id": index, "probability": 0.8, "probabilities": probabilities}
    scores = scaled(factor)
    return image_example(
        id=f"n{number}",
        prediction=prediction,
        target={"label": label, "id": index},
        scores=scores,
        sum=float(np.sum(scores)),
        **changes,
    )


EXPLANATIONS = [explained(number, 1 + number / 10) for number in range(12)]
LABELS = ["cat", "dog", "cup", "dog", "dog", "cup", "cat", None, 0, "cup", "dog", "cup"]
WRONG = [number for number, gold in enumerate(LABELS) if gold not in (None, CLASSES[number % 3])]


def data_of(index: Path) -> dict[str, Any]:
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', index.read_text("utf-8"), re.DOTALL)
    assert match
    data: dict[str, Any] = json.loads(match[1])
    return data


def test_every_image_stands_on_one_page_and_the_index_leads_there(tmp_path: Path) -> None:
    index = write_image_report(iter(EXPLANATIONS), tmp_path / "report", labels=LABELS, page_images=2)
    data = data_of(index)
    assert [row[0] for row in data["rows"]] == list(range(12)) and data["rows"][0][1] == "n0"
    for number, _, _, _, _, name, page, _ in data["rows"]:
        html = (index.parent / data["pages"][page]).read_text("utf-8")
        assert f'id="t{number}"' in html and name == f"image n{number}"
        assert html.count("<article") <= 2
    ids = [
        match for path in (index.parent / "images").iterdir() for match in re.findall(r'id="t\d+"', path.read_text())
    ]
    assert len(ids) == len(set(ids)) == 12
    places = [data["words"][abs(sign) - 1] for sign in data["rows"][0][7]]
    assert places == ["centre", "lower right"] and [sign > 0 for sign in data["rows"][0][7]] == [True, False]


def test_the_index_counts_and_names_the_mistakes_with_most_evidence(tmp_path: Path) -> None:
    index = write_image_report(EXPLANATIONS, tmp_path / "report", labels=LABELS)
    said = Reader(index.read_text("utf-8")).everything
    right = sum(gold is not None for gold in LABELS) - len(WRONG)
    # 8 is labelled by the id 0, a cat; 7 has no label.
    assert f"{100 * right / 11:.1f}% of 11 with a label".replace(".0%", "%") in said and 8 in WRONG
    assert "predicted as an empty image is4 of 12" in re.sub(r"\s*\n\s*", "", said)
    html = index.read_text("utf-8")
    mistakes = html[html.index('<section id="mistakes">') : html.index('<section id="pages">')]
    numbers = [int(number) for number in re.findall(r'#t(\d+)"', mistakes)]
    assert numbers == sorted(WRONG, key=lambda number: -EXPLANATIONS[number]["sum"])


def test_mean_maps_and_the_border() -> None:
    gathering = ImageGathering(EXPLANATIONS[0])
    for number, form in enumerate(EXPLANATIONS):
        gathering.add({"form": form, "number": number, "gold": None, "pixels": None}, 0)
    other = explained(0, grid={**EXPLANATIONS[0]["grid"], "rows": 1, "cols": 2})
    gathering.add({"form": {**other, "scores": [[1.0, -1.0]]}, "number": 12, "gold": None, "pixels": None}, 0)
    report = gathering.report()
    cats = [np.array(form["scores"]) for form in EXPLANATIONS[0::3]]
    assert np.allclose(report["classes"]["cat"]["mean"], np.mean(cats, 0))
    assert (report["classes"]["cat"]["images"], report["classes"]["cat"]["averaged"]) == (5, 4), "one of another grid"
    assert report["accuracy"] is None and report["confusion"] == {} and report["mistakes"] == []
    outer = np.abs(SCORES).sum() - np.abs(np.array(SCORES)[1:-1, 1:-1]).sum()
    assert border_share(SCORES) == pytest.approx((outer / np.abs(SCORES).sum(), 16 / 25))
    assert report["border_share"] == pytest.approx((12 * border_share(SCORES)[0] + 1) / 13)
    assert border_share([[0.0, 0.0]]) == (0.0, 1.0)


def test_pictures_are_kept_only_where_they_are_handed_in(tmp_path: Path) -> None:
    write_image_report(EXPLANATIONS, tmp_path / "without", labels=LABELS)
    pages = [path.read_text() for path in (tmp_path / "without").rglob("*.html")]
    assert len(pages) > 3 and not any("data:image" in page for page in pages)
    large = [explained(n, image={"width": 600, "height": 400, "sha256": "", "name": None}) for n in range(3)]
    write_image_report(large, tmp_path / "with", pixels=[drawn_picture(600, 400), None, drawn_picture(600, 400)])
    kept = [path.read_text() for path in sorted((tmp_path / "with" / "images").iterdir())]
    assert [page.count("data:image/jpeg") for page in kept] == [1, 0, 1] and all(len(page) < 50_000 for page in kept)


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"explanations": []}, ValueError, "explanations must hold at least one"),
        ({"explanations": ["x"]}, TypeError, "explanations must be of images, got str at 0"),
        ({"explanations": [{"kind": "text"}]}, TypeError, "explanations must be of images, got dict at 0"),
        ({"labels": ["cow"] * 12}, ValueError, r"labels\[0\] must be a class of the model, got 'cow'"),
        ({"labels": ["cat"]}, ValueError, "labels must have one entry for each"),
        ({"labels": "cat"}, ValueError, "labels must be one an image"),
        ({"pixels": [None]}, ValueError, "pixels must have one entry for each"),
        ({"page_images": 0}, ValueError, "page_images must be an integer from 1 to 200, got 0"),
        ({"title": 5}, TypeError, "title must be a string"),
        (
            {"explanations": [EXPLANATIONS[0], hostile("x")]},
            ValueError,
            "explanations must all be of one model, got the classes",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, arguments: dict[str, Any], error: type, said: str) -> None:
    arguments = {"explanations": EXPLANATIONS, **arguments}
    with pytest.raises(error, match=said):
        write_image_report(output_dir=tmp_path / "report", **arguments)


def test_a_new_report_replaces_an_earlier_one_and_nothing_else(tmp_path: Path) -> None:
    write_image_report(EXPLANATIONS, tmp_path / "report", page_images=1)
    before = set((tmp_path / "report" / "images").iterdir())
    write_image_report(EXPLANATIONS, tmp_path / "report")
    assert set((tmp_path / "report" / "images").iterdir()) < before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.html").write_text("x")
    with pytest.raises(ValueError, match=r"which holds mine\.html"):
        write_image_report(EXPLANATIONS, tmp_path / "other")


def test_labels_by_id(tmp_path: Path) -> None:
    index = write_image_report(EXPLANATIONS, tmp_path / "report", labels={"n0": "dog", "n1": 1})
    assert [row[4] is not None for row in data_of(index)["rows"]] == [True, True] + [False] * 10
    with pytest.warns(UserWarning, match="labels know none of the explanations"):
        write_image_report(EXPLANATIONS, tmp_path / "report", labels={"elsewhere": "dog"})


def test_hostile_names_stay_names(tmp_path: Path, browser: Any) -> None:
    watched = Watched(browser)
    for number, attack in enumerate(ATTACKS[::20]):
        index = write_image_report(
            [hostile(attack)] * 2, tmp_path / str(number), labels=[attack, attack + "2"], title=attack
        )
        data = data_of(index)
        watched.open(index)
        watched.assert_calm()
        watched.open(index.parent / data["pages"][0])
        watched.assert_calm()
    watched.close()


@pytest.fixture
def watched(browser: Any, tmp_path: Path) -> Any:
    write_image_report(EXPLANATIONS, tmp_path / "report", labels=LABELS, pixels=[drawn_picture()] * 12)
    opened = Watched(browser)
    yield opened
    opened.close()


def test_the_list_can_be_filtered(watched: Watched, tmp_path: Path) -> None:
    page = watched.open(tmp_path / "report" / "index.html")
    assert page.locator("#count").inner_text() == "12 of 12 images"
    page.select_option("[name=answer]", "wrong")
    assert page.locator("#count").inner_text() == f"{len(WRONG)} of 12 images"
    page.select_option("[name=predicted]", label="cat")
    cats = [number for number in WRONG if number % 3 == 0]
    assert page.locator("#rows a").all_inner_texts() == [f"image n{number}" for number in cats]
    page.get_by_role("button", name="Clear").click()
    page.fill("[name=word]", "lower")
    assert page.locator("#count").inner_text() == "12 of 12 images"
    page.locator("#rows a").first.click()
    page.wait_for_url("**/images/*")
    assert page.locator("article:target").count() == 1
    watched.went(*(tmp_path / "report" / "images").iterdir())
    watched.assert_calm()


@pytest.mark.parametrize("kind", ["index", "page"])
def test_axe_finds_nothing_serious(watched: Watched, tmp_path: Path, kind: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.base", reason="axe-playwright-python is not installed")
    report = tmp_path / "report"
    page = watched.open(report / "index.html" if kind == "index" else next((report / "images").iterdir()))
    page.evaluate(axe.AXE_SCRIPT)
    for width, scheme in ((1000, "light"), (360, "dark")):
        watched.look(width=width, scheme=scheme)
        options = {"resultTypes": ["violations"], **({} if scheme == "light" else {"runOnly": ["color-contrast"]})}
        result = page.evaluate("(options) => axe.run(options)", options)
        serious = [
            (v["id"], v["nodes"][0]["html"]) for v in result["violations"] if v["impact"] in ("serious", "critical")
        ]
        assert len(result["passes"]) > (10 if scheme == "light" else 0) and not serious, (width, scheme)
        watched.assert_laid_out()
        ink = page.eval_on_selector(".tile .m", "e => getComputedStyle(e).color")
        ground = page.eval_on_selector(".tile", "e => getComputedStyle(e).backgroundColor")
        assert contrast(hex_colour(ink), hex_colour(ground)) >= 4.5
