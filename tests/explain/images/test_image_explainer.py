# SPDX-License-Identifier: Apache-2.0
"""Image explanations end to end: loaded, fitted, explained, written as JSON and read again."""

from __future__ import annotations

import copy
import io
import json

import jsonschema
import numpy as np
import pytest
import torch
from datasets import Dataset
from datasets import Image as ImageFeature
from transformers import ResNetConfig, ResNetForImageClassification
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from helpers.explained_images import IMAGES, PROCESSOR, pictures, vit
from helpers.placed import TOKENIZER
from helpers.tiny import tiny_bert
from mhex_nlp import ImageExplanation, MhexExplainer, MhexImageExplainer, fit_equivalent_matrices
from mhex_nlp.explain.explainers import explainer_for
from mhex_nlp.explain.images.explanation import image_explanation_schema
from mhex_nlp.inputs.removal import random_subsets
from mhex_nlp.render.image_map import image_map


@pytest.fixture(scope="module")
def fitted():
    model = vit()
    report = fit_equivalent_matrices(model, PROCESSOR, IMAGES, attainable_images=2, held_out=0.2)
    return model, report


@pytest.fixture(scope="module")
def explainer(fitted):
    return MhexImageExplainer(fitted[0], PROCESSOR)


def test_the_fit_explains_and_says_how_well(fitted):
    model, report = fitted
    assert report.trusted and report.skill_interval[0] > 0.2 and report.attainable > 0.5
    assert (report.removal, report.texts, report.chosen_on, report.held_out) == ("mean", 24, 8, 8)
    assert "removals of cells, on 8 held-out images" in str(report)
    assert model.config.mhex_fit == report.to_dict() and report.image["grid"] == [4, 4]
    json.dumps(model.config.to_dict())


def test_a_map_is_complete(explainer):
    """base + sum is the centred logit; depths add up to the map; classes' maps add up to nothing."""
    explanation = explainer(IMAGES[0], layers=True, classes="all")
    with torch.no_grad():
        logits = explainer.model(**PROCESSOR(images=IMAGES[0], return_tensors="pt")).logits[0]
    assert explanation.target.id == int(logits.argmax())
    assert explanation.base_value + explanation.sum == pytest.approx(float(logits.max() - logits.mean()), abs=1e-5)
    assert np.asarray(explanation.layers).sum(0) == pytest.approx(explanation.map, abs=1e-6)
    assert explanation.depths == explainer.model.mhex_fit.layout.depths
    thinned = {**explanation.to_dict(), "layers": explanation.to_dict()["layers"][:2], "depths": [1, 7]}
    assert "<title>depth 7:" in ImageExplanation.from_dict(thinned).to_html()
    for depths in ([7, 1], [1], [1, 1]):
        with pytest.raises(ValueError, match="depths must be ascending numbers, one for each of the layers"):
            ImageExplanation.from_dict({**thinned, "depths": depths})
    assert np.abs(np.asarray(explanation.class_scores).sum(0)).max() < 1e-6
    assert np.asarray(explanation.class_scores)[explanation.target.id] == pytest.approx(explanation.map, abs=1e-7)


def test_cells_say_what_the_model_does_without_them(explainer):
    """The map against the model itself, each cell painted in the fit's colour: the same ranking."""
    colour = torch.tensor(explainer.model.config.mhex_fit["image"]["colour"])
    for image in pictures(3, seed=9):
        explanation = explainer(image, target=1)
        pixels = PROCESSOR(images=image, return_tensors="pt")["pixel_values"]
        without = pixels.repeat(16, 1, 1, 1)
        for cell in range(16):
            row, col = divmod(cell, 4)
            without[cell, :, 8 * row : 8 * row + 8, 8 * col : 8 * col + 8] = colour[:, None, None]
        with torch.no_grad():
            logits = explainer.model(pixel_values=torch.cat([pixels, without])).logits
        said = (logits - logits.mean(1, keepdim=True))[:, 1]
        assert np.corrcoef((said[0] - said[1:]).numpy(), explanation.map.ravel())[0, 1] > 0.8


