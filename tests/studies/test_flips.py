# SPDX-License-Identifier: Apache-2.0
"""The study of flip sets: it goes on where it was stopped, counts what it asks, and writes its table."""

from __future__ import annotations

import json

import numpy as np
import pytest

from helpers.explained import TOKENIZER, make_model
from helpers.tiny import tiny_texts
from mhex_nlp import fit_equivalent_matrices
from mhex_nlp.evaluation.model_values import ModelValues
from studies import flips


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sst2").mkdir()
    rows = "".join(f"{text}\t{label}\n" for text, label in zip(*tiny_texts(24), strict=True))
    for part in ("train", "test"):
        (tmp_path / "sst2" / f"{part}.tsv").write_text(rows, "utf-8")
    model = make_model(2)
    fit_equivalent_matrices(model, TOKENIZER, tiny_texts(40)[0], masks=2, attainable_texts=0, progress=False)
    model.save_pretrained(tmp_path / "work" / "sst2-0" / "fitted")
    TOKENIZER.save_pretrained(tmp_path / "work" / "sst2-0" / "fitted")
    return tmp_path


def test_a_stopped_study_goes_on_and_writes_its_table(folder, monkeypatch):
    output, page = folder / "flips.json", folder / "page.md"
    arguments = [f"--data={folder}", f"--work={folder / 'work'}", f"--output={output}", f"--page={page}", "--texts=12"]
    calls, once = [], flips.greedy

    def stopped(text, draw):
        calls.append(text)
        if len(calls) == 11:
            raise KeyboardInterrupt
        return once(text, draw)

    monkeypatch.setattr(flips, "greedy", stopped)
    with pytest.raises(KeyboardInterrupt):
        flips.main(arguments, ["sst2"])
    flips.main(arguments, ["sst2"])
    assert len(calls) == 13, "ten texts were kept"
    methods = json.loads(output.read_text("utf-8"))["data"]["sst2"]["methods"]
    assert {one["texts"] for one in methods.values()} == {12} and len(methods) == len(flips.BUDGETS) + 5
    assert methods["MHEX scores, 6"]["passes"]["mean"] <= 6
    assert page.read_text("utf-8").count("| MHEX scores, ") == len(flips.BUDGETS)
    assert str(folder) not in output.read_text("utf-8"), "no folders of the machine"


def test_searches_count_what_they_ask():
    text = ModelValues(make_model(2), TOKENIZER, "mask").of("the film was good and very dull", unit="words")
    draw = np.random.default_rng(0)
    for method in (flips.greedy, flips.left_out_once, flips.left_out_search, flips.random_search):
        row = method(text.anew(), draw)
        assert row["words"] == text.n == 7 and row["found"] == (row["size"] > 0)
        assert row == method(text.anew(), np.random.default_rng(0)) or method is flips.random_search
        if method is flips.random_search:
            assert 1 <= row["passes"] <= flips.PASSES
        else:
            assert row["passes"] >= text.n
