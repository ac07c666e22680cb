# SPDX-License-Identifier: Apache-2.0
"""The `mhex` command: parses, calls, prints. Nothing heavy is imported before a verb runs."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from . import __version__
from .benchmark.command import add_evaluate_arguments, run_evaluate
from .highlights.command import add_highlight_arguments, run_highlight, show_warning
from .report.command import add_report_arguments, run_report
from .training.command import add_finetune_arguments, run_finetune

DEMO_EXAMPLE = """example:
  mhex demo --output demo-output
"""
FIT_EXAMPLE = """examples:
  mhex fit --model demo-output/model --data reviews.csv --text-column review --output fitted
  mhex fit --model distilbert-base-uncased-finetuned-sst-2-english --data reviews.jsonl --output explained
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb; the exit status: 0, or 2 on bad input with one sentence on stderr."""
    parser = _parser()
    args = parser.parse_args(argv)
    if "run" not in args:
        parser.print_help()
        return 0
    warnings.showwarning = show_warning
    try:
        return int(args.run(args))
    except (OSError, TypeError, ValueError, ImportError, MemoryError) as error:
        sentence = " ".join(str(error).split()) or type(error).__name__
        print(f"mhex {args.verb}: {sentence}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"mhex {args.verb}: stopped.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mhex", description="Text classifiers that explain themselves.")
    parser.add_argument("--version", action="version", version=f"mhex_nlp {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")

    demo = verbs.add_parser(
        "demo",
        help="fine-tune the packaged encoder on the embedded sentences and show what made it decide",
        epilog=DEMO_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    demo.add_argument("--output", type=Path, default=Path("demo-output"), help="folder (default: %(default)s)")
    demo.add_argument("--epochs", type=int, default=6, help="passes over the training sentences (default: %(default)s)")
    demo.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    demo.add_argument(
        "--no-comparison", dest="comparison", action="store_false", help="skip the plain model trained beside it"
    )
    demo.set_defaults(run=_demo)

    finetune = verbs.add_parser("finetune", help="fine-tune a classifier with MHEX heads on labelled texts")
    add_finetune_arguments(finetune)
    finetune.set_defaults(run=run_finetune)

    fit = verbs.add_parser(
        "fit",
        help="fit a model's equivalent matrices to its own behaviour, without labels",
        epilog=FIT_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    fit.add_argument("--model", required=True, help="folder or hub name of a fine-tuned classifier, with heads or not")
    fit.add_argument("--data", required=True, help="CSV, TSV, JSON, JSONL, Parquet or text file, or name of a dataset")
    fit.add_argument("--output", type=Path, required=True, help="folder for the fitted model")
    fit.add_argument("--split", default="train", help="split of a dataset (default: %(default)s)")
    fit.add_argument("--text-column", default="text", help="column of the text (default: %(default)s)")
    fit.add_argument("--text-pair-column", help="column of a second text")
    fit.add_argument("--masks", type=int, default=8, help="random subsets of each text (default: %(default)s)")
    fit.add_argument(
        "--held-out", type=float, default=0.1, help="share of the texts to judge on (default: %(default)s)"
    )
    fit.add_argument("--max-features", type=int, default=8192, help="depths are thinned above (default: %(default)s)")
    fit.add_argument("--removal", default="auto", help="auto, mask or attention (default: %(default)s)")
    fit.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    fit.add_argument("--device", help="such as cuda:0 (default: cpu)")
    fit.set_defaults(run=_fit)

    highlight = verbs.add_parser("highlight", help="explain texts, or whole datasets, with a model that has heads")
    add_highlight_arguments(highlight)
    highlight.set_defaults(run=run_highlight)

    report = verbs.add_parser("report", help="static pages of many explanations, with an index to filter them")
    add_report_arguments(report)
    report.set_defaults(run=run_report)

    evaluate = verbs.add_parser("evaluate", help="compare MHEX with other explanation methods on one model")
    add_evaluate_arguments(evaluate)
    evaluate.set_defaults(run=run_evaluate)
    return parser


def _demo(args: argparse.Namespace) -> int:
    from .demo.run import run_demo

    run_demo(args.output, epochs=args.epochs, seed=args.seed, comparison=args.comparison)
    return 0


def _fit(args: argparse.Namespace) -> int:
    from transformers import AutoConfig
    from transformers.utils import logging

    from .auto import AutoMhexModelForSequenceClassification
    from .config import MhexConfig
    from .devices import resolve
    from .fitting import fit_equivalent_matrices
    from .highlights.showing import read_texts
    from .modeling import HEAD_PREFIXES
    from .tokenizing import load_tokenizer

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    texts, pairs = read_texts(args.data, args.text_column, args.text_pair_column, args.split)
    device, _ = resolve(args.device, None)
    # heads that are new only read: no prediction of the model changes
    fresh = getattr(AutoConfig.from_pretrained(args.model), "mhex", None) is None
    given = {"mhex": MhexConfig(gate=False)} if fresh else {}
    model, info = AutoMhexModelForSequenceClassification.from_pretrained(args.model, output_loading_info=True, **given)
    if untrained := sorted(key for key in info["missing_keys"] if not key.startswith(HEAD_PREFIXES)):
        raise ValueError(
            f"{args.model} must be a fine-tuned classifier, got one without weights for {', '.join(untrained)}: its "
            "predictions would be random."
        )
    model.to(device)
    tokenizer = load_tokenizer(args.model, None)
    report = fit_equivalent_matrices(
        model,
        tokenizer,
        texts,
        pairs,
        masks=args.masks,
        held_out=args.held_out,
        max_features=args.max_features,
        removal=args.removal,
        seed=args.seed,
    )
    model.save_pretrained(args.output)
    tokenizer.save_pretrained(args.output)
    low, high = report.skill_interval
    reads = f"{len(report.depths)} depths, {sum(width > 0 for width in report.write_widths)} of them with writes"
    print(f"reads {reads}; removal by {report.removal}")
    print(f"skill {report.skill:.3f} [{low:.3f}, {high:.3f}]  R² {report.r2:.3f}  on {report.held_out} held-out texts")
    if not report.trusted:
        print("The interval reaches 0: do not trust single words; more texts may help.")
    print(args.output)
    return 0
