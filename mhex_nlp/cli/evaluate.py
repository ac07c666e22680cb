# SPDX-License-Identifier: Apache-2.0
"""`mhex evaluate`: its options, its model and data, and what it prints."""

from __future__ import annotations

import argparse
import json
import operator
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .evaluate_images import evaluate_images
from .images import IMAGES, check_kind
from .process import quiet_libraries
from .say import say
from .source import FILES, add_columns, add_images, check_columns, load_classifier, read_rows, texts_and_pairs

if TYPE_CHECKING:
    from ..models.tasks.names import Task

KEPT = "evaluation.partial.json"  # what was measured, until all is
HELP = "compare MHEX with other explanation methods on one model"
EXAMPLE = """examples:
  mhex evaluate --model demo-output/model --corpus --output evaluation
  mhex evaluate --model runs/mood-fitted --data reviews.csv --text-column review --output evaluation
  mhex evaluate --model runs/mood-fitted --data reviews.csv --text-column review --methods all --output evaluation
  mhex evaluate --model fitted-images --images scans --regions masks --output evaluation
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `mhex evaluate`."""
    add = parser.add_argument
    add("--model", required=True, help="folder or hub name of a fine-tuned classifier, with heads or not")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", help=f"{FILES}, or name of a dataset")
    source.add_argument(
        "--corpus", action="store_true", help="the held-out sentences of the embedded corpus, with what people marked"
    )
    source.add_argument("--images", help=IMAGES)
    add("--output", type=Path, required=True, help="folder for evaluation.md, .json, .png and .svg")
    add_columns(parser)
    add_images(parser)
    add("--regions", type=Path, help="folder of masks named as the images are, white where the truth lies")
    add("--road", action="store_true", help="of images: remove and debias as well, which takes long")
    add("--rationale-column", help="column of what people marked: [[start, end], ...] in characters of the text")
    add("--limit", type=int, default=300, help="texts, drawn by the seed where there are more (default: %(default)s)")
    add(
        "--methods",
        help="comma-separated, or 'all' for Shapley values and the peers of mhex_nlp[bench] as well; by default the "
        "package's own. There are mhex_fitted, mhex_supervised, random, gradient_norm, gradient_x_input, "
        "integrated_gradients, attention, rollout, leave_one_out, shapley, captum_integrated_gradients, shap, "
        "kernel_shap, lime; of images mhex_fitted, random, gradient_norm, integrated_gradients, grad_cam, cam, "
        "rollout, occlusion, rise, shapley, captum_integrated_gradients, kernel_shap, lime",
    )
    add("--removal", help="auto, mask, deletion or attention (default: mask); of images some of mean, blur, attention")
    add("--unit", choices=["tokens", "words"], help="(default: tokens)")
    add("--permutations", type=int, help="of the reference Shapley values; 0: none (default: 64, of images 8)")
    add("--seed", type=int, default=0, help="(default: %(default)s)")
    add("--batch-tokens", type=int, help="tokens in a batch (default: 4096)")
    add("--device", help="such as cuda:0 (default: cpu)")


@quiet_libraries()
def run(args: argparse.Namespace) -> int:
    """Compares, writes the files and prints the table; 0."""
    from ..evaluation.benchmark.run import evaluate_explanations
    from ..evaluation.benchmark.tables import check_output, summary_table, write_evaluation
    from ..explain.explainers import task_of_checkpoint

    if args.limit < 2:
        raise ValueError(f"limit must be at least 2, got {args.limit}.")
    if check_kind(args):
        return evaluate_images(args)
    if args.regions is not None or args.road:
        raise ValueError(f"--regions and --road are for images, and {args.model} reads texts.")
    _fill(args)
    check_output(args.output)
    task = task_of_checkpoint(args.model)
    texts, pairs, rationales = _sample(args, task)
    if task != "sequence_classification":
        return _judge_places(args, texts, pairs)
    model, tokenizer = load_classifier(args.model, args.device, add_heads=False)
    options = {name: getattr(args, name) for name in ("removal", "unit", "seed", "batch_tokens")}
    options |= {"methods": _methods(args.methods), "reference_permutations": args.permutations}
    options |= {"keep": args.output / KEPT, "on_progress": _tell(args.output)}
    report = evaluate_explanations(model, tokenizer, texts, pairs, rationales=rationales, **options)
    paths = write_evaluation(report, args.output)
    say("\n".join(summary_table(report)))
    for note in report.notes:
        say(note)
    if report.left_out:
        say(f"{report.left_out} of {len(texts)} texts have a single one of the {report.unit} and were left out.")
    for path in paths:
        say(path)
    return 0


