# SPDX-License-Identifier: Apache-2.0
"""`MhexCallback` in a plain Trainer: figures in every log, highlights on disk, training unchanged."""

from __future__ import annotations

import copy
import json
import logging
from pathlib import Path

import pandas as pd
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn import functional as F

from helpers.families import train_heads
from helpers.tiny import tiny_bert, tiny_dataset, tiny_mhex, tiny_texts, tiny_tokenizer, tiny_trainer, tokenised
from mhex_nlp import MhexCallback
from mhex_nlp.training.snapshots import check_highlights

FIGURES = {
    *("mhex/task_loss", "mhex/supervision_loss", "mhex/gate_mean", "mhex/gate_std", "mhex/gate_saturated"),
    *("mhex/layer_0_accuracy", "mhex/layer_1_accuracy", "mhex/layer_0_loss", "mhex/layer_1_loss"),
}
TEXTS = ["a superb film .", "the dull plot was awful ."]


def test_figures_reach_console_state_and_tensorboard(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = tmp_path / "tensorboard"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENSORBOARD_LOGGING_DIR", str(runs))
        callback = MhexCallback()
        trainer = tiny_trainer(
            tiny_mhex(),
            tmp_path,
            callbacks=[callback],
            report_to="tensorboard",
            eval_strategy="steps",
            eval_steps=2,
            save_strategy="steps",
            save_steps=4,
        )
        assert callback.attach(trainer) is callback
        assert trainer.callback_handler.callbacks[0] is callback
        assert trainer.callback_handler.callbacks.count(callback) == 1
        trainer.train()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert any("'mhex/supervision_loss'" in line and "'loss'" in line for line in lines)
    assert any("'eval_mhex/layer_1_accuracy'" in line and "'eval_loss'" in line for line in lines)

    history = json.loads((tmp_path / "checkpoint-4" / "trainer_state.json").read_text())["log_history"]
    trained = [entry for entry in history if "loss" in entry]
    evaluated = [entry for entry in history if "eval_loss" in entry]
    assert len(trained) == 4 and len(evaluated) == 2
    assert all(set(entry) >= FIGURES and not any(key.startswith("eval_") for key in entry) for entry in trained)
    assert all(set(entry) >= {f"eval_{name}" for name in FIGURES} for entry in evaluated)
    for entry in trained:  # Trainer rounds what it logs to four decimals
        whole = entry["mhex/task_loss"] + 0.3 * entry["mhex/supervision_loss"]
        assert entry["loss"] == pytest.approx(whole, abs=1e-4)

    events = EventAccumulator(str(runs)).Reload()
    scalars = set(events.Tags()["scalars"])
    assert {f"train/{name}" for name in FIGURES} | {f"eval/{name}" for name in FIGURES} <= scalars
    reported = [event.value for event in events.Scalars("eval/mhex/supervision_loss")]
    assert reported == pytest.approx([entry["eval_mhex/supervision_loss"] for entry in evaluated])


def test_evaluation_figures_are_those_of_the_split(tmp_path: Path) -> None:
    """20 texts in batches of 8, 8 and 4, measured against one forward pass over all of them."""
    model = tiny_mhex()
    trainer = tiny_trainer(
        model, tmp_path, callbacks=[MhexCallback()], max_steps=6, eval_strategy="steps", eval_steps=6
    )
    trainer.train()
    logged = next(entry for entry in trainer.state.log_history if "eval_loss" in entry)
    batch = trainer.data_collator(list(tokenised(tiny_dataset(20, seed=1))))
    with torch.no_grad():
        output = model.eval()(**batch)
    for depth in range(2):
        right = (output.head_logits[:, depth].argmax(-1) == batch["labels"]).float().mean().item()
        loss = F.cross_entropy(output.head_logits[:, depth], batch["labels"]).item()
        assert logged[f"eval_mhex/layer_{depth}_accuracy"] == pytest.approx(right)
        assert logged[f"eval_mhex/layer_{depth}_loss"] == pytest.approx(loss, abs=1e-5)
    assert logged["eval_mhex/task_loss"] == pytest.approx(output.task_loss.item(), abs=1e-5)
    assert logged["eval_mhex/supervision_loss"] == pytest.approx(output.supervision_loss.item(), abs=1e-5)


def test_figures_average_over_accumulated_batches(tmp_path: Path) -> None:
    callback = MhexCallback()
    trainer = tiny_trainer(
        tiny_mhex(dropout=0.0),
        tmp_path,
        callbacks=[callback],
        max_steps=1,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=8,
    )
    model, seen = trainer.model, []
    handle = model.register_forward_hook(lambda module, args, output: seen.append(output.supervision_loss.item()))
    trainer.train()
    handle.remove()
    assert len(seen) == 8
    entry = next(entry for entry in trainer.state.log_history if "loss" in entry)
    assert entry["mhex/supervision_loss"] == pytest.approx(sum(seen) / 8, abs=1e-6)


def test_gradient_checkpointing_keeps_the_figures(tmp_path: Path) -> None:
    logged = []
    for checkpointing in (False, True):
        trainer = tiny_trainer(
            tiny_mhex(dropout=0.0),
            tmp_path,
            callbacks=[MhexCallback()],
            activation_checkpointing=checkpointing,
        )
        trainer.train()
        logged.append([{k: v for k, v in entry.items() if "mhex/" in k} for entry in trainer.state.log_history])
    assert logged[0][0] and len(logged[0]) == len(logged[1])
    for plain, saved in zip(*logged, strict=True):
        assert saved == pytest.approx(plain, abs=1e-6)


def test_the_best_model_by_a_figure_of_the_heads(tmp_path: Path) -> None:
    model = tiny_mhex()
    trainer = tiny_trainer(
        model,
        tmp_path,
        callbacks=[MhexCallback(TEXTS)],
        max_steps=12,
        eval_strategy="steps",
        eval_steps=4,
        save_strategy="steps",
        save_steps=4,
        load_best_model_at_end=True,
        metric_for_best_model="eval_mhex/supervision_loss",
        greater_is_better=False,
    )
    trainer.train()
    reached = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    best = min(reached, key=lambda entry: entry["eval_mhex/supervision_loss"])
    assert trainer.state.best_metric == best["eval_mhex/supervision_loss"]
    assert trainer.state.best_model_checkpoint == str(tmp_path / f"checkpoint-{best['step']}")


def test_two_evaluation_sets_keep_their_figures_apart(tmp_path: Path) -> None:
    sets = {"near": tokenised(tiny_dataset(16, seed=1)), "far": tokenised(tiny_dataset(16, seed=2))}
    trainer = tiny_trainer(
        tiny_mhex(), tmp_path, callbacks=[MhexCallback()], eval_dataset=sets, eval_strategy="steps", eval_steps=4
    )
    trainer.train()
    near, far = (
        next(entry for entry in trainer.state.log_history if f"eval_{name}_loss" in entry) for name in ("near", "far")
    )
    assert "eval_near_mhex/layer_0_loss" in near and "eval_far_mhex/layer_0_loss" in far
    whole = near["eval_near_mhex/task_loss"] + 0.3 * near["eval_near_mhex/supervision_loss"]
    assert near["eval_near_loss"] == pytest.approx(whole, abs=1e-5)


def test_label_smoothing_raises(tmp_path: Path) -> None:
    trainer = tiny_trainer(tiny_mhex(), tmp_path, callbacks=[MhexCallback()], label_smoothing_factor=0.1)
    with pytest.raises(ValueError, match="label_smoothing_factor=0.1.*deep_supervision_loss"):
        trainer.train()


@pytest.mark.parametrize("attached", [True, False])
def test_compute_loss_func_raises(tmp_path: Path, attached: bool) -> None:
    """Attached the callback sees it at once; else the first step without labels tells, before it changes a weight."""
    trainer = tiny_trainer(
        tiny_mhex(),
        tmp_path,
        callbacks=[callback := MhexCallback()],
        compute_loss_func=lambda outputs, labels, num_items_in_batch: F.cross_entropy(outputs.logits, labels),
    )
    if attached:
        callback.attach(trainer)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    with pytest.raises(ValueError, match="compute_loss_func.*") as raised:
        trainer.train()
    assert all(torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())
    assert "deep_supervision_loss" in str(raised.value)
    assert attached or "label_smoothing_factor" in str(raised.value)


def test_a_model_without_heads_raises(tmp_path: Path) -> None:
    trainer = tiny_trainer(tiny_bert(), tmp_path, callbacks=[MhexCallback()])
    with pytest.raises(ValueError, match="get_mhex_model"):
        trainer.train()


def test_tuples_out_of_the_model_raise(tmp_path: Path) -> None:
    """Else nothing would be logged, and labels kept from the model would pass unnoticed."""
    trainer = tiny_trainer(tiny_mhex(return_dict=False), tmp_path, callbacks=[MhexCallback()])
    with pytest.raises(ValueError, match="config.return_dict must be True"):
        trainer.train()


def test_arguments_are_checked() -> None:
    for given in ("one text", b"text", {"a": "text"}, 3, ["fine", None]):
        with pytest.raises(TypeError, match="list of strings"):
            MhexCallback(given)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="empty"):
        MhexCallback(["fine", " "])
    with pytest.raises(ValueError, match="'evaluate', 'epoch'"):
        MhexCallback(every="hour")  # type: ignore[arg-type]


