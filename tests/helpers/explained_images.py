# SPDX-License-Identifier: Apache-2.0
"""Small pictures, a processor and a tiny random vision transformer, which a fit on them can explain."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

PROCESSOR = ViTImageProcessorPil(size={"height": 32, "width": 32})


def pictures(count: int, seed: int = 0) -> list[Image.Image]:
    """Noise with a bright patch somewhere, 36 x 24 pixels."""
    generator = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        values = generator.integers(0, 90, (24, 36, 3), dtype=np.uint8)
        top, left = generator.integers(0, 18), generator.integers(0, 28)
        values[top : top + 6, left : left + 8] = generator.integers(90, 255, 3)
        images.append(Image.fromarray(values))
    return images


IMAGES = pictures(40)


def vit() -> ViTForImageClassification:
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    return ViTForImageClassification(ViTConfig(image_size=32, patch_size=8, num_labels=3, **shape)).eval()
