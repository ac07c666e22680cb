# SPDX-License-Identifier: Apache-2.0
"""What version 0.1.0 wrote before its rooms were moved still loads, says the same, and goes on.

tests/helpers/earlier.py wrote tests/data/earlier with that version's package; a rerun of studies/compare_versions.py
does the same at full size and bit for bit.
"""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertForSequenceClassification

from helpers.earlier import JOB, TEXTS
from mhex_nlp import AutoMhexModelForSequenceClassification, Explanation, MhexExplainer, get_mhex_model
from mhex_nlp.cli import main

EARLIER = Path(__file__).parents[1] / "data" / "earlier"


def stored(name: str) -> list[str]:
    return (EARLIER / f"{name}.jsonl").read_text("utf-8").splitlines()


def said(part: Path) -> list[tuple[str, np.ndarray]]:
    """Text and scores of each line of a part."""
    return [(e.text, e.scores) for e in map(Explanation.from_json, part.read_text("utf-8").splitlines())]


@pytest.mark.parametrize("name", ["model", "sidecar"])
def test_scores_are_those_that_were_stored(name):
    if name == "model":
        explainer = MhexExplainer.from_pretrained(str(EARLIER / "model"))
    else:
        plain = BertForSequenceClassification.from_pretrained(EARLIER / "plain").eval()
        tokenizer = AutoTokenizer.from_pretrained(EARLIER / "plain")
        explainer = MhexExplainer(get_mhex_model(plain, EARLIER / "sidecar"), tokenizer)
    assert explainer.aggregation == "fitted" and explainer.model.mhex_fit.reads_flow
    lines = stored(name)
    explanations = explainer(TEXTS[:24:3], classes="all", layers=True)
    for line, explanation in zip(lines, explanations, strict=True):
        earlier = Explanation.from_json(line)
        assert Explanation.from_json(earlier.to_json()) == earlier
        assert earlier.method.skill is None and earlier.method.absolute_skill == json.loads(line)["method"]["skill"]
        assert explanation.method.skill is None, "the fit does not say which weights it is of"
        assert (earlier.text, earlier.label, earlier.target) == (
            explanation.text,
            explanation.label,
            explanation.target,
        )
        assert [token.piece for token in earlier.tokens] == [token.piece for token in explanation.tokens]
        scale = max(1.0, float(np.abs(earlier.scores).max()))
        for field in ("scores", "class_scores", "layer_scores"):
            np.testing.assert_allclose(getattr(explanation, field), getattr(earlier, field), atol=1e-5 * scale)
        assert explanation.base_value == pytest.approx(earlier.base_value, abs=1e-5 * scale)


def test_the_checkpoint_says_how_to_load_itself():
    """Its `auto_map` names a one-line module that imports from `mhex_nlp.modeling`, where the classes were then."""
    assert "from mhex_nlp.modeling import" in (EARLIER / "model" / "modeling_mhex.py").read_text("utf-8")
    remote = AutoModelForSequenceClassification.from_pretrained(EARLIER / "model", trust_remote_code=True)
    assert type(remote) is type(AutoMhexModelForSequenceClassification.from_pretrained(EARLIER / "model"))


def test_a_pickle_finds_its_class_at_the_earlier_name():
    model = AutoMhexModelForSequenceClassification.from_pretrained(EARLIER / "model")
    earlier = pickle.dumps(type(model)).replace(b"\x0fmhex_nlp.models", b"\x11mhex_nlp.modeling")
    assert b"mhex_nlp.modeling" in earlier and pickle.loads(earlier) is type(model)


def test_a_spacy_pipeline_goes_on(monkeypatch):
    spacy = pytest.importorskip("spacy")
    monkeypatch.chdir(EARLIER)
    nlp = spacy.util.load_model_from_config(spacy.util.load_config("pipeline/config.cfg"), auto_fill=True)
    nlp.get_pipe("mhex").from_disk("pipeline/mhex")
    scores = json.loads(Path("pipeline.json").read_text("utf-8"))
    for text, expected in zip(TEXTS[:24:3], scores, strict=True):
        assert [token._.mhex for token in nlp(text)] == pytest.approx(expected, abs=1e-5)


def test_a_killed_job_goes_on(tmp_path, monkeypatch):
    for name in ("model", "job"):
        shutil.copytree(EARLIER / name, tmp_path / name)
    shutil.copy(EARLIER / "rows.jsonl", tmp_path)
    there = {path.name: said(path) for path in (tmp_path / "job").glob("part-*")}
    assert len(there) == 2
    monkeypatch.chdir(tmp_path)
    assert main(["highlight", "--model", "model", "--data", "rows.jsonl", "--output", "job", *JOB]) == 0
    parts = sorted((tmp_path / "job").glob("part-*.jsonl"))
    assert len(parts) == len(TEXTS) // 10
    for name, earlier in there.items():  # made anew, for the form of explanations says more now
        for (text, scores), (text_before, scores_before) in zip(said(tmp_path / "job" / name), earlier, strict=True):
            assert text == text_before
            np.testing.assert_allclose(scores, scores_before, atol=1e-5 * max(1.0, np.abs(scores_before).max()))
    lines = [json.loads(line) for part in parts for line in part.read_text("utf-8").splitlines()]
    assert [line["text"] for line in lines] == TEXTS and [line["id"] for line in lines] == list(map(str, range(120)))
    assert json.loads((tmp_path / "job" / "manifest.json").read_text("utf-8"))["complete"] is True
