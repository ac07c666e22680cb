# SPDX-License-Identifier: Apache-2.0
"""Metrics of maps of images: hand-made cases, what must always hold, and other libraries where they have the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mhex_nlp.evaluation.metrics import images
from mhex_nlp.evaluation.metrics.perturbation import average_drop, increase_in_confidence, soft_weights

MAP = np.array([[3.0, -2.0, 0.0], [1.0, 4.0, 2.0]])
TRUTH = np.array([[1, 1, 0], [0, 1, 0]])


def test_overlap_energy_pointing_and_precision_by_hand():
    assert images.mask_iou([[[1, 0, 0], [1, 1, 0]]], [TRUTH])[0] == pytest.approx(2 / 4)
    assert images.mask_iou([np.zeros((2, 3))], [TRUTH])[0] == 0
    assert images.mask_iou([TRUTH], [TRUTH])[0] == 1
    assert images.region_energy([MAP], [TRUTH])[0] == pytest.approx(7 / 10), "3 and 4 of 3 + 1 + 4 + 2"
    assert images.region_energy([-np.abs(MAP)], [TRUTH])[0] == 0
    assert images.pointing_game([MAP, -MAP], [TRUTH, TRUTH]).tolist() == [1, 1]
    assert images.pointing_game([MAP], [1 - TRUTH])[0] == 0
    assert images.precision_at([MAP], [TRUTH], k=4)[0] == pytest.approx(2 / 4)
    assert images.precision_at([MAP], [TRUTH])[0] == pytest.approx(2 / 3), "as many as the region has"


def test_a_deletion_curve_removes_the_best_first():
    shares, gone = images.removal_curve(MAP.reshape(-1), points=4)
    assert shares.tolist() == [0, 1 / 3, 2 / 3, 1]
    assert gone[1].reshape(2, 3).tolist() == [[True, False, False], [False, True, False]]
    assert gone[2].sum() == 4 and not gone[2].reshape(2, 3)[0, 1] and gone[3].all() and not gone[0].any()
    shares, gone = images.removal_curve([1.0, 2.0], points=17)
    assert shares.tolist() == [0, 0.5, 1], "no more points than there are cells"


def test_areas_by_trapezoids():
    curve, even = [1.0, 0.5, 0.0], [0.0, 0.5, 1.0]
    assert images.deletion_auc([curve], [even])[0] == pytest.approx(0.5)
    assert images.insertion_auc([[0.0, 1.0, 1.0]], [[0.0, 0.1, 1.0]])[0] == pytest.approx(0.05 + 0.9)
    with pytest.raises(ValueError, match=r"shares\[0\] must rise from 0 to 1"):
        images.deletion_auc([curve], [[0.0, 0.5, 0.9]])
    with pytest.raises(ValueError, match=r"curves\[0\] must be probabilities in \[0, 1\], got 0 to 1.5"):
        images.deletion_auc([[0.0, 1.5]], [[0.0, 1.0]])


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
@settings(max_examples=50, deadline=None)
def test_an_area_lies_between_the_ends_of_its_curve(curve):
    area = images.insertion_auc([curve], [np.linspace(0, 1, len(curve))])[0]
    assert min(curve) - 1e-12 <= area <= max(curve) + 1e-12


def test_road_is_half_the_gap():
    assert images.road([[0.9, 0.7]], [[0.3, 0.1]])[0] == pytest.approx(0.3)


def test_imputation_solves_the_weighted_means():
    image = np.random.default_rng(0).normal(size=(2, 9, 7))
    removed = np.random.default_rng(1).random((9, 7)) < 0.6
    filled = images.noisy_linear_imputation(image, removed, noise=0.0)
    assert (filled[:, ~removed] == image[:, ~removed]).all()
    for row, column in np.argwhere(removed):
        near = [
            (1 / 6 if 0 in (i, j) else 1 / 12, filled[:, row + i, column + j])
            for i in (-1, 0, 1)
            for j in (-1, 0, 1)
            if (i, j) != (0, 0) and 0 <= row + i < 9 and 0 <= column + j < 7
        ]
        mean = sum(weight * value for weight, value in near) / sum(weight for weight, _ in near)
        np.testing.assert_allclose(filled[:, row, column], mean, atol=1e-9)
    noisy = images.noisy_linear_imputation(image, removed, noise=0.1, seed=3)
    assert (noisy == images.noisy_linear_imputation(image, removed, noise=0.1, seed=3)).all()
    assert 0.05 < (noisy - filled)[:, removed].std() < 0.15
    flat = images.noisy_linear_imputation(np.full((1, 5, 5), 2.5), np.eye(5), noise=0.0)
    np.testing.assert_allclose(flat, 2.5)
    with pytest.raises(ValueError, match="must leave at least one pixel"):
        images.noisy_linear_imputation(image, np.ones((9, 7)))


def additive_image(seed, cells=6, pairs=5):
    """An image whose answers are the sums of its cells' worth: worth, subsets and answers."""
    draw = np.random.default_rng(seed)
    worth, half = draw.normal(size=cells), draw.random((pairs, cells)) < 0.5
    return worth, half, np.concatenate([half, ~half, np.ones((1, cells))]) @ worth


