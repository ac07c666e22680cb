# SPDX-License-Identifier: Apache-2.0
"""Kills `mhex highlight` again and again, and checks that the output is that of an undisturbed run.

    python -m studies.resume --model demo-output/model --kills 20 --output docs/results/resume.md
    python -m studies.resume --model demo-output/model --kills 4 --processes 2 \\
        --output docs/results/resume-two-processes.md

A corpus is made of the embedded sentences, with bad rows among them. One run goes through undisturbed. Another is
killed with SIGKILL at random moments (most of them while parts are written, some while it starts, at most
`--part-seconds` after a part), started again with the same command each time, and let through at last. Both outputs
must be the same: bit for bit with one process; with several, ids, texts, predictions and offsets exactly and scores
within 1e-4 times their scale. Finished parts must not be written again. Exit status 1 where any of that fails.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from mhex_nlp import Explanation, __version__
from mhex_nlp.cli.demo.corpus import load_corpus
from mhex_nlp.corpus.jsonl import read_jsonl

from . import jobs
from .common import machine, make_parser

BAD_ROWS = 1  # the status of a job that is done, and some of whose rows were bad


def write_corpus(path: Path, rows: int) -> None:
    sentences = [sentence.text for sentence in load_corpus("train")]
    with open(path, "w", encoding="utf-8") as file:
        for index in range(rows):
            bad = {0: None, 1: "  ", 2: 7}.get(index % 97)
            text: Any = f"{sentences[index % len(sentences)]} {index}" if index % 97 > 2 else bad
            file.write(json.dumps({"text": text, "key": f"row-{index}", "label": index % 2}) + "\n")


def start(args: argparse.Namespace, corpus: Path, output: Path) -> subprocess.Popen[bytes]:
    columns = {"--id-column": "key", "--label-column": "label"}
    options = {"--model": args.model, "--data": corpus, **columns, "--output": output, "--format": "jsonl,parquet"}
    command = jobs.highlight_command({**options, "--part-rows": args.part_rows}, args.processes, args.port)
    return jobs.start(command, jobs.on_cpu(args.threads))


def kill(args: argparse.Namespace, corpus: Path, output: Path, draw: random.Random, early: bool) -> str:
    """Starts the job, kills it at a random moment, and says when that was."""
    before, began = jobs.finished_parts(output), time.monotonic()
    process = start(args, corpus, output)
    if early:
        time.sleep(draw.uniform(0, 4))
    else:
        target = before + draw.randint(1, 4)
        while jobs.finished_parts(output) < target and process.poll() is None:
            time.sleep(0.005)
        time.sleep(draw.uniform(0, args.part_seconds))
    if process.poll() is None:
        jobs.kill(process)
        leftovers = len(list(output.glob(".part-*")))
        state = f"after {time.monotonic() - began:.1f} s, {leftovers} unfinished files"
    else:
        process.communicate()
        state = "had ended by itself"
    return f"{jobs.finished_parts(output)} parts finished; {state}"


def read_explanations(folder: Path) -> dict[str, Explanation]:
    """Every explanation by id."""
    explanations = [explanation for path in sorted(folder.glob("part-*.jsonl")) for explanation in read_jsonl(path)]
    by_id = {explanation.id: explanation for explanation in explanations}
    if len(by_id) < len(explanations):
        raise SystemExit("an explanation is in the output twice")
    return by_id


def difference(one: dict[str, Explanation], other: dict[str, Explanation]) -> float:
    """The largest difference of scores, by their scale; SystemExit where anything else differs."""

    def unscored(e: Explanation) -> tuple[Any, ...]:
        return e.text, e.target, e.label, e.truncated, e.windows, [(t.start, t.end, t.word) for t in e.tokens]

    if one.keys() != other.keys():
        raise SystemExit("other ids than in the undisturbed run")
    if differing := [key for key in one if unscored(one[key]) != unscored(other[key])]:
        raise SystemExit(f"another text, prediction or offset: {differing[:5]}")
    pairs = [(one[key].scores, other[key].scores) for key in one]
    return max(float(np.abs(a - b).max() / max(1.0, np.abs(a).max())) for a, b in pairs)


def main() -> None:
    defaults = {"rows": 3000, "part_rows": 50, "part_seconds": 1.0, "kills": 20, "processes": 1, "threads": 1}
    defaults |= {"port": 29517, "seed": 0}
    args = make_parser(__doc__, "model", page=False, output="Markdown file of the log", **defaults).parse_args()
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
        jobs.finish(start(args, corpus, whole), BAD_ROWS)
        output.mkdir()
        for number in range(args.kills):
            before = jobs.stamps(output)
            moment = kill(args, corpus, output, draw, early=number % 5 == 4)
            jobs.check_untouched(before, output)
            log.append(f"{number + 1}. {moment}")
            print(log[-1], flush=True)
        jobs.finish(start(args, corpus, output), BAD_ROWS)
        jobs.check_untouched(before, output)
        killed = read_explanations(output)
        worst = difference(read_explanations(whole), killed)
        same = jobs.equal_files(whole, output)
        del same["manifest.json"]  # says when and by whom
        if (args.processes == 1 and not all(same.values())) or worst > 1e-4 or list(output.glob(".part-*")):
            raise SystemExit(
                f"not the same: {[name for name, equal in same.items() if not equal][:5]}, scores differ by "
                f"{worst:.2e} of their scale"
            )
        errors = len((output / "errors.jsonl").read_text().splitlines())
    log += [
        "",
        f"In the end {len(killed):,} explanations and {errors} bad rows, none lost and none twice; "
        f"{sum(same.values())} of {len(same)} files bit-equal to those of the undisturbed run; largest difference of a "
        f"score {worst:.1e} of its scale; no finished part was written again.",
    ]
    print(log[-1])
    args.output.write_text("\n".join(log) + "\n", "utf-8")


if __name__ == "__main__":
    main()
