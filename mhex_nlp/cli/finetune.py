# SPDX-License-Identifier: Apache-2.0
"""`finetune` on the command line: its options and what it prints."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ..training.finetuning.config import PRECISIONS, FinetuneConfig

EXAMPLE = """example:
  %(prog)s --model distilbert-base-uncased --data reviews.csv --output-dir runs/reviews --epochs 2

several processes:
  accelerate launch --multi_gpu --num_processes 2 scripts/finetune.py --num-processes 2 --model ... --data ...
  (on a CPU put ACCELERATE_USE_CPU=true in front)
"""


def add_finetune_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `finetune` to a parser, with an example at the end of its help."""
    parser.epilog, parser.formatter_class = EXAMPLE, argparse.RawDescriptionHelpFormatter
    defaults = {name: field.default for name, field in FinetuneConfig.__dataclass_fields__.items()}

    def option(name: str, text: str, kind: type = str, **more: object) -> None:
        required = name in ("model", "data", "output_dir")
        default = None if required else defaults[name]
        shown = "" if default is None or default is False else " (default: %(default)s)"
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=kind, required=required, default=default, help=text + shown, **more)  # type: ignore[arg-type]

    option("model", "name or folder of a model to start from")
    option("data", "CSV, TSV, JSON, JSONL or Parquet file, folder, or name of a hub dataset")
    option("output_dir", "folder for the model, metrics.json and checkpoints")
    option(
        "validation", "file or dataset to validate on; else the data's own split, else a share of the training texts"
    )
    option("config_name", "configuration of a hub dataset")
    option("train_split", "name of the training split")
    option("validation_split", "name of the validation split")
    option("validation_share", "part of the training texts to validate on where there is no such split", float)
    option("text_column", "column of the text")
    option("text_pair_column", "column of a second text, such as a hypothesis")
    option("label_column", "column of the label")
    option("max_length", "tokens a text is cut at, by default what the model takes", int)
    parser.add_argument(
        "--gate",
        action=argparse.BooleanOptionalAction,
        help="heads take part in the predictions or read only; by default as a checkpoint with heads says, else --gate",
    )
    option("loss_weight", "weight of the heads' loss beside the task's, by default the checkpoint's, else 0.3", float)
    option("faithfulness_weight", "weight of the faithfulness loss, which doubles the cost of a step", float)
    option("epochs", "passes over the training texts", int)
    option("max_steps", "stop after that many optimiser steps", int)
    option("batch_size", "texts per process and forward pass", int)
    option("gradient_accumulation_steps", "forward passes per optimiser step", int)
    option("eval_batch_size", "as batch size by default", int)
    option("lr", "learning rate of the backbone", float)
    option("head_lr", "learning rate of the heads, by default 20 times the backbone's", float)
    option("weight_decay", "of everything but biases and norms", float)
    option("warmup", "share of the steps in which the rate rises", float)
    option("max_grad_norm", "norm that gradients are clipped at", float)
    option("mixed_precision", "by default as `accelerate launch` says", choices=PRECISIONS)
    parser.add_argument("--gradient-checkpointing", action="store_true", help="trade time for memory")
    option("seed", "of weights, order of the texts and dropout", int)
    option("logging_steps", "optimiser steps between two log lines", int)
    option("log_with", "an accelerate tracker such as tensorboard, written to OUTPUT_DIR/logs")
    option("save_steps", "optimiser steps between two checkpoints, by default one an epoch", int)
    option("save_limit", "checkpoints kept", int)
    option("resume_from", "'latest' or a checkpoint folder")
    option("num_processes", "how many processes are expected; another number is an error", int)


def run_finetune(args: argparse.Namespace) -> int:
    """Trains as the parsed options say and prints the figures on process 0; the exit status.

    Raises:
        FileNotFoundError, TypeError, ValueError: one sentence on what is wrong with the options or the data.
    """
    config = FinetuneConfig(**{name: getattr(args, name) for name in FinetuneConfig.__dataclass_fields__})
    from accelerate import PartialState

    from ..training.finetuning.run import finetune

    report = finetune(config)
    if PartialState().is_main_process:
        heads = " ".join(f"{value:.3f}" for value in report["head_accuracy"])
        print(f"accuracy {report['accuracy']:.3f} (commonest class {report['majority']:.3f})  f1 {report['f1']:.3f}")
        print(f"heads, first layer to last: {heads}")
        print(f"model and metrics.json in {config.output_dir}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """`python scripts/finetune.py ...`: as `mhex finetune ...`; exit status 2 with one sentence on bad input."""
    parser = argparse.ArgumentParser(description="Fine-tune a text classifier with MHEX heads.")
    add_finetune_arguments(parser)
    args = parser.parse_args(argv)
    try:
        return run_finetune(args)
    except (OSError, TypeError, ValueError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
