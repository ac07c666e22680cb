# SPDX-License-Identifier: Apache-2.0
"""How long the callback watches a model, and which forward passes count."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import Trainer, TrainerCallback

from helpers.tiny import tiny_bert, tiny_dataset, tiny_mhex, tiny_tokenizer, tiny_trainer, tokenised
from mhex_nlp import MhexCallback, MhexExplainer
from mhex_nlp.training.head_watch import HeadWatch

TEXTS = ["a superb film .", "the dull plot was awful ."]


def hook_count(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def batch(**more: Any) -> dict[str, Any]:
    return {**tiny_tokenizer()(TEXTS, padding=True, return_tensors="pt"), **more}


def expected(trainer: Trainer) -> dict[str, float]:
    """The figures of the evaluation split, from one forward pass over all of it."""
    rows = trainer.data_collator(list(trainer.eval_dataset))
    with torch.no_grad():
        output = trainer.model.eval()(**rows)
    right = (output.head_logits.argmax(-1) == rows["labels"][:, None]).float().mean(0)
    return {"task_loss": output.task_loss.item(), "layer_0_accuracy": right[0].item()}


def check(trainer: Trainer, prefix: str = "eval") -> None:
    logged = trainer.state.log_history[-1]
    for name, value in expected(trainer).items():
        assert logged[f"{prefix}_mhex/{name}"] == pytest.approx(value, abs=1e-5)


class Break(TrainerCallback):
    """Ends training as Ctrl-C in a step would."""

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 1:
            raise KeyboardInterrupt


def test_hooks_do_not_pile_up_and_go_with_the_trainer(tmp_path: Path) -> None:
    model = tiny_mhex()
    before = hook_count(model)
    trainer = tiny_trainer(model, tmp_path, callbacks=[MhexCallback()])
    trainer.train()
    trainer.train()
    trainer.evaluate()
    assert hook_count(model) == before + 4  # begin and end of the model, one gate in each of two layers
    trainer.model = trainer.model_wrapped = None
    del trainer
    gc.collect()
    assert hook_count(model) == before


def test_evaluations_before_and_after_training_have_figures(tmp_path: Path) -> None:
    trainer = tiny_trainer(tiny_mhex(), tmp_path, callbacks=[MhexCallback()])
    trainer.evaluate()
    check(trainer)
    trainer.train()
    assert not any(key.startswith("eval_mhex") for key in trainer.state.log_history[-1])
    trainer.evaluate(metric_key_prefix="held_out")
    check(trainer, "held_out")
    trainer.evaluate(tokenised(tiny_dataset(20, seed=1)).remove_columns("labels"))  # must not raise
    assert not any("mhex/" in key for key in trainer.state.log_history[-1])


def test_an_attached_callback_sees_evaluations_before_training(tmp_path: Path) -> None:
    trainer, callback = tiny_trainer(tiny_mhex(), tmp_path), MhexCallback()
    trainer.add_callback(callback)
    callback.attach(trainer)
    trainer.evaluate()
    check(trainer)


def test_a_model_of_another_kind_can_be_evaluated(tmp_path: Path) -> None:
    trainer = tiny_trainer(tiny_bert(), tmp_path, callbacks=[MhexCallback()])
    assert trainer.evaluate()["eval_loss"] > 0


def test_interrupted_training_leaves_the_model_usable(tmp_path: Path) -> None:
    trainer = tiny_trainer(tiny_mhex(), tmp_path, callbacks=[MhexCallback(), Break()])
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    model = trainer.model
    assert model.train()(**batch()).loss is None  # no labels, and nothing to complain about
    model(**batch(labels=torch.tensor([0, 1])))
    trainer.evaluate()
    check(trainer)
    trainer.remove_callback(Break)
    trainer.train()
    entries = [entry for entry in trainer.state.log_history if "loss" in entry]
    whole = entries[0]["mhex/task_loss"] + 0.3 * entries[0]["mhex/supervision_loss"]
    assert entries[0]["loss"] == pytest.approx(whole, abs=1e-4)


def test_passes_of_others_do_not_count(tmp_path: Path) -> None:
    class Look(TrainerCallback):
        """Runs the model for its own purposes, with labels."""

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            model = kwargs["model"]
            for mode in (model.eval, model.train):
                with torch.no_grad():
                    mode()(**batch(labels=torch.tensor([0, 0])))

    trainer = tiny_trainer(
        tiny_mhex(dropout=0.0), tmp_path, callbacks=[MhexCallback(), Look()], eval_strategy="steps", eval_steps=4
    )
    trainer.train()
    for entry in trainer.state.log_history[:3]:
        assert entry["loss"] == pytest.approx(entry["mhex/task_loss"] + 0.3 * entry["mhex/supervision_loss"], abs=1e-4)
    trainer.predict(tokenised(tiny_dataset(12, seed=4)))
    trainer.evaluate()
    check(trainer)


def test_an_interrupted_evaluation_does_not_count(tmp_path: Path) -> None:
    class Stop(TrainerCallback):
        on = True

        def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if self.on:
                raise KeyboardInterrupt

    trainer = tiny_trainer(tiny_mhex(), tmp_path, callbacks=[MhexCallback(), stop := Stop()])
    with pytest.raises(KeyboardInterrupt):
        trainer.evaluate(tokenised(tiny_dataset(40, seed=5)))
    stop.on = False
    trainer.evaluate()
    check(trainer)


def test_an_evaluation_called_train_has_figures_of_its_own(tmp_path: Path) -> None:
    class Evaluate(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step in (1, 2):
                rows = tokenised(tiny_dataset(20, seed=state.global_step + 1))
                trainer.evaluate(rows, metric_key_prefix=["train", "eval"][state.global_step - 1])
                output = trainer.model.eval()(**trainer.data_collator(list(rows)))
                losses.append(output.task_loss.item())
                trainer.model.train()

    losses: list[float] = []
    trainer = tiny_trainer(tiny_mhex(dropout=0.0), tmp_path, callbacks=[MhexCallback(), Evaluate()])
    trainer.train()
    history = trainer.state.log_history
    found = [next(e[key] for e in history if key in e) for key in ("train_mhex/task_loss", "eval_mhex/task_loss")]
    assert found == pytest.approx(losses, abs=1e-5)
    assert "total_flos" in history[-1] and not any("mhex/" in key for key in history[-1])


def test_copies_of_the_model_leave_the_watch_behind() -> None:
    model = tiny_mhex(dropout=0.0).eval()
    watch = HeadWatch(model)
    model(**batch(labels=torch.tensor([0, 1])))
    watch.evaluated()
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        copied(**batch(labels=torch.tensor([1, 0])))
        watch.evaluated()
    once = watch.take(training=False)["task_loss"]
    assert once == pytest.approx(model(**batch(labels=torch.tensor([0, 1]))).task_loss.item())


def test_a_compiled_model_is_watched() -> None:
    model = tiny_mhex(dropout=0.0).eval()
    watch = HeadWatch(model)
    compiled = torch.compile(model, backend="eager")
    loss = compiled(**batch(labels=torch.tensor([0, 1]))).task_loss.item()
    watch.evaluated()
    figures = watch.take(training=False)
    assert figures["task_loss"] == pytest.approx(loss) and figures["gate_mean"] == pytest.approx(1.0)


@pytest.mark.parametrize("training", [True, False])
def test_explanations_of_another_thread_do_not_count(training: bool) -> None:
    """One that runs in the middle of a pass that counts: neither its figures nor its gates are taken for the pass's."""
    model = tiny_mhex(dropout=0.0)
    with torch.no_grad():
        for head in model.mhex:
            head.w1.normal_()
            head.bias.fill_(1.0)
    explainer, watch, figures = MhexExplainer(model, tiny_tokenizer()), HeadWatch(model), []
    model.train(training)

    def explain(module: nn.Module, args: Any) -> None:
        if "labels" in counted:
            counted.clear()
            thread = threading.Thread(target=explainer, args=(["the music was lovely .", "a plot"],))
            thread.start()
            thread.join()

    for beside in (False, True):
        counted = {"labels"} if beside else set()
        hook = model.bert.encoder.layer[1].register_forward_pre_hook(explain)
        watch.step_begins()
        model(**batch(labels=torch.tensor([0, 1])))
        assert not counted
        hook.remove()
        (watch.step_ends if training else watch.evaluated)()
        figures.append(watch.take(training))
    assert figures[0] == figures[1] and figures[0]["gate_std"] > 0
