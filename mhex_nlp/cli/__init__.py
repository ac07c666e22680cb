# SPDX-License-Identifier: Apache-2.0
"""The `mhex` command: parses, calls, prints. Nothing heavy is imported before a verb runs."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from .._version import __version__
from .evaluate import add_evaluate_arguments, run_evaluate
from .finetune import add_finetune_arguments, run_finetune
from .fit import add_fit_arguments, run_fit
from .highlight import add_highlight_arguments, run_highlight, show_warning
from .report import add_report_arguments, run_report

DEMO_EXAMPLE = """example:
  mhex demo --output demo-output
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

    fit = verbs.add_parser("fit", help="fit a model's equivalent matrices to its own behaviour, without labels")
    add_fit_arguments(fit)
    fit.set_defaults(run=run_fit)

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
