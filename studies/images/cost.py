# SPDX-License-Identifier: Apache-2.0
"""What a fitted map costs beside the plain network: ResNet-50 and ViT-B shapes with random weights, paired rounds."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from transformers import (
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
)

from mhex_nlp import MhexConfig, MhexImageExplainer, fit_equivalent_matrices, get_mhex_model
from mhex_nlp.models.eval_mode import run_in_eval_mode
from mhex_nlp.models.image_fit import cell_scores, image_fit_of
from mhex_nlp.models.image_perturbed import PerturbedImages

from ..common import ratio, timed_rounds
from .measuring import Settings

SHAPES = ("ResNet-50", "ViT-B")
BATCHES, ROUNDS = (1, 8), 15


def units(settings: Settings) -> list[tuple[str]]:
    """The shapes."""
    return [(shape,) for shape in SHAPES]


def measure(settings: Settings, shape: str) -> dict[str, Any]:
    """Seconds of a map / of the plain pass, from pixel values, and of an explained picture / of a predicted one.

    Matrices are fitted to a few pictures of noise: the cost does not depend on how good they are.
    """
    torch.manual_seed(0)
    side = 64 if settings.smoke else 224
    bare = _model(shape, side, settings.smoke).eval()
    model = get_mhex_model(bare, MhexConfig(gate=False)).eval()  # heads that only read, over the same weights
    processor = ViTImageProcessorPil(size={"height": side, "width": side})
    draw = np.random.default_rng(0)
    pictures = [draw.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(24)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on few images judged
        fit_equivalent_matrices(model, processor, pictures, masks=2, attainable_images=0, progress=False)
    readout, explainer = image_fit_of(model), MhexImageExplainer(model, processor)
    blocks = readout.record["image"]["blocks"]
    perturbed = PerturbedImages(model, "mean", None, max(BATCHES), flow=readout.reads_flow, blocks=blocks)
    figures = {"features": readout.layout.features}
    contrast = torch.eye(model.config.num_labels)[:1] - 1 / model.config.num_labels
    for batch in BATCHES[:1] if settings.smoke else BATCHES:
        pixels = torch.randn(batch, 3, side, side)

        def plain(pixels: Any = pixels) -> Any:
            with torch.inference_mode():
                return run_in_eval_mode(bare, {"pixel_values": pixels}).logits

        def mapped(pixels: Any = pixels, batch: int = batch) -> Any:
            with torch.inference_mode():
                return cell_scores(readout, perturbed.read(pixels), contrast.expand(batch, 1, -1)).sum(2)

        def predicted(batch: int = batch) -> Any:
            values = processor(images=pictures[:batch], return_tensors="pt")["pixel_values"]
            return plain(values).softmax(-1)

        def explained(batch: int = batch) -> Any:
            return explainer(pictures[:batch])

        runs = {"plain": plain, "map": mapped, "predicted": predicted, "explained": explained}
        rounds = dict.fromkeys(runs, 2 if settings.smoke else ROUNDS)
        seconds = timed_rounds(runs, rounds)
        figures[f"batch {batch}"] = {
            "plain": float(np.median(seconds["plain"])),
            "map / plain": ratio(seconds["map"], seconds["plain"]),
            "explained / predicted": ratio(seconds["explained"], seconds["predicted"]),
        }
    return figures


def _model(shape: str, side: int, smoke: bool) -> Any:
    labels = 10 if smoke else 1000
    if shape == "ResNet-50":
        small = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]} if smoke else {}
        return ResNetForImageClassification(ResNetConfig(num_labels=labels, **small))
    few = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return ViTForImageClassification(ViTConfig(image_size=side, num_labels=labels, **(few if smoke else {})))
