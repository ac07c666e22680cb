# SPDX-License-Identifier: Apache-2.0
"""The demo's folder: it replaces its own files alone, and only when the new ones are complete."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from accelerate.state import AcceleratorState

from helpers.tiny import save_checkpoint
from mhex_nlp.cli import main
from mhex_nlp.cli.demo import run
from mhex_nlp.cli.demo.output import MARKER, check_output
from mhex_nlp.cli.demo.run import run_demo
from mhex_nlp.corpus.jsonl import read_jsonl


@pytest.fixture(scope="module", autouse=True)
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A tiny encoder in place of the packaged one, and 24 sentences of each split."""
    folder = save_checkpoint(tmp_path_factory.mktemp("encoder"))
    whole, held_out = run.as_dataset, run.load_corpus
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "minilm_path", lambda: folder)
        patch.setattr(run, "as_dataset", lambda split: whole(split).select(range(24)))
        patch.setattr(run, "load_corpus", lambda split: held_out(split)[:24])
        yield


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="module")
def made(quick: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder and the figures of one whole demo, with the comparison: tests change copies of the folder."""
    AcceleratorState._reset_state(reset_partial_state=True)
    folder = tmp_path_factory.mktemp("made")
    return folder, run_demo(folder, epochs=1, seed=1)


@pytest.fixture
def earlier(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    """An earlier demo of the test's own."""
    return Path(shutil.copytree(made[0], tmp_path / "demo"))


def contents(folder: Path) -> dict[str, Any]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_a_demo_writes(made: tuple[Path, dict[str, Any]]) -> None:
    folder, figures = made
    assert {"accuracy", "plain_accuracy", "pointing", "random_pointing"} <= set(figures)
    assert {path.name for path in folder.iterdir()} == {"model", "report.html", "explanations.jsonl", MARKER}
    marker = json.loads((folder / MARKER).read_text())
    assert (marker["seed"], marker["epochs"]) == (1, 1)
    assert next(read_jsonl(folder / "explanations.jsonl")).model.name == "model"
    report = json.loads((folder / "model" / "metrics.json").read_text())
    assert report["settings"]["output_dir"] == str(folder / "model")


def test_a_second_demo_replaces_the_first(earlier: Path) -> None:
    first = contents(earlier)
    (earlier / "notes.txt").write_text("mine")
    run_demo(earlier, epochs=1, seed=2, comparison=False)
    second = contents(earlier)
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


def test_a_model_that_was_changed_since_is_refused(earlier: Path) -> None:
    check_output(earlier)
    (earlier / "model" / "README.md").write_text("trained further")
    with pytest.raises(ValueError, match="changed after the demo had written it"):
        run_demo(earlier, epochs=1)


def test_a_run_that_breaks_off_changes_nothing(earlier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (earlier / "plain").mkdir()
    (earlier / "plain" / "mine.txt").write_text("precious")
    before = contents(earlier)

    def stop(*args: Any) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "_plain_accuracy", stop)  # both models are trained by then
    with pytest.raises(KeyboardInterrupt):
        run_demo(earlier, epochs=1, seed=5)
    assert contents(earlier) == before


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError, match="must be a folder, got the file"):
        run_demo(tmp_path / "file")


def test_another_encoder_in_place_of_the_packaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "minilm_path", lambda: pytest.fail("the packaged encoder was looked for"))
    encoder, trained = save_checkpoint(tmp_path / "tiny-encoder"), []

    def stop(start: Path, *args: Any) -> None:
        trained.append(start)
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "_train", stop)
    with pytest.raises(KeyboardInterrupt):
        run_demo(tmp_path / "demo", model=encoder)
    assert trained == [encoder]
    assert "Fine-tuning tiny-encoder with MHEX heads" in capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match="--model must be a folder with an encoder and its tokenizer, got"):
        run_demo(tmp_path / "other", model=tmp_path)
    assert main(["demo", "--task", "lm", "--model", str(encoder)]) == 2
    assert "--model is for the tasks classification and ner, got --task lm." in capsys.readouterr().err
