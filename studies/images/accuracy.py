# SPDX-License-Identifier: Apache-2.0
"""Do heads cost accuracy, or bring some? The same networks from the same weights, plain and with heads, by Trainer."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments, set_seed

from mhex_nlp import MhexConfig, get_mhex_model

from .data import Images
from .measuring import Settings
from .models import BATCH, KINDS, LR, as_input, make_model, predictions
from .planted import backgrounds
from .pneumonia import xrays

DATA = {"PneumoniaMNIST": xrays, "CIFAR-10": backgrounds}
HEADS = {"plain": None, "heads": MhexConfig(gate=True), "heads, no gate": MhexConfig(gate=False)}
EPOCHS = {"ResNet": 6, "ViT": 12}


class _Rows(Dataset):
    def __init__(self, data: Images) -> None:
        self.inputs, self.labels = as_input(data.pixels), torch.from_numpy(data.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"pixel_values": self.inputs[row], "labels": self.labels[row]}


def units(settings: Settings) -> list[tuple[str, str, int]]:
    """Data, network and seed of each piece of work; each trains the network in all ways."""
    every = [(data, kind, seed) for data in DATA for kind in KINDS for seed in range(settings.seeds)]
    return every[:1] if settings.smoke else every


def measure(settings: Settings, data: str, kind: str, seed: int) -> dict[str, Any]:
    """Accuracy of each way, and its hits on each test image as hexadecimal bits."""
    training, test = DATA[data](settings)
    runs = {}
    for way, heads in HEADS.items():
        set_seed(seed)
        model = make_model(kind, training.names)
        if heads is not None:
            model = get_mhex_model(model, replace(heads))
        _train(model, training, seed, 1 if settings.smoke else EPOCHS[kind])
        hits = predictions(model.eval(), test) == test.labels
        runs[way] = {"accuracy": float(hits.mean()), "hits": np.packbits(hits).tobytes().hex()}
    return {"test": len(test), "commonest": float(np.bincount(test.labels).max() / len(test)), "runs": runs}


def hits_of(run: dict[str, Any], count: int) -> np.ndarray:
    """(B,) 1 for each test image that a run got right."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(run["hits"]), np.uint8))[:count].astype(float)


def _train(model: Any, data: Images, seed: int, epochs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            folder,
            learning_rate=LR,
            lr_scheduler_type="cosine",
            warmup_steps=round(0.1 * epochs * len(data) / BATCH),
            weight_decay=0.01,
            per_device_train_batch_size=BATCH,
            num_train_epochs=epochs,
            seed=seed,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
        )
        Trainer(model, settings, train_dataset=_Rows(data)).train()
    model.cpu()
