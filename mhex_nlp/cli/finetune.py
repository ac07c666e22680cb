# SPDX-License-Identifier: Apache-2.0
"""`mhex finetune`: its options and what it prints."""

from __future__ import annotations

import argparse
from typing import Any

from ..training.finetuning.config import PRECISIONS, FinetuneConfig

HELP = "fine-tune a classifier with MHEX heads on labelled texts"
EXAMPLE = """example:
  mhex finetune --model distilbert-base-uncased --data reviews.csv --output-dir runs/reviews --epochs 2

several processes:
  accelerate launch --multi_gpu --num_processes 2 -m mhex_nlp finetune --num-processes 2 --model ... --data ...
  (on a CPU put ACCELERATE_USE_CPU=true in front)
"""
_OPTIONS: tuple[tuple[str, type, str], ...] = (
    ("model", str, "name or folder of a model to start from"),
    ("data", str, "CSV, TSV, JSON, JSONL, Parquet or text file, folder, or name of a hub dataset"),
    ("output_dir", str, "folder for the model, metrics.json and checkpoints"),
    (
        "validation",
        str,
        "file or dataset to validate on; else the data's own split, else a share of the training texts",
    ),
    ("config_name", str, "configuration of a hub dataset"),
    ("train_split", str, "name of the training split"),
    ("validation_split", str, "name of the validation split"),
    ("validation_share", float, "part of the training texts to validate on where there is no such split"),
    ("text_column", str, "column of the text"),
    ("text_pair_column", str, "column of a second text, such as a hypothesis"),
    ("label_column", str, "column of the label"),
    ("max_length", int, "tokens a text is cut at, by default what the model takes"),
    (
        "gate",
        bool,
        "heads take part in the predictions or read only; by default as a checkpoint with heads says, else --gate",
    ),
    ("loss_weight", float, "weight of the heads' loss beside the task's, by default the checkpoint's, else 0.3"),
    ("faithfulness_weight", float, "weight of the faithfulness loss, which doubles the cost of a step"),
    ("epochs", int, "passes over the training texts"),
    ("max_steps", int, "stop after that many optimiser steps"),
    ("batch_size", int, "texts per process and forward pass"),
    ("gradient_accumulation_steps", int, "forward passes per optimiser step"),
    ("eval_batch_size", int, "as batch size by default"),
    ("lr", float, "learning rate of the backbone"),
    ("head_lr", float, "learning rate of the heads, by default 20 times the backbone's"),
    ("weight_decay", float, "of everything but biases and norms"),
    ("warmup", float, "share of the steps in which the rate rises"),
    ("max_grad_norm", float, "norm that gradients are clipped at"),
    ("mixed_precision", str, "by default as `accelerate launch` says"),
    ("gradient_checkpointing", bool, "trade time for memory"),
    ("seed", int, "of weights, order of the texts and dropout"),
    ("logging_steps", int, "optimiser steps between two log lines"),
    ("log_with", str, "an accelerate tracker such as tensorboard, written to OUTPUT_DIR/logs"),
    ("save_steps", int, "optimiser steps between two checkpoints, by default one an epoch"),
    ("save_limit", int, "checkpoints kept"),
    ("resume_from", str, "'latest' or a checkpoint folder"),
    ("num_processes", int, "how many processes are expected; another number is an error"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `mhex finetune`, one for each field of `FinetuneConfig`."""
    for name, kind, text in _OPTIONS:
        flag = f"--{name.replace('_', '-')}"
        if name in ("model", "data", "output_dir"):
            parser.add_argument(flag, required=True, help=text)
            continue
        default = FinetuneConfig.__dataclass_fields__[name].default
        options: dict[str, Any] = {"default": default, "help": text}
        if name == "gate":
            options["action"] = argparse.BooleanOptionalAction
        elif kind is bool:
            options["action"] = "store_true"
        else:
            options["type"] = kind
            options["choices"] = PRECISIONS if name == "mixed_precision" else None
            options["help"] += "" if default is None else " (default: %(default)s)"
        parser.add_argument(flag, **options)


def run(args: argparse.Namespace) -> int:
    """Trains, and prints the figures in the main process; 0."""
    config = FinetuneConfig(**{name: getattr(args, name) for name in FinetuneConfig.__dataclass_fields__})
    from accelerate import PartialState

    from ..training import finetune

    report = finetune(config)
    if PartialState().is_main_process:
        heads = " ".join(f"{value:.3f}" for value in report["head_accuracy"])
        print(f"accuracy {report['accuracy']:.3f} (commonest class {report['majority']:.3f})  f1 {report['f1']:.3f}")
        print(f"heads, first layer to last: {heads}")
        print(f"model and metrics.json in {config.output_dir}")
    return 0
