# SPDX-License-Identifier: Apache-2.0
"""The comparison: figures against metrics asked by hand, intervals, reruns, what is left out, what is refused."""

from __future__ import annotations

import itertools
import json
from dataclasses import astuple

import numpy as np
import pytest

from helpers.extras import needs
from helpers.families import plain_model, train_heads
from helpers.tiny import GOOD, tiny_texts, tiny_tokenizer
from mhex_nlp import get_mhex_model
from mhex_nlp.evaluation.benchmark import (
    AttributionMethod,
    OwnMeasure,
    evaluate_explanations,
    study,
    write_evaluation,
)
from mhex_nlp.evaluation.benchmark.cost import Meter
from mhex_nlp.evaluation.benchmark.measures import MEASURES, faithfulness_columns, plausibility_columns, unit_marks
from mhex_nlp.evaluation.benchmark.methods import METHODS, available_methods
from mhex_nlp.evaluation.intervals import f1_of, interval, mean_of, paired_interval
from mhex_nlp.evaluation.metrics.games import removal_masks
from mhex_nlp.evaluation.metrics.perturbation import bin_counts
from mhex_nlp.evaluation.metrics.plausibility import iou_f1, mask_spans
from mhex_nlp.evaluation.model_values import ModelValues, perturb
from mhex_nlp.explain.bootstrap import bootstrap, percentile_interval

TEXTS = tiny_texts(8)[0]
QUICK = {"reference_permutations": 8, "steps": 4, "permutations": 4}


@pytest.fixture(scope="module")
def model():
    plain = plain_model("bert", id2label={0: "bad", 1: "fair", 2: "good"})
    return train_heads(get_mhex_model(plain, {"gate": False}))


@pytest.fixture(scope="module")
def report(model):
    spans = [[(text.index(word), text.index(word) + len(word)) for word in GOOD if word in text] for text in TEXTS]
    assert sum(map(bool, spans)) >= 2 and not all(spans)
    return evaluate_explanations(model, tiny_tokenizer(), [*TEXTS, "good"], rationales=[*spans, []], **QUICK)


def test_figures_are_the_metrics(model, report):
    """Leave one out, measured by hand with the metrics' own functions."""
    values = ModelValues(model, tiny_tokenizer())
    texts = [values.of(text) for text in TEXTS]
    targets = [text.predicted() for text in texts]
    scores = available_methods(values, None, ["leave_one_out"])[0].explain(texts, targets)
    perturbed = perturb(texts, scores, targets)
    row = report.method("leave_one_out").figures
    assert row["comprehensiveness"].value == pytest.approx((perturbed.full[:, None] - perturbed.without).mean())
    assert row["sufficiency"].value == pytest.approx((perturbed.full[:, None] - perturbed.only).mean())
    assert row["log_odds"].value == pytest.approx(np.log(perturbed.without[:, 3] / perturbed.full).mean())
    assert row["kendall_leave_one_out"].value == 1
    steps = [step / 10 for step in range(1, 10)]
    curve = perturb(texts, scores, targets, steps)
    assert row["aopc"].value == pytest.approx((curve.full[:, None] - curve.without).mean())


def test_random_scores_are_as_good_as_all_orders():
    """Comprehensiveness of random scores comes near its mean over every order of a small text."""
    values = ModelValues(plain_model("bert"), tiny_tokenizer())
    text = values.of("the good film was bad")
    target = text.predicted()
    orders = np.stack([removal_masks(order) for order in itertools.permutations(range(text.n))])  # (n!, n + 1, n)
    kept = [orders[:, count] for count in bin_counts(text.n)]
    value = text.value(target)
    full = value(np.ones((1, text.n), dtype=bool))[0]
    expected = np.mean([full - np.asarray(value(rows)).mean() for rows in kept])
    draws = []
    for seed in range(200):
        scores = available_methods(values, None, ["random"], seed=seed)[0].explain([text], [target])
        columns = faithfulness_columns([text], scores, [target], scores, None)
        draws.append(columns["comprehensiveness"][0, 0])
    error = np.std(draws) / np.sqrt(len(draws))
    assert np.mean(draws) == pytest.approx(expected, abs=4 * error) and error < 0.3 * abs(expected)


