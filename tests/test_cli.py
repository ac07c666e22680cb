# SPDX-License-Identifier: Apache-2.0
"""The `mhex` command: what it writes, and one sentence with exit status 2 for bad input."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from families import train_heads
from tiny import tiny_bert, tiny_tokenizer

from mhex_nlp import Explanation, get_mhex_model
from mhex_nlp.cli import main
from mhex_nlp.explanation_io import read_jsonl


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    model = tiny_bert(num_labels=2, id2label={0: "bad", 1: "good"}).eval()
    train_heads(get_mhex_model(model)).save_pretrained(path)
    tiny_tokenizer().save_pretrained(path)
    return str(path)


@pytest.fixture
def reviews(tmp_path):
    rows = 'review,stars\n"the film was ""good"", very good",5\nawful plot,1\n"lovely\nmusic",4\n'
    (tmp_path / "reviews.csv").write_text(rows)
    return str(tmp_path / "reviews.csv")


def test_highlight_writes_jsonl_and_html(folder, reviews, tmp_path, capsys):
    output = tmp_path / "out"
    status = main(
        ["highlight", "--model", folder, "--data", reviews, "--text-column", "review", "--output", str(output)]
    )
    assert status == 0
    found = list(read_jsonl(output / "explanations.jsonl"))
    assert [e.text for e in found] == ['the film was "good", very good', "awful plot", "lovely\nmusic"]
    page = (output / "report.html").read_text()
    assert page.count("<article") + page.count("<section") >= 3 and "lovely" in page
    assert str(output / "report.html") in capsys.readouterr().out


def test_highlight_options(folder, reviews, tmp_path):
    options = ["--target", "bad", "--foil", "1", "--layers", "--non-negative", "--format", "jsonl"]
    command = ["highlight", "--model", folder, "--data", reviews, "--text-column", "review"]
    assert main([*command, *options, "--output", str(tmp_path / "out")]) == 0
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["explanations.jsonl"]
    e = next(read_jsonl(tmp_path / "out" / "explanations.jsonl"))
    assert (e.target.label, e.foil.label) == ("bad", "good") and e.layer_scores.shape[1] == 2 and (e.scores >= 0).all()


def test_highlight_on_the_terminal(folder, capsys):
    assert main(["highlight", "--model", folder, "--text", "the film was good", "--text", "awful"]) == 0
    shown = capsys.readouterr().out
    assert "film" in shown and "awful" in shown and ("good" in shown)


@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "txt"])
def test_files_of_every_kind(folder, tmp_path, suffix):
    from datasets import Dataset

    rows, path = Dataset.from_dict({"text": ["good", "bad"]}), tmp_path / f"texts.{suffix}"
    if suffix == "txt":
        path.write_text("good\n\nbad\n")
    else:
        (rows.to_json if suffix == "jsonl" else rows.to_parquet)(str(path))
    assert main(["highlight", "--model", folder, "--data", str(path), "--output", str(tmp_path / "out")]) == 0
    assert [e.text for e in read_jsonl(tmp_path / "out" / "explanations.jsonl")] == ["good", "bad"]


def test_pairs(folder, tmp_path):
    (tmp_path / "pairs.jsonl").write_text(json.dumps({"a": "good film", "b": "bad film"}) + "\n")
    command = ["highlight", "--model", folder, "--data", str(tmp_path / "pairs.jsonl"), "--output", str(tmp_path / "o")]
    assert main([*command, "--text-column", "a", "--text-pair-column", "b"]) == 0
    e = next(read_jsonl(tmp_path / "o" / "explanations.jsonl"))
    assert isinstance(e, Explanation) and e.text_pair == "bad film"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "nowhere.csv"], "must be a file that exists"),
        (["--data", "{reviews}"], "text_column must name a column .* got 'text'; it has review, stars"),
        (["--data", "{reviews}", "--text-column", "review", "--split", "test"], "no split 'test'; it has train"),
        (["--text", " "], "not whitespace"),
        (["--text", "good", "--target", "great"], "the known ones are 0 'bad', 1 'good'"),
        (["--text", "good", "--format", "pdf"], "format must be one or more of jsonl, html"),
        (["--text", "good", "--dtype", "int8"], "dtype must be"),
        (["--text", "good", "--batch-tokens", "0"], "batch_tokens must be"),
        (["--text", "good", "--output", "{reviews}"], "must be a folder"),
    ],
)
def test_bad_input_gets_one_sentence(folder, reviews, options, message, capsys):
    given = [option.format(reviews=reviews) for option in options]
    assert main(["highlight", "--model", folder, *given]) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("mhex highlight: ")
    assert pytest.importorskip("re").search(message, told), told


def test_a_model_without_heads(tmp_path, capsys):
    tiny_bert().save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    assert main(["highlight", "--model", str(tmp_path), "--text", "good"]) == 2
    assert "never trained" in capsys.readouterr().err


@pytest.mark.parametrize("verb", [[], ["demo"], ["finetune"], ["highlight"]])
def test_help_has_an_example(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*verb, "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert not verb or "example" in shown


def test_help_is_quick_and_light():
    code = (
        "import sys; from mhex_nlp.cli import _parser; _parser(); assert not {'torch', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
