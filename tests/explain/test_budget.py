# SPDX-License-Identifier: Apache-2.0
"""Explanations at a budget of further passes: exact, repeatable, equal in any batch, with errors that add up."""

from __future__ import annotations

from contextlib import suppress

import jsonschema
import numpy as np
import pytest
import torch

from helpers.families import train_heads
from helpers.games import shapley_of_model
from helpers.tiny import random_texts as texts
from helpers.tiny import tiny_bert, tiny_tokenizer
from mhex_nlp import Explanation, MhexConfig, MhexExplainer, fit_equivalent_matrices, get_mhex_model
from mhex_nlp.explain.json_form import explanation_schema

TOKENIZER = tiny_tokenizer()


def small_model(**options):
    """Weights so large that every word matters."""
    settings = {"num_labels": 2, "dropout": 0.0, "initializer_range": 0.3, **options}
    return get_mhex_model(tiny_bert(**settings).eval(), MhexConfig(gate=False))


@pytest.fixture(scope="module")
def explainer():
    model = train_heads(small_model())
    fit_equivalent_matrices(model, TOKENIZER, texts(300))
    return MhexExplainer(model, TOKENIZER)


def shapley(model, text: str, target: int) -> np.ndarray:
    return shapley_of_model(model, TOKENIZER, text, target)


def content(e) -> np.ndarray:
    return np.array([token.score for token in e.tokens if not token.special])


def test_a_budget_of_all_pairs_gives_the_shapley_values(explainer):
    e = explainer("the film was good and the plot", budget=126)
    np.testing.assert_allclose(content(e), shapley(explainer.model, e.text, e.target.id), atol=1e-5)
    assert e.passes == 127 and all(token.error == 0 for token in e.tokens)


def test_more_passes_come_closer(explainer):
    errors = []
    for budget in (0, 8, 32, 128):
        misses = [
            np.abs(content(e) - shapley(explainer.model, e.text, e.target.id)).mean()
            for e in explainer([t for t in texts(30, seed=3) if len(t.split()) == 9], budget=budget)
        ]
        errors.append(np.mean(misses))
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.5 * errors[0]


def test_scores_and_base_value_add_up_to_the_logit(explainer):
    for e in explainer(texts(8, seed=5), budget=8, classes="all"):
        with torch.no_grad():
            logits = explainer.model(**TOKENIZER(e.text, return_tensors="pt")).logits[0]
        assert e.base_value + e.sum == pytest.approx((logits[e.target.id] - logits.mean()).item(), abs=1e-4)
        assert all(token.score == token.error == 0 for token in e.tokens if token.special)
        np.testing.assert_allclose(e.class_scores[:, e.target.id], e.scores, atol=1e-5)


def test_no_budget_is_what_it_was(explainer):
    for one, other in zip(explainer(texts(8)), explainer(texts(8), budget=0, seed=3), strict=True):
        assert one.to_json() == other.to_json() and one.passes == 1 and one.covariance is None
        assert "passes" not in one.to_dict() and one.tokens[1].error is None


def test_alone_in_a_batch_and_again_it_is_the_same(explainer):
    several = texts(12, seed=4)
    together = explainer(several, budget=8)
    for e, text in zip(together, several, strict=True):
        alone = explainer(text, budget=8)
        np.testing.assert_allclose(alone.scores, e.scores, atol=1e-4 * max(1, np.abs(e.scores).max()))
        np.testing.assert_allclose([t.error for t in alone.tokens], [t.error for t in e.tokens], rtol=0.02, atol=1e-4)
    assert [e.to_json() for e in together] == [e.to_json() for e in explainer(several, budget=8)]
    assert together != explainer(several, budget=8, seed=1)
    assert [e.to_json() for e in explainer.stream(several, budget=8, batch_size=12, ids=map(str, range(12)))] == [
        e.to_json() for e in together
    ]


