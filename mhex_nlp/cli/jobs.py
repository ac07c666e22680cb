# SPDX-License-Identifier: Apache-2.0
"""What jobs of texts and of images have in common: processes, checks, names of classes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..corpus.job.job import JobReport


def processes(args: argparse.Namespace) -> Any:
    """accelerate's state; ValueError where it is not of the processes that are expected."""
    from accelerate import Accelerator

    state = Accelerator()
    if args.num_processes is not None and state.num_processes != args.num_processes:
        raise ValueError(
            f"num_processes must be what `accelerate launch` started, {state.num_processes}, got {args.num_processes}."
        )
    if args.data == "-" and state.num_processes > 1:
        raise ValueError("data must be a file or a dataset where several processes share the work, got standard input.")
    return state


def check_job(args: argparse.Namespace, formats: Sequence[str]) -> None:
    """ValueError for an output inside the data, and for options that the job cannot use."""
    if Path(args.data).is_dir() and args.output.resolve().is_relative_to(Path(args.data).resolve()):
        raise ValueError(f"output must be a folder outside the data, got {args.output} inside {args.data}.")
    if args.top_k is not None and "parquet" not in formats:
        raise ValueError("top_k is for Parquet files, the others hold whole explanations: add parquet to --format.")
    if args.foil is not None and args.target is None:
        raise ValueError(
            "foil needs target where there are many texts, since it must not be what a text is explained for."
        )


def run_rows(
    args: argparse.Namespace, explainer: Any, source: Any, names: Sequence[str], identity: Mapping[str, Any], **job: Any
) -> JobReport | None:
    """Explains the rows of a source into `--output`; in other processes than the first, `None`.

    Args:
        names: of the options that the output depends on.
        identity: what else it depends on.
        job: more of `run_job`.
    """
    from ..corpus.job.job import run_job

    settings = {"data": source.identity, "format": job["formats"], **{name: getattr(args, name) for name in names}}
    options = {"part_rows": args.part_rows, "overwrite": args.overwrite, "settings": {**settings, **identity}}
    return run_job(explainer, source, args.output, **options, **job)


def class_name(name: str | None, labels: Sequence[str]) -> str | int | None:
    """Digits are a class id, but where a class has them for its name."""
    if name is None or name in labels or not (name.isascii() and name.isdigit()):
        return name
    return int(name)
