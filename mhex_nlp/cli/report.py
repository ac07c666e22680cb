# SPDX-License-Identifier: Apache-2.0
"""`mhex report`: its options and what it does."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

EXAMPLE = """examples:
  mhex report highlights --output pages
  mhex report highlights --output pages --labels reviews.csv --label-column stars --title "Reviews of 2026"
"""


def add_report_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `report` to a parser, with examples at the end of its help."""
    parser.epilog, parser.formatter_class = EXAMPLE, argparse.RawDescriptionHelpFormatter
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


def run_report(args: argparse.Namespace) -> int:
    """Writes the pages as the parsed options say; the exit status.

    Raises:
        OSError, ValueError: one sentence on what is wrong with the source, the labels or the output.
    """
    from ..corpus.report.pages import write_report
    from ..corpus.report.reading import read_explanations

    explanations = read_explanations(args.source)
    labels = None if args.labels is None else _labels(args)
    print(
        write_report(
            explanations, args.output, labels=labels, title=args.title, unit=args.unit, page_texts=args.page_texts
        )
    )
    return 0


def _labels(args: argparse.Namespace) -> Mapping[str, str | int | None]:
    """The right labels by id, of all rows."""
    from ..corpus import open_rows

    # any column will do for the text, which is not looked at
    source = open_rows(
        args.labels,
        text_column=args.label_column,
        id_column=args.id_column,
        label_column=args.label_column,
        split=args.split,
    )
    return {row.id: row.label for row in source}
