# SPDX-License-Identifier: Apache-2.0
"""`mhex report` with columns to slice by, another run to compare with, and rows that could not be explained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.report_examples import LABELS, example
from mhex_nlp.cli import main
from mhex_nlp.corpus.job.folder import SCHEMA
from mhex_nlp.corpus.jsonl import write_jsonl


def job(folder: Path, wrong: int, errors: list[object]) -> Path:
    folder.mkdir()
    made = [example(f"text {n} superb", id=str(n), label=LABELS[n < wrong]) for n in range(12)]
    write_jsonl(made, folder / "part-0-00000.jsonl")
    parts = [{"files": ["part-0-00000.jsonl"]}]
    (folder / "manifest.json").write_text(json.dumps({"schema": SCHEMA, "complete": True, "parts": parts}))
    (folder / "errors.jsonl").write_text("".join(f"{json.dumps(error)}\n" for error in errors))
    return folder


def test_a_job_is_sliced_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now = job(tmp_path / "now", 5, [{"row": 12, "id": "twelve", "reason": "the text is <empty>"}])
    before = job(tmp_path / "before", 3, [])
    rows = [f"{LABELS[0]},{'web' if n < 4 else 'shop'}" for n in range(12)]
    (tmp_path / "data.csv").write_text("\n".join(["label,source", *rows]) + "\n")
    given = ["--labels", str(tmp_path / "data.csv"), "--slice", "source", "--against", str(before)]
    assert main(["report", str(now), "--output", str(tmp_path / "pages"), *given]) == 0
    html = (tmp_path / "pages" / "index.html").read_text("utf-8")
    shown = html.partition("<h3><bdi>By source</bdi></h3>")[2].partition("</table>")[0]
    assert [part.partition("</bdi>")[0] for part in shown.split("<bdi>")[2:]] == ["web", "shop"], "worst first"
    assert "<td>4</td><td>4</td>" in shown and "<td>1</td><td>8</td>" in shown
    assert "2 of 12" in html and "75%, 58.3%" in html, "changed; accuracy before and now"
    assert "twelve" in html and "the text is &lt;empty&gt;" in html
    capsys.readouterr()


@pytest.mark.parametrize(
    "given, sentence",
    [
        (["--slice", "source"], "slice names a column of --labels"),
        (["--labels", "{root}/data.csv", "--slice", "sauce"], "got 'sauce'; it has label, source"),
        (["--against", "{root}/nowhere"], "source must be a folder of `mhex highlight` or a JSONL file, got"),
        (["--page-texts", "201"], "page_texts must be an integer from 1 to 200, got 201"),
    ],
)
def test_bad_input_gets_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str], sentence: str
) -> None:
    now = job(tmp_path / "now", 5, [])
    (tmp_path / "data.csv").write_text("label,source\nnegative,web\n")
    options = [part.format(root=tmp_path) for part in given]
    assert main(["report", str(now), "--output", str(tmp_path / "pages"), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("mhex report: ") and sentence in error and error.count("\n") == 1


def test_a_spoilt_list_of_errors_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now = job(tmp_path / "now", 5, [3])
    assert main(["report", str(now), "--output", str(tmp_path / "pages")]) == 2
    assert "errors.jsonl, line 1: expected an object, got 3" in capsys.readouterr().err
