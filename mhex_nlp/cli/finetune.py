# SPDX-License-Identifier: Apache-2.0
"""`mhex finetune`: its options and what it prints."""

from __future__ import annotations

import argparse
import re
from dataclasses import MISSING
from typing import Any

from ..training.finetuning.config import PRECISIONS, FinetuneConfig
from .images import IMAGES
from .say import say

HELP = "fine-tune a classifier with MHEX heads on labelled texts"
EXAMPLE = """example:
  mhex finetune --model distilbert-base-uncased --data reviews.csv --output-dir runs/reviews --epochs 2
  mhex finetune --model google/vit-base-patch16-224-in21k --images scans --output-dir runs/scans --lr 1e-4

several processes:
  accelerate launch --multi_gpu --num_processes 2 -m mhex_nlp finetune --num-processes 2 --model ... --data ...
  (on a CPU put ACCELERATE_USE_CPU=true in front)
"""
_KINDS: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `mhex finetune`: the fields of `FinetuneConfig`, with what its docstring says of them."""
    helps = _helps()
    for name, field in FinetuneConfig.__dataclass_fields__.items():
        flag, kind = f"--{name.replace('_', '-')}", _KINDS[str(field.type).split(" ")[0]]
        options: dict[str, Any] = {"help": helps.get(name, "")}
        if field.default is MISSING:
            options["required"] = name != "data"  # or --images
        else:
            options["default"] = field.default
        if name == "gate":
            options["action"] = argparse.BooleanOptionalAction
        elif kind is bool:
            options["action"] = "store_true"
        else:
            options["type"] = kind
            options["choices"] = PRECISIONS if name == "mixed_precision" else None
            options["help"] += "" if field.default in (MISSING, None) else " (default: %(default)s)"
        parser.add_argument(flag, **options)
    parser.add_argument("--images", help=f"in place of --data, of an image classifier: {IMAGES}")


def _helps() -> dict[str, str]:
    """What the docstring of `FinetuneConfig` says of each field."""
    arguments = (FinetuneConfig.__doc__ or "").partition("Args:")[2].partition("Raises:")[0]
    helps: dict[str, str] = {}
    for names, text in re.findall(r"^ {8}(\w[\w, ]*): (.*(?:\n {12}.*)*)", arguments, re.MULTILINE):
        helps |= dict.fromkeys(names.split(", "), " ".join(text.split()).removesuffix("."))
    return helps


def run(args: argparse.Namespace) -> int:
    """Trains, and prints the figures in the main process; 0."""
    if (args.data is None) == (args.images is None):
        raise ValueError("data must be given, or --images for a model of images, and not both.")
    if args.images is not None:
        from ..explain.explainers import is_image_checkpoint

        if not is_image_checkpoint(args.model):
            raise ValueError(f"--images is for an image classifier, got {args.model}, which reads texts.")
        args.data = args.images
    config = FinetuneConfig(**{name: getattr(args, name) for name in FinetuneConfig.__dataclass_fields__})
    from accelerate import PartialState

    from ..training import finetune

    report = finetune(config)
    if PartialState().is_main_process:
        heads = " ".join(f"{value:.3f}" for value in report["head_accuracy"]) or "none in this family"
        say(f"accuracy {report['accuracy']:.3f} (commonest class {report['majority']:.3f})  f1 {report['f1']:.3f}")
        say(f"heads, first layer to last: {heads}")
        say(f"model and metrics.json in {config.output_dir}")
    return 0
