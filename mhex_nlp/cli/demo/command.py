# SPDX-License-Identifier: Apache-2.0
"""`mhex demo`: its options."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "fine-tune the packaged encoder on the embedded sentences and show what made it decide"
EXAMPLE = """example:
  mhex demo --output demo-output
  mhex demo --model encoders/bert-small --output demo-output
  mhex demo --task ner --output demo-ner
  mhex demo --task lm --output demo-lm
  mhex demo --images --output demo-images
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `mhex demo`."""
    add = parser.add_argument
    tasks = ("classification", "ner", "lm", "images")
    add("--task", choices=tasks, default="classification", help="(default: %(default)s)")
    add("--images", dest="task", action="store_const", const="images", help="a small image classifier (experimental)")
    add("--model", type=Path, help="folder of an encoder to fine-tune in place of the packaged one")
    add("--output", type=Path, default=Path("demo-output"), help="folder (default: %(default)s)")
    add("--epochs", type=int, help="passes over the training data (default: 6, of images 15)")
    add("--seed", type=int, default=0, help="(default: %(default)s)")
    add("--no-comparison", dest="comparison", action="store_false", help="skip the plain model trained beside it")


def run(args: argparse.Namespace) -> int:
    """Runs the demo; 0."""
    if args.model is not None and args.task in ("lm", "images"):
        raise ValueError(f"--model is for the tasks classification and ner, got --task {args.task}.")
    if args.task == "lm":
        from .lm import run_lm_demo

        run_lm_demo(args.output, seed=args.seed)
        return 0
    if args.task == "images":
        from .images import EPOCHS, run_image_demo

        run_image_demo(args.output, epochs=EPOCHS if args.epochs is None else args.epochs, seed=args.seed)
        return 0
    args.epochs = 6 if args.epochs is None else args.epochs
    if args.task == "ner":
        from .ner import run_ner_demo

        run_ner_demo(args.output, model=args.model, epochs=args.epochs, seed=args.seed)
        return 0
    from .run import run_demo

    run_demo(args.output, model=args.model, epochs=args.epochs, seed=args.seed, comparison=args.comparison)
    return 0
