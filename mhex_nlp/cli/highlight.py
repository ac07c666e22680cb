# SPDX-License-Identifier: Apache-2.0
"""`highlight` on the command line: its options, one text or a whole corpus, and what it prints."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

EXAMPLE = """examples:
  %(prog)s --model demo-output/model --text "The soup was cold, but the staff were lovely."
  %(prog)s --model demo-output/model --data reviews.csv --text-column review --output highlights
  zcat reviews.txt.gz | %(prog)s --model demo-output/model --data - --output highlights --format parquet

several processes, on one machine or more:
  accelerate launch --multi_gpu --num_processes 2 scripts/highlight.py --num-processes 2 --model ... --data ...
  (on a CPU put ACCELERATE_USE_CPU=true in front)

A run that was stopped goes on when the same command is given again. The exit status is 0, 1 where some rows could not
be explained (they are in errors.jsonl), 2 on bad input.
"""


def add_highlight_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `highlight` to a parser, with examples at the end of its help."""
    parser.epilog, parser.formatter_class = EXAMPLE, argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--model", required=True, help="folder or hub name of a model with heads")
    texts = parser.add_mutually_exclusive_group(required=True)
    texts.add_argument(
        "--data", help="CSV, TSV, JSON, JSONL, Parquet or text file, name of a dataset, or - for standard input"
    )
    texts.add_argument("--text", action="append", help="a text; may be given several times")
    add("--data-format", choices=["text", "jsonl", "csv", "tsv"], help="of standard input, or in place of the suffix")
    add("--split", default="train", help="split of a dataset (default: %(default)s)")
    add("--text-column", default="text", help="column of the text (default: %(default)s)")
    add("--text-pair-column", help="column of a second text")
    add("--id-column", help="column of the ids; by default the row's number")
    add("--label-column", help="column of the right label, to count errors")
    add("--output", type=Path, help="folder for the files; without it the terminal shows the texts")
    add("--format", default="jsonl,html", help="some of jsonl, parquet, html (default: %(default)s)")
    add("--overwrite", action="store_true", help="remove what an earlier run left in the folder, and begin anew")
    add("--part-rows", type=int, default=1000, help="rows of the input in a part file (default: %(default)s)")
    add("--target", help="class to explain, by name or id; by default the predicted one")
    add("--foil", help="class to compare with; needs --target where there are many texts")
    add("--classes", default="target", choices=["target", "all"], help="scores of which (default: %(default)s)")
    add("--aggregation", default="auto", help="auto, fitted, mean, last, ema (default: %(default)s)")
    add("--unit", default="words", choices=["words", "tokens"], help="of HTML and Parquet (default: %(default)s)")
    add("--top-k", type=int, help="keep only that many units a text, in Parquet files")
    add("--layers", action="store_true", help="add what each layer contributes")
    add("--non-negative", action="store_true", help="show only what speaks for the target")
    add("--max-length", type=int, help="tokens a text is cut at; by default what the model takes")
    add("--stride", type=int, help="read longer texts in windows that share this many tokens, instead of cutting them")
    add("--batch-tokens", type=int, help="tokens in a batch; by default 1024 on a CPU, else 4096")
    add("--dtype", help="float32, bfloat16 or float16; by default the checkpoint's")
    add("--device", help="such as cuda:0; by default what accelerate finds, with --text the CPU")
    add("--num-processes", type=int, help="how many processes are expected; another number is an error")


