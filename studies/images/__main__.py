# SPDX-License-Identifier: Apache-2.0
"""What maps of images are worth: planted patterns, chest X-rays, a real network, accuracy with heads, and cost.

    python -m studies.images --data path/to/images --work path/to/models \\
        --output docs/results/images.json --page docs/images.md

`--data` holds cifar10_test_jpg.tar and pneumoniamnist_train3882.npz. Pieces of work are written as they come, and those
that are in the output are not done again, so it can be stopped at any time; `--only` names groups by commas.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from ..common import be_quiet, machine, make_parser, write_json, write_page
from . import accuracy, cost, planted, pneumonia, real
from .measuring import Settings, as_plain
from .report import table


class Group(NamedTuple):
    """A part of the study: its pieces, and what measures one of them."""

    units: Callable[[Settings], list[Any]]
    measure: Callable[..., dict[str, Any]]


GROUPS = {
    module.__name__.rpartition(".")[2]: Group(module.units, module.measure)
    for module in (planted, pneumonia, real, accuracy, cost)
}


def main(arguments: list[str] | None = None) -> None:
    """Measures what is missing of the groups asked for, and writes the page."""
    defaults = {name: getattr(Settings, name) for name in ("seeds", "images", "fitted_on", "pairs", "permutations")}
    parser = make_parser(__doc__, "data", "work", only="", **defaults)
    parser.add_argument("--smoke", action="store_true", help="few images, one seed: whether it runs, no figures")
    args = parser.parse_args(arguments)
    be_quiet()
    settings = Settings(args.data, args.work, **{name: getattr(args, name) for name in defaults})
    settings = settings.small() if args.smoke else settings
    if unknown := sorted(set(filter(None, args.only.split(","))) - set(GROUPS)):
        sys.exit(f"--only must name groups of {', '.join(GROUPS)}, got {', '.join(unknown)}.")
    report: dict[str, Any] = {"machine": machine(), "settings": as_plain(settings), "groups": {}}
    if args.output.is_file():
        kept = json.loads(args.output.read_text("utf-8"))
        if kept["settings"] != report["settings"]:
            sys.exit(f"{args.output} has figures of other settings: remove it, or name another --output.")
        report = kept
    for name in args.only.split(",") if args.only else GROUPS:
        group, done = GROUPS[name], report["groups"].setdefault(name, {})
        for unit in group.units(settings):
            key = "/".join(map(str, unit))
            if key not in done:
                start = time.perf_counter()
                done[key] = group.measure(settings, *unit)
                if machine() != report["machine"]:
                    done[key]["machine"] = machine()
                done[key]["seconds"] = round(time.perf_counter() - start, 1)
                write_json(args.output, report)
                print(name, key, f"{done[key]['seconds']:.0f} s", flush=True)
    write_json(args.output, report)
    write_page(args.page, table(report), "images")


if __name__ == "__main__":
    main()
