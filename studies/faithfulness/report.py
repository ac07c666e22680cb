# SPDX-License-Identifier: Apache-2.0
"""From the figures of each text on disk to means, intervals and paired differences, whatever is there yet."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mhex_nlp.evaluation.metrics.ranking import rank_agreement

from ..common import MINILM, machine, mean_interval, write_json, write_page
from . import measuring, settings, store, tables
from .models import Case
from .tables import MEASURED

Figures = dict[str, np.ndarray]  # name of a metric to its (B,) values


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


def _figures(
    case: Case, method: str, *, group: str = "mask", names: Sequence[str] = MEASURED, count: int | None = None
) -> Figures:
    """(B,) values of each name, averaged over the draws of "random"; nothing where a unit is missing."""
    runs = [case.load(variant, group) for variant in measuring.variants(method)]
    if not all(runs):
        return {}
    size = min(len(columns[names[0]]) for columns in runs)
    return {name: np.mean([columns[name][: min(size, count or size)] for columns in runs], axis=0) for name in names}


def _pooled(
    cases: Sequence[Case], methods: Sequence[str], names: Sequence[str], read: Callable[[Case, str], Figures]
) -> dict[str, Any]:
    """Means over all (text, seed) pairs that a method has, and paired differences over those that both have.

    Args:
        cases: the seeds.
        names: the metrics.
        read: figures of a method and seed.
    """
    rows = {method: {case.seed: values for case in cases if (values := read(case, method))} for method in methods}
    table: dict[str, Any] = {}
    for method, runs in rows.items():
        if not runs:
            continue
        seeds = sorted(runs)
        table[method] = {"seeds": seeds}
        for name in names:
            table[method][name] = mean_interval(np.concatenate([runs[seed][name] for seed in seeds]))
            for rival in settings.RIVALS:
                others = rows.get(rival, {}) if rival != method else {}
                pairs = [(runs[seed][name], others[seed][name]) for seed in seeds if seed in others]
                if pairs:
                    differences = [one[: len(other)] - other[: len(one)] for one, other in pairs]
                    table[method][f"{name} - {rival}"] = mean_interval(np.concatenate(differences))
    return table


def _table_a(cases: Sequence[Case], count: int) -> dict[str, Any]:
    removals = {"mask": settings.METHODS_A, "deletion": settings.METHODS_DELETION}
    pooled = {
        removal: _pooled(cases, methods, MEASURED, partial(_figures, group=removal, count=count))
        for removal, methods in removals.items()
    }
    return {removal: table for removal, table in pooled.items() if table}


def _table_b(case: Case, count: int) -> dict[str, Any]:
    reference = case.load("shapley")
    truth = store.unpack(reference)[:count]
    if len(truth) < 2:
        return {}

    def read(_: Case, method: str) -> Figures:
        rows = [case.scores(variant)[: len(truth)] for variant in measuring.variants(method)]
        size = min(len(scores) for scores in rows)
        measured = _figures(case, method, count=size) if size else {}
        if not measured:
            return {}
        return {"spearman": np.mean([rank_agreement(scores[:size], truth[:size]) for scores in rows], 0), **measured}

    methods = ("shapley", *settings.METHODS_A, *settings.METHODS_B)
    units = {method: case.load(measuring.variants(method)[0]) for method in methods}
    return {
        "seed": case.seed,
        "reference": {
            "texts": len(truth),
            **{name: mean_interval(reference[name][: len(truth)]) for name in ("reliability", "corrected")},
        },
        "methods": _pooled([case], methods, ("spearman", *MEASURED), read),
        "seconds_per_text": {
            method: round(float(unit["seconds"]) / len(unit["lengths"]), 4) for method, unit in units.items() if unit
        },
    }


def _table_c(case: Case) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for method in measuring.AGGREGATIONS:
        for part in settings.RANDOMISED:
            if unit := case.load(f"{method}-{part}", "randomisation"):
                by_draw = np.round(unit["spearman"].mean(1), 4).tolist()
                table.setdefault(method, {})[part] = {**mean_interval(unit["spearman"].mean(0)), "each": by_draw}
    return table


def _table_d(cases: Sequence[Case]) -> dict[str, Any]:
    read = partial(_figures, group="auprc", names=("auprc", "share"))
    table = _pooled(cases, settings.METHODS_D, ("auprc",), read)
    shares = [values["share"] for case in cases if (values := read(case, "random"))]
    share = mean_interval(np.concatenate(shares)) if shares else None
    return {"methods": table, "marked_share": share} if table else {}
