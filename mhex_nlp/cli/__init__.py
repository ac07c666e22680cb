# SPDX-License-Identifier: Apache-2.0
"""The `mhex` command: parses, calls, prints. Nothing heavy is imported before a verb runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from .._version import __version__
from . import evaluate, finetune, fit, highlight, report
from .demo import command as demo_verb
from .process import process_kept

# each has HELP, EXAMPLE, add_arguments(parser) and run(args), which gives the exit status
VERBS: dict[str, Any] = {
    "demo": demo_verb,
    "finetune": finetune,
    "fit": fit,
    "highlight": highlight,
    "report": report,
    "evaluate": evaluate,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb; the exit status: 0, or 2 on bad input with one sentence on stderr."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.verb is None:
        parser.print_help()
        return 0
    try:
        with process_kept():
            return int(VERBS[args.verb].run(args))
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
    for name, verb in VERBS.items():
        verb.add_arguments(
            verbs.add_parser(
                name, help=verb.HELP, epilog=verb.EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
            )
        )
    return parser
