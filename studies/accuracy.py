# SPDX-License-Identifier: Apache-2.0
"""Does fine-tuning with MHEX heads cost accuracy? MiniLM on three data sets, plain and with heads, same steps.

    python -m studies.accuracy --data DATA --output docs/results/accuracy.json --page docs/accuracy.md

`--data` holds sst2/{train,test}.tsv, ag_news/raw_split_{fit,eval}.csv and mrpc/{train,test}.csv. Runs that are in the
output are not done again, so it can be stopped at any time.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from datasets import ClassLabel, Dataset, Features, Value
from transformers import AutoModelForSequenceClassification

from mhex_nlp import AutoMhexModelForSequenceClassification

from . import common
from .faithfulness.data import read

LR, BATCH, WARMUP, MAX_LENGTH = 5e-5, 32, 0.1, 64
DEFAULT, ONE_RATE = "heads", "heads, one rate"


class Plan(NamedTuple):
    """How one data set is trained on: its name in tables, epochs, the kinds of training, texts (0: all), and seeds
    beyond `--seeds`, for a difference that those leave open."""

    name: str
    epochs: int
    kinds: Sequence[str]
    texts: int = 0
    more_seeds: int = 0


PLANS = {
    "sst2": Plan("SST-2, sentences", 1, ["plain", DEFAULT], more_seeds=10),
    "ag_news": Plan("AG News, test set re-split", 1, ["plain", DEFAULT], 2400),
    "mrpc": Plan("MRPC, pairs", 2, ["plain", DEFAULT]),
    "sst2/2000": Plan("SST-2, 2,000 sentences", 1, ["plain", DEFAULT, ONE_RATE], 2000),
}
KINDS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "plain": ("plain fine-tuning", {"auto": AutoModelForSequenceClassification}),
    DEFAULT: ("with heads, their rate 20 times the backbone's", {"head_rate": True}),
    ONE_RATE: ("with heads, one common rate", {}),
}


def read_pairs(path: Path) -> Dataset:
    """Columns text, text_pair and label of MRPC: a header with label, sentence1, sentence2."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = {
        "text": [row["sentence1"] for row in rows],
        "text_pair": [row["sentence2"] for row in rows],
        "label": [int(row["label"]) for row in rows],
    }
    names = ClassLabel(names=["different", "paraphrase"])
    return Dataset.from_dict(columns, Features({"text": Value("string"), "text_pair": Value("string"), "label": names}))


def read_data(folder: Path, name: str) -> tuple[Dataset, Dataset]:
    """Training and test texts of a plan."""
    if name == "mrpc":
        return read_pairs(folder / "mrpc" / "train.csv"), read_pairs(folder / "mrpc" / "test.csv")
    return read(folder, name.partition("/")[0])


def run(kind: str, plan: Plan, data: Dataset, test: Dataset, seed: int) -> dict[str, Any]:
    """Trains one model and gives its hits on each test text."""
    count = len(data) if not plan.texts else min(plan.texts, len(data))
    chosen = data.shuffle(seed=seed).select(range(count))
    arguments: dict[str, Any] = {"auto": AutoMhexModelForSequenceClassification, **KINDS[kind][1]}
    model, _, hits, seconds = common.fine_tune(
        data=chosen,
        test=test,
        max_length=MAX_LENGTH,
        lr=LR,
        batch=BATCH,
        epochs=plan.epochs,
        warmup_steps=round(WARMUP * -(-count // BATCH) * plan.epochs),
        weight_decay=0.01,
        seed=seed,
        train_sampling_strategy="group_by_length",
        **arguments,
    )
    return {"accuracy": float(hits.mean()), "seconds": round(seconds, 1), "hits": np.packbits(hits).tobytes().hex()}


def over_seeds(gains: Sequence[float]) -> str:
    """Mean gain in percentage points with the 95 % interval of Student's t over seeds; the mean alone of one seed."""
    from scipy import stats

    points = 100 * np.asarray(gains)
    if len(points) < 2:
        return f"{points.mean():+.2f}"
    half = stats.t.ppf(0.975, len(points) - 1) * points.std(ddof=1) / len(points) ** 0.5
    return common.span(points.mean(), (points.mean() - half, points.mean() + half), digits=2, signed=True)


def rows_of(report: Mapping[str, Any], name: str, plan: Plan) -> list[list[str]]:
    """A line for each kind of training with heads, over the seeds that it and plain fine-tuning have done."""
    runs, about, lines = report["runs"], report["data"][name], []
    for kind in plan.kinds[1:]:
        both = [
            (runs[f"{name}/{seed}/plain"]["accuracy"], runs[f"{name}/{seed}/{kind}"]["accuracy"])
            for seed in range(about["seeds"])
            if {f"{name}/{seed}/plain", f"{name}/{seed}/{kind}"} <= runs.keys()
        ]
        if both:
            plain, heads = (", ".join(f"{value:.3f}" for value in values) for values in zip(*both, strict=True))
            gain = over_seeds([after - before for before, after in both])
            sizes = f"{about['train']:,} / {about['test']:,} / {about['majority']:.3f}"
            lines.append([plan.name, sizes, str(plan.epochs), KINDS[kind][0], plain, heads, gain])
    return lines


def table(report: dict[str, Any]) -> list[str]:
    """The Markdown of the page."""
    head = ["data", "training / test texts / commonest class", "epochs", "training", "plain, by seed", "heads, by seed"]
    rows = [row for name, plan in PLANS.items() if name in report["data"] for row in rows_of(report, name, plan)]
    return [
        f"{report['model']}, batch {BATCH}, learning rate {LR:g}, at most {MAX_LENGTH} tokens; plain and with heads on "
        "the same texts in the same order, same steps, same seed. Accuracy on the whole test set; difference in "
        "percentage points, mean over the seeds with the 95 % interval of Student's t over them. "
        f"{report['machine']}; made by `studies/accuracy.py`.",
        "",
        *common.grid([*head, "heads − plain, points"], rows),
    ]


def main(plans: Mapping[str, Plan] = PLANS, train: Callable[..., dict[str, Any]] = run) -> None:
    args = common.make_parser(__doc__, "data", seeds=5).parse_args()
    common.be_quiet()
    report: dict[str, Any] = {"runs": {}, "data": {}}
    if args.output.exists():
        report |= json.loads(args.output.read_text("utf-8"))
    report |= {
        "model": common.MINILM,
        "settings": {
            "lr": LR,
            "batch": BATCH,
            "warmup": WARMUP,
            "max_length": MAX_LENGTH,
        },
        "machine": common.machine(),
    }
    for name, plan in plans.items():
        data, test = read_data(args.data, name)
        majority = float(np.bincount(test["label"]).max() / len(test))
        seeds, texts = args.seeds + plan.more_seeds, plan.texts or len(data)
        report["data"][name] = {"train": texts, "test": len(test), "majority": majority, "seeds": seeds}
        for seed in range(seeds):
            for kind in plan.kinds:
                key = f"{name}/{seed}/{kind}"
                if key not in report["runs"]:
                    report["runs"][key] = train(kind, plan, data, test, seed)
                    common.write_json(args.output, report)
                    print(key, f"{report['runs'][key]['accuracy']:.4f}", flush=True)
    common.write_json(args.output, report)
    common.write_page(args.page, table(report))


if __name__ == "__main__":
    main()
