# SPDX-License-Identifier: Apache-2.0
"""Texts a second of `highlight_dataset`, as ratios to what else could be done with the same model, texts and run.

    python scripts/benchmark_highlight.py --model demo-output/model --data texts.jsonl --output speed.json
    python scripts/benchmark_highlight.py --model demo-output/model --memory --output memory.json
    python scripts/benchmark_highlight.py --model demo-output/model --data texts.jsonl --processes --output two.json

Ours is the whole way from a dataset of texts to a Parquet file of highlights. Beside it, in rounds of random order: a
bare loop over ready tokenised texts, sorted by length in batches of its best number of tokens, through the plain
classifier without heads, with nothing kept but the predicted class; that loop with tokenising; transformers' pipeline
at its best batch size; captum's integrated gradients on the embeddings, 20 steps, batched; shap's partition explainer.
The last three run in fewer rounds and the last two on fewer texts, since they take long. Writes JSON, and a table
beside it with .md.

`--memory` explains 100,000 generated rows with a tiny model and looks at the resident memory on the way. `--processes`
runs `mhex highlight` from file to file in one process and in two, with one thread each.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from datasets import Dataset, disable_progress_bars
from transformers import AutoModelForSequenceClassification, pipeline
from transformers.utils import logging

from mhex_nlp import MhexConfig, MhexExplainer, fit_equivalent_matrices, get_mhex_model, highlight_dataset
from mhex_nlp.corpus.columns import ColumnOptions
from mhex_nlp.corpus.job.job import SingleProcess, run_job
from mhex_nlp.corpus.job.ledger import Ledger
from mhex_nlp.corpus.readers.opening import open_rows
from mhex_nlp.evaluation.bootstrap import bootstrap, percentile_interval
from mhex_nlp.inputs.batching import token_batches

PIPELINE_BATCHES = (1, 8, 32, 128)
BARE_BATCH_TOKENS = (512, 1024, 2048, 4096)
MEMORY_ROWS, MEMORY_PART = 100_000, 1000


def plain_of(model: Any) -> Any:
    """The same classifier without heads."""
    config = model.config.__class__.from_dict({k: v for k, v in model.config.to_dict().items() if k[:4] != "mhex"})
    config._attn_implementation = model.config._attn_implementation
    plain = AutoModelForSequenceClassification.from_config(config, dtype=model.dtype)
    own = plain.state_dict().keys()
    plain.load_state_dict({key: value for key, value in model.state_dict().items() if key in own})
    return plain.to(model.device).eval()


class Contestants:
    """What is timed: each takes texts and goes through all of them."""

    def __init__(self, explainer: MhexExplainer) -> None:
        self.explainer, self.pipeline_batch = explainer, PIPELINE_BATCHES[0]
        self.tokenizer, self.plain = explainer.tokenizer, plain_of(explainer.model)
        self.batch_tokens = BARE_BATCH_TOKENS[0]
        self.ready: dict[tuple[int, int], list[Any]] = {}

    def batches(self, texts: Sequence[str]) -> list[dict[str, torch.Tensor]]:
        made = self.tokenizer(list(texts), truncation=True, max_length=self.explainer.max_length)
        order = token_batches([len(ids) for ids in made["input_ids"]], self.batch_tokens)
        rows = [{key: made[key][index] for key in made} for index in range(len(texts))]
        return [dict(self.tokenizer.pad([rows[index] for index in batch], return_tensors="pt")) for batch in order]

    def bare(self, texts: Sequence[str]) -> None:
        key = len(texts), self.batch_tokens
        if key not in self.ready:
            self.ready[key] = self.batches(texts)
        self._forward(self.ready[key])

    def bare_with_tokenising(self, texts: Sequence[str]) -> None:
        self._forward(self.batches(texts))

    def _forward(self, batches: list[dict[str, torch.Tensor]]) -> None:
        with torch.inference_mode():
            for batch in batches:
                self.plain(**{k: v.to(self.plain.device) for k, v in batch.items()}).logits.argmax(-1).cpu()

    def highlight(self, texts: Sequence[str]) -> None:
        folder = tempfile.mkdtemp()
        try:
            dataset = Dataset.from_dict({"text": list(texts)})
            highlight_dataset(dataset, self.explainer).to_parquet(f"{folder}/highlights.parquet")
        finally:
            shutil.rmtree(folder)

    def classify(self, texts: Sequence[str]) -> None:
        classifier = pipeline("text-classification", model=self.plain, tokenizer=self.tokenizer)
        classifier(list(texts), batch_size=self.pipeline_batch, truncation=True, max_length=self.explainer.max_length)

    def captum(self, texts: Sequence[str]) -> None:
        from captum.attr import LayerIntegratedGradients

        embeddings, plain = self.plain.get_input_embeddings(), self.plain
        for batch in self.batches(texts):
            ids, others = batch.pop("input_ids"), batch
            with torch.no_grad():
                targets = plain(ids, **others).logits.argmax(-1)

            def logits(input_ids: torch.Tensor, *rest: torch.Tensor, names: tuple[str, ...] = tuple(others)) -> Any:
                return plain(input_ids, **dict(zip(names, rest, strict=True))).logits

            gradients = LayerIntegratedGradients(logits, embeddings)
            base = torch.full_like(ids, self.tokenizer.mask_token_id or 0)
            gradients.attribute(
                ids,
                base,
                target=targets,
                additional_forward_args=tuple(others.values()),
                n_steps=20,
                internal_batch_size=max(len(ids), self.batch_tokens // ids.shape[1]),
            ).sum(-1)

    def shap(self, texts: Sequence[str]) -> None:
        import shap

        classifier = pipeline("text-classification", model=self.plain, tokenizer=self.tokenizer, top_k=None)
        shap.Explainer(classifier, silent=True)(list(texts), batch_size=64)


def speed(run: Callable[[Sequence[str]], None], texts: Sequence[str]) -> float:
    """Texts a second."""
    start = time.perf_counter()
    run(texts)
    return len(texts) / (time.perf_counter() - start)


def best(
    run: Callable[[Sequence[str]], None], them: Contestants, setting: str, choices: Sequence[int], texts: Sequence[str]
) -> int:
    """The choice of a setting with which `run` is quickest, each tried three times."""
    rates = {}
    for choice in choices:
        setattr(them, setting, choice)
        rates[choice] = max(speed(run, texts) for _ in range(3))
    return max(rates, key=lambda choice: rates[choice])


def interval(values: Sequence[float]) -> list[float]:
    """95 % bootstrap interval of the median."""
    return list(percentile_interval(bootstrap(np.asarray(values), lambda samples: np.median(samples, axis=1), 5000, 0)))


def measure_speed(args: argparse.Namespace) -> dict[str, Any]:
    explainer = MhexExplainer.from_pretrained(args.model, batch_tokens=args.batch_tokens, device=args.device)
    column = {"text_column": args.text_column}
    texts = [row.text for row in open_rows(args.data, **column) if row.problem is None]
    texts = random.Random(args.seed).sample(texts, min(args.texts, len(texts)))
    them = Contestants(explainer)
    some = texts[: len(texts) // 2]
    them.pipeline_batch = best(them.classify, them, "pipeline_batch", PIPELINE_BATCHES, some)
    them.batch_tokens = best(them.bare, them, "batch_tokens", BARE_BATCH_TOKENS, some)
    runs: dict[str, tuple[Callable[[Sequence[str]], None], Sequence[str]]] = {
        "highlight_dataset to Parquet": (them.highlight, texts),
        f"bare forward loop, {them.batch_tokens:,} tokens a batch, ready tokenised": (them.bare, texts),
        "bare forward loop with tokenising": (them.bare_with_tokenising, texts),
    }
    slow = {f"pipeline, batches of {them.pipeline_batch}": (them.classify, texts)}
    peers = {
        "captum integrated gradients, 20 steps": (them.captum, texts[: args.peer_texts]),
        "shap": (them.shap, texts[: max(4, args.peer_texts // 4)]),
    }
    found: dict[str, list[float]] = {name: [] for name in [*runs, *slow, *(peers if args.peer_rounds else ())]}
    for run, own in [*runs.values(), *slow.values()]:
        speed(run, own)  # the first time is another matter
    draw = random.Random(args.seed)
    for number in range(args.rounds):
        todo = list(runs.items())
        draw.shuffle(todo)
        todo += [*slow.items()] if number < args.pipeline_rounds else []
        todo += [*peers.items()] if number < args.peer_rounds else []
        for name, (run, own) in todo:
            found[name].append(speed(run, own))
        print(
            f"round {number + 1}: " + ", ".join(f"{name} {rates[-1]:.1f}" for name, rates in found.items() if rates),
            flush=True,
        )
    ours = found["highlight_dataset to Parquet"]
    rows = {}
    for name, rates in found.items():
        ratios = [a / b for a, b in zip(ours, rates, strict=False)]
        rows[name] = {
            "texts_a_second": float(np.median(rates)),
            "ours_to_it": float(np.median(ratios)),
            "interval95": interval(ratios),
            "rounds": len(rates),
        }
    lengths = [
        len(ids) for ids in explainer.tokenizer(texts, truncation=True, max_length=explainer.max_length).input_ids
    ]
    return {
        "model": explainer.model.config.model_type + f", {explainer.model.config.hidden_size} units",
        "aggregation": explainer.aggregation,
        "texts": len(texts),
        "mean_tokens": float(np.mean(lengths)),
        "batch_tokens": explainer.batch_tokens,
        "seed": args.seed,
        "machine": machine(explainer.model.device),
        "rows": rows,
    }


def machine(device: torch.device) -> str:
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return f"{where}, {torch.get_num_threads()} threads, torch {torch.__version__.partition('+')[0]}"


def measure_memory(args: argparse.Namespace) -> dict[str, Any]:
    """Resident memory after every part of a job with a tiny model."""
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    torch.manual_seed(args.seed)
    draw = np.random.default_rng(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    model = get_mhex_model(BertForSequenceClassification(config).eval(), MhexConfig(gate=False))
    words = np.array(sorted(word for word in tokenizer.get_vocab() if word.isascii() and word.isalpha()))
    texts = [" ".join(draw.choice(words, draw.integers(5, 25))) for _ in range(1000)]
    fit_equivalent_matrices(model, tokenizer, texts[:200], progress=False)
    explainer = MhexExplainer(model, tokenizer, batch_tokens=args.batch_tokens)
    memory, process = [], psutil.Process()
    add = Ledger.add

    def watched(self: Ledger, record: Any) -> None:
        add(self, record)
        memory.append(process.memory_info().rss)

    Ledger.add = watched  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        with open(path, "w") as file:
            for _ in range(args.rows):
                file.write(json.dumps({"text": " ".join(draw.choice(words, draw.integers(5, 25)))}) + "\n")
        start = time.perf_counter()
        report = run_job(
            explainer,
            open_rows(str(path)),
            Path(folder) / "out",
            request=explainer.request(),
            formats=("jsonl", "parquet"),
            columns=ColumnOptions(),
            settings={},
            state=SingleProcess(),
            part_rows=MEMORY_PART,
            progress=False,
        )
        seconds = time.perf_counter() - start
    assert report is not None and report.explained == args.rows
    early = max(memory[: 10_000 // MEMORY_PART])
    return {
        "rows": report.rows,
        "texts_a_second": report.rows / seconds,
        "resident_bytes_first_10000": early,
        "resident_bytes_end": memory[-1],
        "ratio": memory[-1] / early,
        "seed": args.seed,
        "machine": machine(model.device),
    }


def measure_processes(args: argparse.Namespace) -> dict[str, Any]:
    """Texts a second of one process and of two; what starting takes is taken off by a run of few texts."""
    rows = [row.text for row in open_rows(args.data, text_column=args.text_column) if row.problem is None]
    texts = random.Random(args.seed).sample(rows, min(args.texts, len(rows)))
    few = texts[: max(2, len(texts) // 100)]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes"]

    def seconds(count: int, chosen: Sequence[str]) -> float:
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "texts.jsonl"
            data.write_text("".join(json.dumps({"text": text}) + "\n" for text in chosen), "utf-8")
            start = [sys.executable] if count == 1 else [*launch, str(count)]
            verb = ["-m", "mhex_nlp", "highlight"]
            options = ["--model", args.model, "--data", str(data), "--output", f"{folder}/out", "--format", "parquet"]
            parts = ["--part-rows", str(max(1, len(chosen) // 8)), "--num-processes", str(count)]
            begun = time.perf_counter()
            subprocess.run([*start, *verb, *options, *parts], env=environment, check=True, stdout=subprocess.DEVNULL)
            return time.perf_counter() - begun

    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(args.rounds):
        for count, found in rates.items():
            found.append((len(texts) - len(few)) / (seconds(count, texts) - seconds(count, few)))
        print({count: round(found[-1], 1) for count, found in rates.items()}, flush=True)
    ratios = [two / one for one, two in zip(rates[1], rates[2], strict=True)]
    return {
        "texts": len(texts),
        "texts_a_second": {str(count): float(np.median(found)) for count, found in rates.items()},
        "two_to_one": float(np.median(ratios)),
        "rounds": ratios,
        "seed": args.seed,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one thread a process, "
        f"torch {torch.__version__.partition('+')[0]}",
    }


def table(report: dict[str, Any]) -> str:
    lines = [
        f"{report['model']}, {report['aggregation']}; {report['texts']:,} texts of {report['mean_tokens']:.1f} tokens, "
        f"batches of {report['batch_tokens']:,} tokens, seed {report['seed']}; {report['machine']}. Medians, "
        "95 % bootstrap intervals over rounds. Made by `scripts/benchmark_highlight.py`.",
        "",
        "| | texts/s | ours / it | rounds |",
        "| --- | --- | --- | --- |",
    ]
    for name, row in report["rows"].items():
        low, high = row["interval95"]
        ratio = "–" if name.startswith("highlight_dataset") else f"{row['ours_to_it']:.2f} [{low:.2f}, {high:.2f}]"
        lines.append(f"| {name} | {row['texts_a_second']:.1f} | {ratio} | {row['rounds']} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", required=True, help="folder of a model with trained heads; its tokenizer for --memory"
    )
    parser.add_argument("--data", help="file of texts")
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--peer-texts", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--pipeline-rounds", type=int, default=9)
    parser.add_argument("--peer-rounds", type=int, default=3)
    parser.add_argument("--batch-tokens", type=int, help="ours, by default the explainer's own")
    parser.add_argument("--rows", type=int, default=MEMORY_ROWS, help="of the memory run")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--processes", action="store_true")
    parser.add_argument("--device")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    disable_progress_bars()
    measure = measure_memory if args.memory else measure_processes if args.processes else measure_speed
    report = measure(args)
    args.output.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    if measure is measure_speed:
        args.output.with_suffix(".md").write_text(table(report), "utf-8")
    print(table(report) if measure is measure_speed else json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
