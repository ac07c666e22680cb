# SPDX-License-Identifier: Apache-2.0
"""From the scores on disk to means, intervals, paired differences, coverage of the errors, tables and the figure.

Axes: B texts, K passes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mhex_nlp.evaluation.metrics.arrays import Floats
from mhex_nlp.evaluation.metrics.ranking import spearman
from mhex_nlp.explain.bootstrap import bootstrap, percentile_interval
from mhex_nlp.explain.rounds import LEADING, LEADS, LEVEL
from mhex_nlp.explain.skill import ratio
from mhex_nlp.render.errors import SETTLED_FROM

from ..common import DIGITS, DRAWS, MINILM, cell, grid, machine, mean_interval, write_json, write_page
from ..faithfulness.models import Case, Columns
from ..faithfulness.settings import NAMES
from .measuring import ANSWERS, PERMUTATIONS, TABLE, methods_and_budgets
from .methods import BUDGETS, LABELS, ONCE, STRONG

MEASURES = {
    "spearman": "Spearman to Shapley ↑",
    "skill": "paired skill ↑",
    "comprehensiveness": "comprehensiveness ↑",
    "sufficiency": "sufficiency ↓",
}
LOWEST = -10.0  # skill that is shown
LENGTHS = {"up to 16 tokens": (0, 16), "17 to 32 tokens": (17, 32), "33 tokens and more": (33, 10_000)}


def write(args: argparse.Namespace, cases: Sequence[Case]) -> None:
    """The figures as JSON, as tables between the markers of the page, and as the figure."""
    report: dict[str, Any] = {
        "model": MINILM,
        "machine": machine(),
        "permutations": PERMUTATIONS,
        "answers": ANSWERS,
        "data": {name: figures for name in NAMES if (figures := _data([case for case in cases if case.data == name]))},
    }
    write_json(args.output, report)
    write_page(args.page, _page(report), "tables")
    if args.figure is not None:
        _draw(report, args.figure)


def cost_path(case: Case) -> Path:
    """Where `cost.measure` is kept."""
    return case.folder / "budget_cost.json"


class Block:
    """The reference and the answers of a block of texts, and what a method's scores make of them."""

    def __init__(self, case: Case, number: int) -> None:
        self.case, self.number = case, number
        self.reference, self.answers = (case.load(TABLE, f"{name}-{number}") for name in ("reference", "answers"))

    @property
    def is_whole(self) -> bool:
        """Whether everything was measured on it."""
        return bool(self.reference and self.answers) and all(map(self.load, *zip(*methods_and_budgets(), strict=True)))

    def rows(self, values: Floats) -> list[Floats]:
        """All tokens in a row, split by text."""
        return np.split(values, np.cumsum(self.reference["lengths"])[:-1], axis=-1)

    def load(self, name: str, passes: int) -> Columns:
        return self.case.load(TABLE, f"{name}-{passes}-{self.number}")

    def measured(self, unit: Columns) -> Columns:
        """(B,) of each measure, and the squared errors that skill is a ratio of."""
        truth, scores = self.rows(self.reference["scores"]), self.rows(unit["scores"])
        ours, even = np.array([self._missed(index, row) for index, row in enumerate(scores)]).T
        return {
            "spearman": np.array([spearman(*pair) for pair in zip(scores, truth, strict=True)]),
            "comprehensiveness": unit["comprehensiveness"],
            "sufficiency": unit["sufficiency"],
            "missed": ours,
            "even": even,
            "passes": unit.get("passes", np.zeros(len(truth))),
        }

    def _missed(self, index: int, scores: Floats) -> tuple[float, float]:
        """Squared errors of the scores, which what they miss of the whole text is spread evenly over, and of none."""
        x = self.answers["kept"][index][:, : len(scores)] * 2.0 - 1
        total, said = self.answers["total"][index], self.answers["differences"][index]
        ours = said - x @ (scores + (total - scores.sum()) / len(scores))
        even = said - x.sum(1) * total / len(scores)
        return float((ours**2).sum()), float((even**2).sum())


def _skill(rows: Floats) -> float:
    """Of (B, 2) squared errors; `LOWEST` for less, as where fewer samples than tokens left a regression singular."""
    return max(ratio(rows), LOWEST)


