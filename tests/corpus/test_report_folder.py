# SPDX-License-Identifier: Apache-2.0
"""What `write_report` refuses, and folders that are treated with care."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from helpers.report_examples import example
from helpers.report_reading import confusion, golds, read, reviews
from mhex_nlp import Explanation, write_report
from mhex_nlp.corpus.report.folder import ReportFolder


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"explanations": []}, "explanations must hold at least one, got none"),
        ({"explanations": [1]}, "explanations must hold Explanation objects, got int at 0"),
        ({"explanations": ["a text"]}, "explanations must hold Explanation objects, got str at 0"),
        ({"unit": "letters"}, "unit must be 'words' or 'tokens', not 'letters'"),
        ({"page_texts": 0}, "page_texts must be an integer from 1 to 200, got 0"),
        ({"page_texts": 201}, "page_texts must be an integer from 1 to 200, got 201"),
        ({"slices": "source"}, "slices must be names of columns, or columns by name, got the string 'source'"),
        ({"slices": ["source"]}, "slices that name columns need data, whose columns they are, got none"),
        ({"slices": ["a"], "data": {"b": [1]}}, "slices must name columns of data, got 'a'; it has b"),
        ({"slices": ["a"], "data": 3}, "data must be a data set, a frame or columns by name, got int"),
        ({"slices": {"a": [1, 2]}}, r"slices\['a'\] must have one entry for each text, got none for texts\[2\]"),
        (
            {"slices": {"a": [1, [2], 3]}},
            r"slices\['a'\]\[1\] must be a string, a number, a truth value or None, got l",
        ),
        ({"against": [1]}, "against must hold Explanation objects, got int at 0"),
        ({"against": []}, "against must hold explanations of the same texts in about the same order, got none"),
        (
            {"against": reviews(9)[3:]},
            "against must hold explanations of the same texts in about the same order, got n",
        ),
        (
            {"against": [example("other", id="r0")]},
            "against must hold explanations of the same texts, got another text",
        ),
        ({"page_texts": True}, "page_texts must be an integer from 1 to 200, got True"),
        ({"page_texts": 2.5}, "page_texts must be an integer from 1 to 200, got 2.5"),
        ({"labels": ["positive"]}, r"labels must have one entry for each text, got none for texts\[1\]"),
        ({"labels": ["positive"] * 4}, "labels must have one entry for each text, got more than the 3 texts"),
        ({"labels": "positive"}, "labels must be one a text, or a mapping from ids, got the string 'positive'"),
        ({"labels": 3}, "labels must be an iterable"),
        ({"labels": [["positive"], None, None]}, r"labels\[0\] must be a class name, an id or None, got list"),
        ({"labels": [None, 0.5, None]}, r"labels\[1\] must be a class of the model, got 0.5. The classes are 0 '"),
        ({"labels": {"r1": "Positive"}}, r"labels\['r1'\] must be .* got 'Positive'; did you mean 'positive'\?"),
        ({"labels": iter([2, None, None])}, r"labels\[0\] must be a class of the model, got 2"),
        ({"title": None}, "title must be a string, got NoneType"),
    ],
)
def test_bad_input_gets_a_sentence(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    given: dict[str, Any] = {"explanations": reviews(3), "output_dir": tmp_path / "report", **changes}
    with pytest.raises((ValueError, TypeError), match=sentence) as caught:
        write_report(**given)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "report" / "index.html").exists()
    if "must be a class" in sentence or "a class name" in sentence:
        assert not (tmp_path / "report").exists(), "labels are checked before any work"


def test_labels_are_taken_as_the_command_takes_them(tmp_path: Path) -> None:
    wanted = confusion(write_report(reviews(4), tmp_path, labels=["positive", "negative", None, None]))
    for labels in ([1.0, 0.0, float("nan"), None], pd.Series([1, 0, None, None]), iter(["1", "0", "", None])):
        assert confusion(write_report(reviews(4), tmp_path, labels=labels)) == wanted
    by_id = {"r0": 1, "r1": 0.0, "r2": float("nan")}
    assert confusion(write_report(reviews(4), tmp_path, labels=by_id)) == wanted


@pytest.mark.parametrize(
    "other",
    [
        example("text", id="x", label="sports", labels=("world", "sports")),
        example("text", id="x", target="sports", labels=("positive", "sports")),
        example("text", id="x", label=None, value=0.5),
    ],
    ids=["prediction", "target", "regression"],
)
def test_another_models_classes_are_refused(tmp_path: Path, other: Explanation) -> None:
    for made in ([*reviews(2), other], [example("text", label=None, value=0.5), *reviews(1)]):
        with pytest.raises(ValueError, match="explanations must all be of one model, got the class"):
            write_report(made, tmp_path / "report")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "report").write_text("mine")
    with pytest.raises(NotADirectoryError, match="output_dir must be a folder, got the file"):
        write_report(reviews(1), tmp_path / "report")
    assert (tmp_path / "report").read_text() == "mine"


@pytest.mark.parametrize("name", ["notes.txt", "index.html", "texts/g000-0001.html", "texts/mine.html", "texts"])
def test_files_of_others_are_not_touched(tmp_path: Path, name: str) -> None:
    """Not even those that have a report's names, where no report has been."""
    mine = tmp_path / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    with pytest.raises(ValueError, match=f"output_dir must be a new folder, .* which holds {re.escape(name)}"):
        write_report(reviews(3), tmp_path)
    assert [(path, path.read_text()) for path in tmp_path.rglob("*") if path.is_file()] == [(mine, "mine")]


