# SPDX-License-Identifier: Apache-2.0
"""The benchmark of cost: every group runs on tiny models, and figures are kept, compared and shown as they should."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from studies.overhead.__main__ import GROUPS, main
from studies.overhead.measuring import Figure
from studies.overhead.models import Settings, batch_of, make_models
from studies.overhead.passes import _left_out
from studies.overhead.report import table


def test_all_groups_run(tmp_path, capsys):
    output, page = tmp_path / "overhead.json", tmp_path / "page.md"
    main(["--smoke", "--output", str(output), "--page", str(page)])
    report = json.loads(output.read_text("utf-8"))
    assert list(report["groups"]) == list(GROUPS)
    figures = [figure for group in report["groups"].values() for figure in group["figures"]]
    assert all(figure["value"] > 0 for figure in figures)
    rows = [line for line in page.read_text("utf-8").splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(figures) and "<!-- overhead: begin -->" in page.read_text("utf-8")
    again = report["groups"]["places"]
    main(["--smoke", "--output", str(output), "--only", "reading"])
    kept = json.loads(output.read_text("utf-8"))
    assert kept["groups"]["places"] == again and list(kept["groups"]) == list(GROUPS)
    with pytest.raises(SystemExit, match="of another settings"):
        main(["--smoke", "--output", str(output), "--longest", "2048"])
    with pytest.raises(SystemExit, match="got backward"):
        main(["--smoke", "--output", str(output), "--only", "backward"])


def test_a_target_is_reached_on_its_side():
    assert Figure("time", "m", 1.04, target=1.05).reached is True
    assert Figure("speed", "m", 0.90, target=0.93, at_least=True).reached is False
    assert Figure("long", "m", None, target=1.10, note="no room").reached is None


def test_a_length_is_left_out_by_the_memory_of_shorter_ones(monkeypatch):
    monkeypatch.setattr("studies.overhead.passes._free_memory", lambda device: 10 * 10**9)
    linear = [(1024, 10**8, 10**8), (2048, 10**8, 2 * 10**8)]
    square = [(1024, 10**8, 10**8), (2048, 10**8, 4 * 10**8)]
    assert not _left_out(8192, linear, Settings()) and not _left_out(8192, square, Settings())  # 0.8 and 6.4 GB
    larger = [(tokens, plain, 2 * ours) for tokens, plain, ours in square]
    assert _left_out(8192, larger, Settings()) == "would take 13 GB beside the weights, of 10 GB that are free"
    assert _left_out(8192, linear, Settings(longest=2048)) == "left out by --longest 2048"


def test_a_batch_has_texts_of_several_lengths():
    model = make_models("BERT-base, random", Settings(smoke=True)).plain
    assert batch_of(4, 64, model)["attention_mask"].sum(1).tolist() == [64, 60, 56, 52]


def test_what_is_left_out_stands_in_the_table_with_its_reason():
    left_out = asdict(Figure("long", "m", None, target=1.10, note="no room"))
    group = {"seconds": 60.0, "figures": [left_out]}
    settings = {"device": "cpu", "dtype": "float32", "attention": "sdpa"}
    lines = table({"machine": "a machine", "settings": settings, "groups": {"long_texts": group}})
    assert lines[-1] == "| long | m | not measured | ≤ 1.1 |  | no room |"
