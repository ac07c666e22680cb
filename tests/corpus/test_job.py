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

from helpers.families import train_heads
from helpers.tiny import tiny_bert, tiny_texts, tiny_tokenizer
from mhex_nlp import MhexConfig, MhexExplainer, fit_equivalent_matrices, get_mhex_model
from mhex_nlp.corpus.columns import ColumnOptions
from mhex_nlp.corpus.job.job import SingleProcess, run_job
from mhex_nlp.corpus.job.ledger import Ledger
from mhex_nlp.corpus.jsonl import read_explanations, read_jsonl
from mhex_nlp.corpus.readers.opening import open_rows
from mhex_nlp.explain.json_form import explanation_schema

TOKENIZER = tiny_tokenizer()
FORMATS = ("html", "jsonl", "parquet")


@pytest.fixture(scope="module")
def explainer():
    model = train_heads(get_mhex_model(tiny_bert(num_labels=3).eval(), MhexConfig(gate=True)))
    fit_equivalent_matrices(model, TOKENIZER, tiny_texts(40)[0], progress=False)
    return MhexExplainer(model, TOKENIZER)


@pytest.fixture
def corpus(tmp_path):
    """60 rows with ids and labels, three of them bad."""
    texts, labels = tiny_texts(60)
    rows = [
        {"text": text, "key": f"k{i}", "gold": label} for i, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]
    rows[7]["text"], rows[8]["text"], rows[33]["text"] = None, "  ", 12
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def run(explainer, corpus, output, state=None, formats=FORMATS, **options):
    source = options.pop("source", None) or open_rows(str(corpus), id_column="key", label_column="gold")
    settings = options.pop("settings", {"data": source.identity, "format": list(formats)})
    return run_job(
        explainer,
        source,
        Path(output),
        request=explainer.request(),
        formats=formats,
        columns=ColumnOptions(),
        settings=settings,
        state=state or SingleProcess(),
        part_rows=10,
        progress=False,
        **options,
    )


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


class Crash(BaseException):
    """Not an Exception, as SIGKILL is none."""


def crash_at(monkeypatch, moment, count):
    """Makes the process end at the count-th such moment."""
    seen = []

    def ending(function, wanted, before):
        def called(*given, **options):
            if wanted(*given):
                seen.append(1)
                if before and len(seen) == count:
                    raise Crash
            result = function(*given, **options)
            if not before and wanted(*given) and len(seen) == count:
                raise Crash
            return result

        return called

    def of_part(_, target):
        return Path(target).name.startswith("part-")

    if moment in ("before the sync", "after the sync"):
        monkeypatch.setattr(os, "fsync", ending(os.fsync, lambda *_: True, moment.startswith("before")))
    elif moment == "after the rename":
        monkeypatch.setattr(os, "replace", ending(os.replace, of_part, False))
    else:
        monkeypatch.setattr(Ledger, "add", ending(Ledger.add, lambda *_: True, moment == "before the ledger"))


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


@pytest.mark.parametrize(
    "files", [{}, {"../secret.jsonl": "0" * 32}, ["/etc/hostname.jsonl"], [1], None, "part-0-00001"]
)
def test_readers_follow_no_names_but_those_of_parts(explainer, corpus, tmp_path, files):
    run(explainer, corpus, tmp_path / "out")
    (tmp_path / "secret.jsonl").write_bytes((tmp_path / "out" / "part-0-00001.jsonl").read_bytes())
    path = tmp_path / "out" / "manifest.json"
    manifest = json.loads(path.read_text())
    assert len(list(read_explanations(tmp_path / "out"))) == 57
    path.write_text(json.dumps(manifest | {"explained": 58}))
    with pytest.raises(ValueError, match="must hold the 58 explanations that .*manifest.json counts, got 57"):
        list(read_explanations(tmp_path / "out"))
    manifest["parts"][1]["files"] = files
    path.write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="manifest.json must name the files of each part"):
        read_explanations(tmp_path / "out")
    run(explainer, corpus, tmp_path / "out")
    assert len(list(read_explanations(tmp_path / "out"))) == 57


def test_a_refused_folder_is_left_as_it_was(explainer, corpus, tmp_path):
    """Also one with the names of our files, half a line at the end of one and a half-written one, with --overwrite."""
    (tmp_path / "out").mkdir()
    for name in ("progress-0.jsonl", ".summary.json.77.unfinished", "manifest.json"):
        (tmp_path / "out" / name).write_text('{"theirs": 1}\nno line end')
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "out").iterdir()}
    for overwrite in (False, True):
        with pytest.raises(ValueError, match="output must be a new or empty folder, .* with .summary.json"):
            run(explainer, corpus, tmp_path / "out", overwrite=overwrite)
        after = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "out").iterdir()}
        assert after == before


