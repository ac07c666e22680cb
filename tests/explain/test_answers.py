# SPDX-License-Identifier: Apache-2.0
"""Questions and contexts to explanations of answers, on tiny readers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.placed import CONTEXT, QUESTION, TOKENIZER, fitted, placed_model, raw_logits
from mhex_nlp.explain.answers import AnswerFinder, MhexAnswerExplainer
from mhex_nlp.explain.explanation import Explanation
from mhex_nlp.explain.places import Reading

PAIRS = [
    (QUESTION, CONTEXT),
    ("what was lovely", "zebra film , film . 北京 was lovely 👍🏽 and\n the plot very dull"),
    ("a", "film"),
]


@pytest.fixture(scope="module")
def model():
    return fitted(placed_model("answer"))


@pytest.fixture(scope="module")
def explainer(model):
    return MhexAnswerExplainer(model, TOKENIZER)


def best_span(logits, explanation, longest=30):
    """The span of context tokens with the largest sum of start and end logit, looked for one by one."""
    context = [index for index, token in enumerate(explanation.tokens) if token.sequence == 1]
    spans = [(i, j) for i in context for j in context if i <= j < i + longest]
    return max(spans, key=lambda span: float(logits[span[0], 0] + logits[span[1], 1]))


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "electra", "modernbert"])
def test_completeness_offsets_and_batches(family):
    """I2, I3 and I5: the start and the end logit, less their means over the text, in any batch."""
    model = fitted(placed_model("answer", family=family))
    questions, contexts = zip(*PAIRS, strict=True)
    together = MhexAnswerExplainer(model, TOKENIZER)(questions, contexts, classes="all")
    small = MhexAnswerExplainer(model, TOKENIZER, batch_tokens=4)
    for one, (question, context) in zip(together, PAIRS, strict=True):
        logits = raw_logits(model, question, context)
        start, end = best_span(logits, one)
        assert one.place.text == context[one.place.start : one.place.end] and one.place.label == "answer"
        assert one.place.tokens == tuple(range(start, end + 1)) and one.place.sequence == 1
        assert (one.tokens[start].start, one.tokens[end].end) == (one.place.start, one.place.end)
        scale = 1 + sum(abs(token.score) for token in one.tokens)
        expected = float(logits[start, 0] + logits[end, 1])
        assert one.base_value + one.sum == pytest.approx(expected, abs=1e-5 * scale)
        chance = logits.softmax(0)
        assert one.probability == pytest.approx(float(chance[start, 0] * chance[end, 1]), abs=1e-5)
        whole, begin, stop = one.class_scores.T
        np.testing.assert_allclose(begin + stop, whole, atol=1e-5 * scale)
        alone = small(question, context)
        np.testing.assert_allclose(alone.scores, one.scores, rtol=0, atol=1e-5 * scale)
        assert alone.place == one.place and Explanation.from_json(one.to_json()) == one


def test_parts_of_an_answer(model, explainer):
    both, start, end = (explainer(QUESTION, CONTEXT, parts=parts) for parts in ("both", "start", "end"))
    assert [one.target.label for one in (both, start, end)] == ["answer", "start", "end"]
    np.testing.assert_allclose(start.scores + end.scores, both.scores, atol=1e-5)
    assert start.base_value + end.base_value == pytest.approx(both.base_value, abs=1e-4)
    logits = raw_logits(model, QUESTION, CONTEXT)
    assert start.base_value + start.sum == pytest.approx(float(logits[both.place.tokens[0], 0]), abs=1e-4)


def test_a_given_span(model, explainer):
    one = explainer(QUESTION, CONTEXT, at=(4, 12))
    assert one.place.text == "film was" and one.place.sequence == 1
    logits = raw_logits(model, QUESTION, CONTEXT)
    expected = float(logits[one.place.tokens[0], 0] + logits[one.place.tokens[-1], 1])
    assert one.base_value + one.sum == pytest.approx(expected, abs=1e-4)


def test_windows(model):
    """The answer is the most probable one of all windows, and explained by its window's tokens alone."""
    explainer = MhexAnswerExplainer(model, TOKENIZER, max_length=16, stride=4)
    one = explainer(QUESTION, CONTEXT)
    (item,) = explainer.tokenise([QUESTION], [CONTEXT])
    assert one.windows == len(item.windows) > 1 and "Read in" in one.notes[0]
    chances = []
    for window in item.windows:
        with torch.no_grad():
            output = model(**{name: value[None] for name, value in window.features.items()})
        start, end = output.start_logits[0].softmax(-1), output.end_logits[0].softmax(-1)
        context = [i for i, sequence in enumerate(window.encoding.sequence_ids) if sequence == 1]
        chances.append(max(float(start[i] * end[j]) for i in context for j in context if i <= j < i + 30))
    assert one.probability == pytest.approx(max(chances), abs=1e-6)
    inside = set(item.windows[int(np.argmax(chances))].positions.tolist())
    assert {index for index, token in enumerate(one.tokens) if token.score} <= inside
    refined = explainer.refine(one, budget=8)
    assert refined.place == one.place and refined.passes == 9 and refined.misfit == pytest.approx(0, abs=1e-4)