def test_the_report_says_what_was_left_out(model, report):
    assert (report.texts, report.left_out, report.cut) == (8, 1, 0)
    assert 2 <= report.plausibility_texts < 8
    assert report.notes == (
        "mhex_fitted was left out: the model has no fit; `mhex fit` (fit_equivalent_matrices) makes one.",
    )
    assert report.compared_with == "mhex_supervised"
    assert report.explained == "centred logit of the predicted class"
    assert all(set(method.figures) == set(MEASURES) for method in report.methods)
    assert report.reliability is not None and report.reliability.value > 0.5
    with pytest.raises(ValueError, match="name must be one of mhex_supervised"):
        report.method("lime")


def test_differences_are_paired(report):
    mhex, other = report.method("mhex_supervised"), report.method("leave_one_out")
    assert not mhex.differences
    for key, difference in other.differences.items():
        assert difference.value == pytest.approx(other.figures[key].value - mhex.figures[key].value)
        assert difference.low <= difference.value <= difference.high


def test_costs_count_the_rows(report):
    rows = {method.name: method.cost.rows_per_text for method in report.methods}
    assert rows["random"] == 0 and rows["mhex_supervised"] == rows["attention"] == rows["gradient_norm"] == 1
    assert rows["integrated_gradients"] == QUICK["steps"]
    assert rows["leave_one_out"] == pytest.approx(np.mean([len(text.split()) + 1 for text in TEXTS]))
    assert all(method.cost.seconds_per_text > 0 for method in report.methods if method.name != "random")


def test_reruns_are_identical_and_the_model_is_left_alone(model, tmp_path):
    names = ["mhex_supervised", "random", "rollout", "shapley"]
    before = model.config._attn_implementation
    runs = [
        evaluate_explanations(model, tiny_tokenizer(), TEXTS, methods=names, unit="words", **QUICK) for _ in range(2)
    ]
    assert model.config._attn_implementation == before and not model.training
    plain = [run.to_dict() for run in runs]
    for run in plain:
        for method in run["methods"]:
            del method["cost"]
    assert plain[0] == plain[1]
    pictures = [write_evaluation(run, tmp_path / str(index)) for index, run in enumerate(runs)]
    for one, other in zip(pictures[0][2:], pictures[1][2:], strict=True):  # PNG and SVG
        assert one.read_bytes() == other.read_bytes()


def test_a_comparison_that_was_stopped_goes_on_where_it_was(model, tmp_path):
    """After two of four methods: the same figures, and neither the references nor those two are made again."""
    names, kept = ["mhex_supervised", "random", "leave_one_out", "shapley"], tmp_path / "kept.json"
    whole = evaluate_explanations(model, tiny_tokenizer(), TEXTS, methods=names, **QUICK)
    done = []

    def stop(what, report):
        done.append(what)
        if len(done) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_explanations(model, tiny_tokenizer(), TEXTS, methods=names, keep=kept, on_progress=stop, **QUICK)
    assert done == ["references", "MHEX, supervised", "random"] and kept.is_file()
    made = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "leave_one_out", lambda *arguments: pytest.fail("the references are made again"))
        patch.setattr(Meter, "__enter__", lambda self, enter=Meter.__enter__: (made.append(1), enter(self))[1])
        rest = evaluate_explanations(model, tiny_tokenizer(), TEXTS, methods=names, keep=kept, **QUICK)
    assert len(made) == 2 and not kept.exists()
    for one, other in zip(whole.methods, rest.methods, strict=True):
        assert one.name == other.name and one.figures.keys() == other.figures.keys()
        for key, figure in one.figures.items():  # in other batches, which round otherwise
            assert astuple(figure) == pytest.approx(astuple(other.figures[key]), rel=1e-4, abs=1e-6)
    kept.write_text('{"schema": "another"}')
    evaluate_explanations(model, tiny_tokenizer(), TEXTS, methods=["random"], keep=kept, **QUICK)
    with pytest.raises(KeyboardInterrupt):
        done.clear()
        evaluate_explanations(model, tiny_tokenizer(), TEXTS, methods=names, keep=kept, on_progress=stop, **QUICK)
    more = evaluate_explanations(model, tiny_tokenizer(), TEXTS[:7], methods=names, keep=kept, **QUICK)
    assert more.texts == 7, "what is kept is of other texts"


