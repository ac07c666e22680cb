# SPDX-License-Identifier: Apache-2.0
"""Kills `mhex highlight` again and again, and checks that in the end nothing tells.

    python scripts/check_resume.py --model demo-output/model --kills 20 --log docs/resume.md
    python scripts/check_resume.py --model demo-output/model --kills 20 --processes 2 --log docs/resume-2.md

A corpus is made of the embedded sentences, with bad rows among them. One run goes through undisturbed. Another is
killed with SIGKILL at random moments (most of them while parts are written, some while it starts), started again with
the same command each time, and let through at last. Both outputs must be the same: bit for bit with one process; with
several, ids, texts, predictions and offsets exactly and scores within 1e-4 times their scale. Finished parts must not
be written again. Exit status 1 where any of that fails.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import torch

import mhex_nlp
from mhex_nlp.cli.demo.corpus import load_corpus
from mhex_nlp.corpus.job.ledger import Ledger

HIDDEN = {"manifest.json"}  # says when and by whom


def write_corpus(path: Path, rows: int) -> None:
    sentences = [each.text for each in load_corpus("train")]
    with open(path, "w", encoding="utf-8") as file:
        for index in range(rows):
            bad = {0: None, 1: "  ", 2: 7}.get(index % 97)
            text: Any = f"{sentences[index % len(sentences)]} {index}" if index % 97 > 2 else bad
            file.write(json.dumps({"text": text, "key": f"row-{index}", "label": index % 2}) + "\n")


def command(args: argparse.Namespace, corpus: Path, output: Path) -> list[str]:
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(args.processes)]
    start = [sys.executable, "-m"] if args.processes == 1 else [*launch, f"--main_process_port={args.port}", "-m"]
    options = {
        "--model": args.model,
        "--data": corpus,
        "--id-column": "key",
        "--label-column": "label",
        "--output": output,
        "--format": "jsonl,parquet",
        "--part-rows": args.part_rows,
        "--num-processes": args.processes,
    }
    return [*start, "mhex_nlp", "highlight", *(str(each) for pair in options.items() for each in pair)]


def start(args: argparse.Namespace, corpus: Path, output: Path) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(mhex_nlp.__file__).parents[1]),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    environment |= {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": str(args.threads)}
    return subprocess.Popen(
        command(args, corpus, output),
        env=environment,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def lines(output: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in output.glob("progress-*.jsonl"))


def stamps(output: Path) -> dict[str, tuple[int, int]]:
    """When and where on the disk the files of finished parts were written."""
    names = [name for part in Ledger(output, 0).finished().values() for name in part["files"]]
    return {name: ((output / name).stat().st_mtime_ns, (output / name).stat().st_ino) for name in names}


def finish(process: subprocess.Popen[bytes]) -> None:
    told, _ = process.communicate()
    if process.returncode != 1:  # 1: done, and some rows were bad
        raise SystemExit(f"the job ended with status {process.returncode}:\n{told.decode()}")


def kill_all(pid: int) -> None:
    """SIGKILL for a process and all that it started: the processes of a launcher have groups of their own."""
    top = psutil.Process(pid)
    for process in [top, *top.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def kill(args: argparse.Namespace, corpus: Path, output: Path, draw: random.Random, early: bool) -> str:
    """Starts the job, kills it at a random moment, and says when that was."""
    before, began = lines(output), time.monotonic()
    process = start(args, corpus, output)
    if early:
        time.sleep(draw.uniform(0, 4))
    else:
        wanted = before + draw.randint(1, 4)
        while lines(output) < wanted and process.poll() is None:
            time.sleep(0.005)
        time.sleep(draw.uniform(0, args.part_seconds))
    done = process.poll() is not None
    if not done:
        kill_all(process.pid)
    process.communicate()
    leftovers = len(list(output.glob(".part-*")))
    state = "had ended by itself" if done else f"after {time.monotonic() - began:.1f} s, {leftovers} unfinished files"
    return f"{lines(output)} parts finished; {state}"


def documents(folder: Path) -> dict[str, Any]:
    """Every explanation by id."""
    found = {}
    for path in sorted(folder.glob("part-*.jsonl")):
        for line in path.read_text("utf-8").split("\n")[:-1]:
            document = json.loads(line)
            if document["id"] in found:
                raise SystemExit(f"{document['id']} is in the output twice")
            found[document["id"]] = document
    return found


def difference(one: dict[str, Any], other: dict[str, Any]) -> float:
    """The largest difference of scores, by their scale; SystemExit where anything else differs."""
    if one.keys() != other.keys():
        raise SystemExit("other ids than in the undisturbed run")
    worst = 0.0
    for key, a in one.items():
        b = other[key]
        for name in ("text", "target", "truncated", "windows"):
            if a[name] != b[name]:
                raise SystemExit(f"{key}: another {name}")
        if a["prediction"]["label"] != b["prediction"]["label"]:
            raise SystemExit(f"{key}: another prediction")
        places = [[(t["start"], t["end"], t["word"]) for t in each["tokens"]] for each in (a, b)]
        if places[0] != places[1]:
            raise SystemExit(f"{key}: other offsets")
        scores = [[t["score"] for t in each["tokens"]] for each in (a, b)]
        scale = max(1.0, *(abs(score) for score in scores[0]))
        worst = max(worst, *(abs(x - y) / scale for x, y in zip(*scores, strict=True)))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of a model with trained heads")
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--part-rows", type=int, default=50)
    parser.add_argument("--part-seconds", type=float, default=1.0, help="a kill comes that long after a part at most")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--port", type=int, default=29517)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path)
    args = parser.parse_args()
    draw = random.Random(args.seed)
    told = [
        f"# {args.kills} times killed and resumed, {args.processes} process{'es' if args.processes > 1 else ''}",
        "",
        f"{args.rows:,} rows in parts of {args.part_rows}; {platform.machine()}, {os.cpu_count()} cores, "
        f"{args.threads} thread(s) a process, torch {torch.__version__.partition('+')[0]}, mhex_nlp "
        f"{mhex_nlp.__version__}, seed {args.seed}. Made by `scripts/check_resume.py`.",
        "",
    ]
    with tempfile.TemporaryDirectory() as folder:
        corpus, whole, output = (Path(folder) / name for name in ("corpus.jsonl", "whole", "killed"))
        write_corpus(corpus, args.rows)
        finish(start(args, corpus, whole))
        output.mkdir()
        for number in range(args.kills):
            before = stamps(output)
            moment = kill(args, corpus, output, draw, early=number % 5 == 4)
            after = stamps(output)
            if any(after[name] != before[name] for name in before):
                raise SystemExit("a finished part was written again")
            told.append(f"{number + 1}. {moment}")
            print(told[-1], flush=True)
        finish(start(args, corpus, output))
        after = stamps(output)
        if any(after[name] != before[name] for name in before):
            raise SystemExit("a finished part was written again")
        worst = difference(documents(whole), documents(output))
        names = {path.name for each in (whole, output) for path in each.iterdir() if path.name[0] != "."} - HIDDEN
        same = [name for name in sorted(names) if (whole / name).read_bytes() == (output / name).read_bytes()]
        if (args.processes == 1 and len(same) < len(names)) or worst > 1e-4 or list(output.glob(".part-*")):
            raise SystemExit(
                f"not the same: {sorted(names - set(same))[:5]}, scores differ by {worst:.2e} of their scale"
            )
        errors = len((output / "errors.jsonl").read_text().splitlines())
        told += [
            "",
            f"In the end {len(documents(output)):,} explanations and {errors} bad rows, none lost and none twice; "
            f"{len(same)} of {len(names)} files bit-equal to those of the undisturbed run; largest difference of a "
            f"score {worst:.1e} of its scale; no finished part was written again.",
        ]
    print("\n".join(told[-1:]))
    if args.log is not None:
        args.log.write_text("\n".join(told) + "\n", "utf-8")


if __name__ == "__main__":
    main()
