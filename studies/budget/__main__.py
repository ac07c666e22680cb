# SPDX-License-Identifier: Apache-2.0
"""What each further pass is worth: MHEX refined by a budget beside every peer at as many passes, and its error bars.

    python -m studies.budget --data path/to/data --work path/to/work \\
        --output docs/results/budget.json --page docs/budget.md --figure docs/budget.png

`--data` and `--work` as for `studies.faithfulness`, whose models are taken where they are there. Every 10 texts are a
block, and every method at every budget a unit of it: what is there is not done again. After a change to
`explain/refinement.py` remove `<work>/*/budget/mhex_fitted-*`.
"""

from __future__ import annotations

import warnings

from ..common import be_quiet, make_parser, write_json
from ..faithfulness import settings
from ..faithfulness.models import Case
from . import cost, report
from .measuring import BLOCK, FIT_TEXTS, block_units


def main() -> None:
    parser = make_parser(__doc__, "data", "work", seeds="0", sst2=40, ag_news=20)
    parser.epilog = "--sst2 and --ag-news: test texts of each"
    parser.add_argument("--figure", type=report.Path, help="PNG file of the figure")
    parser.add_argument("--time-rounds", type=int, default=0, help="times budgets, on an idle machine")
    parser.add_argument("--report-only", action="store_true", help="no more measuring: write what is there")
    args = parser.parse_args()
    be_quiet()
    warnings.filterwarnings("ignore", message=".*Explained in part.*")  # cut for all methods alike
    texts = {name: getattr(args, name) for name in settings.NAMES}
    seeds = [int(seed) for seed in args.seeds.split(",")]
    cases = [Case(data, seed, args.data, args.work, fit_texts=FIT_TEXTS[data]) for seed in seeds for data in texts]
    for block in range(0 if args.report_only else max(texts.values()) // BLOCK):
        for case in cases:
            if (block + 1) * BLOCK <= texts[case.data]:
                case.prepare()
                block_units(case, block)
                report.write(args, cases)
    for case in cases if args.time_rounds else ():
        if case.seed == cases[0].seed:
            write_json(report.cost_path(case), cost.measure(case, args.time_rounds))
    report.write(args, cases)


if __name__ == "__main__":
    main()
