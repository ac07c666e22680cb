# SPDX-License-Identifier: Apache-2.0
"""Hidden states of every family in transformers' auto map of image classifiers, on tiny random models."""

from __future__ import annotations

import pytest
import torch
import transformers
from transformers import AutoConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as FAMILIES

from mhex_nlp.models.image_perturbed import PerturbedImages, choose_image_removal
from mhex_nlp.models.image_states import logits_of, spatial_states

_VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "image_size": 64,
    "patch_size": 8,
}
_STAGES = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
_PYRAMID = {**_STAGES, "image_size": 64, "num_attention_heads": [1, 1, 2, 2], "mlp_ratios": [2, 2, 2, 2]}
_WINDOWS = {"image_size": 64, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4}
_INNER = {"vision_config": _VIT}
CONFIGS = {
    "beit": _VIT,
    "bit": {**_STAGES, "embedding_size": 8, "num_groups": 4},
    "clip": _INNER,
    "convnext": _STAGES,
    "convnextv2": _STAGES,
    "cvt": {"embed_dim": [8, 16, 16], "depth": [1, 2, 3], "num_heads": [1, 2, 2]},
    "data2vec-vision": _VIT,
    "deit": _VIT,
    "dinov2": _VIT,
    "dinov2_with_registers": _VIT,
    "donut-swin": _WINDOWS,
    "efficientnet": {
        "width_coefficient": 0.5,
        "depth_coefficient": 1.0,
        "in_channels": [32, 16, 16],
        "out_channels": [16, 16, 24],
        "kernel_sizes": [3, 3, 3],
        "strides": [1, 2, 1],
        "num_block_repeats": [2, 1, 2],
        "expand_ratios": [1, 2, 2],
        "hidden_dim": 640,
    },
    "focalnet": {
        "image_size": 64,
        "embed_dim": 8,
        "depths": [1, 1],
        "focal_levels": [1, 1],
        "focal_windows": [3, 3],
        "hidden_sizes": [8, 16],
    },
    "hgnet_v2": {
        **_STAGES,
        "embedding_size": 8,
        "stem_channels": [3, 8, 8],
        "stage_in_channels": [8, 16, 16, 16],
        "stage_mid_channels": [8, 8, 8, 8],
        "stage_out_channels": [16, 16, 16, 16],
        "stage_num_blocks": [1, 1, 1, 1],
        "stage_numb_of_layers": [1, 1, 1, 1],
        "hidden_sizes": [16, 16, 16, 16],
    },
    "hiera": {
        "image_size": [64, 64],
        "embed_dim": 8,
        "depths": [1, 1, 1],
        "num_heads": [1, 1, 2],
        "query_stride": [2, 2],
        "num_query_pool": 2,
        "masked_unit_size": [4, 4],
        "masked_unit_attention": [True, True, False],
    },
    "ijepa": _VIT,
    "levit": {
        "hidden_sizes": [16, 24, 32],
        "num_attention_heads": [2, 2, 2],
        "key_dim": [8, 8, 8],
        "depths": [1, 1, 1],
        "image_size": 64,
    },
    "metaclip_2": _INNER,
    "mobilenet_v1": {"depth_multiplier": 0.25},
    "mobilenet_v2": {"depth_multiplier": 0.25, "finegrained_output": False},
    "mobilevit": {
        "image_size": 64,
        "hidden_sizes": [16, 16, 16],
        "neck_hidden_sizes": [8, 8, 8, 8, 16, 16, 32],
        "num_attention_heads": 2,
    },
    "mobilevitv2": {
        "width_multiplier": 0.25,
        "image_size": 64,
        "base_attn_unit_dims": [32, 32, 32],
        "n_attn_blocks": [1, 1, 1],
    },
    "poolformer": _STAGES,
    "pp_lcnet": {"scale": 0.25},
    "pvt": _PYRAMID,
    "pvt_v2": _PYRAMID,
    "regnet": {**_STAGES, "embedding_size": 8, "groups_width": 8},
    "resnet": {**_STAGES, "embedding_size": 8},
    "segformer": _PYRAMID,
    "siglip": _INNER,
    "swiftformer": {"image_size": 64, "embed_dims": [8, 16, 16, 32], "depths": [1, 1, 1, 1]},
    "swin": _WINDOWS,
    "swinv2": _WINDOWS,
    "textnet": {},
    "vit": _VIT,
    "vit_msn": _VIT,
}
REFUSED = {  # and why
    "dinat": "its attention needs a package of CUDA kernels",
    "imagegpt": "it reads ids of colours, one a pixel",
    "perceiver": "its states are latents",
    "siglip2": "its processor cuts an image into patches",
    "shieldgemma2": "it is a language model",
}
ELSEWHERE = {"timm_wrapper"}  # needs timm


def image_model(family: str) -> transformers.PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, num_labels=3, **CONFIGS[family])
    names = FAMILIES[family]
    return getattr(transformers, names if isinstance(names, str) else names[0])(config).eval()


def test_every_family_is_either_read_or_refused():
    """A new release of transformers may bring more."""
    assert set(FAMILIES) - ELSEWHERE == CONFIGS.keys() | REFUSED.keys()