def test_budgets(model, explainer):
    before = explainer([QUESTION] * 2, [CONTEXT] * 2, parts="start")
    after = explainer.refine(before, budget=8)
    again = explainer(QUESTION, CONTEXT, parts="start", budget=8)
    for one in after:
        np.testing.assert_allclose(one.scores, again.scores, atol=1e-5)
        assert one.target.label == "start" and all(token.error is not None for token in one.tokens)
    assert explainer(QUESTION, CONTEXT, budget="auto", max_budget=16).settled is not None
    assert explainer.judge([QUESTION], [CONTEXT], masks=8).texts == 1
    streamed = list(explainer.stream([QUESTION], [CONTEXT], ids=["x"], parts="start"))
    assert [one.id for one in streamed] == ["x"] and streamed[0].scores == pytest.approx(before[0].scores, abs=1e-5)


def test_the_longest_answer(model):
    logits = raw_logits(model, QUESTION, CONTEXT)
    for longest in (1, 2):
        one = MhexAnswerExplainer(model, TOKENIZER, longest_answer=longest)(QUESTION, CONTEXT)
        assert one.place.tokens == tuple(
            range(best_span(logits, one, longest)[0], best_span(logits, one, longest)[1] + 1)
        )
        assert len(one.place.tokens) <= longest


def test_no_answer_is_a_note(explainer):
    """Readers trained on SQuAD 2.0 say at the first token that there is none."""
    (item,) = explainer.tokenise([QUESTION], [CONTEXT])
    for first, notes in ((5.0, 1), (-5.0, 0)):
        logits = torch.zeros(len(item), 2)
        logits[0] = first
        logits[9, 0], logits[10, 1] = 4, 4
        (choice,) = AnswerFinder(item, explainer.request(), 30).choose([Reading(logits, {}, None)])
        assert choice.place.tokens == (9, 10) and choice.parts[0].reads == (9, 10)
        assert len(choice.answer.notes) == notes


@pytest.mark.parametrize(
    ("question", "context", "options", "error", "message"),
    [
        (QUESTION, " ", {}, ValueError, r"context must hold at least one character|context\[0\] must hold"),
        ("", CONTEXT, {}, ValueError, "question must hold at least one character"),
        (QUESTION, None, {}, TypeError, "context must be a string"),
        ([QUESTION], [CONTEXT] * 2, {}, ValueError, "contexts must have one entry for each of the 1 texts"),
        (QUESTION, CONTEXT, {"at": (80, 90)}, ValueError, "at must be a span of the context of question"),
        (QUESTION, CONTEXT, {"at": "all"}, ValueError, "at must be None or one span"),
        (
            QUESTION,
            CONTEXT,
            {"parts": "middle"},
            ValueError,
            "parts must be one of 'both', 'start', 'end', got 'middle'",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(explainer, question, context, options, error, message):
    with pytest.raises(error, match=message):
        explainer(question, context, **options)


def test_an_answer_has_no_foil(explainer):
    with pytest.raises(ValueError, match="foil must be left out for answers"):
        explainer.request(foil="start")
    with pytest.raises(ValueError, match="the model is not fitted"):
        MhexAnswerExplainer(placed_model("answer"), TOKENIZER)(QUESTION, CONTEXT, budget=0)