def test_judging_is_the_paired_skill_of_the_maps(explainer, fitted):
    """By hand: what the model says of half of the cells less the other half, beside sums of scores and even shares."""
    images, colour = pictures(6, seed=9), torch.tensor(explainer.model.config.mhex_fit["image"]["colour"])
    judgement = explainer.judge(images, masks=8, seed=3)
    missed, even = 0.0, 0.0
    for number, image in enumerate(images):
        explanation = explainer(image)
        pixels, kept = PROCESSOR(images=image, return_tensors="pt")["pixel_values"], random_subsets(16, 8, [3, number])
        cells = torch.cat([kept, torch.zeros(1, 16, dtype=bool)]).view(-1, 1, 4, 4)
        shown = cells.repeat_interleave(8, 2).repeat_interleave(8, 3)
        with torch.no_grad():
            logits = explainer.model(pixel_values=torch.where(shown, pixels, colour.view(1, 3, 1, 1))).logits.double()
        said = (logits - logits.mean(1, keepdim=True))[:, explanation.target.id].numpy()
        total, sizes = said[-2] - said[-1], kept.sum(1).numpy()
        scores = kept.numpy() @ explanation.map.ravel() + (total - explanation.sum) * sizes / 16
        for half in range(4):
            difference = said[half] - said[half + 4]
            missed += (difference - scores[half] + scores[half + 4]) ** 2
            even += (difference - total * (sizes[half] - sizes[half + 4]) / 16) ** 2
    assert judgement.skill == pytest.approx(1 - missed / even, abs=1e-4)
    assert (judgement.texts, judgement.masks, judgement.removal) == (6, 8, "mean")
    assert (judgement.fit_skill, judgement.fit_interval) == (fitted[1].skill, tuple(fitted[1].skill_interval))
    assert judgement.trusted is (judgement.skill_interval[0] > 0.2)


def test_a_foil_is_the_difference_of_two_targets(explainer):
    for_one, for_other = explainer(IMAGES[1], target=1), explainer(IMAGES[1], target="LABEL_2")
    compared = explainer(IMAGES[1], target=1, foil=2)
    assert compared.map == pytest.approx(for_one.map - for_other.map, abs=1e-6)
    assert compared.foil.label == "LABEL_2" and compared.method.contrast == "foil"
    assert explainer(IMAGES[1], target="predicted") == explainer(IMAGES[1])


def test_one_pass_per_map(explainer):
    calls = []
    handle = explainer.model.register_forward_hook(lambda *_: calls.append(1))
    try:
        explainer(IMAGES[0], layers=True, classes="all")
    finally:
        handle.remove()
    assert len(calls) == 1


def test_predictions_are_those_of_the_plain_model(explainer):
    pixels = PROCESSOR(images=IMAGES[0], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        assert torch.equal(explainer.model(pixel_values=pixels).logits, vit()(pixel_values=pixels).logits)


def test_every_form_of_many_images(explainer, tmp_path):
    for number, image in enumerate(IMAGES[:3]):
        image.save(tmp_path / f"{number}.png")
    expected = explainer(IMAGES[:3])
    column = Dataset.from_dict({"image": [str(tmp_path / f"{n}.png") for n in range(3)]})
    column = column.cast_column("image", ImageFeature())["image"]
    for images in (tmp_path, list(tmp_path.glob("*.png")), column, iter(IMAGES[:3])):
        many = explainer(sorted(images) if isinstance(images, list) else images)
        assert many == expected
    for one, other in zip(explainer.stream(iter(IMAGES[:3]), batch_size=2), expected, strict=True):
        assert one.id == other.id and one.map == pytest.approx(other.map, abs=1e-6)  # batches differ in rounding
    assert [e.id for e in explainer(IMAGES[:2], ids=["a", "b"])] == ["a", "b"]
    assert explainer(IMAGES[0], ids="scan").id == "scan"
    for call in (lambda: explainer(IMAGES[:2], ids="ab"), lambda: list(explainer.stream(IMAGES[:2], ids="ab"))):
        with pytest.raises(TypeError, match="ids must be an iterable of strings, got one string"):
            call()


def test_names_and_pixels_are_in_the_json_only_where_asked_for(explainer, tmp_path):
    path = tmp_path / "patient 7.png"
    IMAGES[0].save(path)
    assert "patient" not in explainer(path).to_json() and str(tmp_path) not in explainer(path, names=True).to_json()
    assert explainer(path, names=True).image.name == "patient 7.png"
    embedded = ImageExplanation.from_json(explainer(path).to_json(embed=True))
    assert embedded.image.data.startswith("data:image/png;base64,")
    with pytest.raises(ValueError, match="embed=True needs the pixels"):
        ImageExplanation.from_json(explainer(path).to_json()).to_json(embed=True)


@pytest.mark.parametrize("options", [{}, {"classes": "all", "layers": True}, {"target": 0, "foil": 1, "names": True}])
def test_json_is_valid_and_loads_back(explainer, options):
    explanation = explainer(IMAGES[3], **options)
    form = explanation.to_dict()
    jsonschema.Draft202012Validator(image_explanation_schema()).validate(json.loads(explanation.to_json()))
    again = ImageExplanation.from_json(explanation.to_json(indent=2))
    assert again == explanation and hash(again) == hash(explanation) and again.to_dict() == form
    assert (form["schema"], form["kind"]) == ("mhex-image-explanation/1.1", "image")
    assert again != explainer(IMAGES[4], **options)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": "mhex-explanation/1.2"}, '"schema" must be "mhex-image-explanation/1.1"'),
        ({"schema": "mhex-image-explanation/1.9"}, "newer than this release reads"),
        ({"scores": [[1.0]]}, "scores must have 4 rows of 4 numbers"),
        ({"sum": 9.0}, "sum must be the sum of the scores"),
        ({"kind": "text"}, "kind must be 'image'"),
        ({"pixels": None}, "unknown key"),
        ({"classes": ["a"]}, "classes and class_scores must be given together"),
        ({"image": {"width": 0, "height": 4, "sha256": "", "name": None}}, "image must be of 1 pixel a side at least"),
        ({"grid": {"rows": 4, "cols": 4, "x0": 0, "y0": 0, "dx": 0, "dy": 1}}, "cells that are larger than 0"),
        ({"empty": {"label": "a", "id": 0, "probability": 1.5}}, "empty has a probability outside 0 to 1"),
        ({"p_empty": 2.0}, "p_empty must be a probability from 0 to 1"),
    ],
)
def test_a_broken_form_is_refused(explainer, change, says):
    with pytest.raises(ValueError, match=says):
        ImageExplanation.from_dict({**explainer(IMAGES[0]).to_dict(), **change})


