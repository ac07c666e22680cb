# SPDX-License-Identifier: Apache-2.0
"""README's Python, and what of docs/engines.md needs no engine, run as they stand there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers.readme import blocks_of, run

ROOT = Path(__file__).parents[1]


def test_readme(saved_explainer: tuple[Any, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ROOT / "README.md", saved_explainer[1]) == len(blocks_of(ROOT / "README.md")) >= 6
    assert " of " in capsys.readouterr().out


def test_pipelines(saved_explainer: tuple[Any, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ROOT / "docs" / "engines.md", saved_explainer[1], 1) == 1
    assert capsys.readouterr().out.count("[{'word': ") == 4  # one a row
