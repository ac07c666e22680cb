# SPDX-License-Identifier: Apache-2.0
"""Shared by the tests of training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from accelerate.state import AcceleratorState

from helpers.tiny import save_checkpoint, tiny_dataset
from mhex_nlp.training import FinetuneConfig


@pytest.fixture
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache of `datasets` in a folder of its own."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


@pytest.fixture
def fresh_accelerate() -> Iterator[Callable[[], None]]:
    """Accelerate without a state of earlier runs, before and after the test and where it is called."""

    def reset() -> None:
        AcceleratorState._reset_state(reset_partial_state=True)

    reset()
    yield reset
    reset()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint without heads."""
    return save_checkpoint(tmp_path_factory.mktemp("plain"))


@pytest.fixture
def settings() -> Callable[..., FinetuneConfig]:
    """Settings of a short run on the tiny data: of a model, into a folder, with other options."""

    def make(model: Path, folder: Path, **options: Any) -> FinetuneConfig:
        data = {"data": tiny_dataset(48), "validation": tiny_dataset(20, seed=1), "epochs": 2, "lr": 1e-3}
        return FinetuneConfig(model=model, output_dir=folder, **{**data, **options})

    return make
