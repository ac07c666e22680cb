# SPDX-License-Identifier: Apache-2.0
"""Fits that stop when more texts bring no more skill."""

from __future__ import annotations

import pytest
import torch

from helpers.tiny import random_texts, tiny_bert, tiny_tokenizer
from mhex_nlp import MhexConfig, fit_equivalent_matrices, get_mhex_model
from mhex_nlp.training.fitting import learning

TEXTS, TOKENIZER = random_texts(100), tiny_tokenizer()


def fitted(**options):
    model = get_mhex_model(tiny_bert(num_labels=2, dropout=0.0).eval(), MhexConfig(gate=False))
    report = fit_equivalent_matrices(model, TOKENIZER, TEXTS, attainable_texts=0, **options)
    return report, torch.cat([part.flatten() for part in model.mhex_fit.buffers()])


@pytest.fixture
def first(monkeypatch):
    monkeypatch.setattr(learning, "FIRST", 10)


def test_all_texts_in_stages_give_the_fit_of_all_at_once(first):
    at_once, weights = fitted()
    in_stages, same_weights = fitted(min_gain=-1.0)
    assert [texts for texts, _ in in_stages.curve] == [10, 20, 40, 80]
    assert at_once.curve[0] == pytest.approx(in_stages.curve[-1], abs=1e-6) and len(at_once.curve) == 1
    assert in_stages.texts == at_once.texts == 80
    assert in_stages.skill == pytest.approx(at_once.skill, abs=1e-6)
    assert (weights - same_weights).abs().max() < 1e-3 * weights.abs().max()


def test_a_fit_stops_where_a_stage_gains_too_little(first):
    whole, _ = fitted(min_gain=-1.0)
    skills = [skill for _, skill in whole.curve]
    gains = [after - before for before, after in zip(skills, skills[1:], strict=False)]
    report, _ = fitted(min_gain=max(gains) + 0.01)
    assert (report.texts, report.curve) == (20, whole.curve[:2]), "after the second stage, the first to gain anything"
    assert report.rows < whole.rows
    assert report.held_out == whole.held_out, "judged on the same texts"


def test_stages_leave_no_small_rest(first):
    for texts in range(1, 200):
        stages = list(learning._stages(range(texts), True))
        assert [number for stage in stages for number in stage] == list(range(texts))
        assert all(len(stage) >= 0.5 * sum(map(len, stages[:index])) for index, stage in enumerate(stages))


@pytest.mark.parametrize("min_gain", ["0.1", True, float("nan"), float("inf")])
def test_what_is_no_gain_is_refused(min_gain):
    with pytest.raises(ValueError, match="min_gain must be a gain in skill such as 0.005, or None, got"):
        fitted(min_gain=min_gain)
