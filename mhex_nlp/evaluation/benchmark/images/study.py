# SPDX-License-Identifier: Apache-2.0
"""One comparison of images under way: what the model says of them, one method at a time against it. Experimental.

Axes: B images, N cells of an image, k columns of a figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

from ...._version import __version__
from ....models.checkpoint import shown_name
from ...intervals import Interval, interval, mean_of, paired_interval
from ...metrics.arrays import Bools, Floats
from ...metrics.images import paired_errors
from ..cost import Meter
from ..results import Cost, MethodResult
from ..study import BOOTSTRAP_DRAWS, machine_of
from .measures import MEASURES, References, faithfulness_columns, references, region_columns, road_column, skill_of
from .methods import ImageMethod
from .values import ImageModelValues

IMAGE_EVALUATION = "mhex-image-evaluation/1"
OURS = "mhex_fitted"
Columns = dict[str, Floats]


@dataclass(frozen=True, slots=True)
class RemovalResult:
    """What one way of removal says: the methods' figures, the paired skill of Shapley values, and their reliability.

    The last two are `None` without Shapley values; the skill is what additive scores of single images reach.
    """

    removal: str
    methods: tuple[MethodResult, ...]
    shapley_skill: Interval | None
    reliability: Interval | None
    empty_is_prediction: float  # share of images whose prediction the model says of an empty image as well


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEvaluationReport:
    """Explanation methods compared on one image classifier and the same images; one result for each removal.

    Methods explain by the first removal, which is the fit's where the model has one.
    """

    model: str
    explained: str
    images: int
    cells: str
    seed: int
    bootstrap_draws: int
    pairs: int
    permutations: int
    results: tuple[RemovalResult, ...]
    notes: tuple[str, ...]
    machine: str
    versions: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; equal for equal seeds but for each method's `cost`."""
        return {"schema": IMAGE_EVALUATION, **asdict(self)}


class ImageStudy:
    """Images of one model with its answers to removal, by one way or several.

    Args:
        judges: the model by removal; methods explain by the first.
        pixels: (1, 3, H, W) of each of B images, at least two.
        targets: the class to explain of each; by default the one that the model predicts.
        regions: (R, C) bool true regions of the cells, of all images or of none.
        pairs, permutations: random pairs of subsets, and orders of the Shapley values (0: none), of each image.
        road: remove and debias as well.
        seed: of all that is drawn.
    """

    def __init__(
        self,
        judges: Mapping[str, ImageModelValues],
        pixels: Sequence[Tensor],
        *,
        targets: Sequence[int] | None = None,
        regions: Sequence[Bools] | None = None,
        pairs: int = 8,
        permutations: int = 8,
        road: bool = False,
        seed: int = 0,
    ) -> None:
        if len(pixels) < 2:
            raise ValueError(f"images must be at least two to compare on, got {len(pixels)}.")
        self.judges, self.regions, self.road, self.seed = dict(judges), regions, road, seed
        self.pairs, self.permutations = pairs, permutations
        by_judge = [[judge.of(one, number) for number, one in enumerate(pixels)] for judge in judges.values()]
        self.images = by_judge[0]
        self.targets = [image.predicted() for image in self.images] if targets is None else list(targets)
        options = {"pairs": pairs, "permutations": permutations, "seed": seed}
        self.known = [references(images, self.targets, **options) for images in by_judge]
        self._methods: list[ImageMethod] = []
        self.columns: list[dict[str, Columns]] = [{} for _ in self.known]  # of each removal, method and figure: (B, k)
        self._costs: dict[str, Cost] = {}

    def compare(self, method: ImageMethod) -> list[Floats]:
        """Measures one method and what it costs, on images that remember no answer of the model; its scores."""
        first, *images = [image.anew() for image in (self.images[0], *self.images)]
        method.explain(first, self.targets[0])  # what is done once is not counted
        with Meter(first.owner.model) as meter:
            scores = [method.explain(image, target) for image, target in zip(images, self.targets, strict=True)]
        self._methods.append(method)
        shared = {"road": road_column(self.known[0], scores)} if self.road else {}  # the same whatever removes cells
        shared |= {} if self.regions is None else region_columns(scores, self.regions)
        for known, columns in zip(self.known, self.columns, strict=True):
            columns[method.name] = faithfulness_columns(known, scores, scaled=method.name != OURS) | shared
        self._costs[method.name] = Cost(meter.seconds / len(images), meter.rows / len(images), meter.peak_bytes / 2**20)
        return scores

    def report(self, notes: Sequence[str] = ()) -> ImageEvaluationReport:
        """The figures of all methods compared, with their differences to the fitted map where it takes part."""
        judge, grid = next(iter(self.judges.values())), self.images[0].grid
        return ImageEvaluationReport(
            model=shown_name(judge.model.config._name_or_path) or type(judge.model).__name__,
            explained=f"{'centred ' if judge.classes.exclusive else ''}logit of the predicted class",
            images=len(self.images),
            cells=f"{grid.rows} x {grid.cols}",
            seed=self.seed,
            bootstrap_draws=BOOTSTRAP_DRAWS,
            pairs=self.pairs,
            permutations=self.permutations,
            results=tuple(
                self._of_removal(removal, known, columns)
                for removal, known, columns in zip(self.judges, self.known, self.columns, strict=True)
            ),
            notes=tuple(notes),
            machine=machine_of(judge.model),
            versions={"mhex_nlp": __version__, "torch": torch.__version__, "transformers": transformers.__version__},
        )

    def _of_removal(self, removal: str, known: References, columns: dict[str, Columns]) -> RemovalResult:
        skill = reliability = None
        if known.shapley is not None:
            errors = paired_errors([estimate.values for estimate in known.shapley], known.kept, known.answers)
            skill = interval(errors, skill_of, BOOTSTRAP_DRAWS, self.seed)
            corrected = np.array([[estimate.corrected] for estimate in known.shapley], dtype=np.float64)
            reliability = interval(corrected, mean_of, BOOTSTRAP_DRAWS, self.seed)
        nothing = [int(image.logits(np.zeros((1, image.n), dtype=bool))[0].argmax()) for image in known.images]
        predicted = [image.predicted() for image in known.images]
        return RemovalResult(
            removal,
            tuple(self._result(method, columns) for method in self._methods),
            skill,
            reliability,
            float(np.mean([one == other for one, other in zip(nothing, predicted, strict=True)])),
        )

    def _result(self, method: ImageMethod, columns: dict[str, Columns]) -> MethodResult:
        figures: dict[str, Interval] = {}
        differences: dict[str, Interval] = {}
        for key, rows in columns[method.name].items():
            statistic = MEASURES[key].statistic
            figures[key] = interval(rows, statistic, BOOTSTRAP_DRAWS, self.seed)
            if OURS in columns and method.name != OURS:
                differences[key] = paired_interval(rows, columns[OURS][key], statistic, BOOTSTRAP_DRAWS, self.seed)
        return MethodResult(method.name, method.label, figures, differences, self._costs[method.name])
