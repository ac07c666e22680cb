# SPDX-License-Identifier: Apache-2.0
"""Integrated gradients for explanations: by hand, whatever mode torch is in, and None where there can be none."""

from __future__ import annotations

import pytest
import torch

from helpers.families import plain_model
from helpers.tiny import tiny_tokenizer
from mhex_nlp.models.path_gradients import integrated_gradients
from mhex_nlp.models.perturbed import PerturbedModel

WEIGHTS = torch.tensor([[1.0, -1.0, 0.0], [0.0, 0.5, 0.5]])


@pytest.fixture(scope="module")
def perturbed():
    return PerturbedModel(plain_model("bert"), tiny_tokenizer(), "mask", 1024)


def tokenised(perturbed):
    return perturbed.tokenise(["the film was good and lovely", "a bad film"], ["so fine", "dull"])


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_they_are_those_of_autograd(perturbed, mode):
    items, model = tokenised(perturbed), perturbed.model
    with mode():
        scores = integrated_gradients(perturbed, items, WEIGHTS, 2)
    for item, contrast, row in zip(items, WEIGHTS, scores, strict=True):
        content = item.content_positions(False)
        inputs = {name: value[None] for name, value in item.features.items()}
        ids = inputs.pop("input_ids")
        missing = ids.clone()
        missing[0, content] = perturbed.tokenizer.mask_token_id
        embed = model.get_input_embeddings()
        start, end = embed(missing).detach(), embed(ids).detach()
        gradients = []
        for place in (0.25, 0.75):
            point = (start + place * (end - start)).requires_grad_()
            gradients.append(torch.autograd.grad(model(inputs_embeds=point, **inputs).logits[0] @ contrast, point)[0])
        expected = (sum(gradients) / 2 * (end - start)).sum(-1)[0, content]
        torch.testing.assert_close(row, expected.double(), rtol=1e-4, atol=1e-6)
    assert all(weight.grad is None for weight in model.parameters())


def test_with_many_steps_they_add_up_to_what_the_text_is_worth(perturbed):
    items = tokenised(perturbed)
    scores = integrated_gradients(perturbed, items, WEIGHTS, 50)
    counts = [len(item.content_positions(False)) for item in items]
    subsets = [torch.tensor([[True] * count, [False] * count]) for count in counts]
    for row, contrast, logits in zip(scores, WEIGHTS, perturbed.kept_logits(items, subsets), strict=True):
        assert row.sum().item() == pytest.approx(((logits[0] - logits[1]) @ contrast).item(), abs=1e-4)


@pytest.mark.parametrize("reason", ["attention", "decoder", "inference", "quantised", "no embeddings"])
def test_none_where_there_can_be_none(reason, monkeypatch):
    with torch.inference_mode(reason == "inference"):
        model = plain_model("bart" if reason == "decoder" else "bert")
    if reason == "quantised":
        model.is_quantized = True
    if reason == "no embeddings":
        monkeypatch.setattr(model, "get_input_embeddings", lambda: torch.nn.Embedding(200, 32))
    removal = "attention" if reason == "attention" else "mask"
    perturbed = PerturbedModel(model, tiny_tokenizer(), removal, 1024)
    assert integrated_gradients(perturbed, perturbed.tokenise(["a good film"], None), WEIGHTS[:1], 2) is None
