# SPDX-License-Identifier: Apache-2.0
"""Highlights as artifacts of MLflow and Weights & Biases, both offline."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from helpers.tiny import tiny_mhex, tiny_trainer
from mhex_nlp import MhexCallback
from mhex_nlp.training import trackers

TEXTS = ["the film was good", "the plot was dull"]


def train(tmp_path: Path, callback: MhexCallback) -> None:
    options = {"max_steps": 2, "eval_strategy": "steps", "eval_steps": 2}
    tiny_trainer(tiny_mhex(), tmp_path / "run", callbacks=[callback], **options).train()


def test_mlflow_gets_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # mlflow-skinny has no database
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    mlflow.create_experiment("tiny", artifact_location=(tmp_path / "artifacts").as_uri())
    mlflow.set_experiment("tiny")
    with mlflow.start_run() as run:
        train(tmp_path, MhexCallback(TEXTS, log_to="mlflow"))
    folder = tmp_path / "artifacts" / run.info.run_id / "artifacts" / "highlights"
    assert sorted(path.name for path in folder.iterdir()) == ["step-000002.html", "step-000002.jsonl"]
    assert "good" in (folder / "step-000002.html").read_text("utf-8")


@pytest.mark.slow  # wandb starts a service of its own
def test_wandb_gets_page_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    logged = []
    with wandb.init(mode="offline", dir=tmp_path, project="tiny", settings=wandb.Settings(console="off")) as run:
        keep = run.log_artifact
        monkeypatch.setattr(run, "log_artifact", lambda artifact: logged.append(artifact) or keep(artifact))
        train(tmp_path, MhexCallback(TEXTS, log_to=["wandb"]))
        assert run.summary["train/global_step"] == 2
    assert set(logged[0].manifest.entries) == {"step-000002.html", "step-000002.jsonl"}
    pages = list((tmp_path / "wandb").glob("offline-run-*/files/media/html/*.html"))
    assert len(pages) == 1 and "good" in pages[0].read_text("utf-8")


def test_without_a_run_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    said: list[str] = []
    # libraries that set up logging for the whole process switch off loggers that are there already
    monkeypatch.setattr(trackers.logger, "warning", said.append)
    train(tmp_path, MhexCallback(TEXTS, log_to="mlflow"))
    assert said and all("no run of mlflow is active" in sentence for sentence in said)
    assert (tmp_path / "run" / "highlights" / "step-000002.html").is_file()


def test_names_and_packages_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MhexCallback().log_to == ()
    with pytest.raises(ValueError, match=r"log_to must be of \['mlflow', 'wandb'\], got 'comet'"):
        MhexCallback(log_to="comet")  # type: ignore[arg-type]
    find = importlib.util.find_spec
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None if name == "wandb" else find(name))
    with pytest.raises(ImportError, match="needs wandb, which is not installed: pip install wandb"):
        MhexCallback(log_to="wandb")
