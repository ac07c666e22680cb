# SPDX-License-Identifier: Apache-2.0
"""`main` called in a program of others leaves that program as it was."""

from __future__ import annotations

import csv
import gc
import io
import json
import locale
import logging
import os
import random
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import datasets
import matplotlib
import numpy as np
import pytest
import torch
from transformers.utils import logging as transformers_logging

from helpers.command_files import make_command_files
from mhex_nlp.cli import main
from mhex_nlp.cli.demo import run as demo_run


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with trained heads, a plain one, texts with labels, and explanations."""
    root = make_command_files(tmp_path_factory.mktemp("process"))
    (root / "bad.csv").write_text('text\ngood\n"open\n')
    (root / "long.csv").write_text(f"text\n{'good ' * 30_000}\n")
    command = ["highlight", "--model", str(root / "model"), "--text", "good film", "--output", str(root / "made")]
    assert main(command) == 0
    return root


def settings() -> dict[str, Any]:
    """What a program has set for itself."""
    loggers = {name: logger for name, logger in logging.root.manager.loggerDict.items()}
    return {
        "warnings": (warnings.showwarning, warnings.formatwarning, list(warnings.filters)),
        "csv": (csv.field_size_limit(), csv.list_dialects()),
        "environment": dict(os.environ),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "streams": (sys.stdin, sys.stdout, sys.stderr, sys.excepthook, sys.displayhook, threading.excepthook),
        "limits": (sys.getrecursionlimit(), sys.get_int_max_str_digits(), gc.get_threshold(), gc.isenabled()),
        "directory": os.getcwd(),
        "locale": locale.setlocale(locale.LC_ALL),
        "logging": (
            logging.root.level,
            logging.root.handlers[:],
            logging.root.manager.disable,
            logging.raiseExceptions,
        ),
        "loggers": {
            name: (logger.level, logger.handlers[:], logger.disabled, logger.propagate)
            for name, logger in loggers.items()
            if isinstance(logger, logging.Logger)
        },
        "transformers": (transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()),
        "datasets": (datasets.are_progress_bars_disabled(), datasets.is_caching_enabled()),
        "matplotlib": (matplotlib.get_backend(), dict(matplotlib.rcParams)),
        "numpy": (np.geterr(), np.get_printoptions(), str(np.random.get_state())),
        "random": random.getstate(),
        "torch": (
            *(torch.get_num_threads(), torch.get_num_interop_threads(), torch.get_default_dtype()),
            *(
                torch.is_grad_enabled(),
                torch.are_deterministic_algorithms_enabled(),
                torch.get_float32_matmul_precision(),
            ),
            torch.random.get_rng_state().tolist(),
        ),
    }


COMMANDS = {
    "text": "highlight --model {root}/model --text good --output {out}",
    "terminal": "highlight --model {root}/model --data {root}/rows.jsonl",
    "job": "highlight --model {root}/model --data {root}/rows.jsonl --output {out} --format jsonl,html,parquet",
    "long cells": "highlight --model {root}/model --data {root}/long.csv --output {out}",
    "open quote": "highlight --model {root}/model --data {root}/bad.csv --output {out}",
    "stdin": "highlight --model {root}/model --data - --data-format csv --output {out} --part-rows 1",
    "no model": "highlight --model {root}/nowhere --text good",
    "fit": "fit --model {root}/plain --data {root}/rows.jsonl --output {out}",
    "evaluate": "evaluate --model {root}/model --data {root}/rows.jsonl --limit 4 --permutations 0 --methods "
    "mhex_supervised,random,gradient_norm --output {out}",
    "report": "report {root}/made/explanations.jsonl --output {out}",
    "finetune": "finetune --model {root}/plain --data {root}/rows.jsonl --output-dir {out} --epochs 1",
    "demo": "demo --output {out} --epochs 1 --no-comparison",
}


SLOW = ("evaluate", "demo", "finetune")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in COMMANDS]
)
def test_a_program_finds_what_it_had_set(
    root: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("text\n" + f'"{"good " * 30_000}"\n' * 2))
    if name == "demo":
        monkeypatch.setattr(demo_run, "minilm_path", lambda: root / "plain")
        monkeypatch.setattr(demo_run, "MASKS", 2)
        rows, sentences = demo_run.as_dataset, demo_run.load_corpus
        monkeypatch.setattr(demo_run, "as_dataset", lambda split: rows(split).select(range(24)))
        monkeypatch.setattr(demo_run, "load_corpus", lambda split: sentences(split)[:24])
    command = COMMANDS[name].format(root=root, out=tmp_path / "out").split()
    before = settings()
    assert main(command) == (2 if name in ("open quote", "no model") else 0)
    after = settings()
    for key, value in before.items():
        if key == "loggers":
            assert {name: after[key].get(name) for name in value} == value
        else:
            assert after[key] == value, key


def test_what_was_set_is_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what it is by default."""
    shown: list[str] = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *details, **more: shown.append(str(message)))
    mine = warnings.showwarning
    limit = csv.field_size_limit(4321)
    transformers_logging.disable_progress_bar()
    try:
        main(["highlight", "--model", str(root / "model"), "--data", str(root / "long.csv")])
        assert warnings.showwarning is mine and csv.field_size_limit() == 4321
        assert not transformers_logging.is_progress_bar_enabled()
    finally:
        transformers_logging.enable_progress_bar()
        csv.field_size_limit(limit)


def test_rows_with_errors_may_be_allowed(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For pipelines that end with the first status that is not 0."""
    (tmp_path / "rows.txt").write_text("good film\n\nbad film\n")
    command = ["highlight", "--model", str(root / "model"), "--data", str(tmp_path / "rows.txt")]
    for output in ([], ["--output", str(tmp_path / "out")]):
        assert main([*command, *output]) == 1
        assert main([*command, *output, "--allow-errors"]) == 0
    assert json.loads((tmp_path / "out" / "errors.jsonl").read_text())["row"] == 1
    assert "1 rows not explained" in capsys.readouterr().out
    command[-1] = str(tmp_path / "nowhere.txt")
    assert main([*command, "--allow-errors"]) == 2


def test_the_limit_on_characters(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.txt").write_text(f"good film\n{'x' * 11}\nbad\n{'x' * 200_000}\n")
    command = ["highlight", "--model", str(root / "model"), "--data", str(tmp_path / "rows.txt"), "--max-characters"]
    output = ["--output", str(tmp_path / "out")]
    assert main([*command, "10", *output]) == 1
    errors = [json.loads(line) for line in (tmp_path / "out" / "errors.jsonl").read_text().splitlines()]
    assert [error["row"] for error in errors] == [1, 3]
    assert [error["reason"].partition(",")[0] for error in errors] == ["the text has 11 characters", "the row has 200"]
    capsys.readouterr()
    assert main([*command, "20", *output]) == 2
    assert "max_characters was 10 and is 20" in capsys.readouterr().err
