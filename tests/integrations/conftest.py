# SPDX-License-Identifier: Apache-2.0
"""Shared by the tests of engines and pipelines."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.families import train_heads
from helpers.tiny import random_texts, tiny_mhex, tiny_tokenizer
from mhex_nlp import MhexExplainer, fit_equivalent_matrices


@pytest.fixture(scope="session")
def saved_explainer(tmp_path_factory: pytest.TempPathFactory) -> tuple[MhexExplainer, Path]:
    """The explainer of a fitted tiny classifier, and the folder with its model and tokenizer."""
    model, tokenizer = train_heads(tiny_mhex(gate=False).eval()), tiny_tokenizer()
    fit_equivalent_matrices(model, tokenizer, random_texts(80), held_out=0.4, progress=False)
    folder = tmp_path_factory.mktemp("fitted")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return MhexExplainer.from_pretrained(str(folder)), folder
