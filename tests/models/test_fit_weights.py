# SPDX-License-Identifier: Apache-2.0
"""A fit explains the weights that it was made on and no others, however these came to change."""

from __future__ import annotations

import copy
import time

import pytest
import torch

from helpers.tiny import random_texts as texts
from helpers.tiny import tiny_bert, tiny_tokenizer
from mhex_nlp import (
    AutoMhexModelForSequenceClassification,
    MhexConfig,
    MhexExplainer,
    fit_equivalent_matrices,
    get_mhex_model,
    save_explainer,
)
from mhex_nlp.models import fit_weights
from mhex_nlp.models.fit_weights import fit_hashes, has_weights_of

TOKENIZER = tiny_tokenizer()
TEXT = "the film was good and the plot"


def fitted(gate: bool = False):
    model = get_mhex_model(tiny_bert(num_labels=2, dropout=0.0).eval(), MhexConfig(gate=gate))
    fit_equivalent_matrices(model, TOKENIZER, texts(40), attainable_texts=0)
    return model


def train_on(model):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    batch = TOKENIZER(texts(4), padding=True, return_tensors="pt")
    model.train()(**batch, labels=torch.tensor([0, 1, 0, 1])).loss.backward()
    optimizer.step()
    return model.eval()


def train_on_fused(model):
    """As Trainer does by default; the optimizer raises no version counter."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    batch = TOKENIZER(texts(4), padding=True, return_tensors="pt")
    model.train()(**batch, labels=torch.tensor([0, 1, 0, 1])).loss.backward()
    optimizer.step()
    return model.eval()


def load_others(model):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        others = {
            key: value + 0.01 * torch.randn_like(value) if value.is_floating_point() and key[:4] != "mhex" else value
            for key, value in model.state_dict().items()
        }
    model.load_state_dict(others)
    return model


def refresh_in_place(model):
    with torch.no_grad():
        model.classifier.weight.mul_(1.5)
    return model


def write_to_data(model):
    """No version counter sees it; hashes age instead."""
    model.classifier.weight.data += 0.1
    for _ in range(100):  # an age is counted by how long hashing took
        time.sleep(0.2)
        if not has_weights_of(model, model.fit_record):
            break
    return model


def resize(model):
    model.resize_token_embeddings(len(TOKENIZER) + 8)
    return model


def adapt(model):
    """As adapters do: a weight that was one is two."""
    linear = model.classifier
    model.classifier = torch.nn.Sequential(linear, torch.nn.Linear(2, 2))
    return model


def quantise(model):
    with torch.no_grad():
        for parameter in model.bert.parameters():
            scale = parameter.abs().max().clamp(min=1e-6) / 127
            parameter.copy_((parameter / scale).round() * scale)
    return model


CHANGES = [train_on, train_on_fused, load_others, refresh_in_place, write_to_data, resize, adapt, quantise]


@pytest.mark.parametrize("change", CHANGES)
def test_a_fit_of_other_weights_explains_nothing_unless_told_to(change):
    model = fitted()
    explainer = MhexExplainer(model, TOKENIZER)
    before = explainer(TEXT)
    assert before.method.skill is not None and not [note for note in before.notes if "other weights" in note]
    change(model)
    for call in (lambda: explainer(TEXT), lambda: list(explainer.stream([TEXT])), lambda: explainer.judge(texts(4))):
        with pytest.raises(ValueError, match="weights are not those that its fit was made on.*fit_equivalent_matrices"):
            call()
    after = MhexExplainer(model, TOKENIZER, changed_weights="note")(TEXT)
    figures = after.method.skill, after.method.r2, after.method.absolute_skill, after.method.attainable
    assert figures == (None,) * 4
    assert "The fit was made on other weights: how far to trust these scores is not known." in after.notes
    with pytest.raises(ValueError, match="no explainer of them to save"):
        save_explainer(model, "nowhere")
    fit_equivalent_matrices(model, TOKENIZER, texts(40), attainable_texts=0)
    assert explainer(TEXT).method.skill is not None


def test_what_is_no_change_is_none(tmp_path):
    model = fitted()
    model.train().eval()
    with torch.no_grad():
        for head in model.mhex:
            head.w2.add_(1.0)  # heads that only read; the fit does not look at them
    assert has_weights_of(copy.deepcopy(model), model.fit_record)
    model.save_pretrained(tmp_path)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        loaded = AutoMhexModelForSequenceClassification.from_pretrained(tmp_path, dtype=dtype)
        assert loaded.dtype == dtype and has_weights_of(loaded, loaded.fit_record)
    assert has_weights_of(model.to(torch.bfloat16), model.fit_record)


def test_gates_are_weights_of_a_fit():
    model = fitted(gate=True)
    with torch.no_grad():
        model.mhex[0].w1.add_(0.1)
    assert has_weights_of(model, model.fit_record) is False


def test_a_fit_that_names_no_weights_is_shown_without_figures():
    """As those of earlier versions."""
    model = fitted()
    del model.mhex_fit.record["weights"]
    e = MhexExplainer(model, TOKENIZER)(TEXT)
    assert e.method.skill is None and e.method.r2 is None
    assert any("does not record which weights it was made on" in note for note in e.notes)


def test_weights_are_hashed_once_while_nothing_changes(monkeypatch):
    model, count = fitted(), []
    hash_of = fit_weights._hash
    monkeypatch.setattr(fit_weights, "_hash", lambda *args: count.append(1) or hash_of(*args))
    monkeypatch.setattr(fit_weights, "_PATIENCE", 1e9)
    explainer = MhexExplainer(model, TOKENIZER)
    for _ in range(5):
        explainer(texts(8))
    assert len(count) == 1
    refresh_in_place(model)
    with pytest.raises(ValueError, match="not those"):
        explainer(TEXT)
    assert len(count) == 2


def test_a_fused_step_is_noticed_at_once(monkeypatch):
    model = fitted()
    monkeypatch.setattr(fit_weights, "_PATIENCE", 1e9)
    assert has_weights_of(model, model.fit_record)
    assert not has_weights_of(train_on_fused(model), model.fit_record)


def test_a_model_that_is_trained_while_it_is_fitted_gets_no_fit(monkeypatch):
    from mhex_nlp.training.fitting import learning

    model = get_mhex_model(tiny_bert(num_labels=2, dropout=0.0).eval(), MhexConfig(gate=False))
    best = learning.best_solution
    monkeypatch.setattr(learning, "best_solution", lambda *args: (refresh_in_place(model), best(*args))[1])
    with pytest.raises(RuntimeError, match="weights changed while it was fitted"):
        fit_equivalent_matrices(model, TOKENIZER, texts(40), attainable_texts=0)
    assert model.fit_record is None


def test_the_setting_is_checked():
    with pytest.raises(ValueError, match="changed_weights must be 'refuse' or 'note', got 'go'"):
        MhexExplainer(fitted(), TOKENIZER, changed_weights="go")
    assert len(set(fit_hashes(fitted()).values())) == 2
