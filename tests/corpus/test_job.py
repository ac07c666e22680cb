# SPDX-License-Identifier: Apache-2.0
"""Jobs over a corpus: whole and once, however they were stopped; nothing written over, nothing lost."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from helpers.job_runs import FORMATS, TOKENIZER, Crash, crash_at, fitted_explainer, run, write_corpus
from helpers.tiny import tiny_bert, tiny_texts
from mhex_nlp import MhexConfig, MhexExplainer, fit_equivalent_matrices, get_mhex_model
from mhex_nlp.corpus.job.job import SingleProcess
from mhex_nlp.corpus.job.ledger import Ledger
from mhex_nlp.corpus.jsonl import read_explanations, read_jsonl
from mhex_nlp.corpus.readers.opening import open_rows
from mhex_nlp.explain.json_form import explanation_schema


@pytest.fixture(scope="module")
def explainer():
    return fitted_explainer()


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path)


def content(folder):
    """What a run leaves, but for what tells when or by whom: every file by name."""
    hidden = {"manifest.json"}
    return {p.name: p.read_bytes() for p in sorted(Path(folder).iterdir()) if p.name not in hidden and p.name[0] != "."}


def test_every_row_is_in_the_output_once(explainer, corpus, tmp_path):
    report = run(explainer, corpus, tmp_path / "out")
    assert (report.rows, report.explained, report.errors, report.parts) == (60, 57, 3, 6)
    found = [e for i in range(6) for e in read_jsonl(tmp_path / "out" / f"part-0-{i:05d}.jsonl")]
    errors = [json.loads(line) for line in (tmp_path / "out" / "errors.jsonl").read_text().splitlines()]
    assert [error["row"] for error in errors] == [7, 8, 33]
    assert [error["reason"] for error in errors] == [
        "the text is missing",
        "the text is empty",
        "the text must be a string, got 12",
    ]
    assert sorted([e.id for e in found] + [error["id"] for error in errors]) == sorted(f"k{i}" for i in range(60))
    expected = explainer([e.text for e in found], ids=[e.id for e in found])
    for e, alone in zip(found, expected, strict=True):
        assert (e.label, e.tokens[1].text, e.notes) == (alone.label, alone.tokens[1].text, alone.notes)
        np.testing.assert_allclose(e.scores, alone.scores, atol=1e-5)
    validator = jsonschema.Draft202012Validator(explanation_schema())
    for part in (tmp_path / "out").glob("part-*.jsonl"):
        for line in part.read_text("utf-8").splitlines():
            validator.validate(json.loads(line))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["complete"] and [part["rows"] for part in manifest["parts"]] == [10] * 6


def test_parquet_reads_back(explainer, corpus, tmp_path):
    run(explainer, corpus, tmp_path / "out")
    files = sorted(str(path) for path in (tmp_path / "out").glob("*.parquet"))
    frame = pd.concat([pd.read_parquet(path) for path in files])
    assert list(frame["row"]) == [i for i in range(60) if i not in (7, 8, 33)]
    assert frame["mhex_error"].isna().all()
    dataset = load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    explanations = [e for i in range(6) for e in read_jsonl(tmp_path / "out" / f"part-0-{i:05d}.jsonl")]
    for row, e in zip(dataset, explanations, strict=True):
        assert row["id"] == e.id and row["text"] == e.text and row["mhex_spans"] == [word.text for word in e.words()]
        np.testing.assert_allclose(row["mhex_scores"], [word.score for word in e.words()], atol=1e-6)
    assert len({str(pq.read_schema(path)) for path in files}) == 1


MOMENTS = ("before the sync", "after the sync", "after the rename", "before the ledger", "after the ledger")


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("count", [1, 3, 6])
def test_a_crash_at_any_moment_changes_nothing_in_the_end(explainer, corpus, tmp_path, monkeypatch, moment, count):
    formats = ("jsonl", "parquet")
    run(explainer, corpus, tmp_path / "whole", formats=formats)
    with monkeypatch.context() as patch:
        crash_at(patch, moment, count)
        with pytest.raises(Crash):
            run(explainer, corpus, tmp_path / "out", formats=formats)
    for path in (tmp_path / "out").glob("part-*.jsonl"):
        list(read_jsonl(path))  # whatever has its name is whole
    finished = Ledger(tmp_path / "out", 0).finished()
    names = [name for part in finished.values() for name in part["files"]]
    before = {
        name: ((tmp_path / "out" / name).stat().st_mtime_ns, (tmp_path / "out" / name).stat().st_ino) for name in names
    }
    report = run(explainer, corpus, tmp_path / "out", formats=formats)
    assert report.rows == 60
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    after = {
        name: ((tmp_path / "out" / name).stat().st_mtime_ns, (tmp_path / "out" / name).stat().st_ino) for name in names
    }
    assert before == after, "finished parts are not written again"
    assert not list((tmp_path / "out").glob(".*unfinished"))


def test_a_line_of_the_ledger_that_was_cut_short_counts_for_nothing(explainer, corpus, tmp_path):
    run(explainer, corpus, tmp_path / "whole")
    run(explainer, corpus, tmp_path / "out")
    path = tmp_path / "out" / "progress-0.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]) + lines[3][:40])
    run(explainer, corpus, tmp_path / "out")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_part_file_that_is_gone_or_cut_is_made_again(explainer, corpus, tmp_path):
    run(explainer, corpus, tmp_path / "out")
    before = content(tmp_path / "out")
    (tmp_path / "out" / "part-0-00002.jsonl").unlink()
    os.truncate(tmp_path / "out" / "part-0-00004.parquet", 100)
    run(explainer, corpus, tmp_path / "out")
    after = content(tmp_path / "out")
    assert {k: v for k, v in after.items() if k.startswith("part")} == {
        k: v for k, v in before.items() if k.startswith("part")
    }
    assert after["errors.jsonl"] == before["errors.jsonl"] and after["summary.json"] == before["summary.json"]


def test_a_part_file_edited_to_the_same_size_is_made_again(explainer, corpus, tmp_path):
    run(explainer, corpus, tmp_path / "out")
    before = content(tmp_path / "out")
    path = tmp_path / "out" / "part-0-00001.jsonl"
    path.write_bytes(path.read_bytes().replace(b"film", b"flim"))
    with pytest.raises(ValueError, match="part-0-00001.jsonl is not what the job wrote there; run the same"):
        list(read_explanations(tmp_path / "out"))
    run(explainer, corpus, tmp_path / "out")
    assert content(tmp_path / "out") == before


class OneOf(SingleProcess):
    """A process among several that never meet, which suffices to see what each does."""

    def __init__(self, rank, processes):
        self.process_index, self.num_processes, self.is_main_process = rank, processes, rank == 0


def test_shares_of_several_processes_are_the_whole(explainer, corpus, tmp_path, monkeypatch):
    run(explainer, corpus, tmp_path / "whole")
    monkeypatch.setattr("mhex_nlp.corpus.job.job._finish", lambda *_: None)
    for rank in (0, 1, 2):
        assert run(explainer, corpus, tmp_path / "out", OneOf(rank, 3)) is None
    assert {p.name for p in (tmp_path / "out").glob("*.jsonl")} >= {"part-1-00001.jsonl", "part-2-00005.jsonl"}
    monkeypatch.undo()
    report = run(explainer, corpus, tmp_path / "out")  # with another number of processes: nothing is left to do
    assert report.rows == 60 and not list((tmp_path / "out").glob("part-0-00001.*"))
    for i in range(6):
        for kind in FORMATS:
            there = (tmp_path / "out" / f"part-{i % 3}-{i:05d}.{kind}").read_bytes()
            assert there == (tmp_path / "whole" / f"part-0-{i:05d}.{kind}").read_bytes()
    for name in ("errors.jsonl", "summary.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_summary_counts_words_errors_and_mass(explainer, corpus, tmp_path):
    run(explainer, corpus, tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    found = [e for i in range(6) for e in read_jsonl(tmp_path / "out" / f"part-0-{i:05d}.jsonl")]
    gold = {row["key"]: row["gold"] for row in map(json.loads, corpus.read_text().splitlines())}
    names = explainer.classes.labels
    assert summary["labelled"] == 57
    assert summary["accuracy"] == pytest.approx(np.mean([e.label == names[gold[e.id]] for e in found]))
    assert sum(sum(row.values()) for row in summary["confusion"].values()) == 57
    mass = sum(abs(w.score) for e in found for w in e.words()) + sum(
        abs(t.score) for e in found for t in e.tokens if t.special
    )
    stops = sum(abs(w.score) for e in found for w in e.words() if w.text in ".,")
    assert summary["share_on_punctuation"] == pytest.approx(stops / mass, rel=1e-4)
    for label, each in summary["classes"].items():
        own = [e for e in found if e.target.label == label]
        assert each["texts"] == sum(e.label == label for e in found)
        for word in each["for"] + each["against"]:
            scores = [w.score for e in own for w in e.words() if w.text.casefold() == word["word"]]
            assert word["count"] == len(scores) and word["sum"] == pytest.approx(sum(scores), abs=1e-3)
        assert [w["sum"] for w in each["for"]] == sorted((w["sum"] for w in each["for"]), reverse=True)
    page = (tmp_path / "out" / "summary.html").read_text()
    assert 'href="part-0-00003.html"' in page and "style-src 'sha256-" in page and "<script" not in page


def test_a_text_without_tokens_does_not_stop_the_others(explainer, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("good film\n\x07\x08\nbad film\n")
    report = run(explainer, path, tmp_path / "out", source=open_rows(str(path)))
    assert (report.explained, report.errors) == (2, 1)
    assert "no token the tokenizer knows" in (tmp_path / "out" / "errors.jsonl").read_text()


def test_what_a_kill_leaves_of_the_very_first_file_is_no_hindrance(explainer, corpus, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".manifest.json.123.unfinished").write_text("{")
    (tmp_path / "out" / ".lock-0").touch()
    assert run(explainer, corpus, tmp_path / "out").rows == 60
    assert not list((tmp_path / "out").glob(".*unfinished"))


@pytest.mark.parametrize("damage", [b"{}", b"\0" * 40, b"[1]", b'{"part": 1}{"part": 2}'])
def test_damaged_lines_of_the_ledger_are_made_again(explainer, corpus, tmp_path, damage):
    run(explainer, corpus, tmp_path / "out")
    before = content(tmp_path / "out")
    path = tmp_path / "out" / "progress-0.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], damage + b"\n", *lines[3:]]))
    assert run(explainer, corpus, tmp_path / "out").rows == 60
    after = content(tmp_path / "out")
    assert all(after[name] == before[name] for name in before if not name.startswith("progress"))


def test_a_manifest_says_complete_only_while_nothing_is_missing(explainer, corpus, tmp_path, monkeypatch):
    run(explainer, corpus, tmp_path / "out")
    (tmp_path / "out" / "part-0-00001.jsonl").unlink()
    with monkeypatch.context() as patch:
        crash_at(patch, "before the ledger", 1)
        with pytest.raises(Crash):
            run(explainer, corpus, tmp_path / "out")
    assert not json.loads((tmp_path / "out" / "manifest.json").read_text())["complete"]


def test_scores_that_are_not_finite_are_errors_of_their_rows(corpus, tmp_path):
    model = get_mhex_model(tiny_bert(num_labels=3).eval(), MhexConfig(gate=False))
    fit_equivalent_matrices(model, TOKENIZER, tiny_texts(40)[0], progress=False)
    model.mhex_fit.depth_1.fill_(float("nan"))
    report = run(MhexExplainer(model, TOKENIZER), corpus, tmp_path / "out", formats=("parquet",))
    assert (report.explained, report.errors) == (0, 60)
    errors = (tmp_path / "out" / "errors.jsonl").read_text()
    assert errors.count("the scores are not finite, so nothing can be explained: text.") == 57


HOSTILE = [
    'He said "no", and left.',
    "two\nlines, and\r\nWindows lines",
    "a\u2028b\u0085c \u200bd\u00ade",
    "nul\x00 and bell\x07 and \x1b[31m",
    "👩‍👩‍👧 ñandú ﬁn İstanbul ẞ e\u0301",
    "中文字 ภาษาไทย かな עברית العربية",
    "\u202eright to left\u2069 <script>alert(1)</script>",
    "good " * 20_000,
]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_hostile_cells_come_out_with_exact_offsets(explainer, tmp_path, end):
    """From a CSV file with a byte order mark to JSONL and Parquet."""
    with open(tmp_path / "a.csv", "w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, lineterminator=end).writerows([["text"], *[[text] for text in HOSTILE]])
    with pytest.warns(UserWarning, match="row 7: Explained in part"):
        report = run(explainer, None, tmp_path / "out", source=open_rows(str(tmp_path / "a.csv")))
    assert (report.explained, report.truncated) == (len(HOSTILE), 1)
    found = list(read_jsonl(tmp_path / "out" / "part-0-00000.jsonl"))
    assert [e.text for e in found] == HOSTILE
    rows = pq.read_table(tmp_path / "out" / "part-0-00000.parquet").to_pylist()
    for e, row, text in zip(found, rows, HOSTILE, strict=True):
        own = [token for token in e.tokens if not token.special]
        assert all(token.text == text[token.start : token.end] for token in own)
        places = list(zip(row["mhex_starts"], row["mhex_ends"], strict=True))
        assert row["mhex_spans"] == [text[start:end] for start, end in places] and places == sorted(places)
        covered = "".join(text[start:end] for start, end in places) if not e.truncated else ""
        letters = [c for c in text if c.isalnum()] if not e.truncated else []
        assert [c for c in covered if c.isalnum()] == letters