@pytest.mark.parametrize("name", ["notes.txt", "texts/g1.html", "deep/er/x", "texts/g000-0001.html.bak"])
def test_files_of_others_in_a_report_are_not_touched(tmp_path: Path, name: str) -> None:
    index = write_report(reviews(3), tmp_path)
    before = index.read_bytes()
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match=f"holds {re.escape(name)}"):
        write_report(reviews(9), tmp_path)
    assert index.read_bytes() == before and (tmp_path / name).read_text() == "mine"


def test_links_to_elsewhere_are_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "g000-0001.html").write_text("mine")
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "texts").symlink_to(elsewhere)
    with pytest.raises(ValueError, match="which holds texts"):
        write_report(reviews(3), tmp_path / "report")
    assert (elsewhere / "g000-0001.html").read_text() == "mine"


def test_a_new_report_replaces_the_earlier_one(tmp_path: Path) -> None:
    write_report(reviews(40), tmp_path / "one", labels=golds(40), page_texts=3)
    write_report(reviews(6), tmp_path / "two", page_texts=3)
    index = write_report(reviews(6), tmp_path / "one", page_texts=3)
    names = [
        {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "one", tmp_path / "two")
    ]
    assert names[0] == names[1]
    read(index)


class Stop(Exception):
    pass


@pytest.mark.parametrize("after", [1, 5, 11])
@pytest.mark.parametrize("where", ["source", "disk"])
def test_after_a_crash_the_folder_can_be_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int, where: str
) -> None:
    folder = tmp_path / "report"
    earlier = write_report(reviews(20), folder, page_texts=2).read_bytes()

    def source() -> Iterator[Explanation]:
        for number, each in enumerate(reviews(12)):
            if number == after:
                raise Stop
            yield each

    if where == "source":
        with pytest.raises(Stop):
            write_report(source(), folder, page_texts=2)
    else:
        written = 0

        def write(self: ReportFolder, name: str, page: str) -> None:
            nonlocal written
            written += 1
            if written * 2 > after:
                (self.path / name).with_name(f".{Path(name).name}.{1}.unfinished").write_text("half")
                raise Stop
            kept(self, name, page)

        kept = ReportFolder.write
        monkeypatch.setattr(ReportFolder, "write", write)
        with pytest.raises(Stop):
            write_report(reviews(12), folder, page_texts=2)
        monkeypatch.undo()
    assert (folder / "index.html").read_bytes() == earlier, "the index comes last"
    index = write_report(reviews(12), folder, page_texts=2)
    again = write_report(reviews(12), tmp_path / "fresh", page_texts=2)
    assert {path.relative_to(folder) for path in folder.rglob("*")} == {
        path.relative_to(again.parent) for path in again.parent.rglob("*")
    }
    assert index.read_bytes() == again.read_bytes()
