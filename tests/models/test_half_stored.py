# SPDX-License-Identifier: Apache-2.0
"""Queries and keys of long texts in 16 bits: what that changes, and that nothing else does."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch

from mhex_nlp.models.fit_reader import FitReader
from mhex_nlp.models.heads import attention_flow as flows
from mhex_nlp.models.heads import merged_rows
from mhex_nlp.models.heads.half_stored import HalfStored, short_texts
from mhex_nlp.models.heads.merged_rows import MOST_ROWS
from studies.common import MINILM
from studies.overhead.measuring import peak_memory
from studies.overhead.models import Settings, batch_of, make_models
from studies.overhead.passes import FITTED, call


@pytest.mark.slow
def test_on_real_long_texts_rounding_is_far_below_merging(monkeypatch):
    """Scores of a trained model: within 3e-5 of the largest, at least ten times less than merging rows changes."""
    model = make_models(MINILM, Settings()).heads
    inputs = batch_of(4, 300, model)

    def scores() -> torch.Tensor:
        with torch.inference_mode():
            return model(**inputs, **FITTED).fitted_attributions.sum(2)

    stored = scores()
    monkeypatch.setattr(FitReader, "MERGES", False)
    merged = scores()
    monkeypatch.setattr(merged_rows, "MOST_ROWS", 10**6)
    monkeypatch.setattr(flows, "MOST_ROWS", 10**6)
    largest = merged.abs().amax((1, 2))
    rounding = ((stored - merged).abs().amax((1, 2)) / largest).max()
    merging = ((merged - scores()).abs().amax((1, 2)) / largest).max()
    assert 0 < rounding < 3e-5
    assert rounding < merging / 10


@pytest.mark.slow
def test_less_memory_is_taken(monkeypatch):
    models = make_models(MINILM, Settings())
    inputs = batch_of(4, 512, models.plain)
    settings = Settings(smoke=True)
    plain, halves = (
        peak_memory(partial(call, model, inputs, **options), settings)
        for model, options in ((models.plain, {}), (models.heads, FITTED))
    )
    assert 0.3 * plain < halves - plain < 0.7 * plain


@pytest.mark.parametrize("size", [1.0, 1e6, 1e30])
def test_values_out_of_range_are_scaled(size):
    torch.manual_seed(0)
    values = size * torch.randn(2, 3, 50, 8)
    restored = HalfStored.of(values).restored()
    assert restored.isfinite().all()
    assert (restored - values).abs().max() <= 2**-11 * values.abs().max() * 1.01


def test_what_is_not_finite_is_not_hidden():
    values = torch.randn(1, 1, 4, 2)
    values[0, 0, 0, 0] = torch.inf
    assert not HalfStored.of(values).restored().isfinite().all()
    values[0, 0, 0, 0] = torch.nan
    assert not HalfStored.of(values).restored().isfinite().all()


def test_short_texts_in_a_long_batch_stay_exact():
    real = torch.ones(3, MOST_ROWS + 40, dtype=torch.bool)
    real[1, MOST_ROWS:] = False
    short = short_texts(real)
    assert short.tolist() == [1] and short_texts(real[:1]) is None and short_texts(None) is None
    values = torch.randn(3, 2, MOST_ROWS + 40, 4)
    restored = HalfStored.of(values, short).restored()
    assert torch.equal(restored[1], values[1]) and not torch.equal(restored[0], values[0])


def inputs_of(tokens: int, dtype: torch.dtype = torch.float32) -> flows.AttentionInputs:
    query, key, value = torch.randn(1, tokens, 3, 2, 4, dtype=dtype).permute(2, 0, 3, 1, 4)
    return flows.AttentionInputs(query, key, value, flows.VisibleTokens(), 0.5)


def test_what_the_log_keeps():
    """Short texts, and all where rows are not merged, as they came; 16-bit views in a memory of their own."""
    for tokens, merges in ((MOST_ROWS, True), (MOST_ROWS + 1, False)):
        log, inputs = flows.AttentionLog(merges=merges), inputs_of(tokens)
        log.add(inputs)
        assert log.layers[0].query is inputs.query and log.layers[0].key is inputs.key
    log, inputs = flows.AttentionLog(merges=True), inputs_of(MOST_ROWS + 1)
    log.add(inputs)
    log.add(replace(inputs))  # asked for a second time
    assert len(log.layers) == 1 and log.layers[0].query.dtype == torch.float16
    torch.testing.assert_close(log.layers[0].restored().key, inputs.key, rtol=2**-10, atol=1e-6)
    log, inputs = flows.AttentionLog(merges=True), inputs_of(MOST_ROWS + 1, torch.bfloat16)
    log.add(inputs)
    kept = log.layers[0].key
    assert torch.equal(kept, inputs.key) and kept.untyped_storage().nbytes() == kept.nbytes
