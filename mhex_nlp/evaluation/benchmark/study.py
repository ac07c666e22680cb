# SPDX-License-Identifier: Apache-2.0
"""One comparison under way: what the model says of the texts, the references, and one method at a time against them.

Axes: B texts, n_i units of text i, k columns of a figure.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import transformers

from ..._version import __version__
from ...models.checkpoint import shown_name
from ..intervals import Interval, interval, mean_of, paired_interval
from ..metrics.arrays import Bools, Floats
from ..metrics.games import leave_one_out
from ..metrics.shapley import sampled_shapley
from ..model_values import ModelValues, TextValues
from .cost import Meter
from .kept import KeptFigures
from .measures import MEASURES, OwnMeasure, faithfulness_columns, plausibility_columns
from .methods import MHEX_METHODS, AttributionMethod, random_scores
from .results import Cost, EvaluationReport, MethodResult

BOOTSTRAP_DRAWS = 2000
_REFERENCE_SEED = 10_007  # the reference must not share its orders with the method "shapley"


class Study:
    """Texts of one model with its predictions (`targets`), leave-one-out scores and reference Shapley values.

    Args:
        values: of the model.
        texts: B texts made by `values`, at least two, of at least two units each.
        marks: for each the units that people marked, or `None`.
        permutations, random_seeds, seed: as `evaluate_explanations` takes them.
        kept: what was measured before, and where what is measured is kept.
        own_measures: figures of the caller's, by name.
    """

    def __init__(
        self,
        values: ModelValues,
        texts: Sequence[TextValues],
        marks: Sequence[Bools | None],
        *,
        permutations: int,
        random_seeds: int,
        seed: int,
        kept: KeptFigures | None = None,
        own_measures: Mapping[str, OwnMeasure] | None = None,
    ) -> None:
        self.kept = KeptFigures(None, {}) if kept is None else kept
        self.own_measures = dict(own_measures or {})
        self.values, self.texts, self.marks = values, texts, marks
        self.permutations, self.random_seeds, self.seed = permutations, random_seeds, seed
        self.targets = [text.predicted() for text in texts]
        if self.kept.references is None:
            self.kept.keep_references(**self._references())
        references = self.kept.references or {}
        self.without: list[Floats] = [np.asarray(row) for row in references["without"]]
        self.shapley: list[Floats] | None = None
        self.reliability: Interval | None = None
        if permutations:
            self.shapley = [np.asarray(row) for row in references["shapley"]]
            self.reliability = interval(np.asarray(references["corrected"]), mean_of, BOOTSTRAP_DRAWS, seed)
        self._methods: list[AttributionMethod] = []
        self._columns: dict[str, dict[str, Floats]] = {}  # of each method (B, k) of each figure
        self._costs: dict[str, Cost] = {}

    def _references(self) -> dict[str, list[Floats] | None]:
        """Leave-one-out scores and reference Shapley values of each text, and how reliable these are, (1,)."""
        games = [text.explained(target) for text, target in zip(self.texts, self.targets, strict=True)]
        sized = [(game, text.n) for game, text in zip(games, self.texts, strict=True)]
        rows: dict[str, list[Floats] | None] = {"without": [leave_one_out(*game) for game in sized]}
        if not self.permutations:
            return rows
        seed = self.seed + _REFERENCE_SEED
        estimates = [sampled_shapley(*game, permutations=self.permutations, seed=seed) for game in sized]
        corrected = [np.asarray([estimate.corrected], dtype=np.float64) for estimate in estimates]
        return rows | {"shapley": [estimate.values for estimate in estimates], "corrected": corrected}

    def compare(self, method: AttributionMethod) -> None:
        """Measures one method's scores and what they cost, on texts that remember no answer of the model.

        "random" is the mean over `random_seeds` seeds, the study's and those that follow it. What is kept of the method
        is taken as it is.
        """
        self._methods.append(method)
        keeps = method.kept and not self.own_measures  # whose figures may be other functions next time
        if keeps and (known := self.kept.method(method.key)) is not None:
            self._columns[method.name], self._costs[method.name] = known
            return
        first, *texts = [text.anew() for text in (self.texts[0], *self.texts)]
        method.explain([first], self.targets[:1])  # what is done once, such as compiling, is not counted
        with Meter(self.values.model) as meter:
            runs = [method.explain(texts, self.targets)]
        if method.name == "random":
            runs += [random_scores(self.seed + more, self.texts, self.targets) for more in range(1, self.random_seeds)]
        tables = [self._measure(scores) for scores in runs]
        self._columns[method.name] = {key: np.mean([table[key] for table in tables], axis=0) for key in tables[0]}
        self._costs[method.name] = Cost(meter.seconds / len(texts), meter.rows / len(texts), meter.peak_bytes / 2**20)
        if keeps:
            self.kept.keep_method(method.key, self._columns[method.name], self._costs[method.name])

    def report(self, left_out: int, notes: tuple[str, ...]) -> EvaluationReport:
        """The figures of all methods compared, with their differences to the first of MHEX."""
        model, classes = self.values.model, self.values.classes
        reference = next((name for name in MHEX_METHODS if name in self._columns), None)
        return EvaluationReport(
            model=shown_name(model.config._name_or_path) or type(model).__name__,
            task=classes.task,
            explained=f"{'centred ' if classes.exclusive else ''}logit of the predicted class",
            texts=len(self.texts),
            left_out=left_out,
            cut=sum(text.item.truncated for text in self.texts),
            plausibility_texts=sum(mark is not None for mark in self.marks),
            removal=self.values.removal,
            unit=self.texts[0].unit,
            seed=self.seed,
            random_seeds=self.random_seeds,
            bootstrap_draws=BOOTSTRAP_DRAWS,
            reference_permutations=self.permutations,
            reliability=self.reliability,
            compared_with=reference,
            methods=tuple(self._result(method, reference) for method in self._methods),
            notes=notes,
            own_measures={name: measure.shown for name, measure in self.own_measures.items()},
            machine=machine_of(model),
            versions={"mhex_nlp": __version__, "torch": torch.__version__, "transformers": transformers.__version__},
        )

    def _measure(self, scores: list[Floats]) -> dict[str, Floats]:
        columns = faithfulness_columns(self.texts, scores, self.targets, self.without, self.shapley)
        marked = [(score, mark) for score, mark in zip(scores, self.marks, strict=True) if mark is not None]
        if marked:
            columns |= plausibility_columns([score for score, _ in marked], [mark for _, mark in marked])
        return columns | {
            name: measure.column(name, self.texts, scores, self.targets) for name, measure in self.own_measures.items()
        }

    def _result(self, method: AttributionMethod, reference: str | None) -> MethodResult:
        figures: dict[str, Interval] = {}
        differences: dict[str, Interval] = {}
        for key, rows in self._columns[method.name].items():
            statistic = MEASURES[key].statistic if key in MEASURES else mean_of
            figures[key] = interval(rows, statistic, BOOTSTRAP_DRAWS, self.seed)
            if reference is not None and reference != method.name:
                others = self._columns[reference][key]
                differences[key] = paired_interval(rows, others, statistic, BOOTSTRAP_DRAWS, self.seed)
        return MethodResult(method.name, method.label, figures, differences, self._costs[method.name])


def machine_of(model: Any) -> str:
    """What a model is run on, in words."""
    if model.device.type == "cuda":
        return str(torch.cuda.get_device_name(model.device))
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