def _tell(output: Path) -> Callable[[str, Any], None]:
    """Says what is done and how long it took, and writes what there is so far."""
    from ..evaluation.benchmark.tables import write_so_far

    start = time.perf_counter()

    def tell(done: str, report: Any) -> None:
        nonlocal start
        seconds, start = time.perf_counter() - start, time.perf_counter()
        say(f"{done}: {seconds:,.1f} s", error=True)
        if report is not None:
            write_so_far(report, output)

    return tell


def _fill(args: argparse.Namespace) -> None:
    """What texts are compared by where nothing else was said."""
    for name, usual in {"removal": "mask", "unit": "tokens", "permutations": 64, "batch_tokens": 4096}.items():
        if getattr(args, name) is None:
            setattr(args, name, usual)


def _judge_places(args: argparse.Namespace, texts: list[str], pairs: list[str] | None) -> int:
    """The skill of a fit at entities and answers on these texts, which the comparison of methods does not know."""
    from dataclasses import asdict

    from ..corpus.judged import figures_of
    from ..evaluation.benchmark.results import SCHEMA
    from ..explain.explainers import explainer_for
    from ..render.judged import describe_judgement

    if args.methods is not None or args.rationale_column is not None:
        raise ValueError(
            "methods and rationale_column are for text classifiers; entities and answers are judged by skill."
        )
    model, tokenizer = load_classifier(args.model, args.device, add_heads=True)
    explainer = explainer_for(model, tokenizer, batch_tokens=args.batch_tokens)
    judgement = explainer.judge(texts, *([] if pairs is None else [pairs]), seed=args.seed)
    args.output.mkdir(parents=True, exist_ok=True)
    document = {"schema": SCHEMA, "task": explainer.task, **asdict(judgement)}
    (args.output / "evaluation.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    for line in describe_judgement({**figures_of(judgement), "drawn": len(texts)}):
        say(line)
    say(args.output / "evaluation.json")
    return 0


def _methods(names: str | None) -> Any:
    if names is None or names.strip() == "all":
        return names and "all"
    return [name.strip() for name in names.split(",") if name.strip()]


def _sample(args: argparse.Namespace, task: Task) -> tuple[list[str], list[str] | None, list[Any] | None]:
    """Texts, second halves and rationales, at most `--limit` of them."""
    if args.corpus and task != "sequence_classification":
        raise ValueError("--corpus is for text classifiers: give --data.")
    check_columns(args, task)
    texts, pairs, rationales = _corpus(args) if args.corpus else _data(args)
    if len(texts) <= args.limit:
        return texts, pairs, rationales
    chosen = sorted(random.Random(args.seed).sample(range(len(texts)), args.limit))
    say(f"{args.limit} of {len(texts)} texts, drawn with seed {args.seed}; --limit takes more.")
    columns = (None if column is None else [column[index] for index in chosen] for column in (pairs, rationales))
    return [texts[index] for index in chosen], *columns  # type: ignore[return-value]


def _corpus(args: argparse.Namespace) -> tuple[list[str], None, list[Any]]:
    from .demo.corpus import load_corpus

    if args.text_pair_column is not None or args.rationale_column is not None:
        raise ValueError("--text-pair-column and --rationale-column name columns of --data, not of --corpus.")
    sentences = load_corpus("test")
    return [sentence.text for sentence in sentences], None, [sentence.spans for sentence in sentences]


def _data(args: argparse.Namespace) -> tuple[list[str], list[str] | None, list[Any] | None]:
    rows = read_rows(args)
    rationales = None
    if args.rationale_column is not None:
        where = f"column {args.rationale_column!r} of split {args.split!r}"
        rationales = [_spans(row.rationale, f"{where}, row {row.number} (counted from 0)") for row in rows]
    return *texts_and_pairs(rows), rationales


def _spans(cell: Any, where: str) -> list[tuple[int, int]]:
    """The pairs of a cell that holds them as lists or as their JSON."""
    try:
        spans: Sequence[Any] = json.loads(cell) if isinstance(cell, str) else cell
        return [(operator.index(start), operator.index(end)) for start, end in spans]
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{where}: a rationale must be a list of [start, end) pairs, got {cell!r:.80}.") from error