def test_texts_may_be_anything_that_yields_strings() -> None:
    assert MhexCallback(text for text in TEXTS).texts == TEXTS
    assert MhexCallback(pd.Series(TEXTS)).texts == MhexCallback(tuple(TEXTS)).texts == TEXTS
    assert MhexCallback().texts == MhexCallback([]).texts == []


def test_a_text_without_a_token_stops_training_before_it_begins(tmp_path: Path) -> None:
    trainer = tiny_trainer(
        tiny_mhex(), tmp_path, callbacks=[MhexCallback(["fine", "\u200b"])], eval_strategy="steps", eval_steps=2
    )
    with pytest.raises(ValueError, match=r"texts\[1\] has no token"):
        trainer.train()
    assert trainer.state.global_step == 0


def test_a_text_with_a_lone_surrogate_does_not_stop_training() -> None:
    check_highlights(tiny_mhex(), tiny_tokenizer(), ["good \ud800", "\ud83d\ude00 bad"])


def test_a_regression_head_logs_its_error(tmp_path: Path) -> None:
    model = tiny_mhex(num_labels=1, id2label=None, label2id=None, problem_type="regression")
    texts, labels = tiny_texts(16)
    encoded = [{**tiny_tokenizer()(t), "labels": float(y)} for t, y in zip(texts, labels, strict=True)]
    trainer = tiny_trainer(model, tmp_path, callbacks=[MhexCallback()], train_dataset=encoded, max_steps=2)
    trainer.train()
    entry = trainer.state.log_history[0]
    assert entry["mhex/layer_0_mse"] == pytest.approx(entry["mhex/layer_0_loss"])
    assert "mhex/layer_0_accuracy" not in entry