def made(scores, width=40, height=20, **grid) -> ImageExplanation:
    """An explanation with these scores."""
    form = {
        "schema": "mhex-image-explanation/1.1",
        "kind": "image",
        "id": "0",
        "image": {"width": width, "height": height, "sha256": "0", "name": None},
        "grid": {"rows": len(scores), "cols": len(scores[0]), "x0": 0.0, "y0": 0.0, "dx": 10.0, "dy": 10.0, **grid},
        "prediction": {"label": "a", "id": 0, "probability": 0.9, "probabilities": {"a": 0.9, "b": 0.1}},
        "target": {"label": "a", "id": 0},
        "foil": None,
        "scores": scores,
        "sum": float(np.sum(scores)),
        "base_value": 0.0,
        "empty": None,
        "p_empty": None,
        "method": dict.fromkeys(("removal", "skill", "skill_interval", "attainable"))
        | {"name": "mhex", "fitted": True, "contrast": "centred", "trusted": False},
        "model": {"name": "m", "revision": None},
        "library": "x",
        "notes": [],
    }
    return ImageExplanation.from_dict(form)


def test_regions_are_connected_cells_of_one_sign():
    explanation = made([[1.0, 0.9, 0.0, -2.0], [0.0, 0.1, 0.8, -1.0]])
    first, second, third = explanation.regions()
    assert (first.cells, first.score, first.box) == (((0, 3), (1, 3)), -3.0, (30.0, 0.0, 40.0, 20.0))
    assert (second.cells, second.box) == (((0, 0), (0, 1)), (0.0, 0.0, 20.0, 10.0))
    assert third.cells == ((1, 2),), "cells that touch by a corner are apart"
    assert explanation.regions(1) == (first,) and explanation.regions(least=0.5)[-1].score == pytest.approx(1.0)
    drawn = image_map(explanation.to_dict()).regions
    assert [region.cells for region in drawn] == [region.cells for region in (first, second, third)], "as on pages"
    assert made([[0.0, 0.0]]).regions() == () == made([[0.0, 0.0]]).regions(least=0)
    mask = explanation.mask()
    assert mask.shape == (20, 40) and mask[:10, :20].all() and mask.sum() == 200
    assert explanation.mask(explanation.regions()).sum() == 500
    with pytest.raises(TypeError, match="regions must be some of regions"):
        explanation.mask(explanation.top(1))
    with pytest.raises(ValueError, match=r"of this image, got the cell \(0, 3\) of another grid"):
        made([[1.0, 0.0]]).mask(first)
    with pytest.raises(ValueError, match=r"k must be an integer of at least 0, got 1\.5"):
        explanation.top(1.5)
    assert [cell.score for cell in explanation.top(2)] == [1.0, 0.9]
    assert [cell.score for cell in explanation.top(2, by="abs")] == [-2.0, 1.0]


