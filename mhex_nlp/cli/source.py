# SPDX-License-Identifier: Apache-2.0
"""What several verbs take: texts from files or datasets, and a classifier from its folder or the hub."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..corpus.readers.rows import Row, RowSource

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


def open_source(args: argparse.Namespace) -> RowSource:
    """The rows of `--data`, with those of the columns that the verb has options for."""
    from ..corpus.readers.opening import open_rows

    options = {name: value for name, value in vars(args).items() if name.endswith("_column")}
    options["max_characters"] = args.max_characters
    return open_rows(args.data, split=args.split, kind=getattr(args, "data_format", None), **options)


def read_rows(args: argparse.Namespace) -> list[Row]:
    """The rows of `--data`, each of which must have a text."""
    from ..corpus.readers.rows import complete_rows

    return list(complete_rows(open_source(args), args.split))


def texts_and_pairs(rows: list[Row]) -> tuple[list[str], list[str] | None]:
    """The texts, and their second halves where they have some."""
    pairs = [row.text_pair for row in rows if row.text_pair is not None]
    return [row.text for row in rows], pairs or None


def load_classifier(name: str, device: str | None, add_heads: bool) -> tuple[Any, Any]:
    """A fine-tuned classifier as it stands in its folder, with heads where it has some, and its tokenizer.

    `add_heads` gives one without heads some that only read, so that no prediction changes.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification

    from ..inputs.tokenizer import load_tokenizer
    from ..models.auto import AutoMhexModelForSequenceClassification
    from ..models.config import MhexConfig
    from ..models.devices import resolve
    from ..models.loading import HEAD_PREFIXES, check_task, readable

    target, _ = resolve(device, None)
    with readable(name):
        config = AutoConfig.from_pretrained(name)
    check_task(config, name)
    plain = getattr(config, "mhex", None) is None
    loader: Any = AutoMhexModelForSequenceClassification
    if plain and not add_heads:
        loader = AutoModelForSequenceClassification
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
