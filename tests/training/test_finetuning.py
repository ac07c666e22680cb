# SPDX-License-Identifier: Apache-2.0
"""The accelerate loop `finetune`: it learns, keeps what a checkpoint says, and says clearly what it cannot do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoTokenizer

from helpers.tiny import save_checkpoint, tiny_bert, tiny_dataset, tiny_tokenizer
from mhex_nlp import AutoMhexModelForSequenceClassification, MhexConfig, get_mhex_model
from mhex_nlp.cli import main
from mhex_nlp.evaluation import metrics
from mhex_nlp.training import FinetuneConfig, finetune

Settings = Callable[..., FinetuneConfig]
pytestmark = pytest.mark.usefixtures("fresh_accelerate")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_it_learns_and_writes_a_model_that_loads(plain: Path, tmp_path: Path, settings: Settings) -> None:
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


def test_accumulation_is_one_larger_batch(
    tmp_path: Path, settings: Settings, fresh_accelerate: Callable[[], None]
) -> None:
    plain = save_checkpoint(tmp_path / "plain", dropout=0.0)
    options = {"max_steps": 4, "data": tiny_dataset(64)}
    finetune(settings(plain, tmp_path / "one", batch_size=16, **options))
    fresh_accelerate()
    finetune(settings(plain, tmp_path / "four", batch_size=4, gradient_accumulation_steps=4, **options))
    one, four = weights(tmp_path / "one"), weights(tmp_path / "four")
    assert max((one[key] - four[key]).abs().max().item() for key in one) < 1e-4


def test_gradient_checkpointing_and_bf16(
    plain: Path, tmp_path: Path, settings: Settings, fresh_accelerate: Callable[[], None]
) -> None:
    report = finetune(
        settings(plain, tmp_path / "bf16", max_steps=2, mixed_precision="bf16", gradient_checkpointing=True)
    )
    assert all(value.dtype == torch.float32 for value in weights(tmp_path / "bf16").values())
    assert report["loss"] > 0
    fresh_accelerate()
    finetune(settings(plain, tmp_path / "plain", max_steps=3))
    fresh_accelerate()
    finetune(settings(plain, tmp_path / "saved", max_steps=3, gradient_checkpointing=True))
    plainly, saved = weights(tmp_path / "plain"), weights(tmp_path / "saved")
    assert max((plainly[key] - saved[key]).abs().max().item() for key in plainly) < 1e-6


def test_trackers_get_every_figure(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: Settings
) -> None:
    finetune(settings(plain, tmp_path, epochs=1, log_with="tensorboard", logging_steps=1))
    events = EventAccumulator(str(tmp_path / "logs" / "mhex")).Reload()
    scalars = set(events.Tags()["scalars"])
    assert {f"train/{name}" for name in ("loss", "task_loss", "supervision_loss", "lr", "grad_norm")} <= scalars
    assert {f"validation/{name}" for name in ("accuracy", "f1", "head_accuracy_0", "head_loss_1")} <= scalars
    assert len(events.Scalars("train/loss")) == 3
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("train  step") for line in lines) == 3
    assert sum(line.startswith("validation  step 3/3") for line in lines) == 1


@pytest.fixture
def with_heads(tmp_path: Path) -> Path:
    """A checkpoint with heads whose settings are none of the defaults."""
    model = get_mhex_model(tiny_bert(), MhexConfig(gate=False, loss_weight=0.7, aggregation="ema", beta=0.2))
    with torch.no_grad():
        model.mhex[0].w1.fill_(0.01)
    model.save_pretrained(tmp_path / "start")
    tiny_tokenizer().save_pretrained(tmp_path / "start")
    return tmp_path / "start"


@pytest.mark.parametrize(
    ("options", "weight"), [({}, 0.7), ({"loss_weight": 0.2}, 0.2), ({"gate": False, "loss_weight": 0.0}, 0.0)]
)
def test_a_model_that_has_heads_keeps_them(
    with_heads: Path, tmp_path: Path, options: dict[str, Any], weight: float, settings: Settings
) -> None:
    """Weights and settings; only what is given is changed."""
    report = finetune(settings(with_heads, tmp_path / "end", max_steps=1, lr=1e-6, **options))
    saved = AutoMhexModelForSequenceClassification.from_pretrained(tmp_path / "end")
    torch.testing.assert_close(saved.mhex[0].w1, torch.full_like(saved.mhex[0].w1, 0.01), rtol=0, atol=1e-4)
    assert saved.mhex_config == MhexConfig(gate=False, loss_weight=weight, aggregation="ema", beta=0.2)
    assert report["mhex"] == saved.mhex_config.to_dict()
    assert report["loss"] == pytest.approx(report["task_loss"] + weight * report["supervision_loss"], abs=1e-5)


def test_the_gate_of_trained_heads_stays(with_heads: Path, tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(ValueError, match="gate must stay False"):
        finetune(settings(with_heads, tmp_path / "end", gate=True))


def test_fresh_heads_get_the_defaults(plain: Path, tmp_path: Path, settings: Settings) -> None:
    assert finetune(settings(plain, tmp_path, max_steps=1))["mhex"] == MhexConfig().to_dict()


def test_texts_are_cut_at_the_positions_of_the_model(
    plain: Path, tmp_path: Path, settings: Settings, fresh_accelerate: Callable[[], None]
) -> None:
    """A tokenizer that knows no limit, and texts of more tokens than the model has positions."""
    start = tmp_path / "start"
    tiny_bert(max_position_embeddings=32).save_pretrained(start)
    tokenizer = tiny_tokenizer()
    tokenizer.model_max_length = int(1e30)
    tokenizer.save_pretrained(start)
    rows = tiny_dataset(8).map(lambda row: {"text": row["text"] * 8})
    assert max(len(ids) for ids in tokenizer(list(rows["text"]))["input_ids"]) > 64
    finetune(settings(start, tmp_path / "end", data=rows, validation=rows, max_steps=1))
    fresh_accelerate()
    with pytest.raises(ValueError, match="max_length must be .*32.*got 33"):
        finetune(settings(start, tmp_path / "more", max_length=33))
    with pytest.raises(ValueError, match="max_length must be .*3.*got 2"):
        finetune(settings(start, tmp_path / "less", max_length=2))
    with pytest.raises(ValueError, match="max_length must be .*64.*got 65"):  # there the tokenizer says so
        finetune(settings(plain, tmp_path / "more", max_length=65))


def test_only_two_metrics_are_loaded(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    loaded, load = [], metrics.load

    def counting(name: str, **options: Any) -> Any:
        loaded.append(name)
        return load(name, **options)

    monkeypatch.setattr(metrics, "load", counting)
    report = finetune(settings(plain, tmp_path, max_steps=1))
    assert sorted(loaded) == ["accuracy", "f1"] and len(metrics.METRICS) > 2
    assert set(report) == {
        *("texts", "accuracy", "f1", "majority", "loss", "task_loss", "supervision_loss", "head_accuracy", "head_loss"),
        *("step", "labels", "history", "mhex", "settings"),
    }


def test_a_labelled_checkpoint_keeps_its_classes(plain: Path, tmp_path: Path, settings: Settings) -> None:
    """Its classifier would otherwise be trained on with its classes exchanged."""
    model = shutil.copytree(plain, tmp_path / "swapped")
    config = json.loads((model / "config.json").read_text())
    config |= {"id2label": {"0": "positive", "1": "negative"}, "label2id": {"positive": 0, "negative": 1}}
    (model / "config.json").write_text(json.dumps(config))
    report = finetune(settings(model, tmp_path / "out", data=tiny_dataset(16), max_steps=1))
    saved = AutoMhexModelForSequenceClassification.from_pretrained(tmp_path / "out")
    assert report["labels"] == ["positive", "negative"] == list(saved.config.id2label.values())


def test_a_classifier_of_other_classes_starts_anew(plain: Path, tmp_path: Path, settings: Settings) -> None:
    rows = Dataset.from_dict({"text": list(tiny_dataset(12)["text"]), "label": ["x", "y", "z"] * 4})
    with pytest.warns(UserWarning, match="the model's classes 0 'negative', 1 'positive' are replaced by"):
        report = finetune(settings(plain, tmp_path, data=rows, validation=None, max_steps=1))
    assert report["labels"] == ["x", "y", "z"]
    assert AutoMhexModelForSequenceClassification.from_pretrained(tmp_path).classifier.out_features == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixed_precision": "fp16"}, "fp16.*CPU"),
        ({"num_processes": 2}, "num_processes.*got 2 but 1 run.*accelerate launch"),
        ({"label_column": "tone"}, "'tone'.*text, label"),
    ],
)
def test_refused_when_it_starts(
    plain: Path, tmp_path: Path, options: dict[str, Any], message: str, settings: Settings
) -> None:
    with pytest.raises(ValueError, match=message):
        finetune(settings(plain, tmp_path, **options))


def test_command_line(
    plain: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    fresh_accelerate: Callable[[], None],
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    tiny_dataset(32).cast_column("label", tiny_dataset(2).features["label"]).to_json(tmp_path / "rows.jsonl")
    out = tmp_path / "out"
    command = ["finetune", "--model", str(plain), "--data", str(tmp_path / "rows.jsonl"), "--output-dir"]
    assert main([*command, str(out), "--max-steps", "2", "--no-gate", "--batch-size", "8"]) == 0
    printed = capsys.readouterr().out
    assert "accuracy 0." in printed and "heads, first layer to last:" in printed
    report = json.loads((out / "metrics.json").read_text())
    assert report["settings"]["gate"] is False and report["settings"]["batch_size"] == 8 and report["step"] == 2
    fresh_accelerate()
    assert main([*command, str(tmp_path / "other"), "--text-column", "body"]) == 2
    complaint = capsys.readouterr().err.strip().splitlines()[-1]
    assert complaint.startswith("mhex finetune: ") and "text_column" in complaint and "text, label" in complaint
