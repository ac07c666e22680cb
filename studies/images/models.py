# SPDX-License-Identifier: Apache-2.0
"""The small networks of the study, trained here: a ResNet of 379 thousand weights and a ViT of 142 thousand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    AutoModelForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
    set_seed,
)

from .data import SIDE, Images, Pixels

KINDS = ("ResNet", "ViT")
EPOCHS = {"ResNet": 3, "ViT": 12}  # of planted patterns
LR, BATCH = 2e-3, 64


def make_model(kind: str, names: list[str]) -> Any:
    """A network with fresh weights."""
    labels: dict[str, Any] = {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}
    if kind == "ResNet":
        shape = {"embedding_size": 32, "hidden_sizes": [48, 96], "depths": [2, 2], "layer_type": "basic"}
        return ResNetForImageClassification(ResNetConfig(num_channels=3, **shape, **labels))
    sizes = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 128}
    return ViTForImageClassification(ViTConfig(image_size=SIDE, patch_size=4, **sizes, **labels))


def make_processor() -> Any:
    """Of images that have the networks' size already: values from -1 to 1."""
    half = [0.5, 0.5, 0.5]
    return ViTImageProcessorPil(do_resize=False, image_mean=half, image_std=half, size={"height": SIDE, "width": SIDE})


def as_input(pixels: Pixels) -> Tensor:
    """(B, SIDE, SIDE, 3) uint8 as the processor gives them: (B, 3, SIDE, SIDE)."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def trained_model(kind: str, data: Images, seed: int, folder: Path, epochs: int | None = None) -> Any:
    """A network trained on the images, from its folder where it was trained before."""
    if (folder / "config.json").is_file():
        return AutoModelForImageClassification.from_pretrained(folder).eval()
    set_seed(seed)
    model = train(make_model(kind, data.names), data, seed, EPOCHS[kind] if epochs is None else epochs)
    model.save_pretrained(folder)
    return model


def train(model: Any, data: Images, seed: int, epochs: int) -> Any:
    """AdamW with one cycle of the rate; images are not shifted, so that planted cells stay whole."""
    inputs, labels = as_input(data.pixels), torch.from_numpy(data.labels)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.01)
    steps = epochs * -(-len(inputs) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps, pct_start=0.2)
    order = torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs), generator=order).split(BATCH):
            loss = model(pixel_values=inputs[rows], labels=labels[rows]).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def predictions(model: Any, data: Images) -> np.ndarray:
    """(B,) predicted classes."""
    said = [model(pixel_values=part).logits.argmax(-1) for part in as_input(data.pixels).split(256)]
    return torch.cat(said).numpy()
