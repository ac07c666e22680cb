# SPDX-License-Identifier: Apache-2.0
"""The `mhex` command: what it writes, and one sentence with exit status 2 for bad input."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest

from helpers.families import train_heads
from helpers.render_examples import NEGATIVE, POSITIVE
from helpers.tiny import tiny_bert, tiny_tokenizer
from mhex_nlp import Explanation, get_mhex_model
from mhex_nlp.cli import main
from mhex_nlp.corpus.job.ledger import SCHEMA
from mhex_nlp.corpus.jsonl import read_jsonl, write_jsonl


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


@pytest.fixture
def broken_files(tmp_path):
    files = {
        "empty.csv": b"",
        "empty.txt": b"",
        "blank.txt": b"\n  \n",
        "header.csv": b"text\n",
        "latin.txt": "caf\u00e9".encode("latin-1"),
        "broken.jsonl": b'{"text": "good"',
        "broken.parquet": b"PAR1nonsense",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_highlight_writes_jsonl_and_html(folder, reviews, tmp_path, capsys):
    output = tmp_path / "out"
    status = main(
        ["highlight", "--model", folder, "--data", reviews, "--text-column", "review", "--output", str(output)]
    )
    assert status == 0
    found = list(read_jsonl(output / "part-0-00000.jsonl"))
    assert [e.text for e in found] == ['the film was "good", very good', "awful plot", "lovely\nmusic"]
    page = (output / "part-0-00000.html").read_text()
    assert page.count("<article") + page.count("<section") >= 3 and "lovely" in page
    told = capsys.readouterr().out
    assert "3 of 3 rows explained" in told and str(output / "summary.html") in told


def test_highlight_options(folder, reviews, tmp_path):
    options = ["--target", "bad", "--foil", "1", "--layers", "--non-negative", "--format", "jsonl"]
    command = ["highlight", "--model", folder, "--data", reviews, "--text-column", "review"]
    assert main([*command, *options, "--output", str(tmp_path / "out")]) == 0
    assert not list((tmp_path / "out").glob("part-*.html"))
    e = next(read_jsonl(tmp_path / "out" / "part-0-00000.jsonl"))
    assert (e.target.label, e.foil.label) == ("bad", "good") and e.layer_scores.shape[1] == 2 and (e.scores >= 0).all()


def test_a_class_whose_name_is_a_number(tmp_path, capsys):
    """Star ratings: class 0 is called "1". A name goes before an id."""
    model = tiny_bert(num_labels=5, id2label={i: str(i + 1) for i in range(5)}).eval()
    train_heads(get_mhex_model(model)).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    command = ["highlight", "--model", str(tmp_path), "--text", "good film", "--output", str(tmp_path / "out")]

    def classes(target, foil):
        assert main([*command, "--target", target, "--foil", foil]) == 0
        e = next(read_jsonl(tmp_path / "out" / "explanations.jsonl"))
        return (e.target.label, e.target.id), (e.foil.label, e.foil.id)

    assert classes("1", "5") == (("1", 0), ("5", 4))
    assert classes("0", "2") == (("1", 0), ("2", 1))  # no class is called 0: an id
    for name in ("\N{SUPERSCRIPT TWO}", "6", "\N{ARABIC-INDIC DIGIT ONE}"):
        assert main([*command, "--target", name]) == 2
        assert "target must be a class of the model, got" in capsys.readouterr().err


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
    status = main(["highlight", "--model", folder, "--data", str(path), "--output", str(tmp_path / "out")])
    assert [e.text for e in read_jsonl(tmp_path / "out" / "part-0-00000.jsonl")] == ["good", "bad"]
    errors = (tmp_path / "out" / "errors.jsonl").read_text()
    assert (status, errors) == (
        (1, '{"row": 1, "id": "1", "reason": "the text is empty"}\n') if suffix == "txt" else (0, "")
    )


def test_standard_input(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"good film\nbad plot\n")))
    assert (
        main(["highlight", "--model", folder, "--data", "-", "--output", str(tmp_path / "o"), "--format", "jsonl"]) == 0
    )
    assert "2 of 2 rows explained" in capsys.readouterr().out
    assert [e.text for e in read_jsonl(tmp_path / "o" / "part-0-00000.jsonl")] == ["good film", "bad plot"]


def test_pairs(folder, tmp_path):
    (tmp_path / "pairs.jsonl").write_text(json.dumps({"a": "good film", "b": "bad film"}) + "\n")
    command = ["highlight", "--model", folder, "--data", str(tmp_path / "pairs.jsonl"), "--output", str(tmp_path / "o")]
    assert main([*command, "--text-column", "a", "--text-pair-column", "b"]) == 0
    e = next(read_jsonl(tmp_path / "o" / "part-0-00000.jsonl"))
    assert isinstance(e, Explanation) and e.text_pair == "bad film"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "nowhere.csv"], "must be a file that exists"),
        (["--data", "{reviews}"], "text_column must name a column .* got 'text'; it has review, stars"),
        (
            ["--data", "{reviews}", "--text-column", "review", "--split", "test"],
            "split must be one that .* has, got 'test'; it has train",
        ),
        (["--text", " "], "not whitespace"),
        (["--text", "good", "--target", "great"], "the known ones are 0 'bad', 1 'good'"),
        (["--text", "good", "--format", "pdf"], "format must be one or more of jsonl, html"),
        (["--text", "good", "--dtype", "int8"], "dtype must be"),
        (["--text", "good", "--batch-tokens", "0"], "batch_tokens must be"),
        (["--text", "good", "--output", "{reviews}"], "must be a folder"),
        (["--text", "good", "--device", "meta"], "device must hold data, got 'meta'"),
        (["--text", "good", "--text-pair-column", "b"], "--text-pair-column names a column of --data"),
        (["--data", "{empty}/empty.csv"], "data must have at least one row, got none"),
        (["--data", "{empty}/empty.txt"], "data must have at least one row, got none"),
        (["--data", "{empty}/header.csv"], "data must have at least one (row|text), got none"),
        (["--data", "{empty}/broken.parquet"], "data must be readable"),
        (["--data", "{reviews}", "--part-rows", "0"], "part_rows must be at least 1"),
        (["--data", "{reviews}", "--top-k", "3"], "top_k and overwrite are for files"),
        (["--data", "{reviews}", "--output", "{empty}/o", "--top-k", "3"], "top_k is for Parquet files"),
        (["--data", "{reviews}", "--output", "{empty}/o", "--foil", "bad"], "foil needs target"),
        (["--data", "{reviews}", "--output", "{empty}/o", "--num-processes", "2"], "started, 1, got 2"),
        (["--data", "{empty}", "--output", "{empty}/o"], "output must be a folder outside the data"),
    ],
)
def test_bad_input_gets_one_sentence(folder, reviews, broken_files, options, message, capsys):
    given = [option.format(reviews=reviews, empty=broken_files) for option in options]
    assert main(["highlight", "--model", folder, *given]) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("mhex highlight: ")
    assert pytest.importorskip("re").search(message, told), told


def test_a_model_without_heads(tmp_path, capsys):
    tiny_bert().save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    assert main(["highlight", "--model", str(tmp_path), "--text", "good"]) == 2
    assert "never trained" in capsys.readouterr().err


def test_fit_then_highlight(folder, tmp_path, capsys):
    from datasets import Dataset

    from helpers.tiny import BAD, GOOD, NEUTRAL

    lines = [f"the {a} was {b} and {c}" for a in NEUTRAL[1:4] for b in GOOD for c in BAD]
    Dataset.from_dict({"text": lines}).to_parquet(str(tmp_path / "t.parquet"))
    command = ["fit", "--model", folder, "--data", str(tmp_path / "t.parquet"), "--output", str(tmp_path / "fitted")]
    assert main(command) == 0
    assert "skill" in capsys.readouterr().out
    command = ["highlight", "--model", str(tmp_path / "fitted"), "--text", "good film", "--output", str(tmp_path / "o")]
    assert main(command) == 0
    e = next(read_jsonl(tmp_path / "o" / "explanations.jsonl"))
    assert e.method.fitted and e.method.explains == "model" and e.method.removal == "mask" and e.heads is None


def test_fit_needs_a_classifier_that_was_trained(folder, tmp_path, capsys):
    tiny_bert().bert.save_pretrained(tmp_path / "encoder")
    tiny_tokenizer().save_pretrained(tmp_path / "encoder")
    (tmp_path / "texts.txt").write_text("good film\n" * 30)
    command = ["fit", "--model", str(tmp_path / "encoder"), "--data", str(tmp_path / "texts.txt")]
    assert main([*command, "--output", str(tmp_path / "x")]) == 2
    told = capsys.readouterr().err
    assert "must be a fine-tuned classifier, got one without weights for classifier.bias, classifier.weight" in told


def test_fit_needs_texts(folder, tmp_path, capsys):
    (tmp_path / "few.txt").write_text("good\nbad\n")
    command = ["fit", "--model", folder, "--data", str(tmp_path / "few.txt"), "--output", str(tmp_path / "x")]
    assert main(command) == 2
    assert "texts must be at least 20 to fit, got 2" in capsys.readouterr().err


@pytest.mark.parametrize("verb", [[], ["demo"], ["finetune"], ["fit"], ["highlight"]])
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


def test_report_makes_pages_of_a_jsonl_file_and_of_a_finished_job(tmp_path, capsys):
    job = tmp_path / "job"
    job.mkdir()
    explanations = [Explanation.from_dict(each | {"id": str(i)}) for i, each in enumerate([POSITIVE, NEGATIVE])]
    write_jsonl(explanations[:1], job / "part-0-00000.jsonl")
    write_jsonl(explanations[1:], job / "part-0-00001.jsonl")
    (tmp_path / "gold.csv").write_text("mood\n1\n1\n")
    given = ["--labels", str(tmp_path / "gold.csv"), "--label-column", "mood"]
    parts = [{"files": ["part-0-00000.html", "part-0-00000.jsonl"]}, {"files": ["part-0-00001.jsonl"]}]
    for complete in (False, True):
        (job / "manifest.json").write_text(json.dumps({"schema": SCHEMA, "complete": complete, "parts": parts}))
        status = main(["report", str(job), "--output", str(tmp_path / "pages"), "--title", "<Reviews>", *given])
        assert status == (0 if complete else 2)
        if not complete:
            assert "source must be a finished job" in capsys.readouterr().err
    index = (tmp_path / "pages" / "index.html").read_text("utf-8")
    assert "50% of 2 with a label" in index and "&lt;Reviews&gt;" in index
    assert main(["report", str(job / "part-0-00001.jsonl"), "--output", str(tmp_path / "one")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "one" / "index.html")
    assert main(["report", str(tmp_path), "--output", str(tmp_path / "none")]) == 2
    assert main(["report", str(job), "--output", str(job)]) == 2
    assert "output_dir must be a new folder" in capsys.readouterr().err


def test_highlight_tells_words_that_turn_predictions(folder, reviews, tmp_path, capsys):
    command = ["highlight", "--model", folder, "--data", reviews, "--text-column", "review"]
    command += ["--output", str(tmp_path / "out"), "--format", "jsonl,html,parquet"]
    assert main([*command, "--flip"]) == 0
    found = list(read_jsonl(tmp_path / "out" / "part-0-00000.jsonl"))
    assert all(len(e.flips) == 2 for e in found)
    page = (tmp_path / "out" / "part-0-00000.html").read_text("utf-8")
    assert "Without" in page or "No set of words was found" in page
    capsys.readouterr()
    assert main(["highlight", "--model", folder, "--text", "the film was good", "--flip"]) == 0
    assert "Predicted" in capsys.readouterr().out
    assert main(command) == 2 and "flip was True and is None" in capsys.readouterr().err