def test_errors_of_words_take_in_how_those_of_tokens_go_together(explainer):
    e = explainer("the film was goodness and dull and poor", budget=8)
    size = len(e.tokens)
    covariance = np.zeros((size, size))
    for row, values in enumerate(e.covariance):
        covariance[row, : row + 1] = covariance[: row + 1, row] = values
    np.testing.assert_allclose(covariance.diagonal() ** 0.5, [token.error for token in e.tokens], rtol=1e-3)
    for span in (*e.words(), *e.phrases(), *e.sentences()):
        weights = np.isin(np.arange(size), span.tokens).astype(float)
        assert span.error == pytest.approx(max(weights @ covariance @ weights, 0) ** 0.5, abs=1e-4)
    (sentence,) = e.sentences()
    assert sentence.error < 0.02 * max(word.error for word in e.words()), "the sum of all is known"
    assert Explanation.from_json(e.to_json()) == e
    jsonschema.validate(e.to_dict(), explanation_schema())


def test_intervals_hold_the_shapley_values(explainer):
    """Nine tenths are promised of the prior's own texts; a tiny model's are near enough to it."""
    held = []
    for e in explainer([t for t in texts(120, seed=6) if 6 <= len(t.split()) <= 10], budget=16):
        truth = shapley(explainer.model, e.text, e.target.id)
        errors = np.array([token.error for token in e.tokens if not token.special])
        held += list(np.abs(content(e) - truth) <= 1.645 * errors + 1e-9)
    assert 0.8 < np.mean(held) <= 1


@pytest.mark.parametrize("options", [{"foil": 1, "target": 0}, {"target": 1}, {}])
def test_targets_and_foils(explainer, options):
    text = "the film was good and the plot"
    e = explainer(text, budget=126, **options)
    truth = shapley(explainer.model, text, e.target.id) - (shapley(explainer.model, text, 1) if e.foil else 0)
    np.testing.assert_allclose(content(e), truth, atol=1e-5)
    errors = [[token.error for token in explainer(text, budget=8, **o).tokens] for o in (options, {"target": 0})]
    if e.foil:
        np.testing.assert_allclose(errors[0], 2 * np.array(errors[1]), rtol=1e-3)


def test_without_a_fit_the_heads_are_the_prior_and_the_model_is_explained(explainer):
    supervised = MhexExplainer(explainer.model, TOKENIZER, aggregation="mean")
    e = supervised("the film was good and the plot", budget=126)
    np.testing.assert_allclose(content(e), shapley(explainer.model, e.text, e.target.id), atol=1e-5)
    assert e.method.explains == "model" and e.method.aggregation == "mean" and e.heads is None
    assert supervised("the film was good").method.explains == "heads"