def test_a_heatmap_lies_where_the_grid_does():
    """A grid over the middle of the image: what lies outside of it is 0."""
    explanation = made([[1.0, -1.0]], x0=10.0, y0=5.0)
    heat = explanation.heatmap()
    assert heat.shape == (20, 40)
    assert (heat[5:15, 10:20] == 1).all() and (heat[5:15, 20:30] == -1).all() and np.abs(heat).sum() == 200
    half = explanation.heatmap((10, 20))
    assert half.shape == (10, 20) and half.sum() == 0 and np.abs(half).sum() == 50
    smooth = explanation.heatmap(smooth=True)
    assert smooth[10, 15:25] == pytest.approx(np.linspace(0.95, -0.85, 10), abs=0.06)
    with pytest.raises(ValueError, match="size must be"):
        explanation.heatmap((0, 5))
    for size in (5, (5,), "ab"):
        with pytest.raises(ValueError, match=r"size must be \(height, width\) of at least 1 pixel"):
            explanation.heatmap(size)
    over = made([[1.0, 2.0]], x0=-10.0, y0=0.0, width=10, height=10)
    assert over.cells[0].box == (0.0, 0.0, 0.0, 10.0), "a cell of padding has no part in the image"
    assert over.regions()[0].cells == ((0, 1),)


def test_an_empty_image_that_has_the_prediction_already_is_noted(explainer):
    pixels = torch.tensor(explainer.model.config.mhex_fit["image"]["colour"])[None, :, None, None].expand(1, 3, 32, 32)
    with torch.no_grad():
        chances = explainer.model(pixel_values=pixels).logits.softmax(-1)[0]
    for explanation in explainer(IMAGES[:4], target=1):
        assert explanation.p_empty == pytest.approx(float(chances[1]), abs=1e-4)
        assert explanation.empty.id == int(chances.argmax())
        noted = any("An empty image is" in note for note in explanation.notes)
        assert noted is (explanation.prediction.id == explanation.empty.id)


@pytest.mark.parametrize("removal", ["blur", "attention"])
def test_other_removals(removal):
    model = vit()
    wrapped = model if removal == "blur" else torch.nn.DataParallel(model)
    report = fit_equivalent_matrices(wrapped, PROCESSOR, IMAGES, removal=removal, attainable_images=0, held_out=0.2)
    explanation = MhexImageExplainer(model, PROCESSOR)(IMAGES[0])
    assert report.removal == explanation.method.removal == removal and 0 <= explanation.p_empty <= 1
    assert report.attainable is None


def test_an_untrusted_fit_is_noted_on_every_map():
    torch.manual_seed(0)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=3)
    model = ResNetForImageClassification(config).eval()
    seen: list[int] = []
    handle = model.register_forward_hook(lambda *passed: seen.append(len(passed[2].logits)))
    report = fit_equivalent_matrices(model, PROCESSOR, IMAGES, attainable_images=0, held_out=0.2)
    handle.remove()
    assert not report.trusted
    assert sum(seen) == 40 * (1 + 8 + 1) + 2, "each image, 8 subsets and nothing of it; two to see what there is"
    for explanation in MhexImageExplainer(model, PROCESSOR)(IMAGES[:2]):
        assert not explanation.trusted and any("Do not trust single cells" in note for note in explanation.notes)


def test_other_weights_and_other_processors(fitted):
    model = copy.deepcopy(fitted[0])
    with pytest.raises(ValueError, match="image_processor must have the settings of the one that the fit was made"):
        MhexImageExplainer(model, ViTImageProcessorPil(size={"height": 32, "width": 32}, resample=0))(IMAGES[0])
    other = ViTImageProcessorPil(size={"height": 32, "width": 32}, resample=0)
    noted = MhexImageExplainer(model, other, changed_processor="note")(IMAGES[0])
    assert "which has other settings: how far to trust these scores is not known" in noted.notes[-1]
    assert noted.skill is None and not noted.trusted
    assert MhexImageExplainer(model, other, changed_processor="note").judge(IMAGES[:3], masks=2).fit_skill is None
    with torch.no_grad():
        model.classifier.weight.mul_(2)
    with pytest.raises(ValueError, match="weights are not those that its fit was made on"):
        MhexImageExplainer(model, PROCESSOR)(IMAGES[0])
    changed = MhexImageExplainer(model, PROCESSOR, changed_weights="note")(IMAGES[0])
    assert changed.skill is None and not changed.trusted and "made on other weights" in changed.notes[-1]


