# SPDX-License-Identifier: Apache-2.0
"""The study of small weights on a tiny model: all rows, the same texts, a table with both skills."""

from __future__ import annotations

import json
import sys

import pytest

from helpers.tiny import random_texts, tiny_bert, tiny_texts, tiny_tokenizer
from mhex_nlp import MhexConfig, fit_equivalent_matrices, get_mhex_model
from studies import small_weights


@pytest.mark.filterwarnings("ignore:the fit is judged on")
def test_each_kind_has_its_row(tmp_path, monkeypatch):
    pytest.importorskip("torchao", reason="torchao is not installed")
    rows = "".join(f"{text}\t{label}\n" for text, label in zip(*tiny_texts(30), strict=True))
    for part in ("train", "test"):
        (tmp_path / f"{part}.tsv").write_text(rows, "utf-8")
    model = get_mhex_model(tiny_bert(dropout=0.0, initializer_range=0.5).eval(), MhexConfig(gate=False))
    fit_equivalent_matrices(model, tiny_tokenizer(), random_texts(40), attainable_texts=0, progress=False)
    model.save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    output, page = tmp_path / "figures.json", tmp_path / "page.md"
    options = ["--texts=12", "--fit=25", "--judged=6", f"--output={output}", f"--page={page}"]
    monkeypatch.setattr(sys, "argv", ["small_weights", f"--model={tmp_path / 'model'}", f"--data={tmp_path}", *options])
    small_weights.main()
    rows = json.loads(output.read_text())["rows"]
    assert list(rows) == list(small_weights.KINDS)
    assert rows["full"]["same_prediction"]["mean"] == rows["full"]["spearman"]["mean"] == 1
    assert rows["int4"]["spearman"]["mean"] < 1 and rows["int8"]["megabytes"] < rows["full"]["megabytes"]
    assert page.read_text().count("| 8 bits") == 1 and "skill, own fit" in page.read_text()
