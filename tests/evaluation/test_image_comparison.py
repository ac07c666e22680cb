# SPDX-License-Identifier: Apache-2.0
"""Explanations of images compared: every figure, by two removals, on tiny models; and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.image_files import picture
from helpers.image_models import plain_image_model
from helpers.tiny_images import tiny_classifier, tiny_explainer
from mhex_nlp import fit_equivalent_matrices, get_mhex_model
from mhex_nlp.cli import main
from mhex_nlp.evaluation.benchmark.images import evaluate_image_explanations, write_image_evaluation
from mhex_nlp.evaluation.benchmark.images.measures import MEASURES, faithfulness_columns, references, road_column
from mhex_nlp.evaluation.benchmark.images.study import ImageStudy
from mhex_nlp.evaluation.benchmark.images.values import ImageModelValues
from mhex_nlp.evaluation.metrics.images import noisy_linear_imputation
from mhex_nlp.models.image_states import ImageGrid

PICTURES = [picture(number) for number in range(4)]
QUICK = {"pairs": 3, "reference_permutations": 4, "masks": 6, "steps": 3}


def corner_mask(image):
    mask = np.zeros((image.height, image.width), dtype=bool)
    mask[: image.height // 2, : image.width // 2] = True
    return mask


@pytest.fixture(scope="module")
def report():
    explainer = tiny_explainer()
    regions = [corner_mask(image) for image in PICTURES]
    return evaluate_image_explanations(
        explainer.model, explainer.image_processor, PICTURES, regions=regions, road=True, **QUICK
    )


def test_every_figure_of_every_method_by_two_removals(report):
    assert [result.removal for result in report.results] == ["mean", "blur"] and report.images == 4
    for result in report.results:
        names = [method.name for method in result.methods]
        assert "mhex_fitted" in names and "cam" in names and "rollout" not in names
        for method in result.methods:
            assert set(method.figures) == set(MEASURES), method.name
            assert all(one.low <= one.value <= one.high for one in method.figures.values()), method.name
            assert bool(method.differences) is (method.name != "mhex_fitted")
        assert result.shapley_skill is not None and 0 <= result.empty_is_prediction <= 1
    assert any(note.startswith("rollout was left out") for note in report.notes)
    cost = {method.name: method.cost.rows_per_text for method in report.results[0].methods}
    assert cost["mhex_fitted"] == 1 and cost["random"] == 0 and cost["integrated_gradients"] == 3 and cost["rise"] == 6


def test_equal_seeds_give_equal_figures_and_files(report, tmp_path):
    explainer = tiny_explainer()
    again = evaluate_image_explanations(
        explainer.model, explainer.image_processor, PICTURES, methods=["random", "rise"], removals=["mean"], **QUICK
    )
    first = {method.name: method.figures for method in report.results[0].methods}
    for method in again.results[0].methods:
        assert all(first[method.name][key] == figure for key, figure in method.figures.items()), method.name
    paths = write_image_evaluation(report, tmp_path)
    page = paths[0].read_text("utf-8")
    assert "## Judged by mean, which methods explain by" in page and "| MHEX, fitted" in page
    assert json.loads(paths[1].read_text("utf-8"))["schema"] == "mhex-image-evaluation/1"


def test_the_truth_is_judged_best():
    """Scores that are the model's own answers, of a network that adds up over cells, have skill 1; their ranks 1."""

    class Sums(torch.nn.Module):
        """Reads the mean of each of four cells with its own weight, which sums over subsets exactly."""

        def __init__(self):
            super().__init__()
            self.config = tiny_classifier()[0].config
            self.device, self.dtype = torch.device("cpu"), torch.float32

        def forward(self, pixel_values, **options):
            cells = torch.nn.functional.adaptive_avg_pool2d(pixel_values.mean(1, keepdim=True), 2).flatten(1)
            said = cells @ torch.tensor([3.0, 2.0, 0.5, -1.0])
            return type("Output", (), {"logits": torch.stack([said, -said], 1)})()

    values = ImageModelValues(Sums(), grid=ImageGrid(2, 2))
    images = [values.of(torch.ones(1, 3, 8, 8) * (1 + number), number) for number in range(3)]
    known = references(images, [0, 0, 0], pairs=3, permutations=4, seed=0)
    truth = [np.array([3.0, 2.0, 0.5, -1.0]) * (1 + number) for number in range(3)]
    good, bad = (faithfulness_columns(known, rows, scaled=False) for rows in (truth, [-row for row in truth]))
    errors = good["paired_skill"]
    assert (errors[:, 0] < 1e-9 * errors[:, 1]).all()
    assert (good["spearman_shapley"] == 1).all() and (bad["spearman_shapley"] == -1).all()
    assert (good["insertion"] > bad["insertion"]).all() and (good["deletion"] < bad["deletion"]).all()
    # of four cells, with the two best gone -0.5 of the six points of the curve, by hand for the first image
    curve = 1 / (1 + np.exp(-2 * np.array([4.5, 1.5, -0.5, -1.0, 0.0])))
    assert good["deletion"][0, 0] == pytest.approx(np.trapezoid(curve, np.linspace(0, 1, 5)), abs=1e-6)


