# SPDX-License-Identifier: Apache-2.0
"""How faithful, plausible and dear MHEX's scores are beside other methods: MiniLM on SST-2 and AG News, three seeds.

    python -m studies.faithfulness --data path/to/data --work path/to/work \\
        --output docs/results/faithfulness.json --page docs/faithfulness.md

`--data` holds sst2 (train.tsv, test.tsv), ag_news (raw_split_fit.csv, raw_split_eval.csv) and sst_trees (test.jsonl).
Models and per-text figures are kept in `--work`; what is there is not done again, so the study can be stopped at any
time and goes on with the unit of work it was in. After each unit the means go to `--output`, and as tables between two
marker comments of `--page`. Settings are constants in settings.py. Tables A and D, and at most C, have `--texts` texts.

Tables: A removal of top tokens, B agreement with Shapley values, C parameter randomisation, D plausibility, E cost.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator, Sequence
from functools import partial

from ..common import be_quiet, make_parser
from . import measuring, report, settings
from .models import Case

TABLES = "ABCDE"


def units(args: argparse.Namespace, cases: Sequence[Case]) -> Iterator[None]:
    """Does one unit after another, in the order in which a study stopped half-way says most."""
    first = [case for case in cases if case.seed == args.seeds[0]]
    rest = [case for case in cases if case.seed != args.seeds[0]]
    for chosen, tables in ((first, "AB"), (first, "CED"), (rest, "AD")):
        for case in chosen:
            case.prepare()
            yield
            for table in tables:
                if table in args.tables:
                    yield from table_units(args, case, table)


def table_units(args: argparse.Namespace, case: Case, table: str) -> Iterator[None]:
    """A unit for each method of tables A, B and D, one for the others."""
    if table == "C":
        measuring.randomise(case, min(settings.RANDOMISED_TEXTS, args.texts))
    elif table == "E":
        measuring.cost(case)
    elif table != "D" or case.data == "sst2":
        count = {"B": args.table_b_texts, "D": min(settings.PLAUSIBLE_TEXTS, args.texts)}.get(table, args.texts)
        for method in settings.METHODS[table]:
            case.unit(table, method, count, partial(measuring.measure, case, table, method, count))
            yield
    yield


def main() -> None:
    seeds = ",".join(map(str, settings.SEEDS))
    parser = make_parser(__doc__, "data", "work", tables=",".join(TABLES), seeds=seeds, texts=300, table_b_texts=60)
    parser.add_argument("--only", choices=settings.NAMES, help="one of the data sets")
    parser.add_argument("--train-texts", type=int, help="only so many, to try the script")
    args = parser.parse_args()
    args.tables, args.seeds = args.tables.split(","), [int(seed) for seed in args.seeds.split(",")]
    if unknown := set(args.tables) - set(TABLES):
        parser.error(f"--tables must be among {','.join(TABLES)}, got {','.join(sorted(unknown))}.")
    if min(args.texts, args.table_b_texts) < 2:
        parser.error(f"--texts and --table-b-texts must be at least 2, got {args.texts} and {args.table_b_texts}.")
    be_quiet()
    warnings.filterwarnings("ignore", message=".*Explained in part.*")  # cut for all methods alike
    sets = [args.only] if args.only else list(settings.NAMES)
    cases = [Case(data, seed, args.data, args.work, args.train_texts) for seed in args.seeds for data in sets]
    for _ in units(args, cases):
        report.write(args)


if __name__ == "__main__":
    main()
