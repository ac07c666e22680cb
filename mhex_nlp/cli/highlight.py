# SPDX-License-Identifier: Apache-2.0
"""`mhex highlight`: its options, one text or a whole corpus, and what it prints."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..inputs.checks import as_integer
from .images import IMAGES, check_kind, highlight_images
from .jobs import check_job, class_name, processes, run_rows
from .process import quiet_libraries
from .say import say
from .source import FILES, add_columns, add_images, check_columns, open_source

HELP = "explain texts, or whole datasets, with a model that has heads"
EXAMPLE = """examples:
  mhex highlight --model demo-output/model --text "The soup was cold, but the staff were lovely."
  mhex highlight --model demo-output/model --data reviews.csv --text-column review --output highlights
  mhex highlight --model fitted-images --images scans --output highlights
  zcat reviews.txt.gz | mhex highlight --model demo-output/model --data - --output highlights --format parquet

several processes, on one machine or more:
  accelerate launch --multi_gpu --num_processes 2 -m mhex_nlp highlight --num-processes 2 --model ... --data ...
  (on a CPU put ACCELERATE_USE_CPU=true in front)

A run that was stopped goes on when the same command is given again. The exit status is 0, 1 where some rows could not
be explained (they are in errors.jsonl), which --allow-errors makes 0 as well, 2 on bad input.
"""
_SETTINGS = ["text_column", "text_pair_column", "id_column", "label_column", "max_characters"]
_SETTINGS += ["part_rows", "unit", "top_k"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `mhex highlight`."""
    add = parser.add_argument
    add("--model", required=True, help="folder or hub name of a model with heads")
    texts = parser.add_mutually_exclusive_group(required=True)
    texts.add_argument("--data", help=f"{FILES}, name of a dataset, or - for standard input")
    texts.add_argument("--text", action="append", help="a text; may be given several times")
    texts.add_argument("--images", help=IMAGES)
    texts.add_argument("--image", action="append", help="file of an image; may be given several times")
    add("--data-format", choices=["text", "jsonl", "csv", "tsv"], help="of standard input, or in place of the suffix")
    add_columns(parser)
    add_images(parser)
    add("--id-column", help="column of the ids; by default the row's number; file_name for those of a folder of images")
    add("--label-column", help="column of the right label, or of gold tags, to count errors")
    add("--output", type=Path, help="folder for the files; without it the terminal shows the texts")
    add("--format", help="some of jsonl, parquet, html (default: jsonl,html, of --images jsonl)")
    add("--overwrite", action="store_true", help="remove what an earlier run left in the folder, and begin anew")
    add("--allow-errors", action="store_true", help="exit with 0 also where some rows could not be explained")
    add("--part-rows", type=int, help="rows of the input in a part file (default: 1000, of --images 200)")
    add("--target", help="class to explain, by name or id, or start or end of answers; by default the predicted one")
    add("--foil", help="class to compare with; needs --target where there are many texts")
    add("--classes", default="target", choices=["target", "all"], help="scores of which (default: %(default)s)")
    add("--aggregation", default="auto", help="auto, fitted, mean, last, ema (default: %(default)s)")
    add(
        "--budget",
        type=_budget,
        help="further passes over each text, or place, that refine the scores, or auto (default: 0, 16 for places)",
    )
    add("--tolerance", type=float, help="of doubt in the leading words' ranking, with --budget auto (default: 0.05)")
    add("--max-budget", type=int, help="the most passes over a text with --budget auto (default: 128)")
    add("--flip", action="store_true", help="search the words that turn each prediction, by at most 12 further passes")
    add("--judge", type=int, metavar="N", help="measure on N of the rows how far the scores can be trusted")
    add("--seed", type=int, default=0, help="of what further passes ask about, and of the rows to judge on")
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


@quiet_libraries(errors_only=False)
def run(args: argparse.Namespace) -> int:
    """Explains as the options say; 0, or 1 where some rows could not be explained and errors are not allowed."""
    reads_images = check_kind(args)
    args.part_rows = (200 if reads_images else 1000) if args.part_rows is None else args.part_rows
    if args.part_rows < 1:
        raise ValueError(f"part_rows must be at least 1, got {args.part_rows}.")
    if args.output is None and (args.top_k is not None or args.overwrite):
        raise ValueError("top_k and overwrite are for files: give an --output.")
    if reads_images:
        return highlight_images(args)
    args.format = args.format or "jsonl,html"
    if args.judge is not None:
        as_integer(args.judge, "judge", at_least=1)
        if args.text:
            raise ValueError("judge draws from the rows of --data, which --text takes the place of.")
    if args.text:
        return _explain_texts(args)
    return _show_rows(args) if args.output is None else _run_job(args)


