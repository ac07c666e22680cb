# SPDX-License-Identifier: Apache-2.0
"""`mhex report`: its options and what it does."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .images import report_images
from .say import say
from .source import add_images, texts_and_pairs

if TYPE_CHECKING:
    from ..corpus.jsonl import AnyExplanation
    from ..corpus.report.training_texts import TrainingTexts

HELP = "static pages of many explanations, with an index to filter them"
EXAMPLE = """examples:
  mhex report highlights --output pages
  mhex report highlights --output pages --labels reviews.csv --label-column stars --title "Reviews of 2026"
  mhex report highlights --output pages --labels reviews.csv --label-column stars --slice source --slice year
  mhex report highlights --output pages --against highlights-of-last-week
  mhex report highlights --output pages --labels reviews.csv --train train.csv --model runs/mood-fitted
  mhex report highlights --output pages --images scans --labels scans
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `mhex report`."""
    add = parser.add_argument
    add("source", type=Path, help="folder that `mhex highlight` wrote JSONL to, or a JSONL file of explanations")
    add("--output", type=Path, required=True, help="folder for the pages; an earlier report there is replaced")
    add("--title", help="(default: Highlighted texts, or images)")
    add("--unit", default="words", choices=["words", "tokens"], help="what is highlighted (default: %(default)s)")
    add("--page-texts", type=int, help="texts on a page (default: 50, at most 200), or images (default: 60)")
    add("--images", help="the images that were highlighted, for small pictures on the pages")
    add_images(parser)
    add("--labels", help="file or dataset with the right labels or gold tags, usually what was highlighted")
    add("--label-column", default="label", help="its column of the label (default: %(default)s)")
    add("--id-column", help="its column of the ids; by default ids are row numbers")
    add("--slice", action="append", metavar="COLUMN", help="tell error rates by a column of --labels; may be repeated")
    add("--against", type=Path, help="another run over the same texts, to say what changed since: as the source")
    add("--train", help="the file or dataset that the model was trained on: to show wrong texts with its nearest texts")
    add("--model", help="the model that was trained on --train and made the explanations")
    add("--text-column", default="text", help="column of the text of --train (default: %(default)s)")
    add("--text-pair-column", help="its column of a second text")
    add("--train-label-column", help="its column of the label (default: that of --label-column)")
    add("--device", help="that the model runs on, such as cpu or cuda:0 (default: a GPU where there is one)")
    add("--split", default="train", help="split of a dataset (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Writes the pages and prints the index's path; 0."""
    from ..corpus.jsonl import failed_rows, read_explanations
    from ..corpus.judged import judgement_of_job
    from ..corpus.report import write_report
    from ..explain.images.explanation import ImageExplanation

    explanations: Iterator[Any] = read_explanations(args.source)
    first = next(explanations, None)
    explanations = itertools.chain([] if first is None else [first], explanations)
    if args.slice and args.labels is None:
        raise ValueError("slice names a column of --labels, the file or dataset that was highlighted, got none.")
    if isinstance(first, ImageExplanation):
        if args.slice or args.against is not None or args.train is not None:
            raise ValueError("slice, against and train are for explanations of texts, got some of images.")
        say(report_images(args, explanations))
        return 0
    if args.images is not None:
        raise ValueError("--images is for explanations of images, got some of texts.")
    if args.window is not None:
        raise ValueError("--window is for explanations of images, got some of texts.")
    options: dict[str, Any] = {"title": args.title or "Highlighted texts", "unit": args.unit}
    options["page_texts"] = 50 if args.page_texts is None else args.page_texts
    options["judgement"] = judgement_of_job(args.source)
    if args.labels is not None and first is not None:
        options["labels"], options["slices"] = _labels(args, first)
    if args.against is not None:
        options["against"] = read_explanations(args.against)
    options["failed"] = failed_rows(args.source)
    if (args.train is None) != (args.model is None):
        raise ValueError("--train and --model go together: the training texts, and the model that compares them.")
    if args.train is not None:
        if args.labels is None:
            raise ValueError("--train needs --labels, for the texts whose predictions are wrong; got none.")
        options["train"] = _training_texts(args)
    say(write_report(explanations, args.output, **options))
    return 0


def _training_texts(args: argparse.Namespace) -> TrainingTexts:
    """The texts of `--train`, read by the model; ValueError for a row without text or label."""
    from ..corpus import open_rows
    from ..corpus.readers.rows import complete_rows
    from ..corpus.report.training_texts import TrainingTexts
    from ..explain.explainer import MhexExplainer
    from ..explain.gold_labels import classes_of_names

    explainer = MhexExplainer.from_pretrained(args.model, device=args.device)
    source = open_rows(
        args.train,
        split=args.split,
        text_column=args.text_column,
        text_pair_column=args.text_pair_column,
        label_column=args.train_label_column or args.label_column,
    )
    declared = classes_of_names(source.label_names, explainer.classes.labels)
    rows = list(complete_rows(source, args.split))
    texts, pairs = texts_and_pairs(rows)
    labels = [row.label if isinstance(row.label, int) else declared.get(row.label or "", row.label) for row in rows]
    return TrainingTexts(explainer, texts, labels, pairs, progress=True)


def _labels(args: argparse.Namespace, example: AnyExplanation) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The label, or the gold tags, of each id, and by column the values to slice by.

    ValueError for a row that cannot be read, an id with two labels, and a column that is not there.
    """
    from ..corpus import open_rows
    from ..corpus.report.pages import classes_of_model
    from ..explain.explanation import Explanation
    from ..explain.gold_labels import classes_of_names

    # any column will do for the text, which is not looked at
    columns = {"text_column": args.label_column, "label_column": args.label_column, "id_column": args.id_column}
    source = open_rows(args.labels, split=args.split, slices=args.slice or (), **columns)
    declared = {}
    if texts := isinstance(example, Explanation):
        declared = classes_of_names(source.label_names, classes_of_model(example))
    labels: dict[str, Any] = {}
    slices: dict[str, dict[str, Any]] = {name: {} for name in args.slice or ()}
    for number, entry in enumerate(source.entries()):
        if isinstance(entry, str):
            raise ValueError(f"labels, row {number} (counted from 0): {entry}.")
        row = source.columns.row(number, entry)
        for name, values in slices.items():
            values.setdefault(row.id, sys.intern(value) if isinstance(value := entry.get(name), str) else value)
        if not texts:
            labels.setdefault(row.id, entry.get(args.label_column))
            continue
        label: str | int | None = row.label if isinstance(row.label, int) else declared.get(row.label or "", row.label)
        if labels.setdefault(row.id, label) != label:
            raise ValueError(
                f"labels must be one an id, got {labels[row.id]!r:.80} and {label!r:.80} for {row.id!r:.80}; see row "
                f"{number} (counted from 0)."
            )
    return labels, slices or None
