# SPDX-License-Identifier: Apache-2.0
"""Kills `mhex highlight` again and again, and checks that the output is that of an undisturbed run.

    python -m studies.resume --model demo-output/model --kills 20 --output docs/results/resume.md
    python -m studies.resume --model demo-output/model --kills 4 --processes 2 \\
        --output docs/results/resume-two-processes.md

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
import random
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from mhex_nlp import Explanation, __version__
from mhex_nlp.cli.demo.corpus import load_corpus
from mhex_nlp.corpus.job.ledger import Ledger
from mhex_nlp.corpus.jsonl import read_jsonl

from .common import cpu_environment, highlight_command, machine, make_parser

HIDDEN = {"manifest.json"}  # says when and by whom


def write_corpus(path: Path, rows: int) -> None:
    sentences = [each.text for each in load_corpus("train")]
    with open(path, "w", encoding="utf-8") as file:
        for index in range(rows):
            bad = {0: None, 1: "  ", 2: 7}.get(index % 97)
            text: Any = f"{sentences[index % len(sentences)]} {index}" if index % 97 > 2 else bad
            file.write(json.dumps({"text": text, "key": f"row-{index}", "label": index % 2}) + "\n")


def start(args: argparse.Namespace, corpus: Path, output: Path) -> subprocess.Popen[bytes]:
    options = {
        "--model": args.model,
        "--data": corpus,
        "--id-column": "key",
        "--label-column": "label",
        "--output": output,
        "--format": "jsonl,parquet",
        "--part-rows": args.part_rows,
    }
    return subprocess.Popen(
        highlight_command(options, args.processes, args.port),
        env=cpu_environment(args.threads),
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


def check_untouched(before: dict[str, Any], after: dict[str, Any]) -> None:
    if any(after[name] != before[name] for name in before):
        raise SystemExit("a finished part was written again")


def finish(process: subprocess.Popen[bytes]) -> None:
    printed, _ = process.communicate()
    if process.returncode != 1:  # 1: done, and some rows were bad
        raise SystemExit(f"the job ended with status {process.returncode}:\n{printed.decode()}")


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
        target = before + draw.randint(1, 4)
        while lines(output) < target and process.poll() is None:
            time.sleep(0.005)
        time.sleep(draw.uniform(0, args.part_seconds))
    done = process.poll() is not None
    if not done:
        kill_all(process.pid)
    process.communicate()
    leftovers = len(list(output.glob(".part-*")))
    state = "had ended by itself" if done else f"after {time.monotonic() - began:.1f} s, {leftovers} unfinished files"
    return f"{lines(output)} parts finished; {state}"


def read_explanations(folder: Path) -> dict[str | None, Explanation]:
    """Every explanation by id."""
    explanations = {}
    for path in sorted(folder.glob("part-*.jsonl")):
        for explanation in read_jsonl(path):
            if explanation.id in explanations:
                raise SystemExit(f"{explanation.id} is in the output twice")
            explanations[explanation.id] = explanation
    return explanations


def difference(one: dict[str | None, Explanation], other: dict[str | None, Explanation]) -> float:
    """The largest difference of scores, by their scale; SystemExit where anything else differs."""
    if one.keys() != other.keys():
        raise SystemExit("other ids than in the undisturbed run")
    worst = 0.0
    for key, a in one.items():
        b = other[key]
        for name in ("text", "target", "label", "truncated", "windows"):
            if getattr(a, name) != getattr(b, name):
                raise SystemExit(f"{key}: another {name}")
        if [(t.start, t.end, t.word) for t in a.tokens] != [(t.start, t.end, t.word) for t in b.tokens]:
            raise SystemExit(f"{key}: other offsets")
        scale = max(1.0, np.abs(a.scores).max())
        worst = max(worst, float(np.abs(np.subtract(a.scores, b.scores)).max() / scale))
    return worst


def main() -> None:
    parser = make_parser(__doc__, model=True, page=False, output="Markdown file of the log")
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--part-rows", type=int, default=50)
    parser.add_argument("--part-seconds", type=float, default=1.0, help="a kill comes that long after a part at most")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--port", type=int, default=29517)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    draw = random.Random(args.seed)
    log = [
        f"# {args.kills} times killed and resumed, {args.processes} process{'es' if args.processes > 1 else ''}",
        "",
        f"{args.rows:,} rows in parts of {args.part_rows}; {machine()}, {os.cpu_count()} cores, {args.threads} "
        f"thread(s) a process, mhex_nlp {__version__}, seed {args.seed}. Made by `studies/resume.py`.",
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
            check_untouched(before, stamps(output))
            log.append(f"{number + 1}. {moment}")
            print(log[-1], flush=True)
        finish(start(args, corpus, output))
        check_untouched(before, stamps(output))
        killed = read_explanations(output)
        worst = difference(read_explanations(whole), killed)
        names = {path.name for each in (whole, output) for path in each.iterdir() if path.name[0] != "."} - HIDDEN
        same = [name for name in sorted(names) if (whole / name).read_bytes() == (output / name).read_bytes()]
        if (args.processes == 1 and len(same) < len(names)) or worst > 1e-4 or list(output.glob(".part-*")):
            raise SystemExit(
                f"not the same: {sorted(names - set(same))[:5]}, scores differ by {worst:.2e} of their scale"
            )
        errors = len((output / "errors.jsonl").read_text().splitlines())
        log += [
            "",
            f"In the end {len(killed):,} explanations and {errors} bad rows, none lost and none twice; "
            f"{len(same)} of {len(names)} files bit-equal to those of the undisturbed run; largest difference of a "
            f"score {worst:.1e} of its scale; no finished part was written again.",
        ]
    print("\n".join(log[-1:]))
    args.output.write_text("\n".join(log) + "\n", "utf-8")


if __name__ == "__main__":
    main()
