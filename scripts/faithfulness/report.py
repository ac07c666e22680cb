# SPDX-License-Identifier: Apache-2.0
"""From the figures of each text on disk to means, intervals and paired differences, whatever is there yet."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mhex_nlp.evaluation.metrics.ranking import rank_agreement

from . import extras, measuring, settings, store, tables
from .intervals import mean_interval
from .models import Case

Figures = dict[str, np.ndarray]  # name of a metric to its (B,) values
MEASURED = ("comprehensiveness", "sufficiency")


def write(work: Path, output: Path, texts: int, table_b_texts: int) -> None:
    """The figures as JSON, and as tables between the markers of the page beside it; each file whole or not at all."""
    found = collect(work, texts, table_b_texts)
    store.write_whole(output, lambda partial: partial.write_text(json.dumps(found, indent=1) + "\n", "utf-8"))
    page = output.with_suffix(".md")
    before = page.read_text("utf-8") if page.is_file() else "# Faithfulness\n"
    after = tables.into_page(before, tables.render(found))
    if after != before:
        store.write_whole(page, lambda partial: partial.write_text(after, "utf-8"))


def collect(work: Path, texts: int, table_b_texts: int) -> dict[str, Any]:
    """All that `--work` holds, of at most as many texts as asked for."""
    cases: dict[str, list[Case]] = {data: [] for data in settings.DATA}
    for path in sorted(work.glob("*-*/fitted/result.json")):
        data, _, seed = path.parts[-3].rpartition("-")
        if data in cases and seed.isdigit():
            cases[data].append(Case(data, int(seed), work, work))
    report: dict[str, Any] = {
        "model": settings.MODEL,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__.split('+')[0]}",
        "settings": _settings(),
        "models": {case.name: _model(case) for own in cases.values() for case in own},
    }
    report["A"] = {data: table for data, own in cases.items() if (table := _table_a(own, texts))}
    report["B"] = {data: table for data, own in cases.items() if own and (table := _table_b(own[0], table_b_texts))}
    report["C"] = {data: table for data, own in cases.items() if own and (table := _table_c(own[0]))}
    report["D"] = _table_d(cases["sst2"])
    report["E"] = {
        data: json.loads(path.read_text("utf-8"))
        for data, own in cases.items()
        if own and (path := own[0].folder / "cost.json").is_file()
    }
    return report


def _settings() -> dict[str, Any]:
    names = ("EPOCHS", "BATCH", "LR", "WARMUP_STEPS", "WEIGHT_DECAY", "MAX_LENGTH", "FIT", "BUDGETS", "RANDOM_DRAWS")
    return {name.lower(): getattr(settings, name) for name in names}


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


def figures(case: Case, method: str, group: str, names: tuple[str, ...], count: int | None) -> Figures:
    """(B,) values of each name, averaged over the draws of "random"; nothing where a unit is missing."""
    found = [
        store.load(measuring.score_path(case, variant, group), measuring.made_of(case, variant))
        for variant in measuring.variants(method)
    ]
    if not all(found):
        return {}
    size = min(len(each[names[0]]) for each in found)
    return {name: np.mean([each[name][: min(size, count or size)] for each in found], axis=0) for name in names}


def _pooled(rows: dict[str, dict[int, Figures]], names: tuple[str, ...]) -> dict[str, Any]:
    """Means over all (text, seed) pairs that a method has, and paired differences over those that both have.

    Args:
        rows: figures of each method and seed.
        names: the metrics.
    """
    found: dict[str, Any] = {}
    for method, runs in rows.items():
        if not runs:
            continue
        found[method] = {"seeds": sorted(runs)}
        for name in names:
            found[method][name] = mean_interval(np.concatenate([runs[seed][name] for seed in sorted(runs)]))
            for rival in settings.RIVALS:
                shared = sorted(set(runs) & set(rows.get(rival, {})))
                if rival == method or not shared:
                    continue
                pairs = [(runs[seed][name], rows[rival][seed][name]) for seed in shared]
                differences = [one[: len(other)] - other[: len(one)] for one, other in pairs]
                found[method][f"{name} - {rival}"] = mean_interval(np.concatenate(differences))
    return found


def _gather(
    own: list[Case], methods: tuple[str, ...], read: Callable[[Case, str], Figures]
) -> dict[str, dict[int, Figures]]:
    return {method: {case.seed: found for case in own if (found := read(case, method))} for method in methods}


def _table_a(own: list[Case], count: int) -> dict[str, Any]:
    found = {}
    for removal, methods in (("mask", settings.METHODS_A), ("deletion", settings.METHODS_DELETION)):
        rows = _gather(own, methods, lambda case, method, r=removal: figures(case, method, r, MEASURED, count))
        if table := _pooled(rows, MEASURED):
            found[removal] = table
    return found


def _table_b(case: Case, count: int) -> dict[str, Any]:
    path, origin = measuring.score_path(case, "shapley"), measuring.made_of(case, "shapley")
    columns = store.load(path, origin)
    truth = store.unpack(columns)[:count]
    if len(truth) < 2:
        return {}

    def read(_: Case, method: str) -> Figures:
        rows = [measuring.scores(case, variant)[: len(truth)] for variant in measuring.variants(method)]
        size = min(len(each) for each in rows)
        if not size:
            return {}
        ranks = np.mean([rank_agreement(each[:size], truth[:size]) for each in rows], axis=0)
        measured = figures(case, method, "mask", MEASURED, size)
        return {"spearman": ranks, **measured} if measured else {}

    rows = _gather([case], ("shapley", *settings.METHODS_A, *settings.METHODS_B), read)
    seconds = {}
    for method in rows:
        variant = measuring.variants(method)[0]
        each = store.load(measuring.score_path(case, variant), measuring.made_of(case, variant))
        if each:
            seconds[method] = round(float(each["seconds"]) / len(each["lengths"]), 4)
    trust = {name: mean_interval(columns[name][: len(truth)]) for name in ("reliability", "corrected")}
    return {
        "seed": case.seed,
        "reference": {"texts": len(truth), **trust},
        "methods": _pooled(rows, ("spearman", *MEASURED)),
        "seconds_per_text": seconds,
    }


def _table_c(case: Case) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for method in extras.AGGREGATIONS:
        for part in settings.RANDOMISED:
            path = extras.randomisation_path(case, method, part)
            values = store.load(path, case.made_of(method)).get("spearman")
            if values is not None:
                each = np.round(values.mean(1), 4).tolist()
                found.setdefault(method, {})[part] = {**mean_interval(values.mean(0)), "each": each}
    return found


def _table_d(own: list[Case]) -> dict[str, Any]:
    rows = _gather(own, settings.METHODS_D, lambda case, method: figures(case, method, "auprc", ("auprc",), None))
    shares = [figures(case, "random", "auprc", ("share",), None).get("share", np.empty(0)) for case in own]
    table = _pooled(rows, ("auprc",))
    marked = np.concatenate(shares) if shares else np.empty(0)
    return {"methods": table, "marked_share": mean_interval(marked) if marked.size else None} if table else {}