def test_other_inputs_or_options_are_refused(explainer, corpus, tmp_path):
    run(explainer, corpus, tmp_path / "out")
    with pytest.raises(ValueError, match="begun with other settings: unit was None and is 'tokens'. --overwrite"):
        settings = {"data": open_rows(str(corpus), id_column="key").identity, "format": list(FORMATS), "unit": "tokens"}
        run(explainer, corpus, tmp_path / "out", settings=settings)
    text = corpus.read_text()
    same_size = text.replace("very", "ever") if "very" in text else text.replace("film", "flim")
    assert same_size != text
    corpus.write_text(same_size)
    with pytest.raises(ValueError, match="got others among rows"):
        run(explainer, corpus, tmp_path / "out")
    settings = {"data": "whatever"}
    with pytest.raises(ValueError, match="data was .* and is 'whatever'"):
        run(explainer, corpus, tmp_path / "out", settings=settings)
    assert run(explainer, corpus, tmp_path / "out", overwrite=True).rows == 60
    corpus.write_text("".join(same_size.splitlines(keepends=True)[:20]))
    with pytest.raises(ValueError, match="got fewer: part 2 has none"):
        run(
            explainer,
            corpus,
            tmp_path / "out",
            settings=json.loads((tmp_path / "out" / "manifest.json").read_text())["settings"],
        )


@pytest.mark.parametrize("fewer", [("jsonl",), ("jsonl", "html", "parquet")])
def test_other_formats_are_refused_whatever_the_settings_say(explainer, corpus, tmp_path, fewer):
    """Parts of other files are not taken for parts that are missing, whose files would go."""
    run(explainer, corpus, tmp_path / "out", formats=("jsonl", "html"), settings={"data": "same"})
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    formats = ", ".join(fewer)
    with pytest.raises(ValueError, match=f"formats must be .*out was begun with, got {formats} where .* html, jsonl"):
        run(explainer, corpus, tmp_path / "out", formats=fewer, settings={"data": "same"})
    with pytest.raises(ValueError, match=r"format was \['jsonl', 'html'\] and is"):
        run(explainer, corpus, tmp_path / "other", formats=("jsonl", "html"))
        run(explainer, corpus, tmp_path / "other", formats=fewer)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_folders_that_hold_something_else_are_refused(explainer, corpus, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match="new or empty folder, or one of an earlier run, got .* with thesis.tex"):
        run(explainer, corpus, tmp_path / "out")
    assert (tmp_path / "out" / "thesis.tex").read_text() == "x"
    with pytest.raises(OSError, match="must be a folder, got the file"):
        run(explainer, corpus, corpus)


def test_one_job_at_a_time(explainer, corpus, tmp_path):
    other = Ledger(tmp_path, 0)
    (tmp_path / "out").mkdir()
    other = Ledger(tmp_path / "out", 0)
    other.acquire()
    try:
        with pytest.raises(OSError, match="one job at a time"):
            run(explainer, corpus, tmp_path / "out")
    finally:
        other.release()
    assert run(explainer, corpus, tmp_path / "out").rows == 60


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


def test_full_disks_and_read_only_folders_get_one_sentence(explainer, corpus, tmp_path, monkeypatch):
    """As the system would say it; `tests/corpus/test_killed_jobs.py` fills a real disk where it may mount one."""
    import errno

    for number, reason in ((errno.ENOSPC, "the disk is full"), (errno.EACCES, "may not be written to")):
        with monkeypatch.context() as patch:
            crashed = []

            def full(handle, fsync=os.fsync, crashed=crashed, number=number):
                crashed.append(1)
                if len(crashed) == 9:
                    raise OSError(number, os.strerror(number))
                return fsync(handle)

            patch.setattr(os, "fsync", full)
            with pytest.raises(OSError, match=f"output .* cannot be written: .*{reason}; parts that are finished stay"):
                run(explainer, corpus, tmp_path / f"out{number}")
        for path in (tmp_path / f"out{number}").glob("part-*.jsonl"):
            assert len(list(read_jsonl(path))) > 5
        assert run(explainer, corpus, tmp_path / f"out{number}").rows == 60


