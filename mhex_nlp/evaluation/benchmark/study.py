# SPDX-License-Identifier: Apache-2.0
"""One comparison under way: what the model says of the texts, the references, and one method at a time against them.

Axes: B texts, n_i units of text i, k columns of a figure.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..metrics.arrays import Bools, Floats
from ..metrics.games import leave_one_out
from ..metrics.shapley import sampled_shapley
from ..model_values import ModelValues
from ..text_values import TextValues
from .cost import Meter
from .explained_output import explained_value
from .intervals import Interval, interval, mean_of
from .measures import faithfulness_columns, plausibility_columns
from .methods import AttributionMethod, random_scores
from .results import Cost

BOOTSTRAP_DRAWS = 2000
_REFERENCE_SEED = 10_007  # the reference must not share its orders with the method "shapley"

MeasureColumns = dict[str, Floats]  # (B, k) of each figure


class Study:
    """Texts of one model with its predictions (`targets`), leave-one-out scores and reference Shapley values.

    Args:
        values: of the model.
        texts: B texts made by `values`, at least two, of at least two units each.
        marks: for each the units that people marked, or `None`.
        permutations: orders of the reference Shapley values; 0 for none.
        seed: of everything drawn.
    """

    def __init__(
        self,
        values: ModelValues,
        texts: Sequence[TextValues],
        marks: Sequence[Bools | None],
        *,
        permutations: int,
        seed: int,
    ) -> None:
        self.values, self.texts, self.marks = values, texts, marks
        self.permutations, self.seed = permutations, seed
        self.targets = [text.predicted() for text in texts]
        games = [explained_value(text, target) for text, target in zip(texts, self.targets, strict=True)]
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

    def explain(self, method: AttributionMethod) -> tuple[list[Floats], Cost]:
        """One method's scores and what they cost, on texts that remember no answer of the model."""
        first, *texts = [text.anew() for text in (self.texts[0], *self.texts)]
        method.explain([first], self.targets[:1])  # what is done once, such as compiling, is not counted
        with Meter(self.values.model) as meter:
            scores = method.explain(texts, self.targets)
        return scores, Cost(meter.seconds / len(texts), meter.rows / len(texts), meter.peak_bytes / 2**20)

    def random(self, seeds: int) -> list[list[Floats]]:
        """Random scores of the seeds that follow the study's."""
        return [random_scores(self.seed + more, self.texts, self.targets) for more in range(1, seeds)]

    def measure(self, runs: Sequence[list[Floats]]) -> MeasureColumns:
        """The columns of each figure, averaged over runs of one method."""
        tables = [self._measure(scores) for scores in runs]
        return {key: np.mean([table[key] for table in tables], axis=0) for key in tables[0]}

    def _measure(self, scores: list[Floats]) -> MeasureColumns:
        columns = faithfulness_columns(self.texts, scores, self.targets, self.without, self.shapley)
        marked = [(score, mark) for score, mark in zip(scores, self.marks, strict=True) if mark is not None]
        if marked:
            columns |= plausibility_columns([score for score, _ in marked], [mark for _, mark in marked])
        return columns
