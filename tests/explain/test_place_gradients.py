# SPDX-License-Identifier: Apache-2.0
"""Integrated gradients of places within a budget: the place stays, the others' scores add up to what they add to it."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch

from helpers.placed import CONTEXT, QUESTION, TEXT, TOKENIZER, fitted, placed_model
from helpers.tiny import random_texts
from mhex_nlp import MhexAnswerExplainer, MhexEntityExplainer, fit_equivalent_matrices
from mhex_nlp.explain.place_reader import PlaceReader
from mhex_nlp.explain.refinement import Mix, Prior
from mhex_nlp.explain.scores import contrast_weights

MIX = Mix(2, 0.4, 0.5, 8, Prior(ratio=20.0, noise=0.02, freedom=3.0))


def placed(explainer, *texts):
    """The model asked about places, the rows of the places of a text, and the contrast of each."""
    request = explainer.request(budget=8)
    items = explainer.tokenise([texts[0]], [texts[1]] if len(texts) > 1 else None)
    reader = PlaceReader(explainer._evidence, explainer._find)
    (batch,) = reader.batches(reader.finders(items, request), request)
    rows = [row for of_text in batch.rows for row in of_text]
    answers = batch.evidence.answers
    contrasts = torch.tensor([contrast_weights(answer.target, request, None).tolist() for answer in answers])
    return reader.placed_model(request), rows, contrasts.double()


@pytest.mark.parametrize("kind", ["token", "answer"])
def test_scores_add_up_to_what_the_others_add_to_the_place(kind):
    model = fitted(placed_model(kind))
    explainer = (MhexEntityExplainer if kind == "token" else MhexAnswerExplainer)(model, TOKENIZER)
    asked, rows, contrasts = placed(explainer, *([TEXT] if kind == "token" else [QUESTION, CONTEXT]))
    scores = asked.gradients(rows, contrasts, 200)
    everything = [torch.ones(1, len(row.removable_positions(False)), dtype=torch.bool) for row in rows]
    whole, alone = asked.kept_logits(rows, everything), asked.kept_logits(rows, [~kept for kept in everything])
    assert scores is not None and rows
    for row, values, contrast, with_all, with_none in zip(rows, scores, contrasts, whole, alone, strict=True):
        assert len(values) == len(row.content_positions(False)) - len(row.own)
        expected = float((with_all - with_none)[0].double() @ contrast)
        assert float(values.sum()) == pytest.approx(expected, abs=0.02 * (1 + abs(expected)))


def test_a_mix_is_counted_and_what_was_measured_stays():
    model = fitted(placed_model("token"))
    explainer = MhexEntityExplainer(model, TOKENIZER)
    without = explainer(TEXT, budget=16)
    model.mhex_fit.record = {**model.mhex_fit.record, "refinement": asdict(Prior(mix=MIX))}
    mixed = explainer(TEXT, budget=16)
    for one, other in zip(mixed, without, strict=True):
        assert one.passes == other.passes == 17
        for figure in ("base_value", "place_score", "rest_score"):
            assert getattr(one, figure) == pytest.approx(getattr(other, figure), abs=1e-4)
    assert any(abs(a - b) > 1e-3 for a, b in zip(mixed[0].scores, without[0].scores, strict=True))
    together = explainer([TEXT, "the plot was dull"], budget=16)[0]
    for one, other in zip(together, mixed, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-4)


def test_a_fit_at_places_looks_at_gradients():
    """The examples that the prior is learnt from are of the game in which the place stays."""
    model = placed_model("token", seed=3)
    with pytest.warns(UserWarning, match="judged on"):
        report = fit_equivalent_matrices(model, TOKENIZER, random_texts(60), masks=4, held_out=0.2, progress=False)
    assert report.refinement is not None and "mix" in report.refinement
