# SPDX-License-Identifier: Apache-2.0
"""The skill on texts that are given: it agrees with the fit's own on its kind of texts, and tells other kinds apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.families import train_heads
from helpers.tiny import random_texts as texts
from helpers.tiny import tiny_bert, tiny_tokenizer
from mhex_nlp import MhexConfig, MhexExplainer, fit_equivalent_matrices, get_mhex_model
from mhex_nlp.explain.skill import Rows, paired_residuals

TOKENIZER = tiny_tokenizer()


@pytest.fixture(scope="module")
def fitted():
    model = get_mhex_model(tiny_bert(num_labels=2, dropout=0.0).eval(), MhexConfig(gate=False))
    return MhexExplainer(model, TOKENIZER), fit_equivalent_matrices(model, TOKENIZER, texts(500))


def test_on_its_own_kind_of_texts_it_agrees_with_the_fit(fitted):
    explainer, report = fitted
    judged = explainer.judge(texts(200, seed=7))
    assert judged.skill_interval[0] < report.skill < judged.skill_interval[1]
    assert judged.trusted and judged.removal == "mask" and judged.masks == 24 and 190 <= judged.texts <= 200
    assert judged == explainer.judge(texts(200, seed=7)) != explainer.judge(texts(200, seed=7), seed=1)


def test_it_judges_the_scores_and_not_the_record():
    """A fit that was spoilt afterwards keeps its record; what it says of texts is worth nothing."""
    model = get_mhex_model(tiny_bert(num_labels=2, dropout=0.0).eval(), MhexConfig(gate=False))
    report = fit_equivalent_matrices(model, TOKENIZER, texts(200))
    with torch.no_grad():
        for parameter in model.mhex_fit.buffers():
            parameter.neg_()
    judged = MhexExplainer(model, TOKENIZER).judge(texts(100, seed=7))
    assert report.trusted and judged.skill < 0 and not judged.trusted


def test_supervised_maps_pairs_and_windows_can_be_judged(fitted):
    model = train_heads(fitted[0].model)
    for aggregation in ("mean", "last", "ema", "fitted"):
        assert np.isfinite(MhexExplainer(model, TOKENIZER, aggregation=aggregation).judge(texts(20)).skill)
    pairs = fitted[0].judge(texts(40), texts(40, seed=1))
    assert pairs.texts == 40 and np.isfinite(pairs.skill)
    windows = MhexExplainer(model, TOKENIZER, max_length=8, stride=2).judge([" ".join(texts(10))])
    assert windows.texts > 1


def test_scores_by_themselves_are_features_of_their_own():
    """Judging phi is judging features times weights."""
    draw = torch.Generator().manual_seed(0)
    kept, features, weights = torch.rand(9, 5, generator=draw) < 0.5, torch.randn(5, 7), torch.randn(7, 2)
    kept[4:8], kept[8] = ~kept[:4], True
    values = torch.randn(9, 2)
    one = Rows(kept.float() @ features, values, kept.sum(1), 0)
    other = Rows(kept.float() @ (features @ weights), values, kept.sum(1), 0)
    for a, b in zip(
        paired_residuals(weights.double(), one), paired_residuals(torch.eye(2).double(), other), strict=True
    ):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"texts": []}, "texts must hold at least one text to judge on, got none"),
        ({"texts": ["good"]}, "texts must have more than one token"),
        ({"texts": ["good film"], "masks": 1}, "masks must be an integer of at least 2"),
        ({"texts": ["good film", " "]}, r"texts\[1\] must hold at least one character"),
        ({"texts": ["good film"], "text_pairs": []}, "one entry for each"),
    ],
)
def test_bad_input(fitted, arguments, message):
    with pytest.raises(ValueError, match=message):
        fitted[0].judge(**arguments)