def test_methods_and_figures_of_ones_own(model, tmp_path):
    def by_length(texts, targets):
        lengths = [np.array([len(text.item.text[token.start : token.end]) for token in text.tokens]) for text in texts]
        return [row[~text.fixed.numpy()] for row, text in zip(lengths, texts, strict=True)]

    def units(texts, scores, targets):
        assert [len(row) for row in scores] == [text.n for text in texts]
        return [float(text.n) for text in texts]

    own = AttributionMethod("length", "length of the token", by_length)
    report = evaluate_explanations(
        model,
        tiny_tokenizer(),
        TEXTS,
        methods=["random", own],
        metrics={"units": units, "half": OwnMeasure(lambda *_: [0.5] * 8, better="lower", title="a half", digits=1)},
        **QUICK,
    )
    assert [method.name for method in report.methods] == ["random", "length"]
    figures = report.method("length").figures
    mean = np.mean([text.n for text in map(ModelValues(model, tiny_tokenizer()).of, TEXTS)])
    assert figures["units"].value == mean and figures["half"].value == 0.5
    write_evaluation(report, tmp_path)
    page = (tmp_path / "evaluation.md").read_text("utf-8")
    assert "| length of the token" in page and "units ↑" in page and "a half ↓" in page and "0.5 [0.5, 0.5]" in page


def test_files(report, tmp_path):
    written = write_evaluation(report, tmp_path / "out")
    assert [path.name for path in written] == [f"evaluation.{kind}" for kind in ("md", "json", "png", "svg")]
    data = json.loads(written[1].read_text("utf-8"))
    assert data["schema"] == "mhex-evaluation/1" and len(data["methods"]) == len(report.methods)
    page = written[0].read_text("utf-8")
    for sentence in ("1 more have a single one and were left out", "## Plausibility", "## Differences", "`mhex fit`"):
        assert sentence in page
    assert all(f"| {method.label} " in page for method in report.methods)
    assert written[2].read_bytes().startswith(b"\x89PNG")
    picture = written[3].read_text("utf-8")
    assert "<svg" in picture and "<dc:date>" not in picture
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="output must be a folder"):
        write_evaluation(report, tmp_path / "file")


def test_a_plain_model_without_references():
    report = evaluate_explanations(
        plain_model("bert"),
        tiny_tokenizer(),
        TEXTS[:3],
        TEXTS[3:6],
        methods=None,
        reference_permutations=0,
        steps=2,
        removal="deletion",
    )
    assert report.compared_with is None and report.reliability is None and report.removal == "deletion"
    assert "spearman_shapley" not in report.methods[0].figures and not report.methods[0].differences
    assert sum("`mhex fit`" in note for note in report.notes) == 2


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"texts": "good film"}, TypeError, "texts must be a list of strings, got one string"),
        (
            {"texts": ["good", "bad", "good film"]},
            ValueError,
            "at least two of more than one of the tokens, got 1 .* 3",
        ),
        ({"texts": []}, ValueError, "got 0 such among 0"),
        ({"texts": ["good film", " "]}, ValueError, r"texts\[1\] must hold at least one character"),
        ({"text_pairs": ["one"]}, ValueError, "text_pairs must have one entry for each of the 8 texts, got 1"),
        ({"rationales": [[(0, 1)]]}, ValueError, "rationales must have one entry for each of the 8 texts, got 1"),
        ({"rationales": [[(0, 999)]] * 8}, ValueError, r"rationales\[0\]: spans\[0\] must lie in the text"),
        ({"rationales": [[3]] * 8}, ValueError, r"rationales\[0\] must be a list of \[start, end\) pairs"),
        ({"rationales": [[]] * 8}, ValueError, "rationales must mark something in at least two of the texts"),
        ({"rationales": [[]] * 8, "text_pairs": TEXTS}, ValueError, "rationales must be left out for pairs"),
        ({"methods": ["magic"]}, ValueError, "got 'magic'"),
        ({"methods": ["mhex_fitted"]}, ValueError, "the model has no fit"),
        ({"seed": -1}, ValueError, "seed must be an integer of at least 0, got -1"),
        ({"random_seeds": 0}, ValueError, "random_seeds must be an integer of at least 1, got 0"),
        ({"reference_permutations": 6}, ValueError, "must be 0 or a multiple of 4, got 6"),
        ({"removal": "burn"}, ValueError, "removal must be one of"),
        ({"unit": "letters"}, ValueError, "unit must be 'tokens' or 'words'"),
        ({"budget": 3}, ValueError, "budgets must be some of"),
        (
            {"methods": [AttributionMethod("random", "mine", print)]},
            ValueError,
            "methods must have names of their own, got 'random' for one of yours",
        ),
        ({"metrics": {"aopc": len}}, ValueError, "metrics must have names of their own, got 'aopc'"),
        ({"metrics": {"mine": 3}}, ValueError, r"metrics\['mine'\] must be a function or an OwnMeasure, got int"),
        (
            {"metrics": {"mine": lambda *_: [1.0]}, "methods": ["random"]},
            ValueError,
            r"metrics\['mine'\] must give a finite number for each of 8 texts, got shape \(1,\)",
        ),
    ],
)
def test_bad_input(model, change, error, message):
    arguments = {"texts": TEXTS, **QUICK, **change}
    with pytest.raises(error, match=message):
        evaluate_explanations(model, tiny_tokenizer(), **arguments)


