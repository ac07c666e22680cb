# SPDX-License-Identifier: Apache-2.0
"""The study of accuracy: every run once, a seed at a time, and differences over seeds."""

import json

import pytest

from studies import accuracy


def fake_training(hits):
    def train(kind, plan, data, test, seed):
        return {"accuracy": 0.5 + (0.01 * (seed + 1) if kind != "plain" else 0.0), "seconds": 0.0, "hits": hits}

    return train


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sst2").mkdir()
    for part in ("train", "test"):
        (tmp_path / "sst2" / f"{part}.tsv").write_text("good\t1\nbad\t0\nfine\t1\n", "utf-8")
    (tmp_path / "mrpc").mkdir()
    for part in ("train", "test"):
        rows = ["label,id1,id2,sentence1,sentence2", '1,1,2,"One, two.",Two and one.', "0,3,4,A cat.,Rain."]
        (tmp_path / "mrpc" / f"{part}.csv").write_text("\n".join(rows), "utf-8")
    return tmp_path


def test_a_stopped_study_goes_on_and_its_table_gives_the_gain_over_seeds(folder, monkeypatch):
    plans = {"sst2": accuracy.PLANS["sst2"]._replace(more_seeds=1), "mrpc": accuracy.PLANS["mrpc"]}
    output, page = folder / "accuracy.json", folder / "page.md"
    monkeypatch.setattr(
        "sys.argv", ["accuracy", f"--data={folder}", f"--output={output}", f"--page={page}", "--seeds=2"]
    )
    calls = []

    def train(*arguments):
        calls.append((arguments[-1], arguments[1].name, arguments[0]))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return fake_training("a0")(*arguments)

    with pytest.raises(KeyboardInterrupt):
        accuracy.main(plans, train)
    accuracy.main(plans, train)
    assert len(calls) == 11 and len(json.loads(output.read_text("utf-8"))["runs"]) == 10
    lines = [line for line in page.read_text("utf-8").splitlines() if line.startswith("| SST-2")]
    assert lines == [
        "| SST-2, sentences | 3 / 3 / 0.667 | 1 | with heads, their rate 20 times the backbone's "
        "| 0.500, 0.500, 0.500 | "
        "0.510, 0.520, 0.530 | +2.00 [-0.48, +4.48] |"  # t with two degrees of freedom: 4.303 / 3 ** 0.5
    ]


def test_pairs_are_read_with_both_sentences(folder):
    train, _ = accuracy.read_data(folder, "mrpc")
    assert train[0] == {"text": "One, two.", "text_pair": "Two and one.", "label": 1}