def _of_sums(rows: Floats, statistic: Callable[[Floats], float]) -> dict[str, Any]:
    """A statistic of sums over texts, of (B, columns), with its 95 % bootstrap interval."""
    drawn = bootstrap(rows, lambda samples: [statistic(sample) for sample in samples], DRAWS // 4, seed=0)
    ends = [round(end, DIGITS) for end in percentile_interval(drawn)]
    return {"mean": round(statistic(rows), DIGITS), "interval95": ends, "n": len(rows)}


def _data(cases: Sequence[Case]) -> dict[str, Any]:
    blocks = [block for case in cases for number in range(100) if (block := Block(case, number)).is_whole]
    if not blocks:
        return {}
    units = {
        (name, passes): [block.measured(block.load(name, passes)) for block in blocks]
        for name, passes in methods_and_budgets()
    }
    columns = {
        key: {name: np.concatenate([row[name] for row in rows]) for name in rows[0]} for key, rows in units.items()
    }
    truth = [block.measured(block.reference) for block in blocks]
    attainable = {name: np.concatenate([row[name] for row in truth]) for name in truth[0]}
    return {
        "seeds": sorted({block.case.seed for block in blocks}),
        "texts": len(attainable["spearman"]),
        "tokens": round(
            float(np.mean([len(row) for block in blocks for row in block.rows(block.reference["scores"])])), 1
        ),
        "reliability": _reliability(blocks),
        "shapley": _figures(attainable),
        "methods": {f"{name}-{passes}": _figures(values) for (name, passes), values in columns.items()},
        "differences": _differences(columns),
        "coverage": _coverage(blocks),
        "auto": _auto(blocks),
        "mixed": _mixed(blocks),
        "cost": next((json.loads(path.read_text()) for case in cases if (path := cost_path(case)).is_file()), None),
    }


def _reliability(blocks: Sequence[Block]) -> float:
    """Mean Spearman between the halves of the orders, corrected for their number (Spearman and Brown)."""
    halves = [spearman(*rows) for block in blocks for rows in block.rows(block.reference["halves"])]
    half = float(np.mean(halves))
    return round(2 * half / (1 + half), 4)


def _figures(values: Columns) -> dict[str, Any]:
    return {
        "passes": round(float(values["passes"].mean()), 1),
        **{name: mean_interval(values[name]) for name in MEASURES if name != "skill"},
        "skill": _of_sums(np.stack([values["missed"], values["even"]], 1), _skill),
    }


def _differences(columns: dict[tuple[str, int], Columns]) -> dict[str, Any]:
    """Ours less each peer at as many passes, and less the best peer at three times as many."""
    differences: dict[str, Any] = {}
    for passes in (0, *BUDGETS):
        ours = columns.get(("mhex_fitted", passes))
        if ours is None:
            continue
        once = [("integrated_gradients", 64), ("decompx", 1), ("alti", 1)]
        rivals = [(n, passes) for n in LABELS if n not in ONCE] if passes else once
        for name, theirs in rivals:
            if name != "mhex_fitted" and (name, theirs) in columns:
                differences[f"{passes} - {name} {theirs}"] = _difference(ours, columns[name, theirs])
        triple = {name: columns[name, 3 * passes] for name in STRONG if (name, 3 * passes) in columns}
        if triple:
            best = max(triple, key=lambda name: float(triple[name]["spearman"].mean()))
            differences[f"{passes} - best at {3 * passes}"] = {"peer": best, **_difference(ours, triple[best])}
    return differences


def _difference(ours: Columns, theirs: Columns) -> dict[str, Any]:
    squares = np.stack([ours["missed"], ours["even"], theirs["missed"], theirs["even"]], 1)
    return {
        **{name: mean_interval(ours[name] - theirs[name]) for name in MEASURES if name != "skill"},
        "skill": _of_sums(squares, lambda rows: _skill(rows[:, :2]) - _skill(rows[:, 2:])),
    }


def _coverage(blocks: Sequence[Block]) -> dict[str, Any]:
    """The share of tokens whose reference lies within 90 % of the score's error, by passes and length of the text.

    The reference is sampled too: its own variance, by its halves the same for all tokens of a text, is added.
    """
    shares: dict[str, Any] = {}
    for passes in BUDGETS:
        units = [(block, block.load("mhex_fitted", passes)) for block in blocks]
        texts = [
            np.abs(truth - scores) <= SETTLED_FROM * np.sqrt(errors**2 + ((halves[0] - halves[1]) ** 2).mean() / 4)
            for block, unit in units
            for truth, halves, scores, errors in zip(
                *(block.rows(block.reference[name]) for name in ("scores", "halves")),
                *(block.rows(unit[name]) for name in ("scores", "errors")),
                strict=True,
            )
        ]
        for name, (least, most) in {"all": (0, 10_000), **LENGTHS}.items():
            chosen = [text for text in texts if least <= len(text) <= most]
            if chosen:
                counts = np.array([[text.sum(), len(text)] for text in chosen], dtype=float)
                shares.setdefault(str(passes), {})[name] = _of_sums(
                    counts, lambda rows: float(rows[:, 0].sum() / rows[:, 1].sum())
                )
    return shares


def _mixed(blocks: Sequence[Block]) -> dict[str, Any]:
    """The mean of the one-pass scores and those of integrated gradients of 8 steps, each with the text's total."""
    rows = []
    for block in blocks:
        pair = (block.rows(block.load(*key)["scores"]) for key in (("mhex_fitted", 0), ("integrated_gradients", 8)))
        totals, mixed = block.answers["total"], []
        for total, fitted, gradients in zip(totals, *pair, strict=True):
            shifted = [row + (total - row.sum()) / len(row) for row in (fitted, gradients)]
            mixed.append(np.mean(shifted, axis=0))
        nothing = np.zeros(len(mixed))
        unit = {"scores": np.concatenate(mixed), "comprehensiveness": nothing, "sufficiency": nothing}
        rows.append(block.measured(unit))
    figures = _figures({name: np.concatenate([row[name] for row in rows]) for name in rows[0]})
    return {name: figures[name] for name in ("spearman", "skill")}


def _auto(blocks: Sequence[Block]) -> dict[str, Any]:
    """What `budget="auto"` spent, and how many of the rankings that it called settled the reference agrees with."""
    passes, settled, right = [], [], []
    for block in blocks:
        if not (unit := block.case.load(TABLE, f"mhex_fitted-auto-{block.number}")):
            return {}
        passes += unit["passes"].tolist()
        settled += unit["settled"].tolist()
        rows = zip(*map(block.rows, (unit["scores"], block.reference["scores"], unit["words"])), strict=True)
        right += [_is_right(*row) for row in rows]
    of_settled = [value for value, known in zip(right, settled, strict=True) if known]
    return {
        "texts": len(passes),
        "passes": mean_interval(passes),
        "settled": mean_interval(np.asarray(settled, dtype=float)),
        "right": mean_interval(np.asarray(of_settled, dtype=float)) if of_settled else None,
    }


def _is_right(scores: Floats, truth: Floats, words: Floats) -> bool:
    """Whether the leading words stand in the reference's order and ahead of all others, as `explain/rounds.py` says."""
    sums, true = (np.array([row[words == word].sum() for word in np.unique(words)]) for row in (scores, truth))
    order = np.argsort(-np.abs(sums), kind="stable")
    sizes, true = np.abs(sums)[order], np.abs(true)[order]
    leading = min(LEADING, int((sizes >= LEADS * sizes[0]).sum()))
    return all(true[i] + LEVEL * sizes[0] >= true[i + 1 :].max(initial=0.0) for i in range(leading))


def _page(report: dict[str, Any]) -> list[str]:
    lines = []
    for data, figures in report["data"].items():
        lines += [
            f"**{NAMES[data]}**: {report['model']} with heads, {figures['texts']} test texts of {figures['tokens']} "
            f"tokens in the mean, seeds {', '.join(map(str, figures['seeds']))}; reference: Shapley values from "
            f"{report['permutations']} antithetic orders, reliability {figures['reliability']:.3f}, whose own paired "
            f"skill is {cell(figures['shapley']['skill'])}; skill over {report['answers']} random subsets of each "
            f"text, {LOWEST:g} for less; {report['machine']}; 95 % bootstrap intervals over texts.",
            "",
        ]
        rows = []
        for key, row in figures["methods"].items():
            name, _, _ = key.rpartition("-")
            rows.append([LABELS[name], f"{row['passes']:g}", *(cell(row[measure]) for measure in MEASURES)])
        lines += [*grid(["method", "further passes", *MEASURES.values()], rows), ""]
        rows = [
            [_versus(key, row), *(cell(row[measure], signed=True) for measure in MEASURES)]
            for key, row in figures["differences"].items()
        ]
        lines += [*grid(["MHEX less the peer, paired", *MEASURES.values()], rows), ""]
        lengths = [name for name in ("all", *LENGTHS) if any(name in row for row in figures["coverage"].values())]
        rows = [[k, *(cell(row.get(name)) for name in lengths)] for k, row in figures["coverage"].items()]
        lines += [*grid(["passes: share of tokens whose reference the 90 % interval holds", *lengths], rows), ""]
        lines += [
            "The mean of the one-pass scores and integrated gradients of 8 steps (8 forward and 8 backward passes): "
            f"Spearman {cell(figures['mixed']['spearman'])}, paired skill {cell(figures['mixed']['skill'])}.",
            "",
        ]
        if auto := figures["auto"]:
            lines += [
                f'`budget="auto"` at its defaults: {cell(auto["passes"])} passes a text in the mean of {auto["texts"]} '
                f"texts; settled in a share of {cell(auto['settled'])}, of whose rankings the reference agrees with "
                f"{cell(auto['right'])}.",
                "",
            ]
        if cost := figures["cost"]:
            ratios = [f"{cost[k]['ratio']:.3f} {cost[k]['interval95']} times for {k}" for k in cost if k.isdigit()]
            lines += [
                f"Further passes beside as many plain ones of the same model over the same texts take "
                f"{', '.join(ratios)} ({cost['texts']} texts at once, medians of {cost['rounds']} paired rounds).",
                "",
            ]
    return lines


def _versus(key: str, row: dict[str, Any]) -> str:
    passes, _, rival = key.partition(" - ")
    name, _, theirs = rival.rpartition(" ")
    return f"{passes} passes, {LABELS[row['peer']] if 'peer' in row else LABELS[name]} at {theirs}"


def _draw(report: dict[str, Any], path: Path) -> None:
    """Passes against each measure, one row of panels a data set."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    data = report["data"]
    figure = Figure(figsize=(15, 3.6 * len(data)), layout="constrained")
    FigureCanvasAgg(figure)
    for row, (name, figures) in enumerate(data.items()):
        for column, (measure, label) in enumerate(MEASURES.items()):
            axes = figure.add_subplot(len(data), len(MEASURES), 1 + row * len(MEASURES) + column)
            for method, method_label in LABELS.items():
                points = sorted(
                    (1 + values["passes"], values[measure]["mean"], values[measure]["interval95"])
                    for key, values in figures["methods"].items()
                    if key.rpartition("-")[0] == method and int(key.rpartition("-")[2]) in (0, 1, *BUDGETS)
                )
                if not points:
                    continue
                x, y, ends = zip(*points, strict=True)
                ours = method == "mhex_fitted"
                style: dict[str, Any] = (
                    {"color": "#b4451a", "linewidth": 2.4, "zorder": 3} if ours else {"linewidth": 1.1}
                )
                if method == "random":
                    style["color"] = "#000000"
                axes.plot(x, y, marker="o", markersize=4 if ours else 3, label=method_label, **style)
                if ours:
                    axes.fill_between(x, *np.transpose(ends), color="#b4451a", alpha=0.15, linewidth=0)
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter("{x:g}")
            if measure == "skill":
                axes.set_ylim(-0.1, 1)  # few samples can miss by far more than an even spread does
            axes.set_title(f"{NAMES[name]}: {label}", fontsize=9)
            axes.set_xlabel("passes of the model", fontsize=8)
            axes.tick_params(labelsize=8)
            axes.grid(alpha=0.25)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8)
    figure.savefig(path, dpi=110)
