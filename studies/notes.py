# SPDX-License-Identifier: Apache-2.0
"""How many texts carry which note, and how deep their ink is.

    python -m studies.notes --data DATA --work WORK --output docs/results/notes.json --page docs/notes.md

WORK holds the fitted models `sst2-0` and `ag_news-0`: that of `studies.faithfulness`, or the AGAIN of `studies.refit`.
Fits of earlier versions do not tell misfits. Texts are test texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mhex_nlp import Explanation, MhexExplainer
from mhex_nlp.explain.notes import AGAINST, LARGE_MISFIT, OUTWEIGHED
from mhex_nlp.render.highlight import LEVELS, highlight

from .common import be_quiet, grid, machine, make_parser, mean_interval, write_json, write_page
from .faithfulness import settings
from .faithfulness.data import read, shuffled

NAMES = {"sst2": "SST-2", "ag_news": "AG News"}
KINDS = {
    AGAINST: "words speak against the prediction",
    OUTWEIGHED: "base value outweighs the words, which speak for it",
    LARGE_MISFIT: "misfit in the worst tenth",
    "any": "any of these",
    "paler": "strongest word below full colour",
    "pale": "no word above half of full colour",
}


def main() -> None:
    options = make_parser(__doc__, "data", "work", texts=1000, seed=0).parse_args()
    be_quiet()
    report: dict[str, Any] = {"machine": machine(), "seed": options.seed, "cases": {}}
    for data in NAMES:
        folder = str(options.work / f"{data}-0" / "fitted")
        explainer = MhexExplainer.from_pretrained(folder, max_length=settings.MAX_LENGTH[data])
        rows = read(options.data, data)[1]
        texts = list(shuffled(rows, min(options.texts, len(rows)), options.seed)["text"])
        report["cases"][data] = shares(list(explainer.stream(texts)))
        write_json(options.output, report)
    write_page(options.page, table(report))


def shares(explanations: Sequence[Explanation]) -> dict[str, Any]:
    """The share of texts of each kind, with its interval; None of misfits that the fit does not tell."""
    kinds: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    for one in explanations:
        carried = [code for code in (AGAINST, OUTWEIGHED, LARGE_MISFIT) if code in one.note_codes]
        deepest = max((abs(segment.level) for segment in highlight(one.to_dict()).segments), default=0)
        values = {"any": bool(carried), "paler": deepest < LEVELS, "pale": deepest <= LEVELS // 2}
        for kind, column in kinds.items():
            column.append(values.get(kind, kind in carried))
    figures: dict[str, Any] = {kind: mean_interval(np.asarray(column, dtype=float)) for kind, column in kinds.items()}
    known = [one for one in explanations if one.misfit is not None and one.method.usual_misfit is not None]
    large = np.asarray([one.misfit_is_large for one in known], dtype=float)
    return figures | {LARGE_MISFIT: mean_interval(large) if known else None}


def table(report: Mapping[str, Any]) -> list[str]:
    """The shares of all data sets, in percent."""
    cases = report["cases"]
    counts = ", ".join(f"{NAMES[data]} {shares['any']['n']:,}" for data, shares in cases.items())
    rows = [[title, *(_percent(shares[kind]) for shares in cases.values())] for kind, title in KINDS.items()]
    return [
        f"Shares of test texts ({counts}), with 95 % bootstrap intervals; MiniLM, fitted, seed {report['seed']}. Made "
        "by `studies/notes.py`.",
        "",
        *grid(["texts", *(NAMES[data] for data in cases)], rows),
    ]


def _percent(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return "not known"
    low, high = figure["interval95"]
    return f"{100 * figure['mean']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


if __name__ == "__main__":
    main()
