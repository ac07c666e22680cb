# SPDX-License-Identifier: Apache-2.0
"""README's Python runs as it stands there."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.families import train_heads
from helpers.readme import blocks_of, run
from helpers.tiny import random_texts, tiny_mhex, tiny_tokenizer
from mhex_nlp import fit_equivalent_matrices

README = Path(__file__).parents[1] / "README.md"


def test_every_block_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, tokenizer = train_heads(tiny_mhex(gate=False).eval()), tiny_tokenizer()
    fit_equivalent_matrices(model, tokenizer, random_texts(80), held_out=0.4, progress=False)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert run(README, tmp_path) == len(blocks_of(README)) >= 6
    assert "held-out texts" in README.read_text("utf-8") and "of" in capsys.readouterr().out
