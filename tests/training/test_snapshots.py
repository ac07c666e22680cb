# SPDX-License-Identifier: Apache-2.0
"""Highlights written during training, which goes on as if they were not."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.tiny import tiny_mhex, tiny_trainer
from mhex_nlp import MhexCallback
from mhex_nlp.training.snapshots import untouched

TEXTS = ["a superb film .", "the dull plot was awful ."]


def test_training_is_the_same_with_and_without(tmp_path: Path) -> None:
    weights = []
    for name in ("with", "without"):
        model = tiny_mhex(dropout=0.2)
        callbacks = [MhexCallback(TEXTS)] if name == "with" else None
        trainer = tiny_trainer(model, tmp_path / name, callbacks=callbacks, eval_strategy="steps", eval_steps=1)
        trainer.train()
        weights.append(model.state_dict())
    assert (tmp_path / "with" / "highlights" / "step-000004.html").is_file()
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[1])


def test_highlights_at_each_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr("mhex_nlp.training.callback.logger.warning", lines.append)
    model = tiny_mhex()
    trainer = tiny_trainer(
        model,
        tmp_path / "run",
        callbacks=[MhexCallback(TEXTS, tmp_path / "out")],
        eval_strategy="steps",
        eval_steps=2,
        eval_on_start=True,
    )
    trainer.train()
    assert len(lines) == 1 and "step 0" in lines[0] and "untrained" in lines[0]
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [f"step-{step:06d}.{kind}" for step in (2, 4) for kind in ("html", "jsonl")]
    rows = [json.loads(line) for line in (tmp_path / "out" / "step-000004.jsonl").read_text().splitlines()]
    assert [row["text"] for row in rows] == TEXTS
    page = (tmp_path / "out" / "step-000004.html").read_text()
    assert "Step 4" in page and "superb" in page
    first = (tmp_path / "out" / "step-000002.jsonl").read_text()
    assert first != (tmp_path / "out" / "step-000004.jsonl").read_text()
    trainer.evaluate()  # after training: the page of step 4 stays
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_highlights_each_epoch(tmp_path: Path) -> None:
    callback = MhexCallback(TEXTS, every="epoch")
    tiny_trainer(tiny_mhex(), tmp_path, callbacks=[callback], max_steps=-1, num_train_epochs=2).train()
    assert sorted(path.name for path in (tmp_path / "highlights").glob("*.html")) == [
        "step-000008.html",
        "step-000016.html",
    ]


def test_untouched_puts_everything_back() -> None:
    model = tiny_mhex().train()
    before = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy())
    with untouched(model):
        torch.rand(3), random.random(), np.random.seed(0)
    assert torch.equal(before[0], torch.get_rng_state()) and before[1] == random.getstate()
    assert np.array_equal(before[2], np.random.get_state()[1])
