# SPDX-License-Identifier: Apache-2.0
"""Folders of jobs that somebody had hands on: a resumed job ends as if nobody had, or refuses and changes nothing."""

from __future__ import annotations

import json
import os
import random
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.attack import record, rounds
from helpers.job_attacks import LEDGER, MANIFEST, mutated, mutated_bytes, named_attacks
from helpers.tiny import tiny_bert, tiny_texts, tiny_tokenizer
from mhex_nlp import MhexConfig, MhexExplainer, fit_equivalent_matrices, get_mhex_model
from mhex_nlp.cli import main
from mhex_nlp.corpus.columns import ColumnOptions
from mhex_nlp.corpus.job.folder import JOB_FILE, sealed, unsealed
from mhex_nlp.corpus.job.job import SingleProcess, run_job
from mhex_nlp.corpus.job.ledger import Ledger
from mhex_nlp.corpus.jsonl import read_explanations
from mhex_nlp.corpus.readers.opening import open_rows

pytestmark = pytest.mark.slow
FORMATS = ("html", "jsonl", "parquet")
ATTACKS = named_attacks()
MUTATIONS, FORGERIES = 1200, 400


class Killed(BaseException):
    """Not an Exception, as SIGKILL is none."""


class Jobs:
    """A job of nine rows in three parts: finished, killed after the second, and a stranger's folder of like names."""

    def __init__(self, root: Path) -> None:
        self.root = root
        model = get_mhex_model(tiny_bert(num_hidden_layers=1).eval(), MhexConfig(gate=False))
        fit_equivalent_matrices(model, tiny_tokenizer(), tiny_texts(20)[0], progress=False)
        self.explainer = MhexExplainer(model, tiny_tokenizer())
        self.request = self.explainer.request()
        rows = [{"text": text, "gold": label} for text, label in zip(*tiny_texts(9), strict=True)]
        rows[4]["text"] = None
        self.data = root / "rows.jsonl"
        self.data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.run(root / "finished")
        self.whole = contents(root / "finished")
        self.explanations = list(read_explanations(root / "finished"))
        with pytest.MonkeyPatch.context() as patch:
            add, added = Ledger.add, []

            def killed(ledger: Ledger, part: Any) -> None:
                added.append(part)
                if len(added) == 3:
                    raise Killed
                add(ledger, part)

            patch.setattr(Ledger, "add", killed)
            with pytest.raises(Killed):
                self.run(root / "half")
        (root / "foreign").mkdir()
        for name in (*self.whole, ".summary.json.77.unfinished"):
            (root / "foreign" / name).write_bytes(b"precious, and no line ends")
        (root / "foreign" / MANIFEST).write_text('{"name": "My app", "icons": []}')

    def run(self, folder: Path, overwrite: bool = False) -> None:
        source = open_rows(self.data, label_column="gold")
        run_job(
            self.explainer,
            source,
            folder,
            request=self.request,
            formats=FORMATS,
            columns=ColumnOptions(),
            settings={"data": source.identity, "format": list(FORMATS), "unit": "words"},
            state=SingleProcess(),
            part_rows=3,
            overwrite=overwrite,
            progress=False,
        )


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)  # nothing is unplugged here
        yield Jobs(tmp_path_factory.mktemp("jobs"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def state(*folders: Path) -> dict[str, Any]:
    """Every name, kind, mode, time and byte; of a link where it leads."""
    found: dict[str, Any] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            status = path.lstat()
            content: Any = None
            if stat.S_ISREG(status.st_mode):
                content = path.read_bytes()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            found[str(path)] = (status.st_mode, status.st_mtime_ns, status.st_size, content)
    return found


class Attacked:
    """A copy of a job's folder, and one outside it."""

    def __init__(self, jobs: Jobs, base: str) -> None:
        self.jobs, self.base = jobs, base
        self.root = jobs.root / "attacked"
        shutil.rmtree(self.root, ignore_errors=True)
        self.folder, self.outside = self.root / "job", self.root / "outside"
        shutil.copytree(jobs.root / base, self.folder)
        self.outside.mkdir()

    def check_resumed(self, name: str, forged: bool = False) -> bool:
        """Whether the job went on; its end is that of a job that nobody touched. Else nothing may have changed."""
        before, before_outside = state(self.folder), state(self.outside)
        others = {p.name for p in self.folder.iterdir() if p.name not in self.jobs.whole and not p.name.startswith(".")}
        try:
            self.jobs.run(self.folder)
        except (ValueError, OSError, TypeError) as error:
            assert forged or not isinstance(error, TypeError), name
            assert str(error) and "\n" not in str(error), name
            if not forged:
                assert state(self.folder) == before, name
                assert state(self.outside) == before_outside, name
            return False
        assert self.base != "foreign" or "nothing left but .lock-0" in name, name
        now = contents(self.folder)
        if not forged:
            assert {key: now.get(key) for key in self.jobs.whole} == self.jobs.whole, name
            left = {key for key in now if key not in self.jobs.whole}
            assert left == {key for key in others if not JOB_FILE.fullmatch(key)}, name
        if not self.folder.is_symlink():
            assert state(self.outside) == before_outside, name
        assert not list(self.folder.glob(".*.unfinished")), name
        return True

    def check_read(self, name: str) -> bool:
        """Whether the explanations could be read, all of them and as they were; nothing may change."""
        before = state(self.folder)
        try:
            read = list(read_explanations(self.folder))
        except (ValueError, OSError) as error:
            assert str(error) and "\n" not in str(error), name
            read = None
        assert state(self.folder) == before, name
        assert read is None or read == self.jobs.explanations, name
        return read is not None


def test_named_attacks(jobs: Jobs) -> None:
    started, tried, resumed = time.perf_counter(), 0, 0
    pairs = [(base, name) for base in ("finished", "half", "foreign") for name in ATTACKS]
    random.Random(0).shuffle(pairs)
    per_base = dict.fromkeys(("finished", "half", "foreign"), 0)
    for base, name in pairs[: rounds(len(pairs))]:
        attacked = Attacked(jobs, base)
        if ATTACKS[name](attacked.folder, attacked.outside) is False:
            continue
        attacked.check_read(f"{base}: {name}")
        resumed += attacked.check_resumed(f"{base}: {name}")
        tried += 1
        per_base[base] += 1
    assert rounds(len(pairs)) < len(pairs) or min(per_base.values()) >= 50 and resumed >= 100
    seconds = round(time.perf_counter() - started, 1)
    record(
        "job folders, named attacks", tried=tried, wrong=0, resumed=resumed, refused=tried - resumed, seconds=seconds
    )


def test_no_foreign_folder_is_overwritten(jobs: Jobs) -> None:
    """--overwrite begins a job anew, and is no leave to remove what is no job's."""
    for name in sorted(ATTACKS)[:: max(1, len(ATTACKS) // rounds(len(ATTACKS)))]:
        attacked = Attacked(jobs, "foreign")
        if ATTACKS[name](attacked.folder, attacked.outside) is False or name == "nothing left but .lock-0":
            continue
        before = state(attacked.folder, attacked.outside)
        with pytest.raises((ValueError, OSError)):
            jobs.run(attacked.folder, overwrite=True)
        assert state(attacked.folder, attacked.outside) == before, name


def test_mutated_json(jobs: Jobs) -> None:
    """Manifests, ledgers, summaries and errors with one thing in them changed, as documents or as bytes."""
    started, draw, resumed, read = time.perf_counter(), random.Random(1), 0, 0
    count = rounds(MUTATIONS)
    for number in range(count):
        base = draw.choice(["finished", "half"])
        attacked = Attacked(jobs, base)
        names = [
            name for name in (MANIFEST, LEDGER, "summary.json", "errors.jsonl") if (attacked.folder / name).exists()
        ]
        path = attacked.folder / draw.choice([MANIFEST, LEDGER, *names])
        content = path.read_bytes()
        if draw.random() < 0.5 and path.suffix == ".json":
            path.write_text(json.dumps(mutated(json.loads(content), draw)))
        elif draw.random() < 0.5:
            lines = content.splitlines()
            index = draw.randrange(len(lines))
            lines[index] = json.dumps(mutated(lines[index].decode(), draw)).encode()
            path.write_bytes(b"\n".join(lines) + b"\n")
        else:
            path.write_bytes(mutated_bytes(content, draw))
        name = f"mutation {number} of {path.name}, {base}"
        read += attacked.check_read(name)
        resumed += attacked.check_resumed(name)
    seconds = round(time.perf_counter() - started, 1)
    record("job folders, mutated JSON", tried=count, wrong=0, resumed=resumed, read=read, seconds=seconds)


def test_forged_lines(jobs: Jobs) -> None:
    """Lines whose hash was made anew may lie, but neither break nor lead out of the folder."""
    started, draw, resumed = time.perf_counter(), random.Random(2), 0
    count = rounds(FORGERIES)
    for number in range(count):
        attacked = Attacked(jobs, draw.choice(["finished", "half"]))
        path = attacked.folder / LEDGER
        lines = path.read_bytes().splitlines(keepends=True)
        index = draw.randrange(len(lines))
        document = mutated(unsealed(lines[index]), draw)
        if isinstance(document, dict) and document:
            lines[index] = sealed(document)
        path.write_bytes(b"".join(lines))
        resumed += attacked.check_resumed(f"forgery {number}", forged=True)
    seconds = round(time.perf_counter() - started, 1)
    record("job folders, forged ledgers", tried=count, wrong=0, resumed=resumed, seconds=seconds)


def test_the_command_says_it_in_one_sentence(jobs: Jobs, capsys: pytest.CaptureFixture[str]) -> None:
    jobs.explainer.model.save_pretrained(jobs.root / "model")
    jobs.explainer.tokenizer.save_pretrained(jobs.root / "model")
    command = ["highlight", "--model", str(jobs.root / "model"), "--data", str(jobs.data), "--output"]
    assert main([*command, str(jobs.root / "by command")]) == 1
    capsys.readouterr()
    names = [f"{kind} {file}" for kind in ("link", "directory", "fifo", "noise") for file in (MANIFEST, LEDGER)]
    for name in ["a manifest of 100,000 brackets", "a manifest that has other settings", *names]:
        attacked = Attacked(jobs, "by command")
        ATTACKS[name](attacked.folder, attacked.outside)
        before = state(attacked.folder, attacked.outside)
        status = main([*command, str(attacked.folder)])
        told = capsys.readouterr().err.strip().splitlines()
        if status == 2:
            assert told[-1].startswith("mhex highlight: ") and state(attacked.folder, attacked.outside) == before, name
        else:
            assert status == 1 and name in (f"noise {LEDGER}", "a manifest that has other settings"), name
        assert not any("Traceback" in line for line in told)
