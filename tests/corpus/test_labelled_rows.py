# SPDX-License-Identifier: Apache-2.0
"""Gold labels in every verb that takes them: the same file says the same, and what is no class is said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from helpers.families import train_heads
from helpers.tiny import GOOD, tiny_mhex, tiny_texts, tiny_tokenizer
from mhex_nlp import MhexExplainer
from mhex_nlp.cli import main
from mhex_nlp.corpus.jsonl import read_jsonl
from mhex_nlp.corpus.labelled_rows import labelled_rows
from mhex_nlp.corpus.readers.opening import open_rows, rows_of

pytestmark = pytest.mark.usefixtures("own_cache")
NAMES = ["negative", "positive"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("model")
    train_heads(tiny_mhex(gate=False).eval()).save_pretrained(path)
    tiny_tokenizer().save_pretrained(path)
    return str(path)


def table(folder: Path, suffix: str, labels: list[Any], name: str = "rows") -> Path:
    """Texts whose label is that of their tone, as pandas writes them."""
    texts, path = tiny_texts(len(labels))[0], folder / f"{name}{suffix}"
    frame = pd.DataFrame({"text": texts, "label": labels})
    if suffix == ".parquet":
        frame.to_parquet(path)
    elif suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False)
    return path


def highlight(model: str, data: Path, output: Path, *options: str) -> int:
    command = ["highlight", "--model", model, "--data", str(data), "--label-column", "label", "--output", str(output)]
    return main([*command, "--format", "jsonl,parquet", *options])


@pytest.mark.parametrize(
    ("suffix", "labels"),
    [
        (".csv", NAMES * 4),
        (".csv", ["0", "1"] * 4),
        (".parquet", [0, 1] * 4),
        (".parquet", [0.0, 1.0] * 4),  # a column that once had a gap
        (".parquet", [False, True] * 4),
        (".jsonl", [0, 1] * 4),
        (".jsonl", NAMES * 4),
    ],
    ids=str,
)
def test_every_form_of_the_same_labels_says_the_same(
    model: str, tmp_path: Path, suffix: str, labels: list[Any]
) -> None:
    path = table(tmp_path, suffix, labels)
    assert highlight(model, path, tmp_path / "out") == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    predicted = [e.label for e in read_jsonl(tmp_path / "out" / "part-0-00000.jsonl")]
    right = sum(name == gold for name, gold in zip(predicted, NAMES * 4, strict=True)) / 8
    assert (summary["labelled"], summary["accuracy"]) == (8, right)
    assert list(pd.read_parquet(tmp_path / "out" / "part-0-00000.parquet")["gold_label"]) == NAMES * 4
    command = ["report", str(tmp_path / "out"), "--output", str(tmp_path / "pages"), "--labels", str(path)]
    assert main(command) == 0
    assert f"{right:.0%} of 8 with a label" in (tmp_path / "pages" / "index.html").read_text()


@pytest.mark.parametrize(
    ("labels", "offer"),
    [
        (["Positive", "Negative"] * 4, "got 'Positive'; did you mean 'positive'?"),
        (["positive ", "negative "] * 4, "got 'positive '; did you mean 'positive'?"),
        ([1.0, 0.0] * 4, "got '1.0'; did you mean 'positive'?"),
        (["pos", "neg"] * 4, "got 'pos'. The classes are 0 'negative', 1 'positive'."),
    ],
    ids=str,
)
def test_labels_that_match_nothing_end_the_verb_before_any_work(
    model: str, tmp_path: Path, labels: list[Any], offer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = table(tmp_path, ".csv", labels)
    texts = tmp_path / "texts"
    assert main(["highlight", "--model", model, "--data", str(path), "--output", str(texts), "--format", "jsonl"]) == 0
    for output, command in {
        "out": ["highlight", "--model", model, "--data", str(path), "--label-column", "label"],
        "pages": ["report", str(texts), "--labels", str(path)],
    }.items():
        assert main([*command, "--output", str(tmp_path / output)]) == 2
        complaint = capsys.readouterr().err.strip().splitlines()[-1]
        assert offer in complaint and complaint.startswith(f"mhex {command[0]}: "), complaint
        assert not (tmp_path / output).exists()
    assert main(["highlight", "--model", model, "--data", str(path), "--label-column", "label"]) == 2  # on a terminal
    assert offer in capsys.readouterr().err


def test_a_few_unknown_labels_are_errors_of_their_rows(model: str, tmp_path: Path) -> None:
    labels = [None, "Positive", *NAMES * 4, "mixed", ""]
    path = table(tmp_path, ".csv", labels)
    assert highlight(model, path, tmp_path / "out", "--part-rows", "3") == 1
    errors = [json.loads(line) for line in (tmp_path / "out" / "errors.jsonl").read_text().splitlines()]
    assert [error["row"] for error in errors] == [1, 10]
    assert "the label must be a class of the model, got 'Positive'; did you mean 'positive'?" in errors[0]["reason"]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["rows"] == 12 and summary["explained"] == 10 and summary["labelled"] == 8
    assert set(summary["confusion"]) == set(NAMES)


def test_labels_that_change_their_type_far_down(tmp_path: Path) -> None:
    """Readers that guess types from the first rows give other labels, or none, after them."""
    count = 10_050
    labels: list[Any] = [index % 2 for index in range(count)] + ["positive", "2", 2, None]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": "a", "label": label}) + "\n" for label in labels))
    rows = list(labelled_rows(source := open_rows(path, label_column="label"), source, NAMES))
    assert [row.label for row in rows[:count]] == [NAMES[index % 2] for index in range(count)]
    assert [row.label for row in rows[count:]] == ["positive", None, None, None]
    assert [row.problem is None for row in rows[count:]] == [True, False, False, True]


def test_a_stream_is_read_to_the_first_label_that_is_a_class(tmp_path: Path) -> None:
    source = rows_of(Dataset.from_dict({"text": ["a"] * 9, "label": [None, "x", "negative"] * 3}), label_column="label")
    reads = 0

    def counted() -> Iterator[Any]:
        nonlocal reads
        for row in source:
            reads += 1
            yield row

    rows = labelled_rows(counted(), source, NAMES)
    assert reads == 3 and [row.label for row in rows] == [None, None, "negative"] * 3
    with pytest.raises(ValueError, match=r"^row 1 \(counted from 0\): the label must be .* None of the first 2 rows"):
        labelled_rows(source, source, NAMES, ahead=2)


def test_a_column_of_class_ids_is_read_by_its_names(tmp_path: Path) -> None:
    def named(*names: str) -> list[str | None]:
        features = Features({"text": Value("string"), "label": ClassLabel(names=list(names))})
        source = rows_of(Dataset.from_dict({"text": ["a"] * 3, "label": [0, 1, -1]}, features), label_column="label")
        return [row.label for row in labelled_rows(source, source, NAMES)]  # type: ignore[misc]

    assert named("positive", "negative") == ["positive", "negative", None]
    with pytest.warns(UserWarning, match="labels are matched by their ids"):
        assert named("neg", "pos") == ["negative", "positive", None]
    with pytest.raises(ValueError, match="did you mean 'positive', which the model has at 1"):
        named("Positive", "Negative")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("label,text\npositive,a\nnegative,a, b\n", "labels, row 1 (counted from 0): row has 3 cells, the header 2."),
        (
            "id,label\n1,positive\n1,negative\n",
            "labels must be one an id, got 'positive' and 'negative' for '1'; see row 1",
        ),
    ],
)
def test_rows_of_labels_that_cannot_be_used(
    model: str, tmp_path: Path, content: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labels.csv").write_text(content)
    assert main(["highlight", "--model", model, "--text", GOOD[0], "--output", str(tmp_path / "out")]) == 0
    options = ["--id-column", "id"] if content.startswith("id") else []
    command = [
        "report",
        str(tmp_path / "out"),
        "--output",
        str(tmp_path / "p"),
        "--labels",
        str(tmp_path / "labels.csv"),
    ]
    assert main([*command, *options]) == 2
    assert problem in capsys.readouterr().err


def test_a_target_that_resembles_a_class_is_offered(model: str) -> None:
    with pytest.raises(ValueError, match="got 'Positive'; did you mean 'positive'\\? the known ones are 0 'negative'"):
        MhexExplainer.from_pretrained(model)("good", target="Positive")
