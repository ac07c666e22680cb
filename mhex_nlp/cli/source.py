# SPDX-License-Identifier: Apache-2.0
"""What several verbs take: texts from files or datasets, and a classifier from its folder or the hub."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..corpus.readers.rows import Row, RowSource
    from ..models.tasks.names import Task

FILES = "CSV, TSV, JSON, JSONL, Parquet or text file"


def add_columns(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say where in `--data` the texts are."""
    parser.add_argument("--split", default="train", help="split of a dataset (default: %(default)s)")
    parser.add_argument("--text-column", default="text", help="column of the text (default: %(default)s)")
    parser.add_argument("--text-pair-column", help="column of a second text")
    parser.add_argument(
        "--max-characters",
        type=int,
        default=1_000_000,
        help="of a text; longer is an error (default: %(default)s)",
    )


def add_images(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say where in `--images` the images are, and how deep ones are seen."""
    parser.add_argument("--image-column", default="image", help="column of the image (default: %(default)s)")
    how = "of images of more than 8 bits, the values that are shown as black and as white"
    parser.add_argument("--window", type=float, nargs=2, metavar=("BLACK", "WHITE"), help=how)


def open_source(args: argparse.Namespace, task: Task = "sequence_classification") -> RowSource:
    """The rows of `--data`, with those of the columns that the verb has options for.

    Gold tags of entities are no label of a text: they are read as rationales are, as they stand.
    """
    from ..corpus.readers.opening import open_rows

    options = {name: value for name, value in vars(args).items() if name.endswith("_column")}
    options.pop("image_column", None)
    options["max_characters"] = args.max_characters
    if task == "token_classification":
        options["rationale_column"] = options.pop("label_column", None)
    return open_rows(args.data, split=args.split, kind=getattr(args, "data_format", None), **options)


def read_rows(args: argparse.Namespace) -> list[Row]:
    """The rows of `--data`, each of which must have a text."""
    from ..corpus.readers.rows import complete_rows

    return list(complete_rows(open_source(args), args.split))


def check_columns(args: argparse.Namespace, task: Task) -> None:
    """ValueError for a task that needs a second text, or can have none."""
    if task == "question_answering" and args.text_pair_column is None:
        raise ValueError("--text-pair-column must name the contexts, since --text-column names the questions.")
    if task == "question_answering" and getattr(args, "label_column", None) is not None:
        raise ValueError("--label-column must be left out for answers, which are spans and no classes.")
    if task == "token_classification" and args.text_pair_column is not None:
        raise ValueError("--text-pair-column must be left out for entities.")


def texts_and_pairs(rows: list[Row]) -> tuple[list[str], list[str] | None]:
    """The texts, and their second halves where they have some."""
    pairs = [row.text_pair for row in rows if row.text_pair is not None]
    return [row.text for row in rows], pairs or None


def load_classifier(name: str, device: str | None, add_heads: bool) -> tuple[Any, Any]:
    """A fine-tuned model as it stands in its folder, with heads where it has some, and its tokenizer.

    `add_heads` gives one without heads some that only read, so that no prediction changes.
    """
    import transformers

    from ..explain.explainers import task_of_checkpoint
    from ..inputs.tokenizer import load_tokenizer
    from ..models import auto
    from ..models.config import MhexConfig
    from ..models.devices import resolve
    from ..models.loading import HEAD_PREFIXES, check_task, readable
    from ..models.tasks.names import auto_class

    target, _ = resolve(device, None)
    task = task_of_checkpoint(name)
    with readable(name):
        config = transformers.AutoConfig.from_pretrained(name)
    check_task(config, name, task)
    plain = getattr(config, "mhex", None) is None
    ours = auto_class(task)
    loader = getattr(transformers, ours.replace("Mhex", "")) if plain and not add_heads else getattr(auto, ours)
    options = {"mhex": MhexConfig(gate=False)} if plain and add_heads else {}
    with readable(name):
        model, info = loader.from_pretrained(name, output_loading_info=True, **options)
    missing = [key for key in info["missing_keys"] if not (add_heads and key.startswith(HEAD_PREFIXES))]
    if missing:
        raise ValueError(
            f"{name} must be a fine-tuned classifier, got one without weights for {', '.join(sorted(missing))}: its "
            "predictions would be random."
        )
    return model.to(target).eval(), load_tokenizer(name)
