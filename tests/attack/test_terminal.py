# SPDX-License-Identifier: Apache-2.0
"""Hostile strings as columns, keys, ids, labels and file names, through every verb: none of them reaches the terminal
as a command to it.
"""

from __future__ import annotations

import csv
import json
import logging
import random
import re
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest
from transformers.utils.logging import disable_progress_bar, set_verbosity_warning

from helpers.attack import record, rounds
from helpers.attack_strings import ATTACK_STRINGS, CONTROLS, DIRECTIONS
from helpers.families import train_heads
from helpers.tiny import save_checkpoint, tiny_mhex, tiny_texts, tiny_tokenizer
from mhex_nlp.cli import main

pytestmark = pytest.mark.slow
FULL = 600
ESCAPES = [
    "\x1b[2J\x1b[H",
    "\x1b]0;title\x07",
    "\x1b]8;;https://example.org\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]52;c;cm0gLXJm\x07",
    "\x1b[5;41mred",
    "\x9b5;41m\x9d0;title\x9c",
    "\x1bP1$r\x1b\\\x1bc\x1b(0",
    "back\x08\x08\x7f bell\x07 \x0e\x0f",
    "\rover the line",
]
STRINGS = [*(ESCAPES * 12), *(CONTROLS * 3), *(DIRECTIONS * 3), *ATTACK_STRINGS]
FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Attack:
    """One round: draws strings, writes files with them, and gives the command lines."""

    def __init__(self, seed: int, folder: Path, model: Path) -> None:
        self.draw, self.folder, self.model = random.Random(seed), folder, model

    def string(self) -> str:
        return self.draw.choice(STRINGS)[:200]

    def path(self, suffix: str = "") -> Path:
        name = re.sub("[/\x00\ud800-\udfff]", "_", self.draw.choice(ESCAPES) + self.string())
        return self.folder / (name.encode()[:150].decode(errors="ignore") + suffix)

    def table(self, count: int = 30) -> tuple[Path, list[str]]:
        """A file whose columns (text, label, id) have hostile names, in rows some of which are hostile too."""
        names = [f"{number}{self.string()}" for number in range(3)]
        texts, labels = tiny_texts(count, seed=1)
        rows = [
            dict(zip(names, (t, self.draw.choice([str(n), self.string()]), self.string()), strict=True))
            for t, n in zip(texts, labels, strict=True)
        ]
        rows[0][names[1]] = "1"
        rows[self.draw.randrange(count)][names[0]] = self.string()
        path = self.path(self.draw.choice([".csv", ".jsonl", ".tsv"]))
        if path.suffix == ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            with path.open("w", encoding="utf-8", errors="replace", newline="") as file:
                writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
                writer.writerows([names, *(row.values() for row in rows)])
            names = [name.encode(errors="replace").decode() for name in names]
        return path, names

    def named_model(self) -> Path:
        """The model with hostile class names."""
        folder = Path(shutil.copytree(self.model, self.path()))
        config = json.loads((folder / "config.json").read_text())
        names = [f"{number}{self.string()}" for number in range(2)]
        config |= {"id2label": dict(enumerate(names)), "label2id": {name: index for index, name in enumerate(names)}}
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    # ---- command lines

    def texts_on_the_terminal(self) -> list[str]:
        texts = [part for _ in range(3) for part in ("--text=" + self.string(),)]
        return ["highlight", "--model", str(self.named_model()), "--text=good film", *texts]

    def rows_on_the_terminal(self) -> list[str]:
        path, (text, label, name) = self.table(8)
        columns = [f"--text-column={text}", f"--label-column={label}", f"--id-column={name}"]
        return ["highlight", "--model", str(self.model), "--data", str(path), *columns]

    def rows_into_a_folder(self) -> list[str]:
        output = self.path()
        if self.draw.random() < 0.3:
            output.mkdir()
            (output / self.path().name).touch()
        return [*self.rows_on_the_terminal(), "--output", str(output), "--format", "jsonl"]

    def unknown_columns(self) -> list[str]:
        path, _ = self.table(8)
        return ["highlight", "--model", str(self.model), "--data", str(path), f"--text-column={self.string()}"]

    def unknown_classes(self) -> list[str]:
        return ["highlight", "--model", str(self.named_model()), "--text", "good", f"--target={self.string()}"]

    def arguments(self) -> list[str]:
        strange = [f"--{self.string()}", self.string(), f"--part-rows={self.string()}", f"--unit={self.string()}"]
        return self.draw.choice(
            [["highlight", "--model", "x", "--text", "x", self.draw.choice(strange)], [self.string()]]
        )

    def files_that_are_none(self) -> list[str]:
        path = self.path(self.draw.choice([".csv", ".jsonl", ".json", ".parquet", ".txt", ".xlsx"]))
        content = [{self.string(): 1}, [self.string()], self.string(), {"schema": self.string(), "text": 1}]
        path.write_text(json.dumps(self.draw.choice(content), ensure_ascii=self.draw.random() < 0.5), errors="replace")
        verbs = [
            ["report", str(path), "--output", str(self.path())],
            ["fit", "--model", str(self.model), "--data", str(path), "--output", str(self.path())],
            ["evaluate", "--model", str(self.model), "--data", str(path), "--output", str(self.path())],
            ["finetune", "--model", str(self.model), "--data", str(path), "--output-dir", str(self.path())],
            ["highlight", "--model", str(path), "--text", "good"],
        ]
        return self.draw.choice(verbs)

    def explanations(self) -> list[str]:
        """A report of explanations with hostile keys, ids and labels."""
        path, labels = self.path(".jsonl"), self.path(".csv")
        document = json.loads((self.model / "explanation.json").read_text())
        if self.draw.random() < 0.6:
            document[self.string()] = 1
            target = self.draw.choice([document, document["method"], document["tokens"][0]])
            target[self.string()] = self.string()
        path.write_text(json.dumps(document | {"id": self.string()}) + "\n")
        labels.write_text(f"id,label\n0,{self.draw.choice(ESCAPES)}\n", errors="replace")
        return ["report", str(path), "--output", str(self.path()), "--labels", str(labels), "--id-column", "id"]

    def configurations(self) -> list[str]:
        folder = self.named_model()
        config = json.loads((folder / "config.json").read_text())
        place = self.draw.choice([config, config["mhex"]])
        place[self.draw.choice([self.string(), "model_type", "activation", "architectures"])] = self.string()
        (folder / "config.json").write_text(json.dumps(config))
        return ["highlight", "--model", str(folder), "--text", "good film"]

    def evaluations(self) -> list[str]:
        path, (text, _, _) = self.table(6)
        options = ["--output", str(self.path()), f"--methods={self.draw.choice(['random', self.string()])}"]
        return ["evaluate", "--model", str(self.named_model()), "--data", str(path), f"--text-column={text}", *options]

    def demos(self) -> list[str]:
        output = self.path()
        output.mkdir()
        (output / self.path().name).touch()
        return ["demo", "--output", str(output)]

    def trainings(self) -> list[str]:
        path, (text, label, _) = self.table()
        columns = [f"--text-column={text}", f"--label-column={label}", "--output-dir", str(self.path())]
        return ["finetune", "--model", str(self.named_model()), "--data", str(path), *columns, "--max-steps", "1"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = save_checkpoint(tmp_path_factory.mktemp("model"))
    model = train_heads(tiny_mhex(gate=False).eval())
    model.save_pretrained(folder)
    from mhex_nlp import MhexExplainer

    (folder / "explanation.json").write_text(MhexExplainer(model, tiny_tokenizer())("a good film").to_json())
    return folder


@pytest.mark.timeout(900)
def test_nothing_hostile_reaches_the_terminal(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()  # they write carriage returns
    disable_progress_bar()
    set_verbosity_warning()  # as in a fresh process
    attacks: list[Callable[[Attack], list[str]]] = [value for name, value in vars(Attack).items() if name[0] != "_"]
    attacks = [attack for attack in attacks if attack.__name__ not in ("string", "path", "table", "named_model")]
    count, start, statuses = rounds(FULL), time.perf_counter(), []
    for seed in range(count):
        attack, folder = attacks[seed % len(attacks)], tmp_path / str(seed)
        folder.mkdir()
        command = attack(Attack(seed, folder, model))
        claimed = seed // len(attacks) % 2 == 1
        with monkeypatch.context() as patch:
            if claimed:
                patch.setenv("FORCE_COLOR", "1")
                patch.setenv("TERM", "xterm-256color")
            for name in ("transformers", "datasets", "accelerate"):
                for handler in logging.getLogger(name).handlers:
                    if isinstance(handler, logging.StreamHandler):
                        patch.setattr(handler, "stream", sys.stderr)
            try:
                statuses.append(main(command))
            except SystemExit as stop:  # argparse
                statuses.append(int(stop.code or 0))
        shown = "".join(capsys.readouterr())
        assert "\x1b[5;41m" not in shown
        shown = COLOURS.sub("", shown) if claimed else shown
        bad = FORBIDDEN.search(shown)
        assert bad is None, (seed, attack.__name__, shown[max(0, bad.start() - 300) : bad.end() + 60])
        shutil.rmtree(folder)
    assert set(statuses) <= {0, 1, 2} and (count < 24 or len(set(statuses)) == 3)
    seconds = round(time.perf_counter() - start, 1)
    record("hostile strings on the terminal", tried=count, wrong=0, refused=statuses.count(2), seconds=seconds)
