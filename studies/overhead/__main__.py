# SPDX-License-Identifier: Apache-2.0
"""What explanations cost beside the plain model: passes, one text, data sets, fits, training; paired in one run.

    python -m studies.overhead --output docs/results/overhead.json --page docs/overhead.md
    python -m studies.overhead --output cuda.json --device cuda --dtype bfloat16 --attention flash_attention_2

Groups of figures are written as they come, and those that are in the output already are kept: started again, it goes on
with what is missing, and measures what `--only` names anew. The part of the page is called as the output is.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import torch

from ..common import be_quiet, machine, make_parser, write_json, write_page
from .compiled import compiled
from .fitting import equations, fits
from .measuring import Figure
from .models import Settings
from .passes import forward, long_texts, memory, one_text, places, reading, training
from .report import table
from .throughput import throughput

GROUPS: dict[str, Callable[[Settings], Iterator[Figure]]] = {
    "forward": forward,
    "memory": memory,
    "long_texts": long_texts,
    "one_text": one_text,
    "compiled": compiled,
    "reading": reading,
    "places": places,
    "throughput": throughput,
    "training": training,
    "fits": fits,
    "equations": equations,
}


def main(arguments: list[str] | None = None) -> None:
    """Measures the groups asked for, or all that are missing."""
    defaults = Settings()
    options = {name: value for name, value in asdict(defaults).items() if name != "smoke"}
    parser = make_parser(__doc__, **options, only="")
    parser.add_argument("--smoke", action="store_true", help="tiny models and batches: whether it runs, no figures")
    args = parser.parse_args(arguments)
    be_quiet()
    if args.threads:
        torch.set_num_threads(args.threads)
    chosen = {name: getattr(args, name) for name in asdict(defaults)}
    report = _read(args, {"machine": machine(args.device), "settings": chosen, "groups": {}})
    for name in _groups(args.only, report["groups"]):
        start = time.perf_counter()
        figures = [asdict(figure) for figure in GROUPS[name](Settings(**chosen))]
        report["groups"][name] = {"seconds": round(time.perf_counter() - start, 1), "figures": figures}
        report["groups"] = {key: report["groups"][key] for key in GROUPS if key in report["groups"]}
        write_json(args.output, report)
    write_page(args.page, table(report), args.output.stem)


def _read(args: argparse.Namespace, fresh: dict[str, Any]) -> dict[str, Any]:
    """What the output holds already; the study ends with a sentence where that was measured otherwise."""
    if not args.output.is_file():
        return fresh
    report: dict[str, Any] = json.loads(args.output.read_text("utf-8"))
    changed = [name for name in ("machine", "settings") if report.get(name) != fresh[name]]
    if changed:
        sys.exit(f"{args.output} has figures of another {' and '.join(changed)}: remove it, or name another --output.")
    return report


def _groups(only: str, done: dict[str, Any]) -> list[str]:
    """Names of those to be measured, by commas; without any, all that are not done."""
    if not only:
        return [name for name in GROUPS if name not in done]
    if unknown := sorted(set(only.split(",")) - set(GROUPS)):
        sys.exit(f"--only must name groups of {', '.join(GROUPS)}, got {', '.join(unknown)}.")
    return only.split(",")


if __name__ == "__main__":
    main()
