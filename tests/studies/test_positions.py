# SPDX-License-Identifier: Apache-2.0
"""The study of entities and answers: its readers, and a model seen from one place."""

from __future__ import annotations

import pytest
import torch

from helpers.placed import LABELS, TEXT, TOKENIZER, placed_model
from studies.positions.measuring import swapped
from studies.positions.models import cropped
from studies.positions.placed import PlacedClassifier, values_at
from studies.positions.readers import UNKNOWN, Answered, read_crossner, read_iob2
from studies.positions.report import table_of
from studies.positions.training import entities_of


def test_words_are_found_in_their_text(tmp_path):
    rows = ["# text = Ann saw Ann.", "1\tAnn\tB-PER\t-\t-", "2\tsaw\tO\t-\t-", "3\tAnn\tB-OTH\t-\t-", "4\t.\tO\t-\t-"]
    path = tmp_path / "a.iob2"
    path.write_text("\n".join(rows) + "\n\n", "utf-8")
    (sentence,) = read_iob2(path)
    assert [sentence.text[start:end] for start, end in sentence.words] == ["Ann", "saw", "Ann", "."]
    assert sentence.words[2] == (8, 11) and sentence.labels == ("B-PER", "O", "O", "O")
    path.write_text(path.read_text("utf-8").replace("saw\tO", "sees\tO"), "utf-8")
    with pytest.raises(ValueError, match="'sees' is not in its text"):
        read_iob2(path)


def test_labels_of_other_types_are_unknown(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("Ann\tB-politician\nwon\tO\nthe\tO\nWorld\tB-event\nCup\tI-event\n\n", "utf-8")
    (sentence,) = read_crossner(path)
    assert sentence.labels == ("B-PER", "O", "O", UNKNOWN, UNKNOWN) and sentence.text == "Ann won the World Cup"


def test_an_answer_stays_where_it_is_in_a_part_of_its_context():
    context = "word " * 200 + "the answer" + " word" * 200
    part = cropped(Answered("?", context, 1000, 1010))
    assert part.context[part.start : part.end] == "the answer" and len(part.context) < 650


def test_entities_of_labels():
    labels = ["B-PER", "I-PER", "O", "I-LOC", "B-LOC", "I-ORG"]
    assert entities_of(labels) == {(0, 2, "PER"), (3, 4, "LOC"), (4, 5, "LOC"), (5, 6, "ORG")}


def test_a_place_is_a_classifier_whose_own_tokens_stay():
    model = placed_model("token")
    columns = [swapped(LABELS, word) for word in (0, 1)]
    values = values_at(PlacedClassifier(model, [2, 3], columns), TOKENIZER, [2, 3], TEXT)
    inputs = TOKENIZER(TEXT, return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits[0]
    expected = (logits[2] + logits[3][[0, 2, 1, 4, 3]]) / 2
    assert values.logits([[True] * values.n])[0] == pytest.approx(expected.double().numpy(), abs=1e-5)
    masked = inputs["input_ids"].clone()
    masked[0, [index for index in range(1, masked.shape[1] - 1) if index not in (2, 3)]] = TOKENIZER.mask_token_id
    with torch.no_grad():
        logits = model(**{**inputs, "input_ids": masked}).logits[0]
    expected = (logits[2] + logits[3][[0, 2, 1, 4, 3]]) / 2
    assert values.logits([[False] * values.n])[0] == pytest.approx(expected.double().numpy(), abs=1e-5)


def test_intervals_draw_texts_and_not_places():
    def row(text: int, value: float) -> dict:
        figures = dict.fromkeys(("comprehensiveness", "sufficiency", "spearman", "missed"), value)
        known = {"reliability": 1.0, "even": 2.0, "tokens": 9.0}
        return {
            "seed": 0,
            "text": text,
            "figures": {"shapley": figures | known, "integrated_gradients-50": figures, "mhex-0": figures},
        }

    alike = table_of([row(0, 0.0)] * 50 + [row(1, 1.0)] * 50)["methods"]["mhex-0"]
    assert alike["spearman"]["mean"] == 0.5 and alike["spearman"]["interval95"] == [0.0, 1.0]
    assert alike["paired_skill"]["mean"] == pytest.approx(1 - 0.5 / 2)
    assert alike["less_rival"]["spearman"] == {"mean": 0.0, "interval95": [0.0, 0.0]}
