# SPDX-License-Identifier: Apache-2.0
"""`mhex report`: its options and what it does."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "static pages of many explanations, with an index to filter them"
EXAMPLE = """examples:
  mhex report highlights --output pages
  mhex report highlights --output pages --labels reviews.csv --label-column stars --title "Reviews of 2026"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `mhex report`."""
    add = parser.add_argument
    add("source", type=Path, help="folder that `mhex highlight` wrote JSONL to, or a JSONL file of explanations")
    add("--output", type=Path, required=True, help="folder for the pages; an earlier report there is replaced")
    add("--title", default="Highlighted texts", help="(default: %(default)s)")
    add("--unit", default="words", choices=["words", "tokens"], help="what is highlighted (default: %(default)s)")
    add("--page-texts", type=int, default=50, help="texts on a page (default: %(default)s)")
    add("--labels", help="file or dataset with the right labels, usually what was highlighted")
    add("--label-column", default="label", help="its column of the label (default: %(default)s)")
    add("--id-column", help="its column of the ids; by default ids are row numbers")
    add("--split", default="train", help="split of a dataset (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Writes the pages and prints the index's path; 0."""
    from ..corpus.jsonl import read_explanations
    from ..corpus.report import write_report

    explanations, labels = read_explanations(args.source), None
    if args.labels is not None:
        from ..corpus import open_rows

        # any column will do for the text, which is not looked at
        source = open_rows(
            args.labels,
            text_column=args.label_column,
            id_column=args.id_column,
            label_column=args.label_column,
            split=args.split,
        )
        labels = {row.id: row.label for row in source}
    options = {"labels": labels, "title": args.title, "unit": args.unit, "page_texts": args.page_texts}
    print(write_report(explanations, args.output, **options))
    return 0