@pytest.mark.parametrize(
    ("options", "size", "says"),
    [
        ({}, 64, r"does not read what it gives, 3 channels of 64 x 64 pixels \(Input image size"),
        ({}, 4, r"3 channels of 4 x 4 pixels \(Calculated padded input size"),
        ({"image_mean": [0.5], "image_std": [0.5]}, 32, "1 channels of 32 x 32 pixels"),
    ],
)
def test_a_processor_whose_pixels_the_model_does_not_read(options, size, says):
    processor = ViTImageProcessorPil(size={"height": size, "width": size}, **options)
    with pytest.raises(ValueError, match=f"^image_processor must be the model's own: ViTFor.* {says}"):
        fit_equivalent_matrices(vit(), processor, IMAGES)


def test_training_mode_is_left_alone_and_statistics_do_not_move(fitted):
    torch.manual_seed(0)
    model = ResNetForImageClassification(ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1]))
    before = {name: value.clone() for name, value in model.named_buffers()}
    model.train()
    fit_equivalent_matrices(model, PROCESSOR, IMAGES, attainable_images=0, held_out=0.2)
    MhexImageExplainer(model, PROCESSOR)(IMAGES[0])
    assert model.training and all(
        torch.equal(dict(model.named_buffers())[name], value) for name, value in before.items()
    )


def test_wrong_models_get_the_right_class_named():
    with pytest.raises(TypeError, match=r"MhexExplainer\(model, tokenizer\) explains models that read texts"):
        MhexImageExplainer(tiny_bert(), PROCESSOR)
    with pytest.raises((TypeError, ValueError), match="MhexImageExplainer"):
        MhexExplainer(vit(), TOKENIZER)
    with pytest.raises(TypeError, match="MhexImageExplainer"):
        MhexExplainer(torch.nn.DataParallel(vit()), TOKENIZER)
    assert isinstance(explainer_for(torch.nn.DataParallel(vit()), PROCESSOR), MhexImageExplainer)
    with pytest.raises(ValueError, match=r"no fit.*fit_equivalent_matrices\(model, image_processor, images\)"):
        MhexImageExplainer(vit(), PROCESSOR)(IMAGES[0])
    with pytest.raises(TypeError, match="must be an image processor of transformers"):
        MhexImageExplainer(vit(), TOKENIZER)


def test_bad_images_are_named(explainer):
    file = io.BytesIO()
    IMAGES[0].save(file, "PNG")
    with pytest.raises(ValueError, match="image 1 is broken or cut off"):
        explainer([IMAGES[0], file.getvalue()[:700]])
    with pytest.raises(ValueError, match=r"image must have values of uint8"):
        explainer(np.random.rand(8, 8, 3))
    with pytest.raises(ValueError, match="foil must be another class than the target.*image 0"):
        explainer(IMAGES[0], foil=explainer(IMAGES[0]).target.id)
    with pytest.raises(ValueError, match="ids must have one entry for each of the 2 images, got 1"):
        explainer(IMAGES[:2], ids=["a"])
    with pytest.raises(ValueError, match="images must be at least one to judge maps on, got none"):
        explainer.judge([])
    with pytest.raises(ValueError, match="window must be two values"):
        MhexImageExplainer(explainer.model, PROCESSOR, window=(5, 1))
    tiny = explainer(np.zeros((2, 3), np.uint8))
    assert "The image of 3 x 2 pixels is smaller than its grid of 4 x 4 cells." in tiny.notes


@pytest.mark.parametrize(
    ("images", "options", "error", "says"),
    [
        (IMAGES[:5], {}, ValueError, "images must be at least 20 to fit, got 5"),
        (IMAGES[:1] * 40, {}, ValueError, "images must be at least 20 that differ"),
        (IMAGES[0], {}, TypeError, "images must be several images, got one Image"),
        (IMAGES, {"removal": "mask"}, ValueError, "removal must be one of"),
        (IMAGES, {"held_out": 1.5}, ValueError, "held_out must be between 0 and 1"),
        (IMAGES, {"colour": (1, 2)}, ValueError, "colour must be red, green and blue"),
        (IMAGES, {"batch_tokens": 9}, TypeError, "for models that read texts"),
        (IMAGES, {"attainable_texts": 0}, TypeError, "attainable_texts are for models that read texts"),
        (IMAGES, {"positions": "all"}, TypeError, "for models that read texts"),
        ([*IMAGES, b"no image"], {}, ValueError, "image 40 must be an image"),
        (IMAGES, {"seed": -1}, ValueError, "seed must be an integer of at least 0, got -1"),
        (IMAGES, {"held_out": None}, ValueError, "held_out must be between 0 and 1, got None"),
    ],
)
def test_what_cannot_be_fitted(images, options, error, says):
    with pytest.raises(error, match=says):
        fit_equivalent_matrices(vit(), PROCESSOR, images, **options)
