# SPDX-License-Identifier: Apache-2.0
"""Agreement with human rationales: ERASER by hand and against its formulas, and rationales that do not fit."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from mhex_nlp.evaluation.metrics import plausibility as p

# a score of few values, so that ties are common, and a mark
tokens = st.lists(st.tuples(st.integers(-2, 2), st.booleans()), min_size=1, max_size=12)


def test_auprc_by_hand():
    # hits at places 1 and 3: (0, 1), (.5, 1), (.5, .5), (1, 2/3), (1, 1/2); trapezoids: 0.5 * 1 + 0.5 * (1/2 + 2/3) / 2
    agreement = p.auprc([[4.0, 3.0, 2.0, 1.0]], [[1, 0, 1, 0]])
    assert agreement.tolist() == pytest.approx([0.5 + 0.5 * (1 / 2 + 2 / 3) / 2])
    # one tie holds both: from (0, 1) straight to (1, 1/2)
    assert p.auprc([[1.0, 1.0]], [[1, 0]]).tolist() == pytest.approx([0.75])
    assert p.auprc([[2.0, 1.0], [1.0, 2.0]], [[1, 0], [1, 0]]).tolist() == pytest.approx([1.0, 0.25])


@given(tokens)
@settings(max_examples=150, deadline=None)
def test_auprc_is_the_area_of_trapezoids_over_thresholds(rows):
    scores, marks = zip(*rows, strict=True)
    if not any(marks):
        return
    points = [(0.0, 1.0)]  # recall and precision of what scores at least the threshold
    for threshold in sorted(set(scores), reverse=True):
        taken = [mark for score, mark in rows if score >= threshold]
        points.append((sum(taken) / sum(marks), sum(taken) / len(taken)))
    area = sum((right[0] - left[0]) * (right[1] + left[1]) / 2 for left, right in itertools.pairwise(points))
    assert p.auprc([scores], [marks])[0] == pytest.approx(area, abs=1e-12)


def test_random_scores_come_near_the_share_of_marks():
    draw = np.random.default_rng(0)
    marks = np.zeros(200, dtype=int)
    marks[:40] = 1
    agreement = p.auprc(draw.normal(size=(300, 200)), [marks] * 300)
    assert agreement.mean() == pytest.approx(0.2, abs=0.03)


def test_token_f1_micro_and_macro_by_hand():
    # text 1: 1 of 2 right, 1 of 1 found, F1 2/3; text 2: 1 of 1 right, 1 of 3 found, F1 1/2; text 3: nothing right
    said = [[1, 1, 0, 0], [1, 0, 0], [0, 1]]
    true = [[1, 0, 0, 0], [1, 1, 1], [1, 0]]
    agreement = p.token_f1(said, true)
    assert (agreement.macro.precision, agreement.macro.recall) == pytest.approx(
        ((0.5 + 1 + 0) / 3, (1 + 1 / 3 + 0) / 3)
    )
    assert agreement.macro.f1 == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert (agreement.micro.precision, agreement.micro.recall) == pytest.approx((2 / 4, 2 / 5))
    assert agreement.micro.f1 == pytest.approx(2 * 0.5 * 0.4 / 0.9)
    assert p.token_f1([[0, 0]], [[1, 0]]).micro == p.OverlapScores(0.0, 0.0, 0.0)


@given(st.lists(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=8), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_token_f1_as_scikit_learn_has_it(texts):
    said, true = ([[pair[side] for pair in text] for text in texts] for side in (0, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        per_text = [metrics.f1_score(b, a, zero_division=0) for a, b in zip(said, true, strict=True)]
        micro = metrics.f1_score(sum(true, []), sum(said, []), zero_division=0)
    agreement = p.token_f1(said, true)
    assert agreement.macro.f1 == pytest.approx(np.mean(per_text))
    assert agreement.micro.f1 == pytest.approx(micro)


def test_iou_f1_by_hand():
    # text 1: [0, 4) against [2, 6): 2 / 6 fails; [8, 10) against [8, 11): 2 / 3 holds. text 2: 1 / 2 holds just so.
    said = [[(0, 4), (8, 10)], [(0, 2)]]
    true = [[(2, 6), (8, 11)], [(0, 1), (5, 6), (7, 8)]]
    agreement = p.iou_f1(said, true)
    assert (agreement.micro.precision, agreement.micro.recall) == pytest.approx((2 / 3, 2 / 5))
    assert agreement.micro.f1 == pytest.approx(2 * (2 / 3) * (2 / 5) / (2 / 3 + 2 / 5))
    precision, recall = (1 / 2 + 1) / 2, (1 / 2 + 1 / 3) / 2
    assert (agreement.macro.precision, agreement.macro.recall) == pytest.approx((precision, recall))
    assert agreement.macro.f1 == pytest.approx(2 * precision * recall / (precision + recall)), (
        "F1 of means, not mean of F1"
    )
    strict = p.iou_f1(said, true, threshold=0.7)
    assert strict.micro == p.OverlapScores(0.0, 0.0, 0.0)


def test_iou_f1_averages_over_texts_that_have_something():
    agreement = p.iou_f1([[(0, 1)], []], [[(0, 1)], [(0, 1)]])
    assert (agreement.macro.precision, agreement.macro.recall) == (1.0, 0.5)
    agreement = p.iou_f1([[(0, 1)], [(0, 1)]], [[(0, 1)], []])
    assert (agreement.macro.precision, agreement.macro.recall) == (0.5, 1.0)
    assert p.iou_f1([[(0, 1), (0, 1)]], [[(0, 1)]]).micro.precision == 1.0, "a span named twice counts once"


def test_spans_of_a_mask():
    assert p.mask_spans([1, 1, 0, 0, 1]) == ((0, 2), (4, 5))
    assert p.mask_spans([0, 0]) == ()
    assert p.mask_spans([True]) == ((0, 1),)


def test_hard_rationales_are_as_long_as_people_make_them():
    share = p.mean_rationale_share([[1, 0, 0, 0], [1, 1, 0, 0]])
    assert share == pytest.approx(0.375)
    assert p.hard_rationale([0.1, 0.4, 0.3, 0.2], share).tolist() == [False, True, True, False]  # ceil(1.5)
    assert p.hard_rationale([0.5, 0.5, 0.5], 0.1).tolist() == [True, False, False]
    assert p.hard_rationale([0.1] * 100, 0.07).sum() == 7


TEXT = "A truly bad film"
OFFSETS = [(None, None), (0, 1), (2, 5), (5, 7), (8, 11), (12, 16), (16, 16), (None, None)]


def test_character_rationales_mark_the_tokens_they_touch():
    assert p.rationale_mask(TEXT, OFFSETS, [(8, 11)]).nonzero()[0].tolist() == [4]
    assert p.rationale_mask(TEXT, OFFSETS, [(4, 9), (15, 16)]).nonzero()[0].tolist() == [2, 3, 4, 5]
    assert p.rationale_mask(TEXT, OFFSETS, [(5, 8)]).nonzero()[0].tolist() == [3], "ends are exclusive"
    assert not p.rationale_mask(TEXT, OFFSETS, []).any()


@pytest.mark.parametrize("span", [(8, 99), (-1, 3), (5, 5), (7, 2)])
def test_rationales_outside_the_text_are_refused(span):
    with pytest.raises(ValueError, match=r"spans\[0\] must lie in the text of 16 characters"):
        p.rationale_mask(TEXT, OFFSETS, [span])


def test_rationales_without_a_token_are_refused():
    with pytest.raises(ValueError, match=r"spans\[1\] must cover a token, got ' '"):
        p.rationale_mask(TEXT, OFFSETS, [(0, 1), (11, 12)])
    with pytest.raises(ValueError, match="was cut off"):
        p.rationale_mask(TEXT, OFFSETS[:4], [(8, 11)])


@pytest.mark.parametrize("metric", [p.auprc, p.token_f1, p.iou_f1])
def test_zero_texts_are_refused(metric):
    with pytest.raises(ValueError, match="one text"):
        metric([], [])


@pytest.mark.parametrize(
    ("metric", "inputs", "message"),
    [
        (p.mean_rationale_share, ([],), "at least one text"),
        (p.auprc, ([[1.0, 2.0]], [[0, 0]]), r"rationales\[0\] must mark at least one token"),
        (p.auprc, ([[1.0, math.nan]], [[0, 1]]), r"scores\[0\] must be finite"),
        (p.auprc, ([[1.0, 2.0]], [[0, 1, 1]]), r"scores\[0\] and rationales\[0\] must align, got 2 and 3"),
        (p.token_f1, ([[0, 1]], [[0, 2]]), r"rationales\[0\] must be \(n,\) of 0 and 1"),
        (p.iou_f1, ([[(0, 1)]], []), "one entry a text"),
        (p.iou_f1, ([[(2, 2)]], [[(0, 1)]]), r"predicted\[0\] must hold \[start, end\) token spans"),
        (p.iou_f1, ([[(0, 1)]], [[(0, 1)]], 0.0), "threshold must be in"),
        (p.hard_rationale, ([1.0], 0.0), "share must be in"),
    ],
)
def test_what_is_refused(metric, inputs, message):
    with pytest.raises(ValueError, match=message):
        metric(*inputs)
