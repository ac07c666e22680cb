# SPDX-License-Identifier: Apache-2.0
"""`budget="auto"`: spends what the leading words of each text need, never twice on one answer, and says how it went."""

from __future__ import annotations

import jsonschema
import numpy as np
import pytest
from scipy import stats

from helpers.families import train_heads
from helpers.games import shapley_of_model
from helpers.tiny import random_texts as texts
from helpers.tiny import tiny_bert, tiny_tokenizer
from mhex_nlp import Explanation, MhexConfig, MhexExplainer, fit_equivalent_matrices, get_mhex_model
from mhex_nlp.explain.json_form import explanation_schema
from mhex_nlp.explain.refinement import chosen_pairs
from mhex_nlp.explain.rounds import nested_pairs, ranking_chance
from mhex_nlp.models.perturbed import PerturbedModel

TOKENIZER = tiny_tokenizer()


@pytest.fixture(scope="module")
def explainer():
    """Of weights so large that every word matters."""
    plain = tiny_bert(num_labels=2, dropout=0.0, initializer_range=0.3).eval()
    model = train_heads(get_mhex_model(plain, MhexConfig(gate=False)))
    fit_equivalent_matrices(model, TOKENIZER, texts(300))
    return MhexExplainer(model, TOKENIZER)


def test_what_is_settled_is_right(explainer):
    """Against the Shapley values of all subsets: the leading words stand in their true order, near ties apart."""
    explanations = explainer([t for t in texts(120, seed=6) if 6 <= len(t.split()) <= 10], budget="auto")
    right = []
    for e in explanations:
        if e.settled:
            true = shapley_of_model(explainer.model, TOKENIZER, e.text, e.target.id)
            shown = np.array([token.score for token in e.tokens if not token.special])
            order = np.argsort(-np.abs(shown))
            leading = np.abs(shown)[order] >= 0.25 * np.abs(shown).max()
            sizes = np.abs(true)[order]
            later = [sizes[place:].max() for place in range(len(sizes))]
            level = 0.1 * sizes.max()
            right.append(all(sizes[i] + level >= later[i] for i in range(min(3, leading.sum()))))
    assert len(right) > 30 and np.mean(right) >= 0.9
    assert len({e.passes for e in explanations}) > 2


def test_it_is_the_prefix_of_the_largest_budget_and_nothing_is_asked_twice(explainer, monkeypatch):
    asked: list[bytes] = []
    run = PerturbedModel.run

    def counted(self, batch, **options):
        asked.extend(row["input_ids"].numpy().tobytes() for row in batch)
        return run(self, batch, **options)

    monkeypatch.setattr(PerturbedModel, "run", counted)
    several = [" ".join([text] * 2) for text in texts(12, seed=4)]  # no two masked alike
    explanations = explainer(several, budget="auto", tolerance=1e-6)
    assert len(asked) == len(set(asked))
    lengths = {len(TOKENIZER(text)["input_ids"]) for text in several}
    assert len(asked) <= sum(e.passes - 1 for e in explanations) + len(lengths)
    for e in explanations:
        if not e.settled and e.passes == 129:
            np.testing.assert_allclose(e.scores, explainer(e.text, budget=128).scores, atol=1e-4)
            assert e.notes[-1] == "After 128 further passes the ranking of the leading words is still open."
        else:
            assert e.settled or e.passes == 2 ** (len(e.tokens) - 2) - 1


def test_alone_in_a_batch_streamed_and_again_it_is_the_same(explainer):
    several = texts(12, seed=4)
    together = explainer(several, budget="auto", seed=3)
    for e, text in zip(together, several, strict=True):
        alone = explainer(text, budget="auto", seed=3)
        assert (alone.passes, alone.settled) == (e.passes, e.settled)
        np.testing.assert_allclose(alone.scores, e.scores, atol=1e-4 * max(1, np.abs(e.scores).max()))
    assert together == explainer(several, budget="auto", seed=3)
    assert together == list(explainer.stream(several, budget="auto", seed=3, ids=map(str, range(12))))
    assert together != explainer(several, budget="auto", seed=4)
    refined = explainer.refine(explainer(several), budget="auto", seed=3)
    assert refined == together


def test_tolerance_and_max_budget(explainer):
    several = texts(20, seed=5)
    spent = [
        sum(e.passes for e in explainer(several, budget="auto", **options))
        for options in ({"tolerance": 0.5}, {"tolerance": 0.05}, {"tolerance": 0.001})
    ]
    assert spent == sorted(spent) and spent[0] < spent[-1]
    assert max(e.passes for e in explainer(several, budget="auto", max_budget=10)) == 11
    assert {e.passes for e in explainer(several, budget="auto", max_budget=2)} <= {1, 3}