def test_paired_skill_is_1_for_the_truth_and_0_for_an_even_spread():
    worth, kept, values = zip(*(additive_image(seed) for seed in range(4)), strict=True)
    assert images.paired_skill(worth, kept, values)[0] == pytest.approx(1)
    assert images.paired_skill([np.zeros(6)] * 4, kept, values)[0] == pytest.approx(0)
    assert images.paired_skill([-row for row in worth], kept, values)[0] < 0
    tripled = [3 * row + 7 for row in worth]
    assert images.paired_skill(tripled, kept, values)[0] < 0
    assert images.paired_skill(tripled, kept, values, scaled=True)[0] == pytest.approx(1), (
        "scale and offset do not count"
    )
    skill, (low, high) = images.paired_skill([row + [1, 0, 0, 0, 0, -1] for row in worth], kept, values, seed=1)
    assert low <= skill <= high < 1
    with pytest.raises(ValueError, match=r"values\[0\] \(2 P \+ 1,\), got \(5, 6\) and \(10,\)"):
        images.paired_skill(worth, kept, [row[:-1] for row in values])


def test_bad_maps_get_one_sentence():
    with pytest.raises(ValueError, match="one entry an image and one image at least, got 0 and 0"):
        images.region_energy([], [])
    with pytest.raises(
        ValueError, match=r"maps\[0\] and truths\[0\] must have the same shape, got \(2, 3\) and \(2, 2\)"
    ):
        images.pointing_game([MAP], [np.ones((2, 2))])
    with pytest.raises(ValueError, match=r"truths\[0\] must mark something"):
        images.mask_iou([TRUTH], [np.zeros((2, 3))])
    with pytest.raises(ValueError, match=r"maps\[0\] must be finite"):
        images.region_energy([MAP * np.nan], [TRUTH])
    with pytest.raises(ValueError, match="k must be from 1 to the 6 cells"):
        images.precision_at([MAP], [TRUTH], k=7)
    with pytest.raises(ValueError, match=r"truths\[0\] must be \(rows, columns\) of 0 and 1"):
        images.pointing_game([MAP], [TRUTH * 0.5])


def test_imputation_as_pytorch_grad_cam_has_it():
    road = pytest.importorskip(
        "pytorch_grad_cam.metrics.road", reason="grad-cam has ROAD as well", exc_type=ImportError
    )
    image = np.random.default_rng(0).normal(size=(3, 12, 10)).astype(np.float32)
    removed = np.random.default_rng(1).random((12, 10)) < 0.7
    theirs = road.NoisyLinearImputer(noise=0.0)(torch.from_numpy(image), torch.from_numpy(~removed).float()).numpy()
    np.testing.assert_allclose(images.noisy_linear_imputation(image, removed, noise=0.0), theirs, atol=1e-5)


def test_drops_and_areas_as_torchcam_has_them():
    """Of its Grad-CAM on a small network, from curves and soft masks made by our functions."""
    metrics = pytest.importorskip("torchcam.metrics", reason="torchcam has these metrics as well", exc_type=ImportError)
    from torchcam.methods import GradCAM

    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        torch.nn.Linear(8, 3),
    ).eval()  # fmt: skip
    pixels = torch.randn(1, 3, 6, 8)
    softmax = torch.nn.Softmax(-1)
    with GradCAM(model, "0") as extractor:
        both = [
            metrics.ClassificationMetric(extractor, softmax),
            metrics.DeletionInsertionMetric(extractor, softmax, steps=16),
        ]
        for metric in both:
            metric.update(pixels.clone(), 1)
        theirs = {**both[0].summary(), **both[1].summary()}
        (scores,) = extractor(1, softmax(model(pixels)))  # theirs explains the probability
    flat = scores.detach().double().reshape(-1).numpy()

    def probability(kept):
        with torch.no_grad():
            return softmax(model(pixels * torch.as_tensor(kept).reshape(-1, 1, 6, 8).float()))[:, 1].double().numpy()

    full, soft = probability(np.ones((1, 48))), probability(soft_weights(flat))
    assert average_drop(full, soft)[0] / 100 == pytest.approx(theirs["avg_drop"], abs=1e-5)
    assert increase_in_confidence(full, soft)[0] / 100 == pytest.approx(theirs["conf_increase"])
    shares, gone = images.removal_curve(flat, points=17)
    deletion, insertion = (key for word in ("del", "ins") for key in theirs if key.startswith(word))
    assert images.deletion_auc([probability(~gone)], [shares])[0] == pytest.approx(theirs[deletion], abs=1e-5)
    assert images.insertion_auc([probability(gone)], [shares])[0] == pytest.approx(theirs[insertion], abs=1e-5)
