# SPDX-License-Identifier: Apache-2.0
"""Other explanations of images on tiny random models: exact identities, planted cells, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import (
    ResNetConfig,
    ResNetForImageClassification,
    SwinConfig,
    SwinForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from helpers.extras import needs
from helpers.image_models import plain_image_model
from mhex_nlp.evaluation.benchmark.cost import Meter
from mhex_nlp.evaluation.benchmark.images import methods, peers
from mhex_nlp.evaluation.benchmark.images.values import ImageModelValues
from mhex_nlp.evaluation.metrics.games import leave_one_out
from mhex_nlp.evaluation.metrics.shapley import sampled_shapley
from mhex_nlp.models.image_states import ImageGrid

SIDE, GRID = 32, (4, 4)
PATCHES = (4, 4, 1, None)  # beside the first token


def tiny_resnet():
    torch.manual_seed(0)
    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=3, num_channels=3
    )
    return ResNetForImageClassification(config).eval()


def tiny_vit(**changes):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return ViTForImageClassification(
        ViTConfig(image_size=SIDE, patch_size=8, num_labels=3, initializer_range=0.5, **sizes, **changes)
    ).eval()


def values_of(model, grid=GRID, **options):
    return ImageModelValues(model, grid=ImageGrid(*grid), **options)


def picture(model, seed=0, **options):
    pixels = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    return values_of(model, **options).of(pixels, seed)


@pytest.fixture(scope="module")
def resnet():
    return tiny_resnet()


@pytest.fixture(scope="module")
def vit():
    return tiny_vit()


def test_subsets_are_painted_cell_by_cell(resnet):
    image = picture(resnet, grid=(4, 2))
    keep = np.zeros((2, 8), dtype=bool)
    keep[0, [1, 4]] = True
    painted = torch.zeros_like(image.pixels)
    painted[..., 0:8, 16:32], painted[..., 16:24, 0:16] = image.pixels[..., 0:8, 16:32], image.pixels[..., 16:24, 0:16]
    with torch.no_grad():
        expected = resnet(pixel_values=torch.cat([painted, torch.zeros_like(painted)])).logits
    np.testing.assert_allclose(image.logits(keep), expected, atol=1e-5)
    with Meter(image.owner.model) as meter:
        image.logits(keep)
    assert meter.rows == 0, "what is known is not asked again"
    with Meter(image.owner.model) as meter:
        image.anew().logits(np.concatenate([keep, keep]))
    assert meter.rows == 2


def test_cam_adds_up_to_the_logit_and_is_grad_cam_before_its_relu(resnet):
    image = picture(resnet)
    cam = peers.class_activation_map(image, 1)
    layer = resnet.classifier[-1]
    bias = layer.bias[1] - layer.bias.mean()
    explained = image.explained(1)(np.ones((1, 16), dtype=bool))[0]
    assert cam.mean() * 16 == pytest.approx(explained - bias.item(), abs=1e-5)
    grad_cam = peers.grad_cam(image, 1)
    assert grad_cam.max() > 0
    assert np.corrcoef(grad_cam[cam > 0], cam[cam > 0])[0, 1] > 0.999 and (grad_cam[cam <= 0] == 0).all()


def test_cam_is_refused_where_it_is_not_exact(vit):
    with pytest.raises(ValueError, match="CAM is exact for global average pooling"):
        peers.class_activation_map(picture(vit), 0)


def test_grad_cam_of_a_transformer_reads_the_last_state_whose_patches_count(vit):
    image = picture(vit)
    scores = peers.grad_cam(image, 2)
    pixels = image.pixels.clone().requires_grad_(True)
    outputs = vit(pixel_values=pixels, output_hidden_states=True)
    state = outputs.hidden_states[-2]
    (gradient,) = torch.autograd.grad(outputs.logits[0, 2] - outputs.logits[0].mean(), state)
    expected = (gradient[0, 1:].mean(0) * state[0, 1:]).sum(-1).relu().detach()
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert scores.max() > 0


@pytest.mark.parametrize("model", ["resnet", "vit"])
def test_integrated_gradients_add_up(model, request):
    image = picture(request.getfixturevalue(model))
    whole, empty = np.ones((1, 16), dtype=bool), np.zeros((1, 16), dtype=bool)
    difference = image.explained(0)(whole)[0] - image.explained(0)(empty)[0]
    assert peers.integrated_gradients(image, 0, steps=200).sum() == pytest.approx(difference, rel=0.05, abs=1e-3)


def test_integrated_gradients_as_captum_has_them(vit):
    needs("captum")
    image = picture(vit, batch_size=5)
    np.testing.assert_allclose(
        peers.integrated_gradients(image, 1, 12), peers.captum_integrated_gradients(image, 1, 12), atol=1e-5
    )


def test_the_gradient_norm_is_of_the_cell_s_pixels(resnet):
    image = picture(resnet)
    pixels = image.pixels.clone().requires_grad_(True)
    logits = resnet(pixel_values=pixels).logits[0]
    (gradient,) = torch.autograd.grad(logits[2] - logits.mean(), pixels)
    expected = gradient[0, :, 8:16, 24:32].norm().item()
    assert peers.gradient_norm(image, 2)[1 * 4 + 3] == pytest.approx(expected, rel=1e-4)


def test_rise_finds_what_a_linear_model_reads():
    """Of a model whose logit is the mean of one cell, that cell is the best; equal seeds draw the same."""

    class OneCell(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))
            self.config, self.device, self.dtype = tiny_resnet().config, torch.device("cpu"), torch.float32

        def forward(self, pixel_values, return_dict=True):
            mean = self.weight * pixel_values[:, :, 8:16, 16:24].mean((1, 2, 3))
            return type("Output", (), {"logits": torch.stack([mean, -mean, 0 * mean], 1)})()

    image = values_of(OneCell()).of(torch.ones(1, 3, SIDE, SIDE))
    scores = peers.rise(image, 0, samples=300, side=4)
    assert scores.argmax() == 6
    assert (scores == peers.rise(image, 0, samples=300, side=4)).all()
    occlusion = leave_one_out(image.explained(0), image.n)
    assert occlusion[6] == pytest.approx(1) and np.abs(np.delete(occlusion, 6)).max() < 1e-6
    np.testing.assert_allclose(sampled_shapley(image.explained(0), 16, permutations=4).values, occlusion, atol=1e-6)
    np.testing.assert_allclose(peers.integrated_gradients(image, 0), occlusion, atol=1e-6)


def test_rollout_reads_where_the_family_does():
    """By hand: of the first token, or half of it and half of the patches."""
    for family, parts in {"vit": (1.0, 0.0), "dinov2": (0.5, 0.5)}.items():
        model = plain_image_model(family)
        image = ImageModelValues(model).of(torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
        model.set_attn_implementation("eager")
        with torch.no_grad():
            maps = model(pixel_values=image.pixels, output_attentions=True).attentions
        product = torch.eye(17)
        for layer in maps:
            product = (0.5 * layer[0].mean(0) + 0.5 * torch.eye(17)) @ product
        expected = parts[0] * product[0, 1:] + parts[1] * product[1:, 1:].mean(0)
        np.testing.assert_allclose(peers.attention_rollout(image, 0), expected, atol=1e-5)


def test_rollout_is_of_patches_and_refused_elsewhere(vit, resnet):
    scores = peers.attention_rollout(picture(vit, grid=PATCHES), 0)
    assert scores.shape == (16,) and scores.min() > 0 and scores.sum() < 1
    with pytest.raises(ValueError, match="rollout needs a vision transformer"):
        peers.attention_rollout(picture(resnet), 0)
    torch.manual_seed(0)
    swin = SwinForImageClassification(
        SwinConfig(image_size=SIDE, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=4)
    ).eval()
    with pytest.raises(ValueError, match="every patch attends to every other, which SwinFor"):
        peers.attention_rollout(picture(swin), 0)


def test_every_method_that_can_be_had_is_offered(vit, resnet):
    needs("captum", "shap", "lime")
    notes = []
    image = picture(vit, grid=PATCHES)
    offered = methods.image_methods(image, notes=notes, masks=10, kernel_samples=30, lime_samples=20, permutations=4)
    names = [method.name for method in offered]
    assert set(methods.METHODS) - set(names) == {"mhex_fitted", "cam"} and len(notes) == 2
    for method in offered:
        scores = method.explain(image, 1)
        assert scores.shape == (16,) and np.isfinite(scores).all(), method.name
        assert np.ptp(scores) > 0, method.name
    assert "cam" in [method.name for method in methods.image_methods(picture(resnet), ["cam", "random"])]
    with pytest.raises(ValueError, match="has no fit"):
        methods.image_methods(image, ["mhex_fitted"])
    with pytest.raises(ValueError, match="got 'magic'"):
        methods.image_methods(image, ["magic"])


def test_bad_pixels_get_one_sentence(vit):
    with pytest.raises(ValueError, match=r"must be \(1, channels, height, width\) of floats, got \(3, 32, 32\)"):
        values_of(vit).of(torch.zeros(3, SIDE, SIDE))
    with pytest.raises(ValueError, match=r"no more cells than the \(32, 32\) pixels, got 40 x 4"):
        values_of(vit, grid=(40, 4)).of(torch.zeros(1, 3, SIDE, SIDE))
    with pytest.raises(ValueError, match=r"keep must be \(S, 16\)"):
        picture(vit).logits(np.ones((1, 4)))
