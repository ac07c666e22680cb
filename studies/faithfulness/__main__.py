# SPDX-License-Identifier: Apache-2.0
"""How faithful, plausible and dear MHEX's scores are beside other methods: MiniLM on SST-2 and AG News, three seeds.

    python -m studies.faithfulness --data path/to/data --work path/to/work \\
        --output docs/results/faithfulness.json --page docs/faithfulness.md

`--data` holds sst2 (train.tsv, test.tsv), ag_news (raw_split_fit.csv, raw_split_eval.csv) and sst_trees (test.jsonl).
Models and per-text figures are kept in `--work`; what is there is not done again, so the study can be stopped at any
time and goes on with the unit of work it was in. After each unit the means go to `--output`, and as tables between two
marker comments of `--page`. Settings are constants in settings.py.

Tables: A removal of top tokens, B agreement with Shapley values, C parameter randomisation, D plausibility, E cost.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from mhex_nlp.evaluation.text_values import TextValues

from ..common import be_quiet, make_parser
from . import extras, measuring, report, settings
from .models import Case


def units(args: argparse.Namespace, cases: dict[tuple[str, int], Case]) -> Iterator[None]:
    """Does one unit after another, in the order in which a study stopped half-way says most."""
    first = [case for (_, seed), case in cases.items() if seed == args.seeds[0]]
    rest = [case for (_, seed), case in cases.items() if seed != args.seeds[0]]
    for case in first:
        case.prepare()
        yield
        yield from table_a(args, case)
        yield from table_b(args, case)
    for case in first:
        if "C" in args.tables:
            extras.randomise(case, min(settings.RANDOMISED_TEXTS, args.texts))
            yield
        if "E" in args.tables:
            extras.cost(case)
            yield
        yield from table_d(args, case)
    for case in rest:
        case.prepare()
        yield
        yield from table_a(args, case)
        yield from table_d(args, case)


def measured(
    case: Case, methods: Sequence[str], texts: Sequence[TextValues], targets: Sequence[int], removal: str = "mask"
) -> Iterator[None]:
    for method in methods:
        for variant in measuring.variants(method):
            measuring.score(case, variant, texts, targets)
            measuring.measure(case, variant, texts, targets, removal)
        yield


def table_a(args: argparse.Namespace, case: Case) -> Iterator[None]:
    if "A" in args.tables:
        texts = case.texts(args.texts)
        targets = measuring.targets_of(case, texts)
        yield from measured(case, settings.METHODS_A, texts, targets)
        yield from measured(case, settings.METHODS_DELETION, case.texts(args.texts, "deletion"), targets, "deletion")


def table_b(args: argparse.Namespace, case: Case) -> Iterator[None]:
    if "B" in args.tables:
        texts = case.texts(args.table_b_texts)
        targets = measuring.targets_of(case, texts)
        yield from measured(case, ("shapley", *settings.METHODS_A, *settings.METHODS_B), texts, targets)


def table_d(args: argparse.Namespace, case: Case) -> Iterator[None]:
    if "D" not in args.tables or case.data != "sst2":
        return
    chosen = measuring.gold_texts(case, min(settings.PLAUSIBLE_TEXTS, args.texts))
    for method in settings.METHODS_D:
        for variant in measuring.variants(method):
            measuring.plausibility(case, variant, chosen)
        yield


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder of the models and of the figures of each text")
    parser.add_argument("--only", choices=settings.DATA, help="one of the data sets")
    parser.add_argument("--tables", default=",".join(settings.TABLES), help="such as A,B")
    parser.add_argument("--seeds", default=",".join(map(str, settings.SEEDS)))
    parser.add_argument("--texts", type=int, default=300, help="of tables A and D, and at most of C")
    parser.add_argument("--table-b-texts", type=int, default=60)
    parser.add_argument("--train-texts", type=int, help="only so many, to try the script")
    args = parser.parse_args()
    args.tables, args.seeds = args.tables.split(","), [int(seed) for seed in args.seeds.split(",")]
    if unknown := set(args.tables) - set(settings.TABLES):
        parser.error(f"--tables must be among {','.join(settings.TABLES)}, got {','.join(sorted(unknown))}.")
    if min(args.texts, args.table_b_texts) < 2:
        parser.error(f"--texts and --table-b-texts must be at least 2, got {args.texts} and {args.table_b_texts}.")
    be_quiet()
    warnings.filterwarnings("ignore", message=".*Explained in part.*")  # cut for all methods alike
    sets = [args.only] if args.only else list(settings.DATA)
    cases = {
        (data, seed): Case(data, seed, args.data, args.work, args.train_texts) for seed in args.seeds for data in sets
    }
    for _ in units(args, cases):
        report.write(args)
    report.write(args)


if __name__ == "__main__":
    main()
