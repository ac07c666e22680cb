# SPDX-License-Identifier: Apache-2.0
"""Highlight jobs as processes: killed and resumed, several at once, and a disk that is really full."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from helpers.families import train_heads
from helpers.tiny import tiny_bert, tiny_texts, tiny_tokenizer
from mhex_nlp import MhexConfig, fit_equivalent_matrices, get_mhex_model
from mhex_nlp.cli import main
from mhex_nlp.corpus.jsonl import read_jsonl

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Trained heads and a fit, on the disk."""
    folder = tmp_path_factory.mktemp("model")
    model = train_heads(get_mhex_model(tiny_bert().eval(), MhexConfig(gate=True)))
    fit_equivalent_matrices(model, tiny_tokenizer(), tiny_texts(60)[0], progress=False)
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def call(command, folder, status, **environment):
    variables = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
        **environment,
    }
    variables |= {"TRITON_CACHE_DIR": str(folder), "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=variables, cwd=folder, capture_output=True, text=True, timeout=280)
    assert done.returncode == status, done.stdout[-3000:] + done.stderr[-6000:]
    return done.stdout + done.stderr


def test_killed_twice_and_resumed(model, tmp_path):
    """`studies/resume.py` compares the outputs; docs/results/resume.md is its log of 20 kills."""
    options = ["--kills", "2", "--rows", "600", "--part-rows", "40", "--part-seconds", "0.3", "--output", "log.md"]
    command = [sys.executable, "-m", "studies.resume", "--model", str(model), *options]
    printed = call(command, tmp_path, 0, PYTHONPATH=str(ROOT))
    assert "none lost and none twice" in printed and printed.count("parts finished") == 2


@pytest.mark.parametrize("budget", ["8", "auto"])
def test_killed_half_way_with_a_budget_and_resumed(model, tmp_path, budget):
    """Bit for bit what an undisturbed run gives."""
    texts, _ = tiny_texts(400)
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n")
    command = [sys.executable, "-m", "mhex_nlp", "highlight", "--model", str(model), "--data", "texts.txt"]
    command += ["--part-rows", "20", "--format", "jsonl", "--budget", budget, "--seed", "3", "--output"]
    call([*command, "whole"], tmp_path, 0)
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*command, "killed"], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    while len(list((tmp_path / "killed").glob("part-*.jsonl"))) < 4:
        assert process.poll() is None, "it ended by itself"
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert len(list((tmp_path / "killed").glob("part-*.jsonl"))) < 20
    call([*command, "killed"], tmp_path, 0)
    whole, killed = (
        {path.name: path.read_bytes() for path in (tmp_path / folder).glob("part-*.jsonl")}
        for folder in ("whole", "killed")
    )
    assert len(whole) == 20 and whole == killed


BUDGETS = ["0", "8", "auto"]


@pytest.fixture(scope="module")
def by_two(model, tmp_path_factory):
    """A folder with texts, their job in two processes for each of `BUDGETS`, and what was printed: one launch."""
    folder = tmp_path_factory.mktemp("two")
    texts, _ = tiny_texts(90)
    (folder / "texts.txt").write_text("\n".join(texts) + "\n")
    (folder / "jobs.py").write_text(
        "import sys\nfrom mhex_nlp.cli import main\n"
        f"for budget in {BUDGETS}:\n"
        "    assert main([*sys.argv[1:], '--budget', budget, '--output', f'two-{budget}']) == 0\n"
    )
    options = ["highlight", "--model", str(model), "--data", "texts.txt", "--part-rows", "10", "--format", "jsonl"]
    options += ["--seed", "3"]
    many = ["--multi_gpu", "--num_processes", "2", "--main_process_port=29531", "jobs.py"]
    launch = [sys.executable, "-m", "accelerate.commands.launch", *many]
    return folder, options, call([*launch, *options, "--num-processes", "2"], folder, 0)


@pytest.mark.parametrize("budget", BUDGETS)
def test_two_processes_give_the_scores_of_one(by_two, monkeypatch, budget):
    root, options, printed = by_two
    monkeypatch.chdir(root)
    assert main([*options, "--budget", budget, "--output", f"one-{budget}"]) == 0
    assert printed.count("90 of 90 rows explained in 9 parts") == len(BUDGETS)
    two = root / f"two-{budget}"
    assert {path.name.split("-")[1] for path in two.glob("part-*")} == {"0", "1"}
    manifest = json.loads((two / "manifest.json").read_text())
    assert [part["rank"] for part in manifest["parts"]] == [0, 1] * 4 + [0]

    def scores(folder):
        paths = sorted(folder.glob("part-*.jsonl"), key=lambda path: path.name.split("-")[2])
        explanations = [e for path in paths for e in read_jsonl(path)]
        return [(e.id, e.text, e.label, e.passes, e.settled, e.scores) for e in explanations]

    alone = scores(root / f"one-{budget}")
    for one, other in zip(alone, scores(two), strict=True):
        assert one[:-1] == other[:-1]
        np.testing.assert_allclose(one[-1], other[-1], atol=1e-5)
    assert (alone[0][3] == 1) is (budget == "0")


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 400 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip("a small disk cannot be mounted here: " + done.stderr.decode().strip())
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_and_a_read_only_one(model, tmp_path, small_disk, monkeypatch, capsys):
    texts, _ = tiny_texts(300)
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n")
    command = [sys.executable, "-m", "mhex_nlp", "highlight", "--model", str(model), "--data", "texts.txt"]
    command += ["--part-rows", "20", "--format", "jsonl", "--output", str(small_disk / "out")]
    printed = call(command, tmp_path, 2)
    sentence = [line for line in printed.splitlines() if line.startswith("mhex highlight:")]
    assert len(sentence) == 1 and "the disk is full; parts that are finished stay" in sentence[0]
    assert "Traceback" not in printed
    finished = sorted((small_disk / "out").glob("part-*.jsonl"))
    assert finished and all(len(list(read_jsonl(path))) == 20 for path in finished)
    before = {path.name: path.stat().st_mtime_ns for path in finished}
    arguments = command[3:]
    subprocess.run(["mount", "-o", "remount,size=64m,ro", str(small_disk)], check=True)
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert "the disk is read-only" in capsys.readouterr().err
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert main(arguments) == 0
    assert "300 of 300 rows explained in 15 parts" in capsys.readouterr().out
    assert {name: (small_disk / "out" / name).stat().st_mtime_ns for name in before} == before