def test_json_pairs_windows_foils_and_supervised_maps(explainer):
    e = explainer("the film was good", "and poor acting", budget="auto", foil=1, target=0)
    jsonschema.validate(e.to_dict(), explanation_schema())
    assert Explanation.from_json(e.to_json()) == e and isinstance(e.settled, bool)
    assert "settled" not in explainer("good film", budget=2).to_dict()
    windowed = MhexExplainer(explainer.model, TOKENIZER, max_length=8, stride=2)
    long = windowed(" ".join(texts(4)), budget="auto", max_budget=32)
    fixed = windowed(long.text, budget=long.passes - 1)
    assert long.windows > 1 and 9 <= long.passes <= 33
    if long.passes == 33:
        np.testing.assert_allclose(long.scores, fixed.scores, atol=1e-4)
    supervised = MhexExplainer(explainer.model, TOKENIZER, aggregation="mean")("the film was good", budget="auto")
    assert supervised.method.explains == "model" and supervised.passes > 1


def test_the_windows_of_a_text_need_not_predict_what_the_text_does(explainer):
    """A foil that a window alone predicts is no foil that the model predicts."""
    windowed = MhexExplainer(explainer.model, TOKENIZER, max_length=8, stride=2)
    for text in [" ".join(texts(4, seed=seed)) for seed in range(6)]:
        other = 1 - windowed(text).target.id
        assert windowed(text, foil=other, budget="auto", max_budget=8).foil.id == other


@pytest.mark.parametrize("tokens", [2, 3, 5, 7, 8, 12])
def test_pairs_are_nested_and_all_there_where_all_are_asked(tokens):
    pairs = nested_pairs(tokens, 64, seed=0)
    expected = chosen_pairs(tokens, 64, seed=0)
    assert {row.tobytes() for row in pairs} == {row.tobytes() for row in expected} and len(pairs) == len(expected)
    if tokens == 7:  # the first of them say more than those with the lowest numbers
        left = [np.linalg.det(x.T @ x + np.eye(7)) for x in (2.0 * pairs[:8] - 1, 2.0 * expected[:8] - 1)]
        assert left[0] > 2 * left[1]


def test_the_chance_of_a_ranking():
    scores = np.array([0.1, -2.0, 1.0, 0.2])
    assert ranking_chance(scores, np.zeros((4, 4)), 5, 0) == 1
    assert ranking_chance(scores[:1], np.eye(1), 5, 0) == 1
    unsure = ranking_chance(scores, np.eye(4), 5, 0)
    assert 0.1 < unsure < ranking_chance(scores, 0.1 * np.eye(4), 5, 0) < 0.99
    assert unsure == ranking_chance(scores, np.eye(4), 5, 0)
    assert unsure == pytest.approx(ranking_chance(scores, np.eye(4), 5, 1), abs=0.06)
    two = ranking_chance(np.array([1.0, 0.6]), 0.05 * np.eye(2), 1e6, 0)
    assert two == pytest.approx(stats.norm.cdf((0.4 + 0.1) / 0.1**0.5), abs=0.03)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": "auto", "tolerance": 0}, "tolerance must be a number between 0 and 1, got 0"),
        ({"budget": "auto", "tolerance": 1.5}, "tolerance must be a number between 0 and 1, got 1.5"),
        ({"budget": "auto", "tolerance": float("nan")}, "tolerance must be a number between 0 and 1, got nan"),
        ({"budget": "auto", "tolerance": "little"}, "tolerance must be a number between 0 and 1, got 'little'"),
        ({"budget": 8, "tolerance": 0.1}, "tolerance is for budget='auto', got tolerance=0.1 with budget=8"),
        ({"tolerance": 0.1}, "tolerance is for budget='auto', got tolerance=0.1 with budget=0"),
        ({"budget": 8, "max_budget": 16}, "max_budget is for budget='auto', got max_budget=16 with budget=8"),
        ({"budget": "auto", "max_budget": 7}, "max_budget must be even, for passes come in pairs, got 7"),
        ({"budget": "auto", "max_budget": 0}, "max_budget must be an integer of at least 2, got 0"),
        ({"budget": "much"}, "budget must be an integer of at least 0, or 'auto', got 'much'"),
        ({"budget": "auto", "layers": True}, "layers=True cannot be had with a budget"),
    ],
)
def test_bad_input(explainer, options, message):
    with pytest.raises(ValueError, match=message):
        explainer("good film", **options)
    with pytest.raises(ValueError, match=message):
        explainer.stream(["good film"], **options)
    if "layers" not in options and "budget" in options:
        with pytest.raises(ValueError, match=message):
            explainer.refine(explainer("good film"), **options)
