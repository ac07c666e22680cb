# SPDX-License-Identifier: Apache-2.0
"""What a job refuses: other settings, other rows, folders of others and of those at work, disks that are full."""

from __future__ import annotations

import json
import os

import pytest

from helpers.job_runs import FORMATS, Crash, crash_at, fitted_explainer, run, write_corpus
from mhex_nlp.corpus.job.ledger import Ledger
from mhex_nlp.corpus.jsonl import read_explanations, read_jsonl
from mhex_nlp.corpus.readers.opening import open_rows


@pytest.fixture(scope="module")
def explainer():
    return fitted_explainer()


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path)


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


def test_a_process_of_an_earlier_job_that_is_still_at_work_keeps_others_out(explainer, corpus, tmp_path):
    (tmp_path / "out").mkdir()
    orphan = Ledger(tmp_path / "out", 1)
    orphan.acquire()
    try:
        with pytest.raises(OSError, match="one job at a time"):
            run(explainer, corpus, tmp_path / "out")
    finally:
        orphan.release()


def test_a_damaged_manifest_is_refused_and_can_be_overwritten(explainer, corpus, tmp_path):
    run(explainer, corpus, tmp_path / "out")
    (tmp_path / "out" / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="is not a manifest of a highlight job"):
        run(explainer, corpus, tmp_path / "out")
    assert run(explainer, corpus, tmp_path / "out", overwrite=True).rows == 60


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


def test_a_source_that_breaks_is_not_the_outputs_fault(explainer, corpus, tmp_path):
    source = open_rows(str(corpus))
    corpus.unlink()
    with pytest.raises(ValueError, match="data must stay readable, got 'corpus.jsonl'"):
        run(explainer, corpus, tmp_path / "out", source=source)
