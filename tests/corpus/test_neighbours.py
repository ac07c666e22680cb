# SPDX-License-Identifier: Apache-2.0
"""The training texts nearest to wrong texts: by the model's states, on the cards, and as a finding."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.families import train_heads
from helpers.tiny import tiny_bert, tiny_mhex, tiny_texts, tiny_tokenizer
from mhex_nlp import Explanation, MhexConfig, MhexExplainer, TrainingTexts, get_mhex_model, write_report
from mhex_nlp.cli import main
from mhex_nlp.corpus.jsonl import write_jsonl
from mhex_nlp.models.batches import InputBatcher
from mhex_nlp.models.label_states import label_states

TOKENIZER = tiny_tokenizer()
CLASSES = ("negative", "positive")


@pytest.fixture(scope="module")
def explainer() -> MhexExplainer:
    model = get_mhex_model(tiny_bert(dropout=0.0, initializer_range=0.3).eval(), MhexConfig(gate=False))
    return MhexExplainer(train_heads(model), TOKENIZER)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return list(dict.fromkeys(tiny_texts(80, seed=1)[0]))


@pytest.fixture(scope="module")
def said(explainer: MhexExplainer, texts: list[str]) -> list[str]:
    """What the model predicts of them."""
    return [str(e.label) for e in explainer(texts)]


def opposite(label: str) -> str:
    return CLASSES[label == "negative"]


def test_nearest_are_those_of_the_largest_cosine(explainer: MhexExplainer, texts: list[str], said: list[str]) -> None:
    train = TrainingTexts(explainer, texts[10:], said[10:], count=3)
    items = explainer.tokenise(texts)
    states, _ = label_states(explainer.model, InputBatcher(explainer.model, TOKENIZER), items, 256)
    unit = states.numpy() / np.linalg.norm(states.numpy(), axis=1, keepdims=True)
    cosines = unit[:10] @ unit[10:].T
    for row, near in zip(cosines, train.nearest(texts[:10]), strict=True):
        best = np.sort(row)[::-1][:3]
        np.testing.assert_allclose([one.similarity for one in near], best, atol=1e-5)
        assert [(one.text, one.label) for one in near] == [(texts[10 + o.number], said[10 + o.number]) for o in near]
        assert not any(one.same for one in near)
    [one, *_] = train.nearest([texts[12]])[0]
    assert one.same and one.number == 2 and one.similarity == pytest.approx(1, abs=1e-5)
    assert train.nearest([]) == []


def test_more_neighbours_than_texts_and_pairs(explainer: MhexExplainer, texts: list[str]) -> None:
    train = TrainingTexts(explainer, texts[:3], [0, "positive", 1.0], texts[3:6], count=9)
    near = train.nearest([texts[0]], [texts[3]])[0]
    assert len(near) == 3 and near[0].text == f"{texts[0]} | {texts[3]}" and near[0].same
    assert [train.labels[n] for n in range(3)] == ["negative", "positive", "positive"]
    assert train.disagreement([0, 1]) == [(2, 2), (1, 2)]


def cards(folder: Path) -> dict[int, str]:
    pages = "".join(path.read_text("utf-8") for path in sorted((folder / "texts").iterdir()))
    found = re.findall(r'<article class="c" id="t(\d+)">(.*?)</article>', pages, re.S)
    return {int(number): card for number, card in found}


def without_tags(html: str) -> str:
    return re.sub("<[^>]*>", "", html)


def test_a_report_leads_to_training_texts_with_wrong_labels(
    explainer: MhexExplainer, texts: list[str], said: list[str], tmp_path: Path
) -> None:
    """Twelve training texts stand under the wrong label; texts like them are labelled rightly and seem mistakes."""
    wrong = set(range(0, 60, 5))
    labels = [opposite(label) if n in wrong else label for n, label in enumerate(said[:60])]
    train = TrainingTexts(explainer, texts[:60], labels)
    made = list(explainer.stream(texts))
    golds: list[Any] = [label if n in wrong or n % 7 else opposite(label) for n, label in enumerate(said)]
    index = write_report(made, tmp_path / "report", labels=golds, train=train, chosen=["1"])
    shown = cards(index.parent)
    assert len(shown) == len(texts)
    mistakes = [n for n, label in enumerate(golds) if label != said[n]]
    assert [n for n in sorted(shown) if "Nearest training texts" in shown[n]] == sorted({*mistakes, 1})
    near = dict(zip(mistakes, train.nearest([texts[n] for n in mistakes]), strict=True))
    for number in mistakes:
        listed = re.findall(r"<li><b><bdi>(\w+)</bdi></b> ([\d.]+) <span dir=\"auto\"><bdi>(.*?)</bdi>", shown[number])
        assert listed == [(one.label, f"{one.similarity:.3f}", one.text) for one in near[number]]
        assert ("the text itself" in shown[number]) == any(one.same for one in near[number])
    html = index.read_text("utf-8")
    all_predicted = [n for n in mistakes if all(one.label == said[n] for one in near[n])]
    if len(all_predicted) >= 5:
        assert f"{len(all_predicted)} of {len(mistakes)} wrong texts" in html
    rows = re.findall(r'<span class="m">#(\d+)</span>.*?<td>(\d+)</td><td>(.*?)</td>', html.partition('id="near"')[2])
    for number, count, otherwise in rows:
        suspect = int(number)
        assert int(count) == sum(one.number == suspect and one.label != golds[n] for n in mistakes for one in near[n])
        others, of = train.disagreement([suspect])[0]
        assert without_tags(otherwise) == f"{others} of {of}" and ("miss" in otherwise) == (2 * others > of)
    assert rows and [2 * int(without_tags(r[2])[0]) > 5 for r in rows] == sorted(
        (2 * int(without_tags(r[2])[0]) > 5 for r in rows), reverse=True
    )


def test_strong_words_that_are_shared_are_named(explainer: MhexExplainer, tmp_path: Path) -> None:
    e = explainer("superb acting and a very dull plot")
    strongest = max(e.words(), key=lambda word: abs(word.score)).text
    train = TrainingTexts(explainer, [f"it was {strongest} .", "the music"], [0, 1])
    write_report([e], tmp_path / "report", labels=[opposite(str(e.label))], train=train)
    [card] = cards(tmp_path / "report").values()
    listed = re.findall(r"<bdi>([^<]*)</bdi></span> <span class=\"m\">shared: (.*?)</span>", card)
    shared = {text: words for text, words in listed}
    assert strongest in shared[f"it was {strongest} ."] and "the music" not in shared


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"labels": ["positive"]}, "labels must have one entry for each text, got none for texts"),
        ({"labels": ["positive", None]}, r"labels\[1\] must be the label of a training text, got None"),
        ({"labels": ["positive", "good"]}, r"labels\[1\] must be a class of the model, got 'good'"),
        ({"texts": [], "labels": []}, "texts must hold at least one training text, got none"),
        ({"texts": ["good", " "]}, r"texts\[1\] must hold at least one character"),
        ({"count": 0}, "count must be"),
        ({"explainer": "model"}, "explainer must be a MhexExplainer, got a str"),
    ],
)
def test_bad_training_texts_get_a_sentence(explainer: MhexExplainer, change: dict[str, Any], sentence: str) -> None:
    given: dict[str, Any] = {"explainer": explainer, "texts": ["good film", "bad film"], "labels": [1, 0], **change}
    with pytest.raises((ValueError, TypeError), match=sentence):
        TrainingTexts(**given)


def test_another_models_texts_are_refused(
    explainer: MhexExplainer, said: list[str], texts: list[str], tmp_path: Path
) -> None:
    e = explainer(texts[0])
    golds = [opposite(str(e.label))]
    other = tiny_mhex(num_labels=3, id2label={0: "a", 1: "b", 2: "c"}, label2id=None)
    train = TrainingTexts(MhexExplainer(train_heads(other), TOKENIZER), ["good"], [0])
    with pytest.raises(ValueError, match="train must be of the model that made .* classes 0 'a'"):
        write_report([e], tmp_path / "a", labels=golds, train=train)
    lying = Explanation.from_dict(
        {**e.to_dict(), "prediction": {**e.to_dict()["prediction"], "label": golds[0], "id": CLASSES.index(golds[0])}}
    )
    train = TrainingTexts(explainer, texts[:4], said[:4])
    with pytest.raises(ValueError, match=f"train must be of the model .* says '{e.label}' of '0'"):
        write_report([lying], tmp_path / "b", labels=[str(e.label)], train=train)
    with pytest.raises(TypeError, match="train must be TrainingTexts, got list"):
        write_report([e], tmp_path / "c", labels=golds, train=["good"])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="chosen is for texts shown with .*: it needs train, got none"):
        write_report([e], tmp_path / "d", chosen=["0"])
    with pytest.raises(ValueError, match="train is shown beside wrong texts, which labels tell, and chosen ones"):
        write_report([e], tmp_path / "d", train=train)
    with pytest.warns(UserWarning, match="chosen names '7' and 0 more that no explanation has"):
        write_report([e], tmp_path / "e", train=train, chosen=["0", 7])
    assert not (tmp_path / "c").exists() and not (tmp_path / "d").exists()


def test_the_command_reads_training_texts(
    explainer: MhexExplainer, texts: list[str], said: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    explainer.model.save_pretrained(tmp_path / "model")
    TOKENIZER.save_pretrained(tmp_path / "model")
    write_jsonl(list(explainer.stream(texts[:6])), tmp_path / "job.jsonl")
    rows = [{"sentence": text, "label": label} for text, label in zip(texts[6:20], said[6:20], strict=True)]
    (tmp_path / "train.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    gold = "".join(f"{opposite(label) if n < 2 else label}\n" for n, label in enumerate(said[:6]))
    (tmp_path / "gold.csv").write_text(f"label\n{gold}")
    given = ["report", str(tmp_path / "job.jsonl"), "--output", str(tmp_path / "pages")]
    given += ["--labels", str(tmp_path / "gold.csv")]
    train = ["--train", str(tmp_path / "train.jsonl"), "--text-column", "sentence", "--device", "cpu"]
    assert main([*given, *train, "--model", str(tmp_path / "model")]) == 0
    shown = cards(tmp_path / "pages")
    assert [number for number in sorted(shown) if 'class="near"' in shown[number]] == [0, 1]
    capsys.readouterr()
    for options, sentence in ((train, "--train and --model go together"), (["--model", "m"], "--train and --model go")):
        assert main([*given, *options]) == 2
        assert sentence in capsys.readouterr().err