def test_files_of_others_are_never_removed(explainer, corpus, tmp_path):
    for name in ("part-of-my-thesis.txt", "summary.json"):
        (tmp_path / "foreign").mkdir(exist_ok=True)
        (tmp_path / "foreign" / name).write_text("mine")
    with pytest.raises(ValueError, match="new or empty folder"):
        run(explainer, corpus, tmp_path / "foreign", overwrite=True)
    assert {p.read_text() for p in (tmp_path / "foreign").iterdir() if p.name[0] != "."} == {"mine"}
    run(explainer, corpus, tmp_path / "out")
    (tmp_path / "out" / "part-of-my-thesis.txt").write_text("mine")
    run(explainer, corpus, tmp_path / "out", overwrite=True)
    run(explainer, corpus, tmp_path / "out")
    assert (tmp_path / "out" / "part-of-my-thesis.txt").read_text() == "mine"


def test_what_a_kill_leaves_of_the_very_first_file_is_no_hindrance(explainer, corpus, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".manifest.json.123.unfinished").write_text("{")
    (tmp_path / "out" / ".lock-0").touch()
    assert run(explainer, corpus, tmp_path / "out").rows == 60
    assert not list((tmp_path / "out").glob(".*unfinished"))


def test_a_process_of_an_earlier_job_that_is_still_at_work_keeps_others_out(explainer, corpus, tmp_path):
    (tmp_path / "out").mkdir()
    orphan = Ledger(tmp_path / "out", 1)
    orphan.acquire()
    try:
        with pytest.raises(OSError, match="one job at a time"):
            run(explainer, corpus, tmp_path / "out")
    finally:
        orphan.release()


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


def test_a_damaged_manifest_is_refused_and_can_be_overwritten(explainer, corpus, tmp_path):
    run(explainer, corpus, tmp_path / "out")
    (tmp_path / "out" / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="is not a manifest of a highlight job"):
        run(explainer, corpus, tmp_path / "out")
    assert run(explainer, corpus, tmp_path / "out", overwrite=True).rows == 60


def test_a_manifest_says_complete_only_while_nothing_is_missing(explainer, corpus, tmp_path, monkeypatch):
    run(explainer, corpus, tmp_path / "out")
    (tmp_path / "out" / "part-0-00001.jsonl").unlink()
    with monkeypatch.context() as patch:
        crash_at(patch, "before the ledger", 1)
        with pytest.raises(Crash):
            run(explainer, corpus, tmp_path / "out")
    assert not json.loads((tmp_path / "out" / "manifest.json").read_text())["complete"]


def test_rows_that_were_added_are_refused(explainer, corpus, tmp_path):
    settings = {"data": "the same whatever its size"}
    run(explainer, corpus, tmp_path / "out", settings=settings)
    with open(corpus, "a") as file:
        file.write('{"text": "good film", "key": "new"}\n' * 10)
    with pytest.raises(ValueError, match="must hold the 60 rows .* got more"):
        run(explainer, corpus, tmp_path / "out", settings=settings)


def test_other_settings_may_follow_where_nothing_is_finished(explainer, corpus, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        crash_at(patch, "before the ledger", 1)
        with pytest.raises(Crash):
            run(explainer, corpus, tmp_path / "out", settings={"unit": "words"})
    assert run(explainer, corpus, tmp_path / "out", settings={"unit": "tokens"}).rows == 60


def test_scores_that_are_not_finite_are_errors_of_their_rows(corpus, tmp_path):
    model = get_mhex_model(tiny_bert(num_labels=3).eval(), MhexConfig(gate=False))
    fit_equivalent_matrices(model, TOKENIZER, tiny_texts(40)[0], progress=False)
    model.mhex_fit.depth_1.fill_(float("nan"))
    report = run(MhexExplainer(model, TOKENIZER), corpus, tmp_path / "out", formats=("parquet",))
    assert (report.explained, report.errors) == (0, 60)
    errors = (tmp_path / "out" / "errors.jsonl").read_text()
    assert errors.count("the scores are not finite, so nothing can be explained: text.") == 57


def test_a_source_that_breaks_is_not_the_outputs_fault(explainer, corpus, tmp_path):
    source = open_rows(str(corpus))
    corpus.unlink()
    with pytest.raises(ValueError, match="data must stay readable, got 'corpus.jsonl'"):
        run(explainer, corpus, tmp_path / "out", source=source)


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
