# SPDX-License-Identifier: Apache-2.0
"""Two real processes on the CPU (gloo) against this one: the same losses, gradients and weights."""

from __future__ import annotations

import json
import os
import runpy
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from helpers.tiny import save_checkpoint, tiny_dataset
from mhex_nlp.cli import main

ROOT = Path(__file__).parents[2]
WORKER = """
import json, sys
from pathlib import Path
from accelerate import PartialState
from helpers.tiny import tiny_dataset, tiny_mhex, tiny_trainer, tokenised
from mhex_nlp import MhexCallback

folder, expected = Path(sys.argv[1]), int(sys.argv[2])
trainer = tiny_trainer(
    tiny_mhex(dropout=0.0),
    folder / "run",
    callbacks=[MhexCallback(["a superb film ."], folder / "highlights")],
    train_dataset=tokenised(tiny_dataset(32)),
    per_device_train_batch_size=32 // expected,
    max_steps=2,
    max_grad_norm=1e6,
    eval_strategy="steps",
    eval_steps=2,
)
assert trainer.accelerator.num_processes == expected, trainer.accelerator.num_processes
trainer.train()
if trainer.is_world_process_zero():
    (folder / "history.json").write_text(json.dumps(trainer.state.log_history))
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, own_cache: None, fresh_accelerate: Callable[[], None]) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")


def launch_two(*command: str) -> None:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2", "--multi_gpu"]
    launcher += ["--main_process_port", str(port), "--num_machines", "1"]
    launcher += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run([*launcher, *command], env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.slow
def test_trainer_gives_the_same_loss_and_gradient_norm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """32 texts on one process, or 16 on each of two: Trainer must not scale the loss with their number."""
    script, found = tmp_path / "worker.py", []
    script.write_text(WORKER)
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        arguments = [str(script), str(folder), str(processes)]
        if processes == 1:
            monkeypatch.setattr(sys, "argv", arguments)
            runpy.run_path(str(script), run_name="__main__")
        else:
            launch_two(*arguments)
        history = json.loads((folder / "history.json").read_text())
        found.append([entry for entry in history if "grad_norm" in entry])
        assert [path.name for path in (folder / "highlights").glob("*.html")] == ["step-000002.html"]
        assert any("eval_mhex/supervision_loss" in entry for entry in history)
    assert len(found[0]) == len(found[1]) == 2
    for one, two in zip(*found, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)
        assert two["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-3)


@pytest.mark.slow
def test_finetune_follows_the_single_process(tmp_path: Path) -> None:
    """20 steps of `mhex finetune`, fp32, no dropout, the same global batches of 16 texts of varied length."""
    model = save_checkpoint(tmp_path / "plain", dropout=0.0)
    tiny_dataset(160).to_json(tmp_path / "rows.jsonl")
    tiny_dataset(21, seed=1).to_json(tmp_path / "validation.jsonl")  # 21 texts do not share out evenly
    reports, losses, weights = [], [], []
    for processes in (1, 2):
        out = tmp_path / str(processes)
        options = {
            "model": model,
            "data": tmp_path / "rows.jsonl",
            "validation": tmp_path / "validation.jsonl",
            "output-dir": out,
            "max-steps": 20,
            "batch-size": 16 // processes,
            "eval-batch-size": 4,
            "lr": 1e-3,
            "logging-steps": 1,
            "log-with": "tensorboard",
            "num-processes": processes,
        }
        flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        if processes == 1:
            assert main(["finetune", *flags]) == 0
        else:
            launch_two("-m", "mhex_nlp", "finetune", *flags)
        reports.append(json.loads((out / "metrics.json").read_text()))
        events = EventAccumulator(str(out / "logs" / "mhex")).Reload()
        losses.append([event.value for event in events.Scalars("train/loss")])
        weights.append(load_file(out / "model.safetensors"))
    assert len(losses[0]) == 20
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    assert max((weights[1][key] - weights[0][key]).abs().max().item() for key in weights[0]) < 1e-4
    assert reports[0]["texts"] == reports[1]["texts"] == 21
    for name in ("accuracy", "f1", "loss", "task_loss", "supervision_loss", "head_accuracy", "head_loss"):
        assert reports[1][name] == pytest.approx(reports[0][name], abs=1e-4), name