def test_pairs_windows_and_regression(explainer):
    e = explainer("the film was good", "and poor acting", budget=16)
    assert {token.sequence for token in e.tokens if token.error} == {0, 1}
    windowed = MhexExplainer(explainer.model, TOKENIZER, max_length=8, stride=2)
    long = windowed(" ".join(texts(4)), budget=8)
    assert long.windows > 1 and long.passes == 9 and all(t.error > 0 for t in long.tokens if not t.special)
    model = train_heads(small_model(num_labels=1, problem_type="regression"))
    fit_equivalent_matrices(model, TOKENIZER, texts(60))
    value = MhexExplainer(model, TOKENIZER)("the film was good", budget=4)
    assert value.base_value + value.sum == pytest.approx(value.prediction.value, abs=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 3}, "budget must be even, for passes come in pairs, got 3"),
        ({"budget": -2}, "budget must be an integer of at least 0"),
        ({"budget": 2.5}, "budget must be an integer"),
        ({"budget": 8, "layers": True}, "layers=True cannot be had with a budget"),
        ({"budget": 8, "seed": -1}, "seed must be an integer of at least 0"),
    ],
)
def test_bad_input(explainer, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        explainer("good film", **options)


def test_an_explanation_can_be_refined_later(explainer):
    for options in ({}, {"target": 1}, {"foil": 1, "target": 0}, {"classes": "all"}, {"text_pair": "very dull"}):
        one = explainer("the film was good", **options)
        refined = explainer.refine(one, budget=8, seed=2)
        assert refined == explainer("the film was good", **options, budget=8, seed=2, ids=[one.id])
        assert explainer.refine(refined, budget=8, seed=2) == refined
    batches = []
    hook = explainer.model.bert.register_forward_pre_hook(lambda *_: batches.append(1))
    several = [explainer("a film", target=target) for target in (0, 1, 0)] + [explainer("good", "film")]
    batches.clear()
    refined_list = explainer.refine(iter(several), budget=2)
    assert len(batches) == 3 * 2, "three groups in one go each: the pass with scores, and those of the budget"
    hook.remove()
    assert [(e.target.id, e.text) for e in refined_list] == [(e.target.id, e.text) for e in several]
    again = explainer.refine([one, one], budget=8, seed=2)
    np.testing.assert_allclose(again[1].scores, refined.scores, atol=1e-4)


def test_explanations_of_others_are_not_refined(explainer):
    other = train_heads(small_model(initializer_range=0.2))
    fit_equivalent_matrices(other, TOKENIZER, texts(60))
    e = MhexExplainer(other, TOKENIZER)("the film was good")
    with pytest.raises(ValueError, match="explanation must be of the explainer's own model and weights"):
        explainer.refine(e, budget=8)
    with pytest.raises(ValueError, match="budget must be at least 2 to refine, got 0"):
        explainer.refine(explainer("good film"), budget=0)
    with pytest.raises(TypeError, match="explanation must be an Explanation"):
        explainer.refine("good film", budget=8)


def test_datasets_and_jobs_take_a_budget(explainer, tmp_path, capsys):
    from datasets import Dataset

    from mhex_nlp import highlight_dataset
    from mhex_nlp.cli import main
    from mhex_nlp.corpus.jsonl import read_explanations

    several = texts(6, seed=8)
    expected = explainer(several, budget=8, seed=1)
    rows = highlight_dataset(
        Dataset.from_dict({"text": several}), explainer, text_column="text", unit="tokens", budget=8, seed=1
    )
    shards = [Dataset.from_dict({"text": several}).shard(2, index, contiguous=True) for index in range(2)]
    parts = [highlight_dataset(shard, explainer, budget="auto", tolerance=0.1, seed=1) for shard in shards]
    whole = highlight_dataset(Dataset.from_dict({"text": several}), explainer, budget="auto", tolerance=0.1, seed=1)
    for row, other in zip(whole, (row for part in parts for row in part), strict=True):
        assert row["mhex_spans"] == other["mhex_spans"]
        np.testing.assert_allclose(row["mhex_scores"], other["mhex_scores"], atol=1e-3)
    for row, e in zip(rows, expected, strict=True):
        scores = [token.score for token in e.tokens if not token.special]
        np.testing.assert_allclose(row["mhex_scores"], scores, atol=1e-4 * max(1, np.abs(scores).max()))
    explainer.model.save_pretrained(tmp_path / "model")
    explainer.tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "rows.txt").write_text("\n".join(several) + "\n")
    command = [
        "highlight",
        "--model",
        str(tmp_path / "model"),
        "--data",
        str(tmp_path / "rows.txt"),
        "--format",
        "jsonl",
    ]
    command += ["--output", str(tmp_path / "out"), "--budget", "8", "--seed"]
    assert main([*command, "1"]) == 0 and main([*command, "1"]) == 0
    for written, e in zip(read_explanations(tmp_path / "out"), expected, strict=True):
        assert written.passes == 9 and written.covariance is not None
        np.testing.assert_allclose(written.scores, e.scores, atol=1e-4 * max(1, np.abs(e.scores).max()))
    assert main([*command, "2"]) == 2, "another seed is another job"
    command[-2:] = ["auto", "--seed", "1", "--tolerance"]
    assert main([*command, "0.2"]) == 2, "and so is another budget"
    command[command.index("--output") + 1] = str(tmp_path / "auto")
    assert main([*command, "0.2"]) == 0 and main([*command, "0.3"]) == 2
    expected = explainer(several, budget="auto", tolerance=0.2, seed=1)
    assert [e.passes for e in read_explanations(tmp_path / "auto")] == [e.passes for e in expected]
    for wrong, sentence in (("1.5", "tolerance must be a number"), ("x", "invalid float value")):
        with suppress(SystemExit):  # of argparse
            assert main([*command, wrong]) == 2
        assert sentence in capsys.readouterr().err
