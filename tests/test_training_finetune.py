# SPDX-License-Identifier: Apache-2.0
"""The accelerate loop `finetune`: it learns, resumes exactly, and says clearly what it cannot do."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from datasets import Dataset
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import save_checkpoint, tiny_dataset, tiny_mhex, tiny_tokenizer
from transformers import AutoTokenizer

from mhex_nlp import AutoMhexModelForSequenceClassification, MhexConfig
from mhex_nlp.training import FinetuneConfig, finetune
from mhex_nlp.training.command import add_finetune_arguments, main


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("plain"))


def settings(plain: Path, folder: Path, **options: Any) -> FinetuneConfig:
    given = {"data": tiny_dataset(48), "validation": tiny_dataset(20, seed=1), "epochs": 2, "lr": 1e-3}
    return FinetuneConfig(model=plain, output_dir=folder, **{**given, **options})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_it_learns_and_writes_a_model_that_loads(plain: Path, tmp_path: Path) -> None:
    report = finetune(settings(plain, tmp_path, data=tiny_dataset(256), epochs=8, lr=3e-3, head_lr=6e-3))
    assert report["accuracy"] > 0.9 > report["majority"] and report["head_accuracy"][1] > 0.9
    assert report["f1"] == pytest.approx(report["accuracy"], abs=0.05)
    assert report["loss"] == pytest.approx(report["task_loss"] + 0.3 * report["supervision_loss"], abs=1e-5)
    assert sum(report["head_loss"]) / 2 == pytest.approx(report["supervision_loss"], abs=1e-5)
    assert len(report["history"]) == 8 and report["step"] == 8 * 16 and report["texts"] == 20
    assert json.loads((tmp_path / "metrics.json").read_text()) == report
    assert report["settings"]["lr"] == 3e-3 and report["settings"]["data"] == "Dataset 256"

    model = AutoMhexModelForSequenceClassification.from_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    batch = tokenizer(list(tiny_dataset(20, seed=1)["text"]), padding=True, return_tensors="pt")
    with torch.no_grad():
        predicted = model(**batch).logits.argmax(-1)
    right = (predicted == torch.tensor(tiny_dataset(20, seed=1)["label"])).float().mean().item()
    assert right == pytest.approx(report["accuracy"])
    assert model.config.id2label == {0: "negative", 1: "positive"}


@pytest.mark.parametrize("save_steps", [None, 4])
def test_resuming_gives_the_weights_of_an_uninterrupted_run(
    plain: Path, tmp_path: Path, save_steps: int | None
) -> None:
    """Dropout on and three accumulated batches a step, from the end of an epoch and from the middle of one."""
    options: dict[str, Any] = {"batch_size": 4, "gradient_accumulation_steps": 3, "save_steps": save_steps}
    whole = finetune(settings(plain, tmp_path / "whole", epochs=3, save_limit=9, **options))
    AcceleratorState._reset_state(reset_partial_state=True)
    checkpoints = sorted((tmp_path / "whole" / "checkpoints").iterdir())
    assert len(checkpoints) == 3
    first = checkpoints[0]  # after 4 of 4 steps of an epoch
    saved = torch.load(first / "custom_checkpoint_0.pkl", weights_only=False)
    assert (saved["epoch"], saved["batch"], saved["step"]) == ((1, 0, 4) if save_steps is None else (0, 12, 4))
    if save_steps is not None:
        AcceleratorState._reset_state(reset_partial_state=True)
        options["save_steps"] = 6  # in the middle of the second epoch
        finetune(settings(plain, tmp_path / "middle", epochs=3, **options))
        first = tmp_path / "middle" / "checkpoints" / "checkpoint_0"
    AcceleratorState._reset_state(reset_partial_state=True)
    resumed = finetune(settings(plain, tmp_path / "resumed", epochs=3, resume_from=first, **options))
    before, after = weights(tmp_path / "whole"), weights(tmp_path / "resumed")
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    assert resumed["history"] == whole["history"]


def test_latest_goes_on_in_the_same_folder(plain: Path, tmp_path: Path) -> None:
    finetune(settings(plain, tmp_path, epochs=1))
    AcceleratorState._reset_state(reset_partial_state=True)
    report = finetune(settings(plain, tmp_path, epochs=2, resume_from="latest"))
    assert report["step"] == 6 and len(report["history"]) == 2
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["checkpoint_0", "checkpoint_1"]
    AcceleratorState._reset_state(reset_partial_state=True)
    with pytest.raises(ValueError, match="output_dir.*checkpoints of an earlier run.*resume_from='latest'"):
        finetune(settings(plain, tmp_path, epochs=1))


def test_accumulation_is_one_larger_batch(tmp_path: Path) -> None:
    plain = save_checkpoint(tmp_path / "plain", dropout=0.0)
    options = {"max_steps": 4, "data": tiny_dataset(64)}
    finetune(settings(plain, tmp_path / "one", batch_size=16, **options))
    AcceleratorState._reset_state(reset_partial_state=True)
    finetune(settings(plain, tmp_path / "four", batch_size=4, gradient_accumulation_steps=4, **options))
    one, four = weights(tmp_path / "one"), weights(tmp_path / "four")
    assert max((one[key] - four[key]).abs().max().item() for key in one) < 1e-4


def test_gradient_checkpointing_and_bf16(plain: Path, tmp_path: Path) -> None:
    report = finetune(
        settings(plain, tmp_path / "bf16", max_steps=2, mixed_precision="bf16", gradient_checkpointing=True)
    )
    assert all(value.dtype == torch.float32 for value in weights(tmp_path / "bf16").values())
    assert report["loss"] > 0
    AcceleratorState._reset_state(reset_partial_state=True)
    finetune(settings(plain, tmp_path / "plain", max_steps=3))
    AcceleratorState._reset_state(reset_partial_state=True)
    finetune(settings(plain, tmp_path / "saved", max_steps=3, gradient_checkpointing=True))
    plainly, saved = weights(tmp_path / "plain"), weights(tmp_path / "saved")
    assert max((plainly[key] - saved[key]).abs().max().item() for key in plainly) < 1e-6


def test_trackers_get_every_figure(plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finetune(settings(plain, tmp_path, epochs=1, log_with="tensorboard", logging_steps=1))
    events = EventAccumulator(str(tmp_path / "logs" / "mhex")).Reload()
    scalars = set(events.Tags()["scalars"])
    assert {f"train/{name}" for name in ("loss", "task_loss", "supervision_loss", "lr", "grad_norm")} <= scalars
    assert {f"validation/{name}" for name in ("accuracy", "f1", "head_accuracy_0", "head_loss_1")} <= scalars
    assert len(events.Scalars("train/loss")) == 3
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("train  step") for line in lines) == 3
    assert sum(line.startswith("validation  step 3/3") for line in lines) == 1


def test_a_model_that_has_heads_keeps_them(tmp_path: Path) -> None:
    model = tiny_mhex(gate=True)
    with torch.no_grad():
        model.mhex[0].w1.fill_(0.01)
    model.save_pretrained(tmp_path / "start")
    tiny_tokenizer().save_pretrained(tmp_path / "start")
    finetune(settings(tmp_path / "start", tmp_path / "end", max_steps=1, lr=1e-6, gate=False, loss_weight=0.7))
    saved = AutoMhexModelForSequenceClassification.from_pretrained(tmp_path / "end")
    torch.testing.assert_close(saved.mhex[0].w1, model.mhex[0].w1, rtol=0, atol=1e-4)
    assert saved.mhex_config == MhexConfig(gate=False, loss_weight=0.7)


def test_a_classifier_of_other_classes_starts_anew(plain: Path, tmp_path: Path) -> None:
    rows = Dataset.from_dict({"text": list(tiny_dataset(12)["text"]), "label": ["x", "y", "z"] * 4})
    report = finetune(settings(plain, tmp_path, data=rows, validation=None, max_steps=1))
    assert report["labels"] == ["x", "y", "z"]
    assert AutoMhexModelForSequenceClassification.from_pretrained(tmp_path).classifier.out_features == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixed_precision": "fp16"}, "fp16.*CPU"),
        ({"num_processes": 2}, "num_processes.*got 2 but 1 run.*accelerate launch"),
        ({"resume_from": "latest"}, "resume_from='latest'.*got none"),
        ({"label_column": "tone"}, "'tone'.*text, label"),
    ],
)
def test_refused_when_it_starts(plain: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        finetune(settings(plain, tmp_path, **options))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
        ({"batch_size": 1.5}, TypeError, "batch_size must be an integer, got 1.5"),
        ({"lr": 0.0}, ValueError, "lr must be between 0 and inf, got 0.0"),
        ({"warmup": 1.0}, ValueError, "warmup"),
        ({"mixed_precision": "int8"}, ValueError, "'no', 'bf16', 'fp16'.*'int8'"),
        ({"weight_decay": -1.0}, ValueError, "weight_decay"),
        ({"save_limit": None}, TypeError, "save_limit"),
    ],
)
def test_settings_are_checked(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        FinetuneConfig(model="m", data="d.csv", output_dir="o", **options)


def test_command_line(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    tiny_dataset(32).cast_column("label", tiny_dataset(2).features["label"]).to_json(tmp_path / "rows.jsonl")
    out = tmp_path / "out"
    given = ["--model", str(plain), "--data", str(tmp_path / "rows.jsonl"), "--output-dir", str(out)]
    assert main([*given, "--max-steps", "2", "--no-gate", "--batch-size", "8"]) == 0
    printed = capsys.readouterr().out
    assert "accuracy 0." in printed and "heads, first layer to last:" in printed
    report = json.loads((out / "metrics.json").read_text())
    assert report["settings"]["gate"] is False and report["settings"]["batch_size"] == 8 and report["step"] == 2
    AcceleratorState._reset_state(reset_partial_state=True)
    with pytest.raises(SystemExit) as stopped:
        main([*given[:-1], str(tmp_path / "other"), "--text-column", "body"])
    complaint = capsys.readouterr().err.strip().splitlines()[-1]
    assert stopped.value.code == 2 and "text_column" in complaint and "text, label" in complaint


def test_help_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser(prog="mhex finetune")
    add_finetune_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    text = capsys.readouterr().out
    assert "mhex finetune --model distilbert" in text
    for name in FinetuneConfig.__dataclass_fields__:
        assert f"--{name.replace('_', '-')}" in text or name == "gate"
