# SPDX-License-Identifier: Apache-2.0
"""Each head as a predictor, and the running figures that hooks collect."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from helpers.tiny import tiny_bert, tiny_mhex, tiny_tokenizer
from mhex_nlp.training.head_metrics import head_losses, head_scores
from mhex_nlp.training.head_watch import HeadWatch

TEXTS = ["a superb film .", "the dull plot was awful ."]


def test_gate_figures() -> None:
    model = tiny_mhex(dropout=0.0).train()
    tokenizer, labels = tiny_tokenizer(), torch.tensor([0, 1])
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    watch = HeadWatch(model)
    model(**batch, labels=labels)
    watch.step_ends()
    fresh = watch.take(training=True)
    assert (fresh["gate_mean"], fresh["gate_std"], fresh["gate_saturated"]) == (1.0, 0.0, 0.0)
    with torch.no_grad():
        for head in model.mhex:
            head.w1.normal_(0, 5)
    gates: list[torch.Tensor] = []
    handles = [head.activation.register_forward_hook(lambda m, a, out: gates.append(out)) for head in model.mhex]
    model(**batch, labels=labels)
    watch.step_ends()
    values = torch.stack(gates).flatten()
    figures = watch.take(training=True)
    assert figures["gate_mean"] == pytest.approx(values.mean().item(), abs=1e-5)
    assert figures["gate_std"] == pytest.approx(values.std(correction=0).item(), abs=1e-5)
    assert figures["gate_saturated"] == pytest.approx(((values < 0.1) | (values > 1.9)).float().mean().item())
    assert figures["gate_saturated"] > 0
    for handle in handles:
        handle.remove()
    assert watch.take(training=True) == {}


def test_gateless_heads_have_no_gate_figures() -> None:
    model = tiny_mhex(gate=False)
    watch = HeadWatch(model.eval())
    model(**tiny_tokenizer()(TEXTS, padding=True, return_tensors="pt"), labels=torch.tensor([0, 1]))
    watch.evaluated()
    figures = watch.take(training=False)
    assert "task_loss" in figures and not any("gate" in name for name in figures)


def test_phases_are_kept_apart_and_unlabelled_passes_do_not_count() -> None:
    model = tiny_mhex()
    batch = tiny_tokenizer()(TEXTS, padding=True, return_tensors="pt")
    watch = HeadWatch(model)
    model.train()(**batch, labels=torch.tensor([0, 1]))
    model.eval()(**batch)
    watch.step_ends()
    watch.evaluated()
    assert watch.take(training=False) == {}
    assert set(watch.take(training=True)) >= {"task_loss", "supervision_loss"}


@pytest.mark.parametrize("kind", ["single", "multi", "regression"])
def test_head_scores_and_losses(kind: str) -> None:
    torch.manual_seed(0)
    logits = torch.randn(6, 3, 4)  # (B, L, C)
    if kind == "single":
        config = tiny_bert(num_labels=4, id2label=None, label2id=None).config
        labels = torch.tensor([0, 1, 2, 3, -100, -100])
        expected = (logits[:4].argmax(-1) == labels[:4, None]).float().mean(0)
        losses = torch.stack([F.cross_entropy(logits[:4, d], labels[:4]) for d in range(3)])
        kept = 4
    elif kind == "multi":
        config = tiny_bert(problem_type="multi_label_classification").config
        labels = (torch.rand(6, 4) > 0.5).float()
        labels[0, 0] = -100
        keep = labels != -100
        expected = torch.stack([((logits[:, d] > 0) == (labels == 1))[keep].float().mean() for d in range(3)])
        losses = torch.stack([F.binary_cross_entropy_with_logits(logits[:, d][keep], labels[keep]) for d in range(3)])
        kept, config.num_labels = 23, 4
    else:
        config = tiny_bert(problem_type="regression").config
        config.num_labels = 4
        labels = torch.randn(6, 4)
        losses = expected = torch.stack([F.mse_loss(logits[:, d], labels) for d in range(3)])
        kept = 24
    scores, count = head_scores(logits, labels, config)
    torch.testing.assert_close(scores, expected)
    torch.testing.assert_close(head_losses(logits, labels, config), losses)
    assert count.item() == kept
