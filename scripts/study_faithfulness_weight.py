# SPDX-License-Identifier: Apache-2.0
"""Does `faithfulness_weight` make supervised maps more faithful? MiniLM on sentence-level SST-2, with and without it.

    python scripts/study_faithfulness_weight.py --data path/to/sst2 --output docs/faithfulness_weight.json

`--data` holds train.tsv and dev.tsv, a sentence, a tab and 0 or 1 a line. Runs that are in the output are not done
again, so it can be stopped at any time; the table goes to the file of the same name with .md.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from datasets import ClassLabel, Dataset, load_dataset
from transformers import AutoTokenizer, logging

from mhex_nlp import AutoMhexModelForSequenceClassification
from mhex_nlp.cli.demo.encoder import minilm_path
from mhex_nlp.evaluation.benchmark import evaluate_explanations
from mhex_nlp.training import FinetuneConfig, finetune

WEIGHTS, SEEDS = (0.0, 0.1, 1.0), (0, 1)
TRAINING_TEXTS, TEXTS, EPOCHS, BATCH, LR = 2000, 150, 2, 32, 5e-5
METHODS = ("mhex_supervised", "random", "integrated_gradients")
FIGURES = ("comprehensiveness", "sufficiency")


def read(path: Path) -> Dataset:
    rows = load_dataset("csv", data_files=str(path), delimiter="\t", column_names=["text", "label"], quoting=3)["train"]
    return rows.cast_column("label", ClassLabel(names=["negative", "positive"]))


def run(weight: float, seed: int, train: Dataset, dev: Dataset) -> dict[str, Any]:
    """Trains one model; its accuracy, and the figures of its maps beside random and integrated gradients."""
    with tempfile.TemporaryDirectory() as folder:
        metrics = finetune(
            FinetuneConfig(
                model=minilm_path(),
                data=train.shuffle(seed=seed).select(range(TRAINING_TEXTS)),
                validation=dev,
                output_dir=folder,
                faithfulness_weight=weight,
                epochs=EPOCHS,
                batch_size=BATCH,
                eval_batch_size=64,
                lr=LR,
                seed=seed,
                save_steps=10**6,
            )
        )
        model = AutoMhexModelForSequenceClassification.from_pretrained(folder).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        texts = dev.shuffle(seed=seed).select(range(TEXTS))["text"]
        report = evaluate_explanations(
            model, tokenizer, list(texts), methods=METHODS, reference_permutations=0, seed=seed
        )
    figures = {each.name: {name: asdict(each.figures[name]) for name in FIGURES} for each in report.methods}
    return {"accuracy": metrics["accuracy"], "texts": report.texts, "figures": figures}


def table(report: dict[str, Any]) -> str:
    lines = [
        "# Faithfulness as a training objective",
        "",
        f"{report['model']} with heads, fine-tuned on {TRAINING_TEXTS:,} texts of {report['data']}, {EPOCHS} epochs, "
        f"batch {BATCH}, learning rate {LR:g}; accuracy on {report['dev_texts']:,} sentences, the other figures on "
        f"{TEXTS} of them, tokens removed by [MASK]; 95 % bootstrap intervals over texts. No fit is made: MHEX are "
        f"the supervised maps. {report['machine']}; made by `scripts/study_faithfulness_weight.py`.",
        "",
        "| weight | seed | accuracy | scores | comprehensiveness ↑ | sufficiency ↓ |",
        "|---|---|---|---|---|---|",
    ]
    for key, run in report["runs"].items():
        weight, seed = key.split("/")
        for name in METHODS:
            found = [run["figures"][name][figure] for figure in FIGURES]
            cells = [f"{each['value']:.3f} [{each['low']:.3f}, {each['high']:.3f}]" for each in found]
            head = [f"{float(weight):g}", seed, f"{run['accuracy']:.3f}", name.replace("_", " ")]
            lines.append("| " + " | ".join([*head, *cells]) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    train, dev = read(args.data / "train.tsv"), read(args.data / "dev.tsv")
    report: dict[str, Any] = json.loads(args.output.read_text("utf-8")) if args.output.exists() else {"runs": {}}
    report |= {
        "model": "all-MiniLM-L6-v2",
        "data": "SST-2, sentence level",
        "dev_texts": len(dev),
        "machine": f"{platform.machine()}, torch {torch.__version__.partition('+')[0]}",
    }
    for seed in SEEDS:
        for weight in WEIGHTS:
            if (key := f"{weight}/{seed}") in report["runs"]:
                continue
            report["runs"][key] = run(weight, seed, train, dev)
            args.output.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
            args.output.with_suffix(".md").write_text(table(report), "utf-8")
            print(key, report["runs"][key], flush=True)


if __name__ == "__main__":
    main()
