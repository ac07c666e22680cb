# SPDX-License-Identifier: Apache-2.0
"""`finetune` on images: from folders and datasets, from a config alone, what it learns, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features
from datasets import Image as ImageFeature
from PIL import Image
from transformers import AutoModelForImageClassification, ResNetConfig, ViTConfig, ViTImageProcessor

from helpers.image_files import class_folder
from mhex_nlp import AutoMhexModelForImageClassification
from mhex_nlp.cli import main
from mhex_nlp.training import FinetuneConfig, finetune

PROCESSOR = ViTImageProcessor(size={"height": 16, "width": 16})


def config_folder(folder: Path, kind: str = "resnet") -> Path:
    """A config with a processor, and no weights."""
    if kind == "resnet":
        config: Any = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    else:
        sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        config = ViTConfig(image_size=16, patch_size=4, **sizes)
    config.save_pretrained(folder)
    PROCESSOR.save_pretrained(folder)
    return folder


def halves(count: int = 48) -> Dataset:
    """Noise that is bright on the left ("left") or on the right."""
    draw, images = np.random.default_rng(0), []
    for number in range(count):
        pixels = draw.integers(0, 60, (16, 16, 3), dtype=np.uint8)
        pixels[:, 8 * (number % 2) : 8 * (number % 2) + 8] += 150
        images.append(Image.fromarray(pixels))
    features = Features({"scan": ImageFeature(), "side": ClassLabel(names=["left", "right"])})
    return Dataset.from_dict({"scan": images, "side": [n % 2 for n in range(count)]}, features=features)


@pytest.mark.parametrize("kind", ["resnet", "vit"])
def test_a_config_alone_learns_from_random_weights(kind: str, tmp_path: Path) -> None:
    config = config_folder(tmp_path / "config", kind)
    report = finetune(
        FinetuneConfig(
            model=config,
            data=halves(),
            output_dir=tmp_path / "out",
            image_column="scan",
            label_column="side",
            epochs=8,
            lr=3e-3,
            validation_share=0.25,
            save_steps=10**6,
        )
    )
    assert report["accuracy"] >= 0.9 > report["majority"] and report["texts"] == 12
    assert len(report["head_accuracy"]) == 2 and report["labels"] == ["left", "right"]
    model = AutoMhexModelForImageClassification.from_pretrained(tmp_path / "out").eval()
    pixels = PROCESSOR(images=[row["scan"] for row in halves(8)], return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        logits = model(pixel_values=pixels).logits
        plain = AutoModelForImageClassification.from_pretrained(tmp_path / "out").eval()(pixel_values=pixels).logits
    assert torch.equal(logits, plain)  # without gates the heads only read
    assert logits.argmax(-1).tolist() == [0, 1] * 4


def test_the_command_trains_on_a_folder_with_a_folder_a_class(tmp_path: Path) -> None:
    config, data = config_folder(tmp_path / "config"), class_folder(tmp_path / "pets", each=6)
    options = ["--output-dir", str(tmp_path / "out"), "--max-steps", "2", "--validation-share", "0.3"]
    assert main(["finetune", "--model", str(config), "--images", str(data), *options]) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["labels"] == ["cat", "dog"] and metrics["step"] == 2
    assert (tmp_path / "out" / "preprocessor_config.json").is_file()


def test_what_cannot_be_trained_on_is_named(tmp_path: Path) -> None:
    config = config_folder(tmp_path / "config")

    def train(data: Any, **options: Any) -> None:
        finetune(FinetuneConfig(model=config, data=data, output_dir=tmp_path / "out", **options))

    bad = class_folder(tmp_path / "pets", bad=True)
    with pytest.raises(ValueError, match=r"^split 'train', row \d \(counted from 0\): "):
        train(bad)
    with pytest.raises(ValueError, match="^masked_words is for texts, got 0.3 with "):
        train(halves(), masked_words=0.3)
    with pytest.raises(ValueError, match="^image_column must name a column of "):
        train(halves(), label_column="side")
    (tmp_path / "config" / "preprocessor_config.json").unlink()
    with pytest.raises(ValueError, match="must have an image processor, such as preprocessor_config.json"):
        train(halves(), image_column="scan", label_column="side")