def test_road_fills_the_cells_that_the_scores_name():
    model = plain_image_model("resnet")
    values = ImageModelValues(model, grid=ImageGrid(2, 5))
    images = [values.of(torch.randn(1, 3, 32, 40, generator=torch.Generator().manual_seed(n)), n) for n in range(2)]
    scores = [np.arange(10.0), -np.arange(10.0)]
    known = references(images, [0, 1], pairs=2, permutations=0, seed=0)
    road = road_column(known, scores)
    gaps = []
    for image, row, target in zip(images, scores, [0, 1], strict=True):
        for share in range(1, 10):
            said = []
            for order in (np.argsort(row, kind="stable"), np.argsort(-row, kind="stable")):
                removed = np.zeros(10, dtype=bool)
                removed[order[:share]] = True
                mask = removed.reshape(2, 5).repeat(16, 0).repeat(8, 1)
                filled = noisy_linear_imputation(image.pixels[0].numpy(), mask, seed=image.number)
                said.append(values.probability(values.logits(torch.from_numpy(filled).float()[None]), target)[0])
            gaps.append((said[0] - said[1]) / 2)
    np.testing.assert_allclose(road[:, 0], np.reshape(gaps, (2, 9)).mean(1), atol=1e-5)


def test_patches_are_dropped_where_the_family_can():
    model = plain_image_model("vit")
    values = ImageModelValues(model, "attention")
    image = values.of(torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    keep = np.arange(16) % 3 > 0
    mask = torch.cat([torch.ones(1, 1), torch.from_numpy(keep).float()[None]], 1).long()
    with torch.no_grad():
        expected = model(pixel_values=image.pixels, attention_mask=mask).logits
    np.testing.assert_allclose(image.logits(keep[None]), expected, atol=1e-5)
    with pytest.raises(ValueError, match="removal='attention' drops patches, which the family 'resnet' cannot do"):
        ImageModelValues(plain_image_model("resnet"), "attention")


def test_bad_input_gets_one_sentence():
    model, processor = tiny_classifier()
    for options, message in (
        ({"images": PICTURES[:1]}, "images must be at least two to compare on, got 1"),
        ({"regions": [corner_mask(PICTURES[0])]}, "regions must be one for each of the 4 images, got 1"),
        ({"regions": [np.ones((3, 3))] * 4}, r"regions\[0\] must be \(\d+, \d+\) of 0 and 1 as its image"),
        ({"regions": [corner_mask(image) * 0 for image in PICTURES]}, r"regions\[0\] must cover half of a cell"),
        ({"methods": ["mhex_fitted"]}, "the model has no fit"),
        ({"removals": ["burn"]}, "removal must be one of"),
        ({"reference_permutations": 5}, "must be 0 or a multiple of 4, got 5"),
        ({"stepps": 3}, "budgets must be some of steps, masks"),
    ):
        given = {"images": PICTURES, "reference_permutations": 0, "pairs": 1, **options}
        with pytest.raises(ValueError, match=message):
            evaluate_image_explanations(model, processor, **given)
    with pytest.raises(ValueError, match="images must be at least two"):
        ImageStudy({"mean": ImageModelValues(model)}, [])


def test_the_command_compares_a_folder_with_masks(tmp_path, capsys):
    model, processor = tiny_classifier()
    model = get_mhex_model(model)
    pictures = [picture(number) for number in range(100, 120)]
    fit_equivalent_matrices(model, processor, pictures, masks=2, progress=False, attainable_images=0)
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    for number, image in enumerate(PICTURES):
        for folder, content in (("scans", image), ("masks", Image.fromarray(corner_mask(image)))):
            (tmp_path / folder).mkdir(exist_ok=True)
            content.save(tmp_path / folder / f"{number}.png")
    command = ["evaluate", "--model", str(tmp_path / "model"), "--images", str(tmp_path / "scans"), "--limit", "3"]
    options = ["--methods", "mhex_fitted,random", "--permutations", "0", "--removal", "mean"]
    masks = ["--regions", str(tmp_path / "masks"), "--output", str(tmp_path / "out")]
    assert main([*command, *options, *masks]) == 0
    shown = capsys.readouterr().out
    assert "3 of 4 images, drawn with seed 0" in shown and "Judged by mean:" in shown and "| MHEX, fitted" in shown
    document = json.loads((tmp_path / "out" / "evaluation.json").read_text("utf-8"))
    assert "energy" in document["results"][0]["methods"][0]["figures"]
    for extra, message in (
        (["--text-column", "review"], "--text-column is for texts"),
        (["--rationale-column", "spans"], "--corpus and --rationale-column are for texts"),
        (["--regions", str(tmp_path / "scans" / "no")], "must hold a mask of each image, got none named"),
    ):
        assert main([*command, *options, *extra, "--output", str(tmp_path / "other")]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
