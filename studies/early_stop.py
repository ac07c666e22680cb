# SPDX-License-Identifier: Apache-2.0
"""Does a fit that stops early (`min_gain`) lose skill, and what does it spare? The same model fitted both ways.

    python -m studies.early_stop --data DATA --work WORK --output docs/results/early_stop.json --page docs/readout.md

WORK is the folder of `studies.faithfulness` with its fine-tuned models, which are made where they are missing. Skill is
of the texts that both fits held out.
"""

from __future__ import annotations

import json
from typing import Any

from mhex_nlp import AutoMhexModelForSequenceClassification, fit_equivalent_matrices
from mhex_nlp.inputs.tokenizer import load_tokenizer

from .common import be_quiet, grid, machine, make_parser, span, write_json, write_page
from .faithfulness import settings
from .faithfulness.models import Case

FIGURES = ("texts", "curve", "skill", "skill_interval", "held_out", "strength", "seconds")


def measure(case: Case, gains: tuple[float, ...]) -> dict[str, Any]:
    """A fit for each `min_gain`, of the training texts."""
    case.train()
    texts, fits = list(case.parts[0]["text"]), {}
    for gain in gains:
        model = AutoMhexModelForSequenceClassification.from_pretrained(case.folder / "trained").eval()
        tokenizer = load_tokenizer(str(case.folder / "trained"))
        options = {"min_gain": gain, "seed": case.seed, "attainable_texts": 0, "progress": False}
        record = fit_equivalent_matrices(model, tokenizer, texts, **options).to_dict()
        fits[str(gain)] = {name: record[name] for name in FIGURES}
        print(case.name, gain, record["texts"], record["skill"], record["seconds"], flush=True)
    return fits


def table(report: dict[str, Any]) -> list[str]:
    """The page's part."""
    rows, curves = [], []
    for name, fits in report["cases"].items():
        whole = next(reversed(fits.values()))
        for gain, fit in fits.items():
            which = "all texts" if fit is whole else f"`min_gain={gain}`"
            skill = span(fit["skill"], fit["skill_interval"])
            share = f"{fit['seconds'] / whole['seconds']:.2f}"
            rows.append([name, which, f"{fit['texts']:,}", skill, f"{fit['held_out']:,}", share])
        steps = ", ".join(f"{texts:,}: {skill:.3f}" for texts, skill in whole["curve"])
        curves.append(f"{name}: {steps}.")
    head = ["model", "fit", "texts learnt from", "paired skill", "on held-out texts", "time / all texts"]
    return [
        f"{report['machine']}; 8 masks, 95 % bootstrap intervals over texts; made by `studies/early_stop.py`.",
        "",
        *grid(head, rows),
        "",
        "Skill on the texts that strengths are chosen by, after so many texts: " + " ".join(curves),
    ]


def main() -> None:
    parser = make_parser(__doc__, "data", "work", names=",".join(settings.NAMES), min_gain="0.03,0.01")
    args = parser.parse_args()
    be_quiet()
    report: dict[str, Any] = {"machine": machine(), "cases": {}}
    if args.output.is_file():
        report = json.loads(args.output.read_text("utf-8"))
    for data in args.names.split(","):
        case = Case(data, 0, args.data, args.work)
        if case.name not in report["cases"]:
            report["cases"][case.name] = measure(case, (*map(float, args.min_gain.split(",")), -1.0))
            write_json(args.output, report)
    write_page(args.page, table(report), "early_stop")


if __name__ == "__main__":
    main()
