# SPDX-License-Identifier: Apache-2.0
"""From the figures of each text on disk to means, intervals and paired differences, whatever is there yet."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..common import MINILM, machine, mean_interval, write_json, write_page
from . import measuring, settings, tables
from .models import Case, Columns
from .tables import MEASURED


def write(args: argparse.Namespace) -> None:
    """The figures as JSON, and as tables between the markers of the page."""
    report = collect(args.work, args.texts, args.table_b_texts)
    write_json(args.output, report)
    if args.page is not None:
        write_page(args.page, tables.render(report), "tables")


def collect(work: Path, texts: int, table_b_texts: int) -> dict[str, Any]:
    """All that `--work` holds, of at most as many texts as asked for."""
    cases: dict[str, list[Case]] = {}
    for data in settings.NAMES:
        for result in sorted(work.glob(f"{data}-*/fitted/result.json")):
            cases.setdefault(data, []).append(Case(data, int(result.parts[-3].rpartition("-")[2]), work, work))
    first = {data: runs[0] for data, runs in cases.items()}
    return {
        "model": MINILM,
        "machine": machine(),
        "settings": {
            **settings.TRAINING,
            "max_length": settings.MAX_LENGTH,
            "fit": settings.FIT,
            "budgets": settings.BUDGETS,
            "random_draws": settings.RANDOM_DRAWS,
        },
        "models": {case.name: _model(case) for runs in cases.values() for case in runs},
        "A": {data: table for data, runs in cases.items() if (table := _table_a(runs, texts))},
        "B": {data: table for data, case in first.items() if (table := _table_b(case, table_b_texts))},
        "C": {data: table for data, case in first.items() if (table := _table_c(case))},
        "D": _table_d(cases.get("sst2", [])),
        "E": {data: cost for data, case in first.items() if (cost := _read(case.folder / "cost.json"))},
    }


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def _model(case: Case) -> dict[str, Any]:
    trained, fit = (_read(case.folder / kind / "result.json") for kind in ("trained", "fitted"))
    return {
        "accuracy": round(trained["accuracy"], 4),
        "test_texts": trained["test_texts"],
        "train_texts": _read(case.folder / "trained" / "settings.json")["train_texts"],
        "train_seconds": trained["seconds"],
        "fit_texts": fit["texts"],
        "fit_seconds": fit["seconds"],
        **{name: np.round(fit[name], 4).tolist() for name in ("skill", "skill_interval", "r2")},
    }


def _pooled(
    cases: Sequence[Case],
    table: str,
    names: Sequence[str],
    count: int | None = None,
    methods: Sequence[str] = (),
    prefix: str = "",
) -> dict[str, Any]:
    """Means over all (text, seed) pairs that a method has, and paired differences over those that both have.

    Of `cases`, one a seed, and at most `count` texts of each; on disk the columns `names` have a `prefix`.
    """
    rows: dict[str, dict[int, Columns]] = {}
    for method in methods or settings.METHODS[table]:
        units = {case.seed: unit for case in cases if (unit := case.load(table, method))}
        rows[method] = {seed: {name: unit[prefix + name][:count] for name in names} for seed, unit in units.items()}
    pooled: dict[str, Any] = {}
    for method, runs in rows.items():
        if not runs:
            continue
        seeds = sorted(runs)
        pooled[method] = {"seeds": seeds}
        for name in names:
            pooled[method][name] = mean_interval(np.concatenate([runs[seed][name] for seed in seeds]))
            for rival in settings.RIVALS:
                others = rows.get(rival, {}) if rival != method else {}
                pairs = [(runs[seed][name], others[seed][name]) for seed in seeds if seed in others]
                if pairs:
                    differences = [one[: len(other)] - other[: len(one)] for one, other in pairs]
                    pooled[method][f"{name} - {rival}"] = mean_interval(np.concatenate(differences))
    return pooled


def _table_a(cases: Sequence[Case], count: int) -> dict[str, Any]:
    tables = {
        "mask": _pooled(cases, "A", MEASURED, count),
        "deletion": _pooled(cases, "A", MEASURED, count, settings.METHODS_DELETION, "deletion "),
    }
    return {removal: table for removal, table in tables.items() if table}


def _table_b(case: Case, count: int) -> dict[str, Any]:
    units = {method: unit for method in settings.METHODS["B"] if (unit := case.load("B", method))}
    if not (reference := units.get("shapley")):
        return {}
    return {
        "seed": case.seed,
        "reference": {
            "texts": len(reference["reliability"][:count]),
            **{name: mean_interval(reference[name][:count]) for name in ("reliability", "corrected")},
        },
        "methods": _pooled([case], "B", ("spearman", *MEASURED), count),
        "seconds_per_text": {
            method: round(float(unit["seconds"]) / int(unit["texts"]), 4) for method, unit in units.items()
        },
    }


def _table_c(case: Case) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for method in measuring.AGGREGATIONS:
        for part in settings.RANDOMISED:
            if unit := case.load("C", f"{method}-{part}"):
                by_draw = np.round(unit["spearman"].mean(1), 4).tolist()
                table.setdefault(method, {})[part] = {**mean_interval(unit["spearman"].mean(0)), "each": by_draw}
    return table


def _table_d(cases: Sequence[Case]) -> dict[str, Any]:
    table = _pooled(cases, "D", ("auprc",))
    shares = [unit["share"] for case in cases if (unit := case.load("D", "random"))]
    share = mean_interval(np.concatenate(shares)) if shares else None
    return {"methods": table, "marked_share": share} if table else {}
