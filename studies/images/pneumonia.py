# SPDX-License-Identifier: Apache-2.0
"""PneumoniaMNIST: maps of chest X-rays judged by what the network does without the cells they name."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .data import Images, pneumonia
from .measuring import Settings, compared, fitted
from .models import KINDS, predictions, trained_model

EPOCHS = {"ResNet": 6, "ViT": 15}


@functools.cache
def xrays(settings: Settings) -> tuple[Images, Images]:
    """Training and test images."""
    training, test = pneumonia(settings.data / "pneumoniamnist_train3882.npz")
    return (training.take(np.arange(60)), test.take(np.arange(8))) if settings.smoke else (training, test)


def units(settings: Settings) -> list[tuple[str, int]]:
    """The network and seed of each piece of work."""
    return [(kind, seed) for seed in range(settings.seeds) for kind in KINDS[: 1 if settings.smoke else None]]


def measure(settings: Settings, kind: str, seed: int) -> dict[str, Any]:
    """One network of one seed: its accuracy, and the comparison by the fit's removal and by another."""
    training, test = xrays(settings)
    folder, epochs = settings.work / f"pneumonia-{kind}-{seed}", 1 if settings.smoke else EPOCHS[kind]
    model = trained_model(kind, training, seed, folder, epochs)
    said = predictions(model, test)
    network = fitted(model, training, settings, seed)
    rows = np.random.default_rng(seed).permutation(len(test))[: settings.images]
    comparison, study = compared(network, test.take(rows), settings, seed, ("blur",))
    return {
        "accuracy": float((said == test.labels).mean()),
        "comparison": comparison,
        "against": {how: against(columns) for how, columns in zip(study.judges, study.columns, strict=True)},
    }


def against(columns: Any) -> dict[str, dict[str, dict[str, float]]]:
    """What the fitted map has more than each method in insertion and deletion: mean and standard error, paired."""
    ours = columns["mhex_fitted"]
    differences = {}
    for name, table in columns.items():
        if name != "mhex_fitted":
            gaps = {key: (ours[key] - table[key])[:, 0] for key in ("insertion", "deletion")}
            differences[name] = {
                key: {"mean": float(gap.mean()), "se": float(gap.std(ddof=1) / len(gap) ** 0.5)}
                for key, gap in gaps.items()
            }
    return differences
