# SPDX-License-Identifier: Apache-2.0
"""A model with heads in a plain `transformers.Trainer`, nothing of ours around it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import EarlyStoppingCallback, EvalPrediction, TrainerCallback

from helpers.tiny import tiny_bert, tiny_dataset, tiny_mhex, tiny_trainer, tokenised
from mhex_nlp import AutoMhexModelForSequenceClassification, mhex_param_groups


def accuracy(prediction: EvalPrediction) -> dict[str, float]:
    assert isinstance(prediction.predictions, np.ndarray), "compute_metrics must get the logits alone"
    assert prediction.predictions.shape == (20, 2)
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


class FirstGradient(TrainerCallback):
    """Keeps the gradients of the first optimiser step, before clipping changes them."""

    def __init__(self) -> None:
        self.gradients: dict[str, torch.Tensor] = {}

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self.gradients:
            named = kwargs["model"].named_parameters()
            self.gradients = {name: p.grad.clone() for name, p in named if p.grad is not None}


def awake(model: Any) -> Any:
    """The heads as in the middle of training: a gate away from 1, so that every head parameter has a gradient."""
    torch.manual_seed(5)
    with torch.no_grad():
        for head in model.mhex:
            head.w1.normal_(0, 0.3)
    return model


def test_evaluation_metrics_and_best_model(tmp_path: Path) -> None:
    model = tiny_mhex()
    trainer = tiny_trainer(
        model,
        tmp_path,
        compute_metrics=accuracy,
        callbacks=[EarlyStoppingCallback(early_stopping_patience=10)],
        max_steps=40,
        learning_rate=3e-3,
        eval_strategy="steps",
        eval_steps=10,
        save_strategy="steps",
        save_steps=10,
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
    )
    trainer.train()
    reached = [entry["eval_accuracy"] for entry in trainer.state.log_history if "eval_accuracy" in entry]
    assert len(reached) == 4 and trainer.state.best_metric == max(reached)
    assert trainer.evaluate()["eval_accuracy"] == max(reached)
    best = AutoMhexModelForSequenceClassification.from_pretrained(trainer.state.best_model_checkpoint)
    assert all(torch.equal(value, best.state_dict()[key]) for key, value in model.state_dict().items())
    output = trainer.predict(trainer.eval_dataset)
    assert output.predictions.shape == (20, 2)


@pytest.mark.parametrize("problem", ["multi_label_classification", "regression"])
def test_other_problem_types(tmp_path: Path, problem: str) -> None:
    model = tiny_mhex(problem_type=problem)
    rows = [{**row, "labels": [float(row["labels"]), 0.5]} for row in tokenised(tiny_dataset(32))]
    trainer = tiny_trainer(model, tmp_path, train_dataset=rows, eval_dataset=rows, eval_strategy="steps", eval_steps=2)
    before = model.mhex[0].w1.clone()
    trainer.train()
    assert not torch.equal(before, model.mhex[0].w1)
    assert trainer.evaluate()["eval_loss"] > 0


def test_loss_and_gradient_do_not_depend_on_accumulation(tmp_path: Path) -> None:
    """32 texts in one batch, or in 8 batches of 4: Trainer must not scale the loss with their number."""
    rows, entries, gradients = tokenised(tiny_dataset(32)), [], []
    for batch_size, accumulation in ((32, 1), (4, 8)):
        watch = FirstGradient()
        trainer = tiny_trainer(
            awake(tiny_mhex(dropout=0.0)),
            tmp_path,
            callbacks=[watch],
            train_dataset=rows,
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=accumulation,
            max_steps=1,
            max_grad_norm=1e6,
        )
        trainer.train()
        entries.append(trainer.state.log_history[0])
        gradients.append(watch.gradients)
    assert entries[1]["loss"] == pytest.approx(entries[0]["loss"], rel=1e-4)
    assert entries[1]["grad_norm"] == pytest.approx(entries[0]["grad_norm"], rel=1e-4)
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-3, atol=1e-6)


def test_gradients_agree_with_and_without_checkpointing(tmp_path: Path) -> None:
    """Padded batches, a gate away from 1, dropout on: the recomputation must see mask and noise again."""
    found = []
    for checkpointing in (False, True):
        watch = FirstGradient()
        trainer = tiny_trainer(
            awake(tiny_mhex(dropout=0.1)),
            tmp_path,
            callbacks=[watch],
            activation_checkpointing=checkpointing,
            max_steps=1,
            max_grad_norm=1e6,
        )
        trainer.train()
        found.append(watch.gradients)
    assert any(name.startswith("mhex.") for name in found[0])
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=0, atol=1e-7)
        assert not name.startswith("mhex.") or gradient.any(), f"{name} has no gradient"


def test_resuming_gives_the_same_weights(tmp_path: Path) -> None:
    options = {"max_steps": 8, "save_strategy": "steps", "save_steps": 4}
    whole = tiny_mhex()
    tiny_trainer(whole, tmp_path / "a", **options).train()
    resumed = tiny_mhex(seed=9)
    tiny_trainer(resumed, tmp_path / "b", **options).train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-4"))
    assert all(torch.equal(value, resumed.state_dict()[key]) for key, value in whole.state_dict().items())


def test_heads_learn_at_their_own_rate(tmp_path: Path) -> None:
    model = tiny_mhex()
    optimizer = torch.optim.AdamW(mhex_param_groups(model, lr=1e-4, head_lr=1e-2, weight_decay=0.0))
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    tiny_trainer(model, tmp_path, optimizers=(optimizer, None), max_steps=2, lr_scheduler_type="constant").train()
    moved = {name: (p - before[name]).abs().max().item() for name, p in model.named_parameters()}
    assert moved["mhex.0.w1"] == pytest.approx(2e-2, rel=0.1)  # Adam: one rate a step
    assert moved["bert.encoder.layer.0.attention.self.query.weight"] == pytest.approx(2e-4, rel=0.1)


def test_gateless_heads_leave_a_frozen_model_alone(tmp_path: Path) -> None:
    model = tiny_mhex(gate=False)
    model.base_model.requires_grad_(False)
    model.classifier.requires_grad_(False)
    tiny_trainer(model, tmp_path, max_steps=6).train()
    assert model.mhex[1].equivalent_matrix.any()
    batch = {"input_ids": torch.tensor([[2, 6, 7, 3]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    with torch.no_grad():
        assert torch.equal(model.eval()(**batch).logits, tiny_bert().eval()(**batch).logits)
