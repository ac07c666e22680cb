# SPDX-License-Identifier: Apache-2.0
"""`mhex fit | highlight | report` with a model that reads images: from a folder to pages, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ResNetConfig, ResNetForImageClassification, ViTImageProcessor

from helpers.image_files import class_folder
from helpers.tiny import tiny_bert, tiny_tokenizer
from mhex_nlp.cli import main
from mhex_nlp.corpus.jsonl import read_explanations


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return class_folder(tmp_path_factory.mktemp("data") / "scans", each=20)


@pytest.fixture(scope="module")
def fitted(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random ResNet, fitted by the command."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    names = {"id2label": {0: "cat", 1: "dog"}, "label2id": {"cat": 0, "dog": 1}}
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", **names)
    ResNetForImageClassification(config).save_pretrained(folder / "plain")
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder / "plain")
    options = ["--images", str(scans), "--masks", "4", "--output", str(folder / "fitted")]
    assert main(["fit", "--model", str(folder / "plain"), *options]) == 0
    return folder / "fitted"


def test_from_a_folder_to_pages(fitted: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = ["highlight", "--model", str(fitted), "--images", str(scans), "--label-column", "label"]
    assert main([*job, "--output", str(tmp_path / "out"), "--format", "jsonl,parquet"]) == 0
    assert "40 of 40 images explained in 1 parts." in capsys.readouterr().out
    assert len(list(read_explanations(tmp_path / "out"))) == 40
    pages = ["--output", str(tmp_path / "pages"), "--images", str(scans), "--labels", str(scans)]
    assert main(["report", str(tmp_path / "out"), *pages]) == 0
    assert (tmp_path / "pages" / "index.html").is_file()


def test_one_image_on_the_terminal_and_as_a_page(
    fitted: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = ["highlight", "--model", str(fitted), "--image", str(scans / "cat" / "0.png")]
    assert main([*one, "--target", "dog"]) == 0
    assert "dog" in capsys.readouterr().out
    assert main([*one, "--output", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "report.html").read_text("utf-8").count("data:image/") == 1
    line = json.loads((tmp_path / "out" / "explanations.jsonl").read_text())
    assert line["kind"] == "image" and line["image"]["name"] is None


def test_bad_rows_are_named_and_passed_over(fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = class_folder(tmp_path / "bad", each=1, bad=True)
    job = ["highlight", "--model", str(fitted), "--images", str(bad)]
    assert main([*job, "--output", str(tmp_path / "out")]) == 1
    assert "2 rows not explained" in capsys.readouterr().out
    assert main([*job, "--allow-errors"]) == 0
    assert "row 1: image" in capsys.readouterr().err
    assert main(["fit", "--model", str(fitted), "--images", str(bad), "--output", str(tmp_path / "again")]) == 2
    assert "images must be at least 20" in capsys.readouterr().err


def test_deep_scans_are_seen_by_a_window_in_every_command(
    fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "deep").mkdir()
    draw = np.random.default_rng(0)
    for number in range(24):
        values = draw.integers(0, 2000, (30, 40), dtype=np.uint16)
        values[5:15, number : number + 10] = 4000
        Image.fromarray(values).save(tmp_path / "deep" / f"{number}.png")
    data, window = ["--images", str(tmp_path / "deep")], ["--window", "0", "4000"]
    job = ["highlight", "--model", str(fitted), *data]
    assert main([*job, "--output", str(tmp_path / "none")]) == 1
    assert "24 rows not explained" in capsys.readouterr().out
    again = ["--output", str(tmp_path / "again"), "--masks", "2", "--attainable-texts", "0"]
    assert main(["fit", "--model", str(fitted), *data, *window, *again]) == 0
    assert json.loads((tmp_path / "again" / "config.json").read_text())["mhex_fit"]["attainable_texts"] == 0
    assert main([*job, *window, "--output", str(tmp_path / "out"), "--format", "jsonl,parquet"]) == 0
    explanation = next(iter(read_explanations(tmp_path / "out")))
    assert "Values from 0 to 4000 shown as black to white." in explanation.notes
    pages = ["report", str(tmp_path / "out"), "--output", str(tmp_path / "pages"), *data]
    assert main(pages) == 2
    assert "got row 0, of which: image has values of more than 8 bits" in capsys.readouterr().err
    assert main([*pages, *window]) == 0
    one = ["highlight", "--model", str(fitted), "--image", str(tmp_path / "deep" / "0.png"), *window]
    assert main([*one, "--output", str(tmp_path / "one")]) == 0
    assert json.loads((tmp_path / "one" / "explanations.jsonl").read_text())["notes"][0] == explanation.notes[0]
    assert main([*job, "--window", "9", "1", "--output", str(tmp_path / "none")]) == 2
    assert "window must be two values, black before white, got [9.0, 1.0]" in capsys.readouterr().err


def test_the_other_kind_is_refused(
    fitted: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_bert().save_pretrained(tmp_path / "text")
    tiny_tokenizer().save_pretrained(tmp_path / "text")
    texts, images = str(tmp_path / "text"), str(fitted)
    refused = {
        "--images is for an image classifier": ["fit", "--model", texts, "--images", str(scans), "--output", "x"],
        "--image is for an image classifier": ["highlight", "--model", texts, "--image", "a.png"],
        "--window is for an image classifier": ["fit", "--model", texts, "--data", "a.csv", "--output", "x"]
        + ["--window", "0", "9"],
        "--text is for a model of texts": ["highlight", "--model", images, "--text", "a"],
        "--judge is for texts": ["highlight", "--model", images, "--images", str(scans), "--judge", "5"],
        "the model has no fit that could explain it": [
            *("highlight", "--model", str(fitted.parent / "plain"), "--images", str(scans)),
            *("--output", str(tmp_path / "out")),
        ],
        "foil must be another class than the target": [
            *("highlight", "--model", images, "--images", str(scans), "--target", "0", "--foil", "cat")
        ],
        "output must be a folder outside the data": [
            *("highlight", "--model", images, "--images", str(scans), "--output", str(scans / "out"))
        ],
    }
    for sentence, arguments in refused.items():
        assert main(arguments) == 2
        assert sentence in capsys.readouterr().err
