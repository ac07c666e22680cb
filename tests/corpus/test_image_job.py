# SPDX-License-Identifier: Apache-2.0
"""Jobs over images: every row once, taken up where they stopped, wherever the files lie; and pages made of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from helpers.image_files import class_folder, png
from helpers.tiny_images import tiny_explainer
from mhex_nlp.cli import main
from mhex_nlp.corpus.images.columns import ImageColumnOptions
from mhex_nlp.corpus.images.explained import identity_of_images
from mhex_nlp.corpus.job.job import JobReport, SingleProcess, run_job
from mhex_nlp.corpus.jsonl import read_explanations
from mhex_nlp.corpus.readers.images import open_images

REQUEST = {"target": None, "foil": None, "classes": "target", "layers": False}


def run(data: Path, output: Path, formats: Sequence[str] = ("jsonl", "parquet"), **options: Any) -> JobReport:
    source = open_images(data, label_column="label", id_column="file_name")
    explainer = tiny_explainer()
    report = run_job(
        explainer,
        source,
        output,
        request=REQUEST,
        formats=formats,
        columns=ImageColumnOptions(),
        settings={"data": source.identity, "format": formats, **identity_of_images(explainer, REQUEST)},
        state=SingleProcess(),
        part_rows=3,
        progress=False,
        **options,
    )
    assert report is not None
    return report


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return class_folder(tmp_path / "pets", each=4, bad=True)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def test_every_row_is_in_the_output_once(data: Path, tmp_path: Path) -> None:
    report = run(data, tmp_path / "out")
    assert (report.rows, report.explained, report.errors, report.parts) == (10, 8, 2, 4)
    explanations = list(read_explanations(tmp_path / "out"))
    good = [f"{name}/{number}.png" for name in ("cat", "dog") for number in range(4)]
    assert [explanation.id for explanation in explanations] == good
    errors = [json.loads(line) for line in (tmp_path / "out" / "errors.jsonl").read_text().splitlines()]
    assert sorted(error["id"] for error in errors) == ["cat/a cut.png", "dog/b none.jpg"]
    assert all(error["reason"] for error in errors)
    table = pq.read_table(sorted((tmp_path / "out").glob("*.parquet")))
    assert table["id"].to_pylist() == good and table["gold_label"].to_pylist() == ["cat"] * 4 + ["dog"] * 4
    scores = [explanation.to_dict()["scores"] for explanation in explanations]
    assert [sum(map(sum, grid)) for grid in table["mhex_grid"].to_pylist()] == pytest.approx(
        [sum(map(sum, grid)) for grid in scores], abs=1e-4
    )
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    right = [
        explanation.to_dict()["prediction"]["label"] == name
        for explanation, name in zip(explanations, ["cat"] * 4 + ["dog"] * 4, strict=True)
    ]
    assert summary["accuracy"] == sum(right) / 8 and summary["labelled"] == summary["images"] == 8
    assert sum(of["predicted"] for of in summary["classes"].values()) == 8


def test_a_stopped_run_goes_on_elsewhere(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(data, tmp_path / "whole")
    calls: list[int] = []
    explainer = type(tiny_explainer())
    explain = explainer.__call__

    def count(self: Any, images: Any, **options: Any) -> Any:
        calls.append(len(images))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return explain(self, images, **options)

    monkeypatch.setattr(explainer, "__call__", count)
    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path / "stopped")
    shutil.copytree(data, tmp_path / "elsewhere" / "pets")
    before = sum(calls[:2])
    calls[:] = [0] * 3
    run(tmp_path / "elsewhere" / "pets", tmp_path / "stopped")
    assert sum(calls) == 8 - before > 0
    whole, resumed = bytes_of(tmp_path / "whole"), bytes_of(tmp_path / "stopped")
    assert whole.keys() == resumed.keys()
    assert all(whole[name] == resumed[name] for name in whole if name.endswith("l"))


def test_another_picture_of_the_same_name_is_noticed(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "out")
    path = data / "cat" / "1.png"
    size = path.stat().st_size
    path.write_bytes(png(50)[:size].ljust(size, b"\0"))
    with pytest.raises(ValueError, match="^data must hold the rows that this output was begun with, got others among"):
        run(data, tmp_path / "out")


def test_pages_are_made_of_a_job(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(data, tmp_path / "out")
    pages = ["--images", str(data), "--labels", str(data), "--id-column", "file_name"]
    assert main(["report", str(tmp_path / "out"), "--output", str(tmp_path / "pages"), *pages]) == 0
    index = Path(capsys.readouterr().out.strip())
    html = "".join(path.read_text("utf-8") for path in [index, *index.parent.rglob("*.html")])
    assert html.count("data:image/") >= 8
    shutil.copy(data / "cat" / "1.png", data / "cat" / "0.png")
    assert main(["report", str(tmp_path / "out"), "--output", str(tmp_path / "pages"), *pages]) == 2
    assert "--images must hold the explained images, got another one in row 0." in capsys.readouterr().err


def test_pages_of_parts_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="^format must be some of jsonl, parquet for images, got html"):
        run(data, tmp_path / "out", formats=("html",))
