# SPDX-License-Identifier: Apache-2.0
"""`mhex demo --images`, shortened: what it trains on, writes, prints, and leaves alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mhex_nlp.cli import main
from mhex_nlp.cli.demo.images import load_digits, run_image_demo
from mhex_nlp.corpus.jsonl import read_jsonl


def test_the_digits_are_scans_in_an_order_that_the_seed_draws() -> None:
    pictures, labels = load_digits(0)
    assert len(pictures) == len(labels) == 1797 and set(labels) == set(range(10))
    assert {(one.mode, one.size) for one in pictures} == {("RGB", (32, 32))}
    assert load_digits(0)[1] == labels != load_digits(1)[1]


@pytest.mark.slow
def test_a_short_demo_writes_all_its_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mhex_nlp.cli.demo.images.HELD_OUT", 1597)  # 200 digits are trained on
    figures = run_image_demo(tmp_path / "out", epochs=1, fitted_to=60, held_out=20)
    assert 0 <= figures["accuracy"] <= 1 and figures["images"] == 20
    low, high = figures["skill_interval"]
    printed = capsys.readouterr().out
    assert f"[{low:.2f}, {high:.2f}]" in printed and "open this first" in printed
    explanations = list(read_jsonl(tmp_path / "out" / "explanations.jsonl"))
    assert len(explanations) == 20 and explanations[0].to_dict()["grid"]["rows"] == 8
    for name in ("image.html", "report/index.html", "model/preprocessor_config.json", "mhex-demo.json"):
        assert (tmp_path / "out" / name).is_file()
    assert json.loads((tmp_path / "out" / "mhex-demo.json").read_text())["task"] == "images"
    assert main(["demo", "--task", "ner", "--output", str(tmp_path / "out")]) == 2  # a folder of another demo
    assert "output must be the folder of an earlier demo of ner" in capsys.readouterr().err
