# SPDX-License-Identifier: Apache-2.0
"""`mhex demo`: its options."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "fine-tune the packaged encoder on the embedded sentences and show what made it decide"
EXAMPLE = """example:
  mhex demo --output demo-output
  mhex demo --task ner --output demo-ner
  mhex demo --task lm --output demo-lm
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `mhex demo`."""
    add = parser.add_argument
    add("--task", choices=("classification", "ner", "lm"), default="classification", help="(default: %(default)s)")
    add("--output", type=Path, default=Path("demo-output"), help="folder (default: %(default)s)")
    add("--epochs", type=int, default=6, help="passes over the training sentences (default: %(default)s)")
    add("--seed", type=int, default=0, help="(default: %(default)s)")
    add("--no-comparison", dest="comparison", action="store_false", help="skip the plain model trained beside it")


def run(args: argparse.Namespace) -> int:
    """Runs the demo; 0."""
    if args.task == "lm":
        from .lm import run_lm_demo

        run_lm_demo(args.output, seed=args.seed)
        return 0
    if args.task == "ner":
        from .ner import run_ner_demo

        run_ner_demo(args.output, epochs=args.epochs, seed=args.seed)
        return 0
    from .run import run_demo

    run_demo(args.output, epochs=args.epochs, seed=args.seed, comparison=args.comparison)
    return 0
