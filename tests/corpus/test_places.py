# SPDX-License-Identifier: Apache-2.0
"""Data sets of entities and of answers: columns, jobs with gold tags, reports, and the command for both tasks."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from helpers.placed import CONTEXT, LABELS, QUESTION, TEXT, TOKENIZER, fitted, placed_model
from helpers.tiny import random_texts
from mhex_nlp import highlight_dataset
from mhex_nlp.cli import main
from mhex_nlp.corpus.gold_tags import OTHER_SPAN, compared, gold_entities
from mhex_nlp.corpus.jsonl import read_explanations
from mhex_nlp.corpus.report import write_report
from mhex_nlp.corpus.report.entities import EntityGathering
from mhex_nlp.explain.answers import MhexAnswerExplainer
from mhex_nlp.explain.entities import MhexEntityExplainer
from mhex_nlp.explain.explainers import load_explainer
from mhex_nlp.explain.parts import Place
from mhex_nlp.explain.positioned import PositionedExplanation

TEXTS = [TEXT, "zebra film , film the quokka", "the plot was\n lovely", "a"]


@pytest.fixture(scope="module")
def explainer():
    return MhexEntityExplainer(fitted(placed_model("token")), TOKENIZER)


@pytest.fixture(scope="module")
def reader():
    return MhexAnswerExplainer(fitted(placed_model("answer")), TOKENIZER)


@pytest.fixture(scope="module")
def folder(explainer, tmp_path_factory):
    return save(explainer, tmp_path_factory.mktemp("entities") / "model")


def save(explainer, path):
    explainer.model.save_pretrained(path)
    explainer.tokenizer.save_pretrained(path)
    return path


def test_columns_of_entities(explainer, own_cache):
    found = highlight_dataset(Dataset.from_dict({"text": TEXTS}), explainer, classes="all", budget=4, judge=2)
    assert found["text"] == TEXTS
    for row, whole in zip(found, explainer(TEXTS, classes="all", budget=4), strict=True):
        assert row["mhex_entities"] == [one.place.text for one in whole]
        assert row["mhex_entity_types"] == [one.place.label for one in whole]
        ends = zip(row["mhex_entity_starts"], row["mhex_entity_ends"], strict=True)
        assert [row["text"][start:end] for start, end in ends] == row["mhex_entities"]
        assert row["mhex_label"] == row["mhex_target"] == [one.label for one in whole]
        np.testing.assert_allclose(row["mhex_own_scores"], [one.place_score for one in whole], atol=1e-4)
        np.testing.assert_allclose(row["mhex_rest_scores"], [one.rest_score for one in whole], atol=1e-4)
        np.testing.assert_allclose(row["mhex_sum"], [one.sum for one in whole], atol=1e-4)
        for scores, spans, one in zip(row["mhex_scores"], row["mhex_spans"], whole, strict=True):
            assert spans == [word.text for word in one.words()]
            np.testing.assert_allclose(scores, [word.score for word in one.words()], atol=1e-4)
        assert len(row["mhex_score_errors"]) == len(row["mhex_class_scores"]) == len(whole)
        assert row["mhex_error"] is None and row["mhex_windows"] == 1 and row["mhex_notes"]
        assert row["mhex_skill_interval"][0] <= row["mhex_skill"]


def test_columns_of_answers(reader, own_cache):
    rows = Dataset.from_dict({"text": [QUESTION] * 2, "context": [CONTEXT, " "]})
    found = highlight_dataset(rows, reader, text_pair_column="context", errors="record")
    one, row = reader(QUESTION, CONTEXT), found[0]
    assert (row["mhex_answer"], row["mhex_answer_start"], row["mhex_answer_end"]) == (
        one.place.text,
        one.place.start,
        one.place.end,
    )
    assert row["mhex_label"] == "answer" and row["mhex_probability"] == pytest.approx(one.probability, abs=1e-6)
    np.testing.assert_allclose(row["mhex_scores"], [word.score for word in one.words()], atol=1e-4)
    assert found[1]["mhex_answer"] is None and "second text is empty" in found[1]["mhex_error"]
    with pytest.raises(ValueError, match="text_pair_column must name the contexts"):
        highlight_dataset(rows, reader)


def test_entities_have_no_second_text(explainer):
    with pytest.raises(ValueError, match="text_pair_column must be left out for entities"):
        highlight_dataset(Dataset.from_dict({"text": TEXTS}), explainer, text_pair_column="text")


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (["O", "B-PER", "I-PER", "O"], [(4, 14, "PER")]),
        ('["O", "B-PER", "B-PER", "O"]', [(4, 8, "PER"), (9, 14, "PER")]),
        ([0, 3, 4, 0], [(4, 14, "LOC")]),
        ([[4, 14, "ORG"]], [(4, 14, "ORG")]),
        ([{"start": 4, "end": 14, "label": "ORG"}], [(4, 14, "ORG")]),
        ([{"start": 15, "end": 18, "type": "X"}, [0, 3, "Y"]], [(0, 3, "Y"), (15, 18, "X")]),
        ([], []),
        (None, None),
        (float("nan"), None),
        ("", None),
    ],
)
def test_gold_tags(cell, expected):
    assert gold_entities(cell, "the nice zebra was", LABELS) == expected


@pytest.mark.parametrize(
    "cell", [["O"], "not json", 4, [[4, 99, "PER"]], [[4, 3, "PER"]], [0, 1, 9, 0], [{"start": 1}]]
)
def test_gold_tags_that_are_none_are_refused(cell):
    with pytest.raises(ValueError, match="the gold tags must be"):
        gold_entities(cell, "the nice zebra was", LABELS)


def test_places_against_gold():
    places = [Place("", start, end, 0, "PER", (0,)) for start, end in ((0, 3), (4, 8), (20, 22))]
    types, missed = compared(places, [(0, 3, "LOC"), (4, 14, "PER"), (15, 18, "ORG")])
    assert types == ["LOC", OTHER_SPAN, "O"] and missed == [(4, 14, "PER"), (15, 18, "ORG")]


def test_a_job_with_gold_tags_and_its_report(explainer, folder, tmp_path, capsys):
    whole = explainer(TEXTS)
    gold = [[[one.place.start, one.place.end, one.place.label] for one in text] for text in whole]
    (_, _, kind), gold[0][0][2] = gold[0][0], "ORG"
    data = tmp_path / "texts.jsonl"
    rows = [{"text": text, "tags": tags} for text, tags in zip(TEXTS, gold, strict=True)]
    rows.append({"text": "the film", "tags": ["O"]})  # a tag too few
    data.write_text("\n".join(map(json.dumps, rows)))
    call = ["highlight", "--model", folder, "--data", data, "--label-column", "tags", "--output", tmp_path / "out"]
    assert main([*map(str, call), "--format", "jsonl,parquet"]) == 1
    (error,) = [json.loads(line) for line in (tmp_path / "out" / "errors.jsonl").read_text().splitlines()]
    assert error["row"] == 4 and "got 1 tags for 2 words" in error["reason"]
    read = list(read_explanations(tmp_path / "out"))
    assert [[one.place for one in text] for text in read] == [[one.place for one in text] for text in whole]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["explained"] == 4 and summary["confusion"]["ORG"] == {kind: 1}
    assert "O" in summary["classes"] or not any("O" in row for row in summary["confusion"].values())
    counts = {label: sum(one.place.label == label for text in whole for one in text) for label in ("PER", "LOC")}
    assert {label: summary["classes"][label]["texts"] for label in ("PER", "LOC")} == counts
    assert summary["labelled"] == sum(counts.values())
    assert pq.read_table(next((tmp_path / "out").glob("*.parquet")))["mhex_entities"][0].as_py()


def test_a_report_by_type_with_mistakes(explainer, tmp_path):
    """By hand: what is right, of another type, of another span, made up and missed."""
    whole = explainer(TEXTS)
    gold = [[[one.place.start, one.place.end, one.place.label] for one in text] for text in whole]
    count = sum(map(len, gold))
    gold[0][0][2] = "ORG"
    (start, end, _), missing = gold[0].pop(), gold[0].pop()
    gold[0].append([start - 1, end, "PER"])
    gathering = EntityGathering()
    for number, (text, entities) in enumerate(zip(whole, gold, strict=True)):
        gathering.add(text, number, [tuple(entity) for entity in entities], 0)
    report = gathering.report(whole[0][0])
    assert report["mistakes_counted"] == {"wrong type": 1, "wrong span": 1, "extra": 1, "missed": 1}
    right = count - 3
    figures = report["gold"]
    assert (figures["precision"], figures["recall"]) == pytest.approx((right / count, right / (count - 1)))
    assert figures["f1"] == pytest.approx(2 * right / (2 * count - 1)) and report["texts"] == len(TEXTS)
    assert report["confusion"]["ORG"] == {whole[0][0].place.label: 1} and report["confusion"]["PER"][""] == 1
    assert sum(sides["entities"] for sides in report["types"].values()) == report["entities"] == count
    for label, sides in report["types"].items():
        own = [one.place_score for text in whole for one in text if one.place.label == label]
        assert sides["own"] == pytest.approx(np.mean(own)) and len(own) == sides["entities"]
        named = {word["word"] for side in ("for", "against") for word in sides[side]}
        assert named and all(word["examples"] for word in sides["for"])
    assert missing and [entry["kind"] for entry in report["mistakes"]].count("missed") == 1
    index = write_report(whole, tmp_path / "report", labels=dict(zip("0123", gold, strict=True)), page_texts=3)
    assert "wrong type" in index.read_text("utf-8")
    assert sorted(path.name for path in (tmp_path / "report" / "texts").iterdir()) == [
        "g000-0001.html",
        "g000-0002.html",
    ]
    with pytest.raises(ValueError, match="explanations must be of texts, or all of their entities"):
        write_report([whole[0], whole[0][0]], tmp_path / "other")


def test_the_command_reports_entities(folder, tmp_path, capsys):
    data = tmp_path / "texts.jsonl"
    data.write_text("\n".join(json.dumps({"text": text, "tags": ["O"] * len(text.split())}) for text in TEXTS))
    call = ["highlight", "--model", folder, "--data", data, "--output", tmp_path / "out", "--format", "jsonl,html"]
    assert main(list(map(str, call))) == 0
    report = ["report", tmp_path / "out", "--labels", data, "--label-column", "tags", "--output", tmp_path / "pages"]
    assert main(list(map(str, report))) == 0
    assert "extra" in (tmp_path / "pages" / "index.html").read_text("utf-8")
    assert main(["highlight", "--model", str(folder), "--text", TEXT]) == 0
    assert "LOC" in capsys.readouterr().out


def test_the_command_for_answers(reader, tmp_path, capsys):
    model, data = save(reader, tmp_path / "model"), tmp_path / "rows.jsonl"
    data.write_text(json.dumps({"question": QUESTION, "context": CONTEXT}))
    call = ["highlight", "--model", model, "--data", data, "--text-column", "question", "--output", tmp_path / "out"]
    call += ["--format", "jsonl", "--target", "start"]
    assert main(list(map(str, call))) == 2
    assert "--text-pair-column must name the contexts" in capsys.readouterr().err
    assert main([*map(str, call), "--text-pair-column", "context"]) == 0
    (one,) = read_explanations(tmp_path / "out")
    assert one.place == reader(QUESTION, CONTEXT).place and one.target.label == "start"
    assert main(["highlight", "--model", str(model), "--text", QUESTION]) == 2
    assert "--text cannot be a question with its context" in capsys.readouterr().err


def test_a_fit_by_the_command(tmp_path, capsys):
    """From a plain checkpoint to explained entities."""
    model, data = placed_model("token"), tmp_path / "texts.txt"
    model.without_heads().save_pretrained(tmp_path / "plain")
    TOKENIZER.save_pretrained(tmp_path / "plain")
    data.write_text("\n".join(random_texts(40)))
    call = ["fit", "--model", tmp_path / "plain", "--data", data, "--output", tmp_path / "fitted", "--masks", "4"]
    assert main([*map(str, call), "--attainable-texts", "2", "--per-text", "2"]) == 0
    explained = load_explainer(str(tmp_path / "fitted"))(TEXT)
    assert isinstance(explained, PositionedExplanation) and explained[0].method.fitted
    assert main([*map(str, call), "--text-pair-column", "text"]) == 2
    assert "--text-pair-column must be left out for entities" in capsys.readouterr().err


def test_evaluate_judges_entities(folder, tmp_path, capsys):
    data = tmp_path / "texts.txt"
    data.write_text("\n".join([TEXT, "zebra film , film the quokka"]))
    call = ["evaluate", "--model", str(folder), "--data", str(data), "--output", str(tmp_path / "out")]
    assert main(call) == 0 and main(call) == 0  # its own files are replaced
    document = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert document["task"] == "token_classification" and document["texts"] == 2
    assert "One pass explains" in capsys.readouterr().out
    assert main([*call, "--methods", "all"]) == 2
