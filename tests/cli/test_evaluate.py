# SPDX-License-Identifier: Apache-2.0
"""`mhex evaluate`: what it writes and prints, and one sentence with exit status 2 for bad input."""

from __future__ import annotations

import json

import pytest

from helpers.families import train_heads
from helpers.tiny import tiny_bert, tiny_texts, tiny_tokenizer
from mhex_nlp import get_mhex_model
from mhex_nlp.cli import main

FILES = ["evaluation.json", "evaluation.md", "evaluation.png", "evaluation.svg"]
QUICK = ["--methods", "mhex_supervised,random,gradient_norm", "--permutations", "0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model with trained heads that takes the corpus's longest sentence letter by letter."""
    path = tmp_path_factory.mktemp("model")
    model = tiny_bert(max_position_embeddings=256).eval()
    train_heads(get_mhex_model(model)).save_pretrained(path)
    tokenizer = tiny_tokenizer()
    tokenizer.model_max_length = 256
    tokenizer.save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    path = tmp_path_factory.mktemp("data")
    texts, _ = tiny_texts(6)
    rows = [{"text": text, "other": "the plot", "spans": [[0, 3]], "odd": [[0]]} for text in texts]
    (path / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (path / "texts.csv").write_text("text,spans\n" + "".join(f'{text},"[[0, 3]]"\n' for text in texts))
    (path / "a-file").write_text("")
    return path


def test_sentences_of_the_corpus(folder, tmp_path, capsys):
    output = tmp_path / "out"
    command = ["evaluate", "--model", folder, "--corpus", "--limit", "12", "--unit", "words", "--output", str(output)]
    assert main([*command, *QUICK]) == 0
    assert sorted(path.name for path in output.iterdir()) == FILES
    report = json.loads((output / "evaluation.json").read_text("utf-8"))
    assert report["texts"] == report["plausibility_texts"] == 12 and report["unit"] == "words"
    assert [each["name"] for each in report["methods"]] == ["mhex_supervised", "random", "gradient_norm"]
    assert 0 < report["methods"][0]["figures"]["auprc"]["value"] < 1
    assert report["model"] and "/" not in report["model"]
    shown = capsys.readouterr().out
    assert "| MHEX, supervised" in shown and str(output / "evaluation.svg") in shown
    assert "12 of" in shown and "drawn with seed 0" in shown


@pytest.mark.parametrize("name", ["texts.jsonl", "texts.csv"])
def test_data_with_rationales(folder, files, tmp_path, name):
    command = ["evaluate", "--model", folder, "--data", str(files / name), "--rationale-column", "spans"]
    assert main([*command, *QUICK, "--output", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "evaluation.json").read_text("utf-8"))["plausibility_texts"] == 6


def test_pairs_on_a_plain_model(files, tmp_path, capsys):
    tiny_bert().save_pretrained(tmp_path / "plain")
    tiny_tokenizer().save_pretrained(tmp_path / "plain")
    command = ["evaluate", "--model", str(tmp_path / "plain"), "--data", str(files / "texts.jsonl")]
    options = ["--text-pair-column", "other", "--permutations", "4", "--removal", "attention"]
    assert main([*command, *options, "--output", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "attention rollout" in shown and "mhex_fitted was left out" in shown and "`mhex fit`" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "nowhere.csv"], "must be a file that exists"),
        (["--data", "{files}/texts.csv", "--text-column", "no"], "text_column must name a column"),
        (["--data", "{files}/texts.csv", "--rationale-column", "no"], "rationale_column must name a column"),
        (["--data", "{files}/texts.jsonl", "--rationale-column", "odd"], "row 0 .* a rationale must be a list of"),
        (["--corpus", "--rationale-column", "spans"], "name columns of --data"),
        (["--corpus", "--limit", "1"], "limit must be at least 2, got 1"),
        (["--corpus", "--methods", "magic"], "got 'magic'"),
        (["--corpus", "--methods", ","], "methods must be a list of some of"),
        (["--corpus", "--methods", "mhex_fitted"], "the model has no fit"),
        (["--corpus", "--permutations", "5"], "must be 0 or a multiple of 4, got 5"),
        (["--corpus", "--removal", "burn"], "removal must be one of"),
        (["--corpus", "--device", "meta"], "device must hold data"),
        (["--corpus", "--output", "{files}/a-file"], "output must be a folder"),
    ],
)
def test_bad_input_gets_one_sentence(folder, files, tmp_path, options, message, capsys):
    given = [option.format(files=files) for option in options]
    output = [] if "--output" in given else ["--output", str(tmp_path / "out")]
    assert main(["evaluate", "--model", folder, *output, *given]) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("mhex evaluate: ") and pytest.importorskip("re").search(message, told), told
    assert not (tmp_path / "out").exists()


def test_an_encoder_is_no_classifier(tmp_path, capsys):
    tiny_bert().bert.save_pretrained(tmp_path / "encoder")
    tiny_tokenizer().save_pretrained(tmp_path / "encoder")
    command = ["evaluate", "--model", str(tmp_path / "encoder"), "--corpus", "--output", str(tmp_path / "out")]
    assert main(command) == 2
    assert "must be a fine-tuned classifier, got one without weights for classifier" in capsys.readouterr().err


def test_help_has_an_example_and_names_every_method(capsys):
    from mhex_nlp.evaluation.benchmark.methods import METHODS

    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "--help"])
    shown = "".join(capsys.readouterr().out.split())
    assert stop.value.code == 0 and "example" in shown and all(name in shown for name in METHODS)


@pytest.mark.parametrize(
    "cell", ["[[0, 1e999]]", "[[0.5, 3]]", '[["0", "3"]]', "[[NaN, 1]]", "[" * 9000, "[[1]]", "7", None]
)
def test_a_rationale_that_is_none_is_refused_by_row(cell):
    from mhex_nlp.cli.evaluate import _spans

    assert _spans("[[0, 3], [4, 5]]", "row 1") == [(0, 3), (4, 5)]
    with pytest.raises(ValueError, match=r"^row 1: a rationale must be a list of \[start, end\) pairs, got .{0,80}\.$"):
        _spans(cell, "row 1")
