# SPDX-License-Identifier: Apache-2.0
"""The `mhex` command: parses, calls, prints. Nothing heavy is imported before a verb runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from .._version import __version__
from . import evaluate, export, finetune, fit, highlight, report, serve
from .demo import command as demo_verb
from .process import process_kept
from .say import say

# each has HELP, EXAMPLE, add_arguments(parser) and run(args), which gives the exit status
VERBS: dict[str, Any] = {
    "demo": demo_verb,
    "finetune": finetune,
    "fit": fit,
    "highlight": highlight,
    "report": report,
    "serve": serve,
    "evaluate": evaluate,
    "export": export,
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
        say(f"mhex {args.verb}: {sentence}", error=True)
        return 2
    except KeyboardInterrupt:
        say(f"mhex {args.verb}: stopped.", error=True)
        return 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Exits with 2; the message quotes arguments, which a shell makes of file names."""
        self.print_usage(sys.stderr)
        say(f"{self.prog}: error: {message}", error=True)
        self.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="mhex", description="Text classifiers that explain themselves.")
    parser.add_argument("--version", action="version", version=f"mhex_nlp {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    for name, verb in VERBS.items():
        verb.add_arguments(
            verbs.add_parser(
                name, help=verb.HELP, epilog=verb.EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
            )
        )
    return parser
