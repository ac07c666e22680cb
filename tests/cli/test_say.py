# SPDX-License-Identifier: Apache-2.0
"""What the command prints of files, names and arguments has no power over the terminal."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path

import datasets
import pytest
from transformers.utils import logging

from helpers.families import train_heads
from helpers.tiny import tiny_mhex, tiny_tokenizer
from mhex_nlp.cli import main
from mhex_nlp.cli.say import say

HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b31m\x7f\u202e\u2066\u2028\rend"
SHOWN = "\ufffd]0;title\ufffd\ufffd[2J\ufffd31m\ufffd\ufffd\ufffd  end"


def test_controls_and_directions_are_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"\ttab {HOSTILE}\n")
    say(Path(HOSTILE), error=True)
    assert capsys.readouterr() == (f"\ttab {SHOWN}\n\n", f"{SHOWN}\n")


def test_a_terminal_of_few_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file name in another script ended the command after its work was done."""
    stream = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr("sys.stdout", stream)
    say("\u4f60 caf\u00e9 \udc80")
    stream.flush()
    assert stream.buffer.getvalue() == b"? caf? ?\n"  # type: ignore[attr-defined]


def test_what_the_verbs_say_of_hostile_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(tmp_path / "model")
    train_heads(tiny_mhex(gate=False).eval()).save_pretrained(model)
    tiny_tokenizer().save_pretrained(model)
    folder = tmp_path / HOSTILE
    folder.mkdir()
    (folder / HOSTILE).touch()
    rows, keys = tmp_path / "rows.csv", tmp_path / "keys.jsonl"
    rows.write_text(f"{HOSTILE[:-4]},text,label\nk,good,\x1b[5m\nk,,1\n", "utf-8")
    keys.write_text(json.dumps({HOSTILE: 1}) + "\n")
    data = ["--data", str(rows)]
    commands = [
        ["highlight", "--model", model, *data, "--text-column", "body"],
        ["highlight", "--model", model, *data, "--label-column", "label"],
        ["highlight", "--model", model, "--text", HOSTILE, "--output", str(folder)],
        ["highlight", "--model", model, *data, "--output", str(folder)],
        ["highlight", "--model", model, "--data", str(folder / HOSTILE)],
        ["fit", "--model", model, *data, "--text-column", HOSTILE, "--output", str(folder)],
        ["evaluate", "--model", model, *data, "--text-column", HOSTILE, "--output", str(tmp_path / "o")],
        ["finetune", "--model", model, *data, "--label-column", "label", "--output-dir", str(tmp_path / "o")],
        ["report", str(keys), "--output", str(folder)],
        ["demo", "--output", str(folder)],
    ]
    datasets.disable_progress_bars()  # they write carriage returns
    logging.disable_progress_bar()
    capsys.readouterr()
    for command in commands:
        assert main(command) in (0, 1, 2)
        out, err = capsys.readouterr()
        assert out + err
        for control in "\x1b\x07\x9b\x7f\u202e\u2066\u2028\r":
            assert control not in out + err, (command, out, err)
    with pytest.raises(SystemExit):
        main(["highlight", "--model", model, "--text", "good", HOSTILE])
    assert capsys.readouterr().err.endswith(f"unrecognized arguments: {SHOWN}\n")


def test_a_warning_is_a_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mhex_nlp.cli.report.run", lambda args: warnings.warn(HOSTILE, stacklevel=1) or 0)
    assert main(["report", "x", "--output", "y"]) == 0
    assert capsys.readouterr().err == f"warning: {SHOWN}\n"