def run_highlight(args: argparse.Namespace) -> int:
    """Explains as the parsed options say; the exit status.

    Raises:
        OSError, TypeError, ValueError: one sentence on what is wrong with the options, the model or the data.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    if args.part_rows < 1:
        raise ValueError(f"part_rows must be at least 1, got {args.part_rows}.")
    if args.output is None and (args.top_k is not None or args.overwrite):
        raise ValueError("top_k and overwrite are for files: give an --output.")
    if args.text:
        return _show_texts(args)
    if args.output is None:
        return _show_rows(args)
    return _run(args)


def _explainer(args: argparse.Namespace, device: Any) -> Any:
    from ..explain.explainer import MhexExplainer

    return MhexExplainer.from_pretrained(
        args.model,
        dtype=args.dtype,
        device=device,
        aggregation=args.aggregation,
        non_negative=args.non_negative,
        batch_tokens=args.batch_tokens,
        max_length=args.max_length,
        stride=args.stride,
    )


def _show_texts(args: argparse.Namespace) -> int:
    from .texts import check_formats, show_explanations, write_explanations

    formats = check_formats(args.format)
    if args.text_pair_column is not None:
        raise ValueError("--text-pair-column names a column of --data, which --text takes the place of.")
    explainer = _explainer(args, args.device)
    explanations = explainer.stream(args.text, **_options(args, explainer))
    if args.output is None:
        show_explanations(explanations, unit=args.unit)
    else:
        for path in write_explanations(explanations, args.output, formats, total=len(args.text), unit=args.unit):
            print(path)
    return 0


def _show_rows(args: argparse.Namespace) -> int:
    """Rows of a source on the terminal; what cannot be explained is told and passed over."""
    from .texts import show_explanations

    source = _source(args)
    explainer = _explainer(args, args.device)
    options = _options(args, explainer)
    bad = 0
    for row in source:
        if row.problem is None:
            try:
                pairs = None if row.text_pair is None else [row.text_pair]
                show_explanations(explainer.stream([row.text], pairs, ids=[row.id], **options), unit=args.unit)
                continue
            except ValueError as error:
                problem = str(error)
        else:
            problem = row.problem
        bad += 1
        print(f"row {row.number}: {problem}", file=sys.stderr)
    return 1 if bad else 0


def _run(args: argparse.Namespace) -> int:
    from accelerate import Accelerator

    from ..corpus.columns import ColumnOptions
    from ..corpus.fingerprint import identity_of
    from ..corpus.job.job import run_job
    from ..corpus.job.parts import FORMATS
    from .texts import check_formats

    formats = sorted(set(check_formats(args.format, FORMATS)))
    if Path(args.data).is_dir() and args.output.resolve().is_relative_to(Path(args.data).resolve()):
        raise ValueError(f"output must be a folder outside the data, got {args.output} inside {args.data}.")
    if args.top_k is not None and "parquet" not in formats:
        raise ValueError("top_k is for Parquet files, the others hold whole explanations: add parquet to --format.")
    if args.foil is not None and args.target is None:
        raise ValueError(
            "foil needs target where there are many texts, since it must not be what a text is explained for."
        )
    columns = ColumnOptions(args.unit, args.top_k, args.classes == "all")
    state = Accelerator()
    if args.num_processes is not None and state.num_processes != args.num_processes:
        raise ValueError(
            f"num_processes must be what `accelerate launch` started, {state.num_processes}, got {args.num_processes}."
        )
    if args.data == "-" and state.num_processes > 1:
        raise ValueError("data must be a file or a dataset where several processes share the work, got standard input.")
    source = _source(args)
    explainer = _explainer(args, args.device or state.device)
    asked = explainer.request(**_options(args, explainer))
    own = ("text_column", "text_pair_column", "id_column", "label_column", "part_rows", "unit", "top_k")
    settings = {
        "data": source.identity,
        "format": formats,
        **{name: getattr(args, name) for name in own},
        **identity_of(explainer, asked),
    }
    report = run_job(
        explainer,
        source,
        args.output,
        asked=asked,
        formats=formats,
        columns=columns,
        settings=settings,
        state=state,
        part_rows=args.part_rows,
        overwrite=args.overwrite,
    )
    if report is None:
        return 0
    told = [f"{report.explained:,} of {report.rows:,} rows explained in {report.parts:,} parts"]
    if report.truncated:
        told.append(f"{report.truncated:,} texts cut at the model's length (--stride reads them whole)")
    if report.errors:
        told.append(f"{report.errors:,} rows not explained, see {args.output / 'errors.jsonl'}")
    print("; ".join(told) + ".")
    print(args.output / "summary.html")
    return 1 if report.errors else 0


def _source(args: argparse.Namespace) -> Any:
    from ..corpus.readers.opening import open_rows

    return open_rows(
        args.data,
        text_column=args.text_column,
        text_pair_column=args.text_pair_column,
        id_column=args.id_column,
        label_column=args.label_column,
        split=args.split,
        kind=args.data_format,
    )


def _options(args: argparse.Namespace, explainer: Any) -> dict[str, Any]:
    labels = explainer.classes.labels
    return {
        "target": _class_name(args.target, labels),
        "foil": _class_name(args.foil, labels),
        "classes": args.classes,
        "layers": args.layers,
    }


def _class_name(given: str | None, labels: Sequence[str]) -> str | int | None:
    """Digits are a class id, but where a class has them for its name."""
    if given is None or given in labels or not (given.isascii() and given.isdigit()):
        return given
    return int(given)


def show_warning(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
    """A warning as one line on stderr."""
    print(f"warning: {message}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """`python scripts/highlight.py ...`: as `mhex highlight ...`; exit status 2 with one sentence on bad input."""
    parser = argparse.ArgumentParser(description="Explain whole datasets with a model that has trained heads.")
    add_highlight_arguments(parser)
    args = parser.parse_args(argv)
    warnings.showwarning = show_warning
    try:
        return run_highlight(args)
    except (OSError, TypeError, ValueError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, f"{parser.prog}: stopped.\n")
