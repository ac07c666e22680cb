# SPDX-License-Identifier: Apache-2.0
"""The demo's folder: it replaces its own files alone, and only when the new ones are complete."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from accelerate.state import AcceleratorState

from helpers.tiny import save_checkpoint
from mhex_nlp.cli.demo import run
from mhex_nlp.cli.demo.output import MARKER, check_output
from mhex_nlp.cli.demo.run import run_demo
from mhex_nlp.corpus.jsonl import read_jsonl


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A tiny encoder in place of the packaged one, and 24 sentences of each split."""
    folder = save_checkpoint(tmp_path_factory.mktemp("encoder"))
    whole, held_out = run.as_dataset, run.load_corpus
    monkeypatch.setattr(run, "minilm_path", lambda: folder)
    monkeypatch.setattr(run, "as_dataset", lambda split: whole(split).select(range(24)))
    monkeypatch.setattr(run, "load_corpus", lambda split: held_out(split)[:24])
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def contents(folder: Path) -> dict[str, Any]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_second_demo_replaces_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = run_demo(tmp_path, epochs=1, seed=1)
    first = contents(tmp_path)
    assert {"accuracy", "plain_accuracy", "pointing", "random_pointing"} <= set(figures)
    assert {path.name for path in tmp_path.iterdir()} == {"model", "report.html", "explanations.jsonl", MARKER}
    marker = json.loads((tmp_path / MARKER).read_text())
    assert (marker["seed"], marker["epochs"]) == (1, 1)
    assert next(read_jsonl(tmp_path / "explanations.jsonl")).model.name == "model"
    report = json.loads((tmp_path / "model" / "metrics.json").read_text())
    assert report["settings"]["output_dir"] == str(tmp_path / "model")
    (tmp_path / "notes.txt").write_text("mine")

    run_demo(tmp_path, epochs=1, seed=2, comparison=False)
    second = contents(tmp_path)
    assert second["model/model.safetensors"] != first["model/model.safetensors"]
    assert second.keys() == {*first, "notes.txt"} and json.loads(second[MARKER])["seed"] == 2


@pytest.mark.parametrize("name", ["model/model.safetensors", "report.html", "explanations.jsonl", "notes.txt"])
def test_files_of_others_are_refused_before_anything_runs(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "minilm_path", lambda: pytest.fail("the encoder was looked for"))
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("precious")
    with pytest.raises(ValueError, match=f"or that of an earlier demo, got .* holds {name.split('/')[0]}"):
        run_demo(tmp_path)
    assert contents(tmp_path) == {name: b"precious"}


def test_a_model_that_was_changed_since_is_refused(tmp_path: Path) -> None:
    run_demo(tmp_path, epochs=1, comparison=False)
    check_output(tmp_path)
    (tmp_path / "model" / "README.md").write_text("trained further")
    with pytest.raises(ValueError, match="changed after the demo had written it"):
        run_demo(tmp_path, epochs=1)


def test_a_run_that_breaks_off_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_demo(tmp_path, epochs=1, comparison=False)
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "mine.txt").write_text("precious")
    before = contents(tmp_path)

    def stop(*args: Any) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "_plain_accuracy", stop)  # both models are trained by then
    with pytest.raises(KeyboardInterrupt):
        run_demo(tmp_path, epochs=1, seed=5)
    assert contents(tmp_path) == before


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError, match="must be a folder, got the file"):
        run_demo(tmp_path / "file")