@pytest.mark.parametrize("family", CONFIGS)
def test_states_are_cells_of_one_grid(family):
    """All depths lie on one grid, and each cell of a finite depth changes first where the image does."""
    model, pixels = image_model(family), torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        plain, states = logits_of(model(pixel_values=pixels)), spatial_states(model, pixels)
        pixels[:, :, 48:, 48:] += 3 * torch.randn(1, 3, 16, 16)  # the last 2 x 2 of 8 x 8 cells
        moved = spatial_states(model, pixels)
    assert torch.equal(states.logits, plain) and plain.shape == (1, 3)
    side = {"levit": 4, "efficientnet": 16}.get(family, 8)
    assert (states.grid.rows, states.grid.cols) == (side, side)
    assert all(state.shape[:2] == (1, side**2) and state.isfinite().all() for state in states.states)
    change = (moved.states[0] - states.states[0]).norm(dim=-1).view(side, side)
    changed, still = change[-side // 4 :, -side // 4 :], change[: side // 2, : side // 2]
    assert changed.min() > 0 and still.max() < 0.05 * changed.max(), "cells are in their place"


@pytest.mark.parametrize("family", ["imagegpt", "perceiver", "siglip2", "shieldgemma2"])
def test_families_without_places_are_refused(family):
    model = torch.nn.Module()
    model.config = transformers.PretrainedConfig()
    model.config.model_type = family
    with pytest.raises(ValueError, match=f"{family}.*cannot be explained by cells of the image: {REFUSED[family]}"):
        spatial_states(model, torch.zeros(1, 3, 64, 64))


def test_the_last_normalised_state_is_read_too():
    """Of DINOv2 the label is read from it, and the layers do not show it."""
    model = image_model("dinov2")
    with torch.inference_mode():
        states = spatial_states(model, torch.randn(2, 3, 64, 64))
    assert len(states.states) == 4
    assert not model.base_model._forward_hooks, "nothing stays on the model"
    assert torch.allclose(states.states[-1].mean(-1), torch.zeros(2, 64), atol=1e-5)


def test_sizes_other_than_the_config_and_oblong_ones():
    model = image_model("resnet")
    with torch.inference_mode():
        assert spatial_states(model, torch.randn(1, 3, 96, 224)).grid.cells == 12 * 28
    patches = image_model("dinov2")
    with torch.inference_mode():
        grid = spatial_states(patches, torch.randn(1, 3, 40, 70)).grid
    assert (grid.rows, grid.cols, grid.special, grid.patch) == (5, 8, 1, 8)


@pytest.mark.parametrize("removal", ["mean", "blur", "attention"])
@pytest.mark.parametrize("family", ["vit", "deit", "dinov2", "dinov2_with_registers"])
def test_removal(family, removal):
    """Everything kept is the image itself; what is removed has no say."""
    model = image_model(family)
    perturbed = PerturbedImages(model, removal, torch.tensor([0.1, 0.2, 0.3]), batch_size=3)
    pixels = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        states = perturbed.read(pixels)
        kept = torch.ones(3, 64, dtype=torch.bool)
        kept[1:, 9] = False
        kept[2] = False
        first, second = perturbed.kept_logits(pixels, [kept, kept[1:]], states.grid)
        other = pixels.clone()
        other[:, :, 8:16, 8:16] += 5  # cell 9
        changed = perturbed.kept_logits(other, [kept, kept[1:]], states.grid)[0]
    assert torch.allclose(first[0], states.logits[0], atol=1e-5)
    assert first.shape == (3, 3) and second.shape == (2, 3)
    assert not torch.allclose(first[0], first[1], atol=1e-6)
    if removal != "blur":
        assert torch.allclose(first[1], changed[1], atol=1e-5) and torch.allclose(first[2], second[1], atol=1e-5)


def test_answers_keep_no_graph():
    """Callers keep hundreds of answers: with their graphs, the states of all subsets would stay in memory."""
    perturbed = PerturbedImages(image_model("vit"), "mean", None, batch_size=2)
    pixels = torch.randn(1, 3, 64, 64)
    grid = perturbed.grid_of(pixels)
    (answers,) = perturbed.kept_logits(pixels, [torch.ones(2, grid.cells, dtype=torch.bool)], grid)
    assert not answers.requires_grad


def test_a_removal_that_the_family_cannot_do():
    with pytest.raises(ValueError, match="removal='attention' drops patches, which the family 'resnet' cannot do"):
        choose_image_removal("attention", image_model("resnet"))
    with pytest.raises(ValueError, match="removal must be one of"):
        choose_image_removal("mask", image_model("resnet"))


@pytest.mark.parametrize("architecture", ["resnet18", "vit_tiny_patch16_224"])
def test_models_of_timm(architecture):
    """Through transformers' wrapper, where timm is installed."""
    pytest.importorskip("timm")
    config = AutoConfig.for_model("timm_wrapper", architecture=architecture, num_labels=3)
    model, pixels = transformers.TimmWrapperForImageClassification(config).eval(), torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        states = spatial_states(model, pixels)
        assert torch.equal(states.logits, model(pixel_values=pixels).logits.float())
    assert states.grid.rows == states.grid.cols in (7, 14) and states.grid.special == 0
