# SPDX-License-Identifier: Apache-2.0
"""One comparison under way: what the model says of the texts, the references, and one method at a time against them.

Axes: B texts, n_i units of text i, k columns of a figure.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
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
from .measures import MEASURES, faithfulness_columns, plausibility_columns
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
    ) -> None:
        self.values, self.texts, self.marks = values, texts, marks
        self.permutations, self.random_seeds, self.seed = permutations, random_seeds, seed
        self.targets = [text.predicted() for text in texts]
        games = [text.explained(target) for text, target in zip(texts, self.targets, strict=True)]
        self.without = [leave_one_out(game, text.n) for game, text in zip(games, texts, strict=True)]
        self.shapley: list[Floats] | None = None
        self.reliability: Interval | None = None
        if permutations:
            estimates = [
                sampled_shapley(game, text.n, permutations=permutations, seed=seed + _REFERENCE_SEED)
                for game, text in zip(games, texts, strict=True)
            ]
            self.shapley = [estimate.values for estimate in estimates]
            corrected = np.asarray([[estimate.corrected] for estimate in estimates], dtype=np.float64)
            self.reliability = interval(corrected, mean_of, BOOTSTRAP_DRAWS, seed)
        self._methods: list[AttributionMethod] = []
        self._columns: dict[str, dict[str, Floats]] = {}  # of each method (B, k) of each figure
        self._costs: dict[str, Cost] = {}

    def compare(self, method: AttributionMethod) -> None:
        """Measures one method's scores and what they cost, on texts that remember no answer of the model.

        "random" is the mean over `random_seeds` seeds, the study's and those that follow it.
        """
        first, *texts = [text.anew() for text in (self.texts[0], *self.texts)]
        method.explain([first], self.targets[:1])  # what is done once, such as compiling, is not counted
        with Meter(self.values.model) as meter:
            runs = [method.explain(texts, self.targets)]
        if method.name == "random":
            runs += [random_scores(self.seed + more, self.texts, self.targets) for more in range(1, self.random_seeds)]
        tables = [self._measure(scores) for scores in runs]
        self._methods.append(method)
        self._columns[method.name] = {key: np.mean([table[key] for table in tables], axis=0) for key in tables[0]}
        self._costs[method.name] = Cost(meter.seconds / len(texts), meter.rows / len(texts), meter.peak_bytes / 2**20)

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
            machine=machine_of(model),
            versions={"mhex_nlp": __version__, "torch": torch.__version__, "transformers": transformers.__version__},
        )

    def _measure(self, scores: list[Floats]) -> dict[str, Floats]:
        columns = faithfulness_columns(self.texts, scores, self.targets, self.without, self.shapley)
        marked = [(score, mark) for score, mark in zip(scores, self.marks, strict=True) if mark is not None]
        if marked:
            columns |= plausibility_columns([score for score, _ in marked], [mark for _, mark in marked])
        return columns

    def _result(self, method: AttributionMethod, reference: str | None) -> MethodResult:
        figures: dict[str, Interval] = {}
        differences: dict[str, Interval] = {}
        for key, rows in self._columns[method.name].items():
            statistic = MEASURES[key].statistic
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