def _explain_texts(args: argparse.Namespace) -> int:
    from .texts import check_formats, show_explanations, write_explanations

    formats = check_formats(args.format)
    if args.text_pair_column is not None:
        raise ValueError("--text-pair-column names a column of --data, which --text takes the place of.")
    explainer = _explainer(args, args.device)
    explanations = explainer.stream(args.text, **_request(args, explainer))
    if args.output is None:
        show_explanations(explanations, unit=args.unit)
    else:
        for path in write_explanations(explanations, args.output, formats, total=len(args.text), unit=args.unit):
            say(path)
    return 0


def _show_rows(args: argparse.Namespace) -> int:
    """Rows of a source on the terminal; those that cannot be explained are named and passed over."""
    from ..corpus.judging import Sample, judge_rows
    from ..corpus.labelled_rows import labelled_rows
    from ..explain.explainers import task_of_checkpoint
    from .texts import show_explanations

    source = open_source(args, task_of_checkpoint(args.model))
    explainer = _explainer(args, args.device)
    request = _request(args, explainer)
    status, sample = 0, None if args.judge is None else Sample(args.judge, args.seed)
    for row in labelled_rows(source, source, explainer.classes.gold):
        problem = row.problem
        if sample is not None:
            sample.add([row])
        if problem is None:
            pairs = [] if row.text_pair is None else [[row.text_pair]]
            try:
                show_explanations(explainer.stream([row.text], *pairs, ids=[row.id], **request), unit=args.unit)
            except ValueError as error:
                problem = str(error)
        if problem is not None:
            status = 0 if args.allow_errors else 1
            say(f"row {row.number}: {problem}", error=True)
    if sample is not None:
        _say_judgement(judge_rows(explainer, sample.rows, sample.count, sample.seed))
    return status


def _run_job(args: argparse.Namespace) -> int:
    """Explains a whole source into `--output`, as one of the processes that `accelerate launch` started."""
    from ..corpus.columns import ColumnOptions
    from ..corpus.fingerprint import identity_of
    from ..corpus.job.parts import FORMATS
    from .texts import check_formats

    formats = sorted(set(check_formats(args.format, FORMATS)))
    check_job(args, formats)
    state = processes(args)
    explainer = _explainer(args, args.device or state.device)
    source = open_source(args, explainer.task)
    request = explainer.request(**_request(args, explainer))
    columns = ColumnOptions(
        args.unit, args.top_k, args.classes == "all", request.budget > 0, flips=args.flip, task=explainer.task
    )
    how = {"request": request, "formats": formats, "columns": columns, "state": state, "judge": args.judge or 0}
    report = run_rows(args, explainer, source, _SETTINGS, identity_of(explainer, request), **how)
    return 0 if report is None else _print_report(report, args.output, args.allow_errors)


def _print_report(report: Any, output: Path, allow_errors: bool) -> int:
    counts = [f"{report.explained:,} of {report.rows:,} rows explained in {report.parts:,} parts"]
    if report.truncated:
        counts.append(f"{report.truncated:,} texts cut at the model's length (--stride reads them whole)")
    if report.errors:
        counts.append(f"{report.errors:,} rows not explained, see {output / 'errors.jsonl'}")
    say("; ".join(counts) + ".")
    _say_judgement(report.judgement)
    say(output / "summary.html")
    return 1 if report.errors and not allow_errors else 0


def _say_judgement(judgement: Any) -> None:
    from ..corpus.judged import figures_of
    from ..render.judged import describe_judgement

    for sentence in () if judgement is None else describe_judgement(figures_of(judgement)):
        say(sentence)


def _explainer(args: argparse.Namespace, device: Any) -> Any:
    from ..explain.explainers import CLASSES, task_of_checkpoint

    names = ("dtype", "aggregation", "non_negative", "batch_tokens", "max_length", "stride")
    task = task_of_checkpoint(args.model)
    if args.text and task == "question_answering":
        raise ValueError("--text cannot be a question with its context: give --data with a column for each.")
    check_columns(args, task)
    return CLASSES[task].from_pretrained(args.model, device=device, **{name: getattr(args, name) for name in names})


def _request(args: argparse.Namespace, explainer: Any) -> dict[str, Any]:
    """What a call of the explainer is to explain."""
    labels = explainer.classes.labels
    target, foil = (class_name(name, labels) for name in (args.target, args.foil))
    options = {name: getattr(args, name) for name in ("classes", "layers", "budget", "tolerance", "max_budget", "seed")}
    if not args.flip:
        return {"target": target, "foil": foil, **options}
    from ..corpus.explained_rows import check_flip

    check_flip(True, explainer)
    return {"target": target, "foil": foil, "flip": True, **options}


def _budget(value: str) -> int | str:
    try:
        return value if value == "auto" else int(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be an integer or auto, got {value!r}") from None
