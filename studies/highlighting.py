# SPDX-License-Identifier: Apache-2.0
"""Texts a second of `highlight_dataset`, as ratios to what else could be done with the same model, texts and run.

    python -m studies.highlighting --model demo-output/model --data texts.jsonl --output speed.json
    python -m studies.highlighting --model demo-output/model --memory --output memory.json
    python -m studies.highlighting --model demo-output/model --data texts.jsonl --processes --output two.json

Ours is the whole way from a dataset of texts to a Parquet file of highlights. Beside it, in rounds of random order: a
bare loop over ready tokenised texts, sorted by length in batches of its best number of tokens, through the plain
classifier without heads, with nothing kept but the predicted class; that loop with tokenising; transformers' pipeline
at its best batch size; captum's integrated gradients on the embeddings, 20 steps, batched; shap's partition explainer.
The last three run in fewer rounds and the last two on fewer texts, since they take long. With `--page` the table goes
into a page.

`--memory` explains `--rows` generated texts with a tiny model and looks at the resident memory on the way.
`--processes` runs `mhex highlight` from file to file in one process and in two, with one thread each.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import psutil
import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, BertForSequenceClassification
from transformers import pipeline as make_pipeline

from mhex_nlp import MhexConfig, MhexExplainer, fit_equivalent_matrices, get_mhex_model, highlight_dataset
from mhex_nlp.cli import main as mhex
from mhex_nlp.corpus.job.ledger import Ledger
from mhex_nlp.corpus.readers.opening import open_rows
from mhex_nlp.inputs.batching import token_batches

from . import common, jobs

PIPELINE_BATCHES = (1, 8, 32, 128)
BARE_BATCH_TOKENS = (512, 1024, 2048, 4096)
MEMORY_ROWS, MEMORY_PART = 100_000, 1000
OURS = "highlight_dataset to Parquet"
Inputs = dict[str, torch.Tensor]


class Contestants:
    """What is timed: each takes texts and goes through all of them."""

    def __init__(self, explainer: MhexExplainer, plain: Any) -> None:
        self.explainer, self.tokenizer, self.plain = explainer, explainer.tokenizer, plain

    def batches(self, texts: Sequence[str], tokens: int) -> list[Inputs]:
        encoding = self.tokenizer(list(texts), truncation=True, max_length=self.explainer.max_length)
        order = token_batches([len(ids) for ids in encoding["input_ids"]], tokens)
        rows = [{key: encoding[key][index] for key in encoding} for index in range(len(texts))]
        return [dict(self.tokenizer.pad([rows[index] for index in batch], return_tensors="pt")) for batch in order]

    def forward(self, batches: list[Inputs]) -> None:
        with torch.inference_mode():
            for batch in batches:
                self.plain(**{k: v.to(self.plain.device) for k, v in batch.items()}).logits.argmax(-1).cpu()

    def highlight(self, texts: Sequence[str]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            dataset = Dataset.from_dict({"text": list(texts)})
            highlight_dataset(dataset, self.explainer).to_parquet(f"{folder}/highlights.parquet")

    def classify(self, texts: Sequence[str], size: int) -> None:
        classifier = make_pipeline("text-classification", model=self.plain, tokenizer=self.tokenizer)
        classifier(list(texts), batch_size=size, truncation=True, max_length=self.explainer.max_length)

    def captum(self, texts: Sequence[str], tokens: int) -> None:
        from captum.attr import LayerIntegratedGradients

        def logits(ids: torch.Tensor, *others: torch.Tensor) -> Any:
            return self.plain(ids, **dict(zip(names, others, strict=True))).logits

        gradients = LayerIntegratedGradients(logits, self.plain.get_input_embeddings())
        for batch in self.batches(texts, tokens):
            ids = batch.pop("input_ids")
            names, others = tuple(batch), tuple(batch.values())
            with torch.no_grad():
                targets = logits(ids, *others).argmax(-1)
            gradients.attribute(
                ids,
                torch.full_like(ids, self.tokenizer.mask_token_id or 0),
                target=targets,
                additional_forward_args=others,
                n_steps=20,
                internal_batch_size=max(len(ids), tokens // ids.shape[1]),
            ).sum(-1)

    def shap(self, texts: Sequence[str]) -> None:
        import shap

        classifier = make_pipeline("text-classification", model=self.plain, tokenizer=self.tokenizer, top_k=None)
        shap.Explainer(classifier, silent=True)(list(texts), batch_size=64)


def best(runs: dict[int, common.Run]) -> int:
    """The batch size whose run is quickest, each tried three times."""
    seconds = common.timed_rounds(runs, dict.fromkeys(runs, 3), warm_up=0)
    return min(runs, key=lambda size: seconds[size].min())


def read_texts(args: argparse.Namespace) -> list[str]:
    """A sample of the rows that can be explained."""
    rows = open_rows(args.data, text_column=args.text_column)
    texts = [row.text for row in rows if row.problem is None]
    return random.Random(args.seed).sample(texts, min(args.texts, len(texts)))


def measure_speed(args: argparse.Namespace) -> dict[str, Any]:
    explainer = MhexExplainer.from_pretrained(args.model, batch_tokens=args.batch_tokens, device=args.device)
    plain = AutoModelForSequenceClassification.from_pretrained(args.model, dtype=explainer.model.dtype)
    texts, them = read_texts(args), Contestants(explainer, plain.to(explainer.model.device).eval())
    some = texts[: len(texts) // 2]
    size = best({size: partial(them.classify, some, size) for size in PIPELINE_BATCHES})
    tokens = best({tokens: partial(them.forward, them.batches(some, tokens)) for tokens in BARE_BATCH_TOKENS})
    ready = them.batches(texts, tokens)
    few, fewer = texts[: args.peer_texts], texts[: max(4, args.peer_texts // 4)]
    contest: dict[str, tuple[common.Run, Sequence[str], int]] = {
        OURS: (lambda: them.highlight(texts), texts, args.rounds),
        f"bare forward loop, {tokens:,} tokens a batch, ready tokenised": (
            lambda: them.forward(ready),
            texts,
            args.rounds,
        ),
        "bare forward loop with tokenising": (lambda: them.forward(them.batches(texts, tokens)), texts, args.rounds),
        f"pipeline, batches of {size}": (lambda: them.classify(texts, size), texts, args.pipeline_rounds),
        "captum integrated gradients, 20 steps": (lambda: them.captum(few, tokens), few, args.peer_rounds),
        "shap": (lambda: them.shap(fewer), fewer, args.peer_rounds),
    }
    runs, rounds = ({name: row[column] for name, row in contest.items()} for column in (0, 2))
    seconds = common.timed_rounds(runs, rounds, seed=args.seed)
    a_text = {name: values / len(contest[name][1]) for name, values in seconds.items()}
    rows = {}
    for name, values in a_text.items():
        compared = common.ratio(values, a_text[OURS])
        rows[name] = {
            "texts_a_second": float(1 / np.median(values)),
            "ours_to_it": compared["ratio"],
            "interval95": compared["interval95"],
            "rounds": len(values),
        }
    encoding = explainer.tokenizer(texts, truncation=True, max_length=explainer.max_length)
    return {
        "model": explainer.model.config.model_type + f", {explainer.model.config.hidden_size} units",
        "aggregation": explainer.aggregation,
        "texts": len(texts),
        "mean_tokens": float(np.mean([len(ids) for ids in encoding.input_ids])),
        "batch_tokens": explainer.batch_tokens,
        "seed": args.seed,
        "machine": common.machine(explainer.model.device),
        "rows": rows,
    }


def measure_memory(args: argparse.Namespace) -> dict[str, Any]:
    """Resident memory after every part of a job with a tiny model."""
    torch.manual_seed(args.seed)
    draw = np.random.default_rng(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=128, **sizes)
    model = get_mhex_model(BertForSequenceClassification(config).eval(), MhexConfig(gate=False))
    words = np.array(sorted(word for word in tokenizer.get_vocab() if word.isascii() and word.isalpha()))
    memory, process, add = [], psutil.Process(), Ledger.add

    def make_text() -> str:
        return " ".join(draw.choice(words, draw.integers(5, 25)))

    def watched(self: Ledger, record: Any) -> None:
        add(self, record)
        memory.append(process.memory_info().rss)

    fit_equivalent_matrices(model, tokenizer, [make_text() for _ in range(200)], progress=False)
    with mock.patch.object(Ledger, "add", watched), tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(f"{folder}/model")
        tokenizer.save_pretrained(f"{folder}/model")
        with open(f"{folder}/rows.jsonl", "w") as file:
            for _ in range(args.rows):
                file.write(json.dumps({"text": make_text()}) + "\n")
        files = ["--model", f"{folder}/model", "--data", f"{folder}/rows.jsonl", "--output", f"{folder}/out"]
        start = time.perf_counter()
        status = mhex(["highlight", *files, "--format", "jsonl,parquet", "--part-rows", str(MEMORY_PART)])
        seconds = time.perf_counter() - start
    if status != 0:
        raise RuntimeError(f"mhex highlight ended with status {status}.")
    early = max(memory[: 10_000 // MEMORY_PART])
    return {
        "rows": args.rows,
        "texts_a_second": args.rows / seconds,
        "resident_bytes_first_10000": early,
        "resident_bytes_end": memory[-1],
        "ratio": memory[-1] / early,
        "seed": args.seed,
        "machine": common.machine(model.device),
    }


def measure_processes(args: argparse.Namespace) -> dict[str, Any]:
    """Texts a second of one process and of two; what starting takes is taken off by a run of few texts."""
    texts = read_texts(args)
    few = texts[: max(2, len(texts) // 100)]

    def job(count: int, chosen: Sequence[str]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "texts.jsonl"
            data.write_text("".join(json.dumps({"text": text}) + "\n" for text in chosen), "utf-8")
            options = {"--model": args.model, "--data": data, "--output": f"{folder}/out", "--format": "parquet"}
            options["--part-rows"] = max(1, len(chosen) // 8)
            jobs.finish(jobs.start(jobs.highlight_command(options, count), jobs.on_cpu()))

    chosen = {"all": texts, "few": few}
    runs = {f"{count}, {which}": partial(job, count, chosen[which]) for count in (1, 2) for which in chosen}
    seconds = common.timed_rounds(runs, dict.fromkeys(runs, args.rounds), warm_up=0, seed=args.seed)
    rates = {n: (len(texts) - len(few)) / (seconds[f"{n}, all"] - seconds[f"{n}, few"]) for n in (1, 2)}
    ratios = rates[2] / rates[1]
    return {
        "texts": len(texts),
        "texts_a_second": {str(count): float(np.median(measured)) for count, measured in rates.items()},
        "two_to_one": float(np.median(ratios)),
        "rounds": ratios.tolist(),
        "seed": args.seed,
        "machine": f"{common.machine()}, {os.cpu_count()} cores, one thread a process",
    }


def table(report: dict[str, Any]) -> list[str]:
    rows = []
    for name, row in report["rows"].items():
        compared = "–" if name == OURS else common.span(row["ours_to_it"], row["interval95"], digits=2)
        rows.append([name, f"{row['texts_a_second']:.1f}", compared, str(row["rounds"])])
    return [
        f"{report['model']}, {report['aggregation']}; {report['texts']:,} texts of {report['mean_tokens']:.1f} tokens, "
        f"batches of {report['batch_tokens']:,} tokens, seed {report['seed']}; {report['machine']}. Medians, "
        "95 % bootstrap intervals over rounds. Made by `studies/highlighting.py`.",
        "",
        *common.grid(["", "texts/s", "ours / it", "rounds"], rows),
    ]


def main() -> None:
    defaults = {"text_column": "text", "texts": 1000, "peer_texts": 32, "rounds": 25, "pipeline_rounds": 9}
    defaults |= {"peer_rounds": 3, "rows": MEMORY_ROWS, "device": "cpu", "seed": 0}
    parser = common.make_parser(__doc__, "model", **defaults)
    parser.add_argument("--data", help="file of texts")
    parser.add_argument("--batch-tokens", type=int, help="ours, by default the explainer's own")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--processes", action="store_true")
    args = parser.parse_args()
    common.be_quiet()
    if args.memory or args.processes:
        report = measure_memory(args) if args.memory else measure_processes(args)
        print(json.dumps(report, indent=1))
    else:
        report = measure_speed(args)
        common.write_page(args.page, table(report), "speed")
    common.write_json(args.output, report)


if __name__ == "__main__":
    main()
