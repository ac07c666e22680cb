# SPDX-License-Identifier: Apache-2.0
"""`highlight_dataset` on images: every row keeps its place, columns say what the explanations say, nothing is lost."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from datasets import Dataset, Features, Value
from datasets import Image as ImageFeature
from PIL import Image

from helpers.image_files import picture, png
from helpers.tiny_images import tiny_classifier, tiny_explainer
from mhex_nlp import MhexImageExplainer
from mhex_nlp.corpus import highlight_dataset

BAD = {1: b"not an image", 4: png(4)[:200]}


def scans(bad: bool = False) -> Dataset:
    cells = [{"bytes": BAD[n] if bad and n in BAD else png(n), "path": None} for n in range(7)]
    features = Features({"scan": ImageFeature(), "who": Value("int64")})
    return Dataset.from_dict({"scan": cells, "who": list(range(7))}, features=features)


def test_columns_say_what_the_explanations_say() -> None:
    explainer = tiny_explainer()
    rows = highlight_dataset(scans(), explainer, image_column="scan", classes="all")
    explanations = explainer([picture(n) for n in range(7)], classes="all", ids=[str(n) for n in range(7)])
    assert rows["who"][:] == list(range(7)) and rows["mhex_error"][:] == [None] * 7
    for row, explanation in zip(rows, explanations, strict=True):
        form = explanation.to_dict()
        np.testing.assert_allclose(row["mhex_grid"], form["scores"], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(row["mhex_class_grids"], form["class_scores"], rtol=1e-4, atol=1e-5)
        assert row["mhex_label"] == form["prediction"]["label"] == row["mhex_target"]
        assert row["mhex_sum"] == pytest.approx(form["sum"], abs=1e-5)
        assert row["mhex_p_empty"] == pytest.approx(form["p_empty"], abs=1e-5)
        assert row["mhex_trust"] == form["method"]["trusted"]


def test_boxes_hold_the_strongest_cells() -> None:
    for row in highlight_dataset(scans(), tiny_explainer(), image_column="scan"):
        grid, place = np.array(row["mhex_grid"]), row["mhex_geometry"]
        r, c = np.unravel_index(np.abs(grid).argmax(), grid.shape)
        x, y = place["x0"] + (c + 0.5) * place["dx"], place["y0"] + (r + 0.5) * place["dy"]
        boxes = row["mhex_boxes"]
        assert any(left <= x <= right and top <= y <= bottom for left, top, right, bottom in boxes)
        assert all(0 <= left < right <= 40 and 0 <= top < bottom <= 30 for left, top, right, bottom in boxes)
        sizes = np.abs(row["mhex_box_scores"])
        assert len(boxes) == len(sizes) <= 5 and (np.diff(sizes) <= 0).all()


@pytest.mark.parametrize("streamed", [False, True])
def test_bad_rows_are_recorded_in_their_place(streamed: bool) -> None:
    dataset: Any = scans(bad=True)
    dataset = dataset.to_iterable_dataset() if streamed else dataset
    explained = highlight_dataset(dataset, tiny_explainer(), image_column="scan", errors="record", batch_size=3)
    stored = ImageFeature(decode=False)
    rows = list(explained.decode(False) if streamed else explained.cast_column("scan", stored))
    assert [row["who"] for row in rows] == list(range(7))
    assert [row["who"] for row in rows if row["mhex_error"]] == [1, 4]
    assert all((row["mhex_grid"] is None) == (row["who"] in BAD) for row in rows)
    assert [row["scan"]["bytes"] for row in rows] == [
        cell["bytes"] for cell in scans(bad=True).cast_column("scan", stored)["scan"]
    ]


def test_a_bad_row_stops_unless_it_is_to_be_recorded() -> None:
    with pytest.raises(ValueError, match="^row 1 of the dataset cannot be explained: "):
        highlight_dataset(scans(bad=True), tiny_explainer(), image_column="scan")


def test_overlays_are_images() -> None:
    row = highlight_dataset(scans(), tiny_explainer(), image_column="scan", overlay=True)[0]
    assert isinstance(row["mhex_overlay"], Image.Image) and row["mhex_overlay"].width >= 40


def test_file_names_and_bytes(tmp_path: Any) -> None:
    (tmp_path / "a.png").write_bytes(png(3))
    expected = highlight_dataset(scans(), tiny_explainer(), image_column="scan")["mhex_grid"][3]
    for cell in (str(tmp_path / "a.png"), png(3)):
        assert highlight_dataset(Dataset.from_dict({"image": [cell]}), tiny_explainer())["mhex_grid"][0] == expected


def test_deep_images_are_seen_by_the_explainers_window() -> None:
    known = tiny_explainer()
    file = io.BytesIO()
    Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40)).save(file, "PNG")
    dataset = Dataset.from_dict({"scan": [file.getvalue()]})
    windowed = MhexImageExplainer(known.model, known.image_processor, window=(0, 1200))
    row = highlight_dataset(dataset, windowed, image_column="scan")[0]
    assert np.asarray(row["mhex_grid"]) == pytest.approx(windowed(file.getvalue()).map, abs=1e-6)
    narrow = MhexImageExplainer(known.model, known.image_processor, window=(0, 300))
    other = highlight_dataset(dataset, narrow, image_column="scan")[0]["mhex_notes"]
    assert "Values from 0 to 300 shown as black to white." in other, "not the first call's, from the cache"
    with pytest.raises(ValueError, match="row 0 of the dataset cannot be explained: image has values of more than 8"):
        highlight_dataset(dataset, known, image_column="scan")


def test_options_are_refused_before_any_row() -> None:
    with pytest.raises(ValueError, match="^foil must be another class than the target, got 'cat' for both"):
        highlight_dataset(scans(), tiny_explainer(), image_column="scan", target=0, foil=0, errors="record")
    plain = MhexImageExplainer(*tiny_classifier())
    with pytest.raises(ValueError, match="^the model has no fit that could explain it"):
        highlight_dataset(scans(), plain, image_column="scan", errors="record")


def test_what_is_for_texts_is_refused() -> None:
    explainer = tiny_explainer()
    with pytest.raises(ValueError, match="^judge is for texts, got 3"):
        highlight_dataset(scans(), explainer, image_column="scan", judge=3)
    with pytest.raises(ValueError, match="^text_column is for texts, got 'scan' with a MhexImageExplainer"):
        highlight_dataset(scans(), explainer, text_column="scan")
    with pytest.raises(
        ValueError, match="^image_column must name a column of 'the dataset', got 'image'; it has scan, who"
    ):
        highlight_dataset(scans(), explainer)
    with pytest.raises(TypeError, match="^image_column must name a column of images"):
        highlight_dataset(scans(), explainer, image_column="who")
    assert "mhex_grid" in highlight_dataset(scans().select([]), explainer, image_column="scan").column_names