def test_regression_is_refused():
    with pytest.raises(ValueError, match="model must be a classifier, got a regression model"):
        evaluate_explanations(plain_model("bert", num_labels=1), tiny_tokenizer(), TEXTS)


def test_all_methods_at_once(model):
    needs("captum", "lime", "shap")
    small = {"shap_evaluations": 30, "kernel_samples": 20, "lime_samples": 20}
    report = evaluate_explanations(model, tiny_tokenizer(), TEXTS[:3], methods="all", **QUICK, **small)
    assert {method.name for method in report.methods} == set(METHODS) - {"mhex_fitted"}


def test_intervals():
    """The mean's interval is that of the normal; a paired difference that is constant has no width."""
    values = np.random.default_rng(0).normal(size=(400, 1))
    mean = interval(values, mean_of, 2000, seed=1)
    assert mean.value == pytest.approx(values.mean())
    width = 2 * 1.96 * values.std() / np.sqrt(len(values))
    assert mean.high - mean.low == pytest.approx(width, rel=0.08)
    difference = paired_interval(values + 2, values, mean_of, 500, seed=1)
    assert difference.low == pytest.approx(2) and difference.high == pytest.approx(2)


@pytest.mark.parametrize("columns", [np.zeros((1, 1)), np.full((3, 1), np.nan)])
def test_columns_without_an_interval_are_refused(columns):
    with pytest.raises(ValueError, match="columns must be"):
        interval(columns, mean_of, 10, seed=0)


def test_equal_seeds_draw_the_same_rows_in_chunks_of_any_size(monkeypatch):
    values = np.random.default_rng(0).normal(size=(9, 2))
    whole = bootstrap(values, lambda samples: samples.sum((1, 2)), 40, seed=3)
    assert whole.shape == (40,)
    rows = np.random.default_rng(3).integers(0, 9, (40, 9))
    np.testing.assert_array_equal(whole, [values[row].sum() for row in rows])
    monkeypatch.setattr("mhex_nlp.explain.bootstrap._CHUNK", 20)
    np.testing.assert_array_equal(bootstrap(values, lambda samples: samples.sum((1, 2)), 40, seed=3), whole)
    generator = np.random.default_rng(3)
    assert (bootstrap(values, lambda samples: samples.sum((1, 2)), 40, generator) == whole).all()
    assert percentile_interval(np.arange(41.0)) == (1.0, 39.0)


def test_iou_f1_over_texts_is_erasers():
    """From precision and recall of each text to the macro figure of metrics.plausibility."""
    draw = np.random.default_rng(0)
    scores = [draw.random(9) for _ in range(12)]
    marks = [np.roll([True] * 3 + [False] * 6, int(draw.integers(9))) for _ in range(12)]
    columns = plausibility_columns(scores, marks)["iou_f1"]
    chosen = [mask_spans(row >= np.sort(row)[-3]) for row in scores]
    expected = iou_f1(chosen, [mask_spans(mark) for mark in marks]).macro.f1
    assert f1_of(columns.mean(0, keepdims=True))[0] == pytest.approx(expected) and expected > 0


def test_marks_are_of_units():
    values = ModelValues(plain_model("bert"), tiny_tokenizer())
    text = values.of("the xyz film", unit="words")
    assert unit_marks(text, [(5, 6)], "here").tolist() == [False, True, False]
    assert unit_marks(text, [], "here").tolist() == [False] * 3


def test_memory_is_seen(model):
    with Meter(model) as meter:
        block = np.ones(8_000_000)  # 61 MiB
    assert meter.peak_bytes > 40 * 2**20 and meter.rows == 0 and meter.seconds > 0 and len(block)
