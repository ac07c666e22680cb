# SPDX-License-Identifier: Apache-2.0
"""Shared by the tests of corpus."""

from __future__ import annotations

import pytest


@pytest.fixture
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache of `datasets` in a folder of its own."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
