# SPDX-License-Identifier: Apache-2.0
"""A plain Trainer with a `PeftModel`: heads learn with the adapter, and checkpoints keep both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from helpers.tiny import save_checkpoint, tiny_tokenizer, tiny_trainer
from mhex_nlp import MhexCallback, MhexConfig, MhexExplainer, get_mhex_model, mhex_param_groups, save_explainer

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft asks for it
TOKENIZER = tiny_tokenizer()
TEXT = "the film was good"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("base"), dropout=0.0)


def adapted(base: Path, gate: bool = False) -> Any:
    torch.manual_seed(0)
    below = AutoModelForSequenceClassification.from_pretrained(base)
    lora = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"])
    return get_mhex_model(peft.get_peft_model(below, lora), MhexConfig(gate=gate))


def heads_of(model: Any) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in model.get_base_model().state_dict().items() if key[:5] == "mhex."}


@pytest.mark.parametrize("gate", [False, True])
def test_checkpoints_hold_the_heads_of_their_step(base: Path, tmp_path: Path, gate: bool) -> None:
    model = adapted(base, gate)
    optimizer = torch.optim.AdamW(mhex_param_groups(model, 1e-3))
    options = {"save_strategy": "steps", "save_steps": 2, "eval_strategy": "steps", "eval_steps": 2}
    callback = MhexCallback([TEXT], tmp_path / "highlights")
    trainer = tiny_trainer(model, tmp_path, callbacks=[callback], optimizers=(optimizer, None), **options)
    trainer.train()
    assert any("eval_mhex/layer_1_accuracy" in entry for entry in trainer.state.log_history)
    assert (tmp_path / "highlights" / "step-000004.html").is_file()
    stored = {step: load_file(tmp_path / f"checkpoint-{step}" / "explainer.safetensors") for step in (2, 4)}
    assert all(torch.equal(stored[4][key], value) for key, value in heads_of(model).items())
    assert not torch.equal(stored[2]["mhex.0.w2"], stored[4]["mhex.0.w2"])
    again = MhexExplainer.from_pretrained(str(tmp_path / "checkpoint-4"))
    assert again(TEXT).tokens == MhexExplainer(model, TOKENIZER)(TEXT).tokens
    assert trained_base(model) == trained_base(adapted(base, gate)), "the base is frozen"


def trained_base(model: Any) -> list[float]:
    return [float(value.double().sum()) for key, value in model.state_dict().items() if "base_layer" in key]


def test_a_resumed_run_ends_as_one_that_went_through(base: Path, tmp_path: Path) -> None:
    ended = []
    for folder, resume in ((tmp_path / "whole", False), (tmp_path / "resumed", True)):
        options = {"save_strategy": "steps", "save_steps": 2}
        if resume:
            stopped = tiny_trainer(adapted(base), folder, callbacks=[MhexCallback()], **options)
            stopped.train()
        trainer = tiny_trainer(adapted(base), folder, callbacks=[MhexCallback()], **options)
        trainer.train(resume_from_checkpoint=str(folder / "checkpoint-2") if resume else None)
        ended.append(heads_of(trainer.model))
    assert all(torch.equal(value, ended[1][key]) for key, value in ended[0].items())


def test_the_best_model_has_its_own_heads(base: Path, tmp_path: Path) -> None:
    model, seen = adapted(base), []
    trainer = tiny_trainer(
        model,
        tmp_path,
        callbacks=[MhexCallback()],
        compute_metrics=lambda prediction: seen.append(prediction) or {"earliest": -len(seen)},
        save_strategy="steps",
        save_steps=2,
        eval_strategy="steps",
        eval_steps=2,
        load_best_model_at_end=True,
        metric_for_best_model="earliest",
        greater_is_better=True,
    )
    trainer.train()
    best = Path(str(trainer.state.best_model_checkpoint))
    assert best.name == "checkpoint-2"
    stored = load_file(best / "explainer.safetensors")
    assert all(torch.equal(stored[key], value) for key, value in heads_of(model).items())


def test_a_plain_checkpoint_gets_no_side_car(base: Path, tmp_path: Path) -> None:
    model = get_mhex_model(AutoModelForSequenceClassification.from_pretrained(base))
    tiny_trainer(model, tmp_path, callbacks=[MhexCallback()], save_strategy="steps", save_steps=4).train()
    assert not (tmp_path / "checkpoint-4" / "explainer.json").exists()


def test_the_record_says_what_the_adapter_is_for(base: Path, tmp_path: Path) -> None:
    model = adapted(base)
    tiny_trainer(model, tmp_path / "run", callbacks=[MhexCallback()], max_steps=1).train()
    save_explainer(model, tmp_path / "kept")
    record = json.loads((tmp_path / "kept" / "explainer.json").read_text())["adapter"]
    assert record["task"] == "sequence_classification" and len(record["sha256"]) == 64
    assert record["id2label"] == {"0": "negative", "1": "positive"}