class Saved(torch.nn.Module):
    """What peft puts in the place of a module of `modules_to_save`: itself frozen, which hooks call, and a copy."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.original_module, self.modules_to_save = module, torch.nn.ModuleDict({"default": copy.deepcopy(module)})
        self.original_module.requires_grad_(False)


@pytest.mark.parametrize("case", ["frozen", "saved", "trained before", "free again"])
def test_fresh_heads_that_are_frozen_are_told_of(
    tmp_path: Path, case: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As LoRA freezes them: all that is not an adapter of its own."""
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    monkeypatch.setattr(logging.getLogger("mhex_nlp"), "propagate", True)
    model = tiny_mhex()
    trainer = tiny_trainer(model, tmp_path, max_steps=1)
    callback = MhexCallback()
    callback.attach(trainer)
    if case == "trained before":
        train_heads(model)
    model.mhex.requires_grad_(False)
    if case == "saved":
        model.mhex[0] = Saved(model.mhex[0])
    if case == "free again":
        model.mhex.requires_grad_(True)
    with caplog.at_level("WARNING"):
        callback.on_train_begin(trainer.args, trainer.state, trainer.control, model=model, processing_class=None)
    told = [
        record.getMessage() for record in caplog.records if "model.mhex.requires_grad_(True)" in record.getMessage()
    ]
    assert len(told) == (case in ("frozen", "saved"))
