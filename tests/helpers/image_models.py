# SPDX-License-Identifier: Apache-2.0
"""Tiny random image classifiers: every family with heads, and some without, of 32 x 48 pixels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForImageClassification, PreTrainedModel

SEED = 7
_VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
    "hidden_dropout_prob": 0.1,
}
_DINO = {**_VIT, "layerscale_value": 0.7, "drop_path_rate": 0.1, "mlp_ratio": 2}
_BEIT = {**_VIT, "use_relative_position_bias": True, "layer_scale_init_value": 0.7, "drop_path_rate": 0.1}
_RESNET = {"embedding_size": 8, "hidden_sizes": [16, 24], "depths": [2, 1]}
_CONVNEXT = {
    "hidden_sizes": [8, 16],
    "depths": [1, 2],
    "num_stages": 2,
    "layer_scale_init_value": 0.7,
    "drop_path_rate": 0.1,
}
_SWIN = {
    "image_size": 32,
    "patch_size": 4,
    "embed_dim": 16,
    "depths": [2, 1],
    "num_heads": [2, 4],
    "window_size": 4,
    "drop_path_rate": 0.1,
}

CONFIGS: dict[str, dict[str, Any]] = {  # with heads
    "resnet": {**_RESNET, "layer_type": "bottleneck"},
    "regnet": {**_RESNET, "groups_width": 8},
    "convnext": _CONVNEXT,
    "convnextv2": _CONVNEXT,
    "vit": _VIT,
    "vit_msn": _VIT,
    "deit": _VIT,
    "dinov2": _DINO,
    "dinov2_with_registers": {**_DINO, "num_register_tokens": 3},
    "beit": _BEIT,
    "data2vec-vision": _BEIT,
    "swin": _SWIN,
    "mobilenet_v2": {"depth_multiplier": 0.25, "finegrained_output": False},
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
        "drop_connect_rate": 0.1,
    },
}
FAMILIES = sorted(CONFIGS)
PLAIN: dict[str, dict[str, Any]] = {  # without a row in the table
    "swinv2": _SWIN,
    "poolformer": {"hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1], "num_encoder_blocks": 4},
    "mobilenet_v1": {"depth_multiplier": 0.25},
    "siglip": {"vision_config": {**_VIT}},
}


def plain_image_model(family: str, *, dropout: bool = True, cls: Any = None, **changes: Any) -> PreTrainedModel:
    """A random model of the family, in eval mode, that gives visibly other logits for other images."""
    torch.manual_seed(SEED)
    options = CONFIGS.get(family) or PLAIN[family]
    config = AutoConfig.for_model(family, num_labels=3, **{**options, **changes})
    if not dropout:
        for name, value in config.to_dict().items():
            if "drop" in name and isinstance(value, float):
                setattr(config, name, 0.0)
    if cls is None:
        classes = AutoModelForImageClassification._model_mapping[type(config)]
        cls = classes[0] if isinstance(classes, tuple) else classes
    model = cls(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1 and not name.endswith("bias"):
                parameter.add_(0.1 * torch.randn_like(parameter))  # else scales would all be 1
            elif parameter.std() < 0.1:
                parameter.copy_(torch.randn_like(parameter) * 0.1)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.1 * torch.randn_like(buffer))
    return model


def pixels(count: int = 2, height: int = 32, width: int = 32, seed: int = SEED) -> Tensor:
    """(B, 3, H, W), as a processor gives them."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, height, width, generator=generator)


def train_heads(model: Any) -> Any:
    """Weights as training would leave them: gates that differ from 1, and evidence."""
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for parameter in model.mhex.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model
