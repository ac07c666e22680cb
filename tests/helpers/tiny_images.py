# SPDX-License-Identifier: Apache-2.0
"""A tiny random image classifier of "cat" and "dog" with its processor, and its explainer."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from transformers import ResNetConfig, ResNetForImageClassification
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from helpers.image_files import picture
from mhex_nlp import MhexImageExplainer, fit_equivalent_matrices

NAMES = {"id2label": {0: "cat", 1: "dog"}, "label2id": {"cat": 0, "dog": 1}}


def tiny_classifier() -> tuple[Any, Any]:
    """The model, always of the same weights, and its processor, for pictures of 32 x 32 pixels."""
    torch.manual_seed(0)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", **NAMES)
    return ResNetForImageClassification(config).eval(), ViTImageProcessorPil(size={"height": 32, "width": 32})


@cache
def tiny_explainer() -> MhexImageExplainer:
    """Fitted to 30 pictures, which shows nothing about the model but is quick."""
    model, processor = tiny_classifier()
    pictures = [picture(number) for number in range(100, 130)]
    fit_equivalent_matrices(model, processor, pictures, masks=2, progress=False, attainable_images=0)
    return MhexImageExplainer(model, processor)
