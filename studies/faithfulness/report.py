# SPDX-License-Identifier: Apache-2.0
"""From the figures of each text on disk to means, intervals and paired differences, whatever is there yet."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mhex_nlp.evaluation.metrics.ranking import rank_agreement

from ..common import machine, mean_interval, write_json, write_page
from . import extras, measuring, settings, store, tables
from .models import Case
from .tables import MEASURED

Figures = dict[str, np.ndarray]  # name of a metric to its (B,) values
SETTINGS = ("EPOCHS", "BATCH", "LR", "WARMUP_STEPS", "WEIGHT_DECAY", "MAX_LENGTH", "FIT", "BUDGETS", "RANDOM_DRAWS")


def write(args: argparse.Namespace) -> None:
    """The figures as JSON, and as tables between the markers of the page."""
    report = collect(args.work, args.texts, args.table_b_texts)
    write_json(args.output, report)
    if args.page is not None:
        write_page(args.page, tables.render(report), "tables")


def collect(work: Path, texts: int, table_b_texts: int) -> dict[str, Any]:
    """All that `--work` holds, of at most as many texts as asked for."""
    cases: dict[str, list[Case]] = {data: [] for data in settings.DATA}
    for path in sorted(work.glob("*-*/fitted/result.json")):
        data, _, seed = path.parts[-3].rpartition("-")
        if data in cases and seed.isdigit():
            cases[data].append(Case(data, int(seed), work, work))
    cases = {data: runs for data, runs in cases.items() if runs}
    first = {data: runs[0] for data, runs in cases.items()}
    costs = {data: case.folder / "cost.json" for data, case in first.items()}
    return {
        "model": settings.MODEL,
        "machine": machine(),
        "settings": {name.lower(): getattr(settings, name) for name in SETTINGS},
        "models": {case.name: _model(case) for runs in cases.values() for case in runs},
        "A": {data: table for data, runs in cases.items() if (table := _table_a(runs, texts))},
        "B": {data: table for data, case in first.items() if (table := _table_b(case, table_b_texts))},
        "C": {data: table for data, case in first.items() if (table := _table_c(case))},
        "D": _table_d(cases.get("sst2", [])),
        "E": {data: json.loads(path.read_text("utf-8")) for data, path in costs.items() if path.is_file()},
    }


def _model(case: Case) -> dict[str, Any]:
    trained, fit = (json.loads((case.folder / kind / "result.json").read_text()) for kind in ("trained", "fitted"))
    made = json.loads((case.folder / "trained" / "settings.json").read_text())
    return {
        "accuracy": round(trained["accuracy"], 4),
        "test_texts": trained["test_texts"],
        "train_texts": made["train_texts"],
        "train_seconds": trained["seconds"],
        "fit_texts": fit["texts"],
        "fit_seconds": fit["seconds"],
        **{name: np.round(fit[name], 4).tolist() for name in ("skill", "skill_interval", "r2")},
    }


def _figures(case: Case, method: str, group: str, names: tuple[str, ...], count: int | None) -> Figures:
    """(B,) values of each name, averaged over the draws of "random"; nothing where a unit is missing."""
    runs = [store.load(*measuring.place(case, variant, group)) for variant in measuring.variants(method)]
    if not all(runs):
        return {}
    size = min(len(columns[names[0]]) for columns in runs)
    return {name: np.mean([columns[name][: min(size, count or size)] for columns in runs], axis=0) for name in names}


def _pooled(
    cases: list[Case], methods: tuple[str, ...], names: tuple[str, ...], read: Callable[[Case, str], Figures]
) -> dict[str, Any]:
    """Means over all (text, seed) pairs that a method has, and paired differences over those that both have.

    Args:
        cases: the seeds.
        names: the metrics.
        read: figures of a method and seed.
    """
    rows = {method: {case.seed: found for case in cases if (found := read(case, method))} for method in methods}
    table: dict[str, Any] = {}
    for method, runs in rows.items():
        if not runs:
            continue
        table[method] = {"seeds": sorted(runs)}
        for name in names:
            table[method][name] = mean_interval(np.concatenate([runs[seed][name] for seed in sorted(runs)]))
            for rival in settings.RIVALS:
                shared = sorted(set(runs) & set(rows.get(rival, {})))
                if rival == method or not shared:
                    continue
                pairs = [(runs[seed][name], rows[rival][seed][name]) for seed in shared]
                differences = [one[: len(other)] - other[: len(one)] for one, other in pairs]
                table[method][f"{name} - {rival}"] = mean_interval(np.concatenate(differences))
    return table


def _table_a(cases: list[Case], count: int) -> dict[str, Any]:
    tables_of_removal = {}
    for removal, methods in (("mask", settings.METHODS_A), ("deletion", settings.METHODS_DELETION)):

        def read(case: Case, method: str, removal: str = removal) -> Figures:
            return _figures(case, method, removal, MEASURED, count)

        if table := _pooled(cases, methods, MEASURED, read):
            tables_of_removal[removal] = table
    return tables_of_removal


def _table_b(case: Case, count: int) -> dict[str, Any]:
    columns = store.load(*measuring.place(case, "shapley"))
    truth = store.unpack(columns)[:count]
    if len(truth) < 2:
        return {}

    def read(_: Case, method: str) -> Figures:
        rows = [measuring.scores(case, variant)[: len(truth)] for variant in measuring.variants(method)]
        size = min(len(scores) for scores in rows)
        if not size:
            return {}
        ranks = np.mean([rank_agreement(scores[:size], truth[:size]) for scores in rows], axis=0)
        measured = _figures(case, method, "mask", MEASURED, size)
        return {"spearman": ranks, **measured} if measured else {}

    methods = ("shapley", *settings.METHODS_A, *settings.METHODS_B)
    seconds = {}
    for method in methods:
        if unit := store.load(*measuring.place(case, measuring.variants(method)[0])):
            seconds[method] = round(float(unit["seconds"]) / len(unit["lengths"]), 4)
    trust = {name: mean_interval(columns[name][: len(truth)]) for name in ("reliability", "corrected")}
    return {
        "seed": case.seed,
        "reference": {"texts": len(truth), **trust},
        "methods": _pooled([case], methods, ("spearman", *MEASURED), read),
        "seconds_per_text": seconds,
    }


def _table_c(case: Case) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for method in extras.AGGREGATIONS:
        for part in settings.RANDOMISED:
            values = store.load(*extras.randomisation_place(case, method, part)).get("spearman")
            if values is not None:
                by_draw = np.round(values.mean(1), 4).tolist()
                table.setdefault(method, {})[part] = {**mean_interval(values.mean(0)), "each": by_draw}
    return table


def _table_d(cases: list[Case]) -> dict[str, Any]:
    def read(case: Case, method: str, name: str = "auprc") -> Figures:
        return _figures(case, method, "auprc", (name,), None)

    table = _pooled(cases, settings.METHODS_D, ("auprc",), read)
    shares = [read(case, "random", "share").get("share", np.empty(0)) for case in cases]
    marked = np.concatenate(shares) if shares else np.empty(0)
    return {"methods": table, "marked_share": mean_interval(marked) if marked.size else None} if table else {}
