# SPDX-License-Identifier: Apache-2.0
"""`evaluate` on the command line: its options, its model and data, and what it prints."""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

EXAMPLE = """examples:
  mhex evaluate --model demo-output/model --corpus --output evaluation
  mhex evaluate --model runs/mood-fitted --data reviews.csv --text-column review --output evaluation
  mhex evaluate --model runs/mood-fitted --data reviews.csv --text-column review --methods all --output evaluation
"""


def add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `evaluate` to a parser, with examples at the end of its help."""
    parser.epilog, parser.formatter_class = EXAMPLE, argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--model", required=True, help="folder or hub name of a fine-tuned classifier, with heads or not")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", help="CSV, TSV, JSON, JSONL, Parquet or text file, or name of a dataset")
    source.add_argument(
        "--corpus", action="store_true", help="the held-out sentences of the embedded corpus, with what people marked"
    )
    add("--output", type=Path, required=True, help="folder for evaluation.md, .json, .png and .svg")
    add("--split", default="train", help="split of a dataset (default: %(default)s)")
    add("--text-column", default="text", help="column of the text (default: %(default)s)")
    add("--text-pair-column", help="column of a second text")
    add("--rationale-column", help="column of what people marked: [[start, end], ...] in characters of the text")
    add("--limit", type=int, default=300, help="texts, drawn by the seed where there are more (default: %(default)s)")
    add(
        "--methods",
        help="comma-separated, or 'all' for Shapley values and the peers of mhex_nlp[bench] as well; by default the "
        "package's own. There are mhex_fitted, mhex_supervised, random, gradient_norm, gradient_x_input, "
        "integrated_gradients, attention, rollout, leave_one_out, shapley, captum_integrated_gradients, shap, "
        "kernel_shap, lime",
    )
    add("--removal", default="mask", help="auto, mask, deletion or attention (default: %(default)s)")
    add("--unit", default="tokens", choices=["tokens", "words"], help="(default: %(default)s)")
    add("--permutations", type=int, default=64, help="of the reference Shapley values; 0: none (default: %(default)s)")
    add("--seed", type=int, default=0, help="(default: %(default)s)")
    add("--batch-tokens", type=int, default=4096, help="tokens in a batch (default: %(default)s)")
    add("--device", help="such as cuda:0 (default: cpu)")


def run_evaluate(args: argparse.Namespace) -> int:
    """Compares, writes the files and prints the table; the exit status.

    Raises:
        OSError, TypeError, ValueError, ImportError: one sentence on what is wrong with the options, model or data.
    """
    from ..evaluation.benchmark.run import evaluate_explanations
    from ..evaluation.benchmark.tables import check_folder, summary_table, write_evaluation

    check_folder(args.output)
    texts, pairs, rationales = _texts(args)
    model, tokenizer = _load(args.model, args.device)
    report = evaluate_explanations(
        model,
        tokenizer,
        texts,
        pairs,
        methods=_methods(args.methods),
        rationales=rationales,
        removal=args.removal,
        unit=args.unit,
        reference_permutations=args.permutations,
        seed=args.seed,
        batch_tokens=args.batch_tokens,
    )
    written = write_evaluation(report, args.output)
    print("\n".join(summary_table(report)))
    for note in report.notes:
        print(note)
    if report.left_out:
        print(f"{report.left_out} of {len(texts)} texts have a single one of the {report.unit} and were left out.")
    for path in written:
        print(path)
    return 0


def _methods(given: str | None) -> Any:
    if given is None or given.strip() == "all":
        return given and "all"
    return [name.strip() for name in given.split(",") if name.strip()]


def _texts(args: argparse.Namespace) -> tuple[list[str], list[str] | None, list[Any] | None]:
    """Texts, second halves and rationales, at most `--limit` of them."""
    if args.limit < 2:
        raise ValueError(f"limit must be at least 2, got {args.limit}.")
    texts: Sequence[str]
    pairs: Sequence[str] | None = None
    rationales: Sequence[Any] | None = None
    if args.corpus:
        if args.text_pair_column is not None or args.rationale_column is not None:
            raise ValueError("--text-pair-column and --rationale-column name columns of --data, not of --corpus.")
        from .demo.corpus import load_corpus

        sentences = load_corpus("test")
        texts, rationales = [each.text for each in sentences], [each.spans for each in sentences]
    else:
        from ..corpus.readers.opening import read_texts

        texts, pairs = read_texts(args.data, args.text_column, args.text_pair_column, args.split)
        if args.rationale_column is not None:
            rationales = _rationales(args.data, args.rationale_column, args.split)
    chosen = range(len(texts))
    if len(texts) > args.limit:
        chosen = sorted(random.Random(args.seed).sample(chosen, args.limit))  # type: ignore[assignment]
        print(f"{args.limit} of {len(texts)} texts, drawn with seed {args.seed}; --limit takes more.")
    halves, marks = (None if rows is None else [rows[index] for index in chosen] for rows in (pairs, rationales))
    return [texts[index] for index in chosen], halves, marks


def _rationales(source: str, column: str, split: str) -> list[Any]:
    """The cells of a column, as lists or as the JSON of lists."""
    from ..training.finetuning.data import read_source

    rows = read_source(source)[split]
    if column not in rows.column_names:
        raise ValueError(
            f"rationale_column must name a column of split {split!r}, got {column!r}; it has "
            f"{', '.join(rows.column_names)}."
        )
    found = []
    for row, cell in enumerate(rows[column]):
        try:
            spans = json.loads(cell) if isinstance(cell, str) else cell
            found.append([(int(start), int(end)) for start, end in spans])
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"column {column!r} of split {split!r}, row {row} (counted from 0): a rationale must be a list of "
                f"[start, end) pairs, got {cell!r:.80}."
            ) from error
    return found


def _load(name: str, device: str | None) -> tuple[Any, Any]:
    """The model as it stands in its folder, with heads where it has some, and its tokenizer."""
    from transformers import AutoConfig, AutoModelForSequenceClassification
    from transformers.utils import logging

    from ..inputs.tokenizer import load_tokenizer
    from ..models.auto import AutoMhexModelForSequenceClassification
    from ..models.devices import resolve

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    where, _ = resolve(device, None)
    plain = getattr(AutoConfig.from_pretrained(name), "mhex", None) is None
    loader: Any = AutoModelForSequenceClassification if plain else AutoMhexModelForSequenceClassification
    model, info = loader.from_pretrained(name, output_loading_info=True)
    if info["missing_keys"]:
        raise ValueError(
            f"{name} must be a fine-tuned classifier, got one without weights for "
            f"{', '.join(sorted(info['missing_keys']))}: its predictions would be random."
        )
    return model.to(where).eval(), load_tokenizer(name)
