# SPDX-License-Identifier: Apache-2.0
"""Does fine-tuning with MHEX heads cost accuracy? MiniLM on sentence-level SST-2, plain and with heads, same steps.

    python -m studies.accuracy --data path/to/sst2 --output docs/results/accuracy.json --page docs/accuracy.md

`--data` holds train.tsv and test.tsv, a sentence, a tab and 0 or 1 a line. Runs that are in the output are not done
again, so it can be stopped at any time.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import AutoModelForSequenceClassification

from mhex_nlp import AutoMhexModelForSequenceClassification

from . import common

PLAN = [(2000, seed) for seed in (0, 1, 2)] + [(6920, 0)]
KINDS = {
    "plain": "plain fine-tuning",
    "heads": "with heads, their rate 20 times the backbone's",
    "heads, one rate": "with heads, one common rate",
}
LR, BATCH, EPOCHS, WARMUP, MAX_LENGTH = 5e-5, 32, 1, 0.1, 64


def run(kind: str, data: Dataset, test: Dataset, seed: int) -> dict[str, Any]:
    """Trains one model and gives its hits on each test sentence."""
    _, _, hits, seconds = common.fine_tune(
        AutoModelForSequenceClassification if kind == "plain" else AutoMhexModelForSequenceClassification,
        data,
        test,
        max_length=MAX_LENGTH,
        lr=LR,
        batch=BATCH,
        epochs=EPOCHS,
        warmup_steps=round(WARMUP * -(-len(data) // BATCH) * EPOCHS),
        weight_decay=0.01,
        seed=seed,
        head_rate=kind == "heads",
    )
    return {"accuracy": float(hits.mean()), "seconds": round(seconds, 1), "hits": np.packbits(hits).tobytes().hex()}


def unpack(run: dict[str, Any], count: int) -> np.ndarray:
    """(B,) float64, 1 for each test sentence that a run got right."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(run["hits"]), np.uint8))[:count].astype(float)


def table(report: dict[str, Any]) -> list[str]:
    count, rows = report["test_texts"], []
    for size in dict.fromkeys(texts for texts, _ in PLAN):
        seeds = [seed for texts, seed in PLAN if texts == size]
        runs = {kind: [report["runs"].get(f"{size}/{seed}/{kind}") for seed in seeds] for kind in KINDS}
        if not all(all(of_kind) for of_kind in runs.values()):
            continue
        cells, hits = [], {}
        for kind, of_kind in runs.items():
            by_seed = ", ".join(f"{run['accuracy']:.3f}" for run in of_kind)
            mean = np.mean([run["accuracy"] for run in of_kind])
            cells.append(f"{mean:.3f} ({by_seed})" if len(seeds) > 1 else by_seed)
            hits[kind] = np.array([unpack(run, count) for run in of_kind])
        for kind in ("heads", "heads, one rate"):
            gain = (hits[kind] - hits["plain"]).mean(0)  # over seeds
            cells.append(common.cell(common.mean_interval(gain), signed=True))
        rows.append([f"{size:,}", str(len(seeds)), *cells])
    return [
        f"{report['model']} fine-tuned on {report['data']}: {EPOCHS} epoch, batch {BATCH}, learning rate {LR:g}, "
        f"same seed, same steps, same order. Accuracy on the {count:,} test sentences (commonest class: "
        f"{report['majority']:.3f}); differences with 95 % paired bootstrap intervals over those sentences. "
        f"{report['machine']}; made by `studies/accuracy.py`.",
        "",
        *common.grid(["training texts", "seeds", *KINDS.values(), "heads − plain", "one rate − plain"], rows),
    ]


def main() -> None:
    args = common.make_parser(__doc__, "data").parse_args()
    common.be_quiet()
    data, test = (common.read_sst2(args.data / f"{part}.tsv") for part in ("train", "test"))
    report: dict[str, Any] = {
        "model": common.MINILM,
        "data": "SST-2, sentence level",
        "test_texts": len(test),
        "majority": float(np.bincount(test["label"]).max() / len(test)),
        "settings": {"lr": LR, "batch": BATCH, "epochs": EPOCHS, "warmup": WARMUP, "max_length": MAX_LENGTH},
        "machine": common.machine(),
        "runs": json.loads(args.output.read_text("utf-8"))["runs"] if args.output.exists() else {},
    }
    for size, seed in PLAN:
        chosen = data.shuffle(seed=seed).select(range(min(size, len(data))))
        for kind in KINDS:
            key = f"{size}/{seed}/{kind}"
            if key not in report["runs"]:
                report["runs"][key] = run(kind, chosen, test, seed)
                common.write_json(args.output, report)
                print(key, f"{report['runs'][key]['accuracy']:.4f}", flush=True)
    common.write_page(args.page, table(report))


if __name__ == "__main__":
    main()
