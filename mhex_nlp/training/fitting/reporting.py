# SPDX-License-Identifier: Apache-2.0
"""What a fit of texts, or of images, says of itself once it is learnt."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from ...explain.skill import Rows
from ...models.fit_weights import fit_hashes
from .attainable import Attainable
from .equations import RowSource
from .learning import Learnt
from .report import FitReport
from .solving import FEW_JUDGED, describe_attainable, judge_solution


def report_fit(
    model: Any,
    source: RowSource,
    learnt: Learnt,
    held: Sequence[Rows],
    best: Attainable | None,
    *,
    seed: int,
    hashes: Mapping[str, str],
    start: float,
    **about: Any,
) -> FitReport:
    """The report of what was learnt from a source, judged on rows that were held out.

    Args:
        model: that was fitted.
        source: of the rows; with the layout that was learnt.
        best: how good any additive scores would be.
        hashes: of the model's weights when the fit began.
        start: then, by `time.perf_counter`.
        about: the fields of `FitReport` that are left.

    Raises:
        RuntimeError: the weights are others by now.
    """
    layout = source.layout
    report = FitReport(
        **judge_solution(learnt.weights, held, layout, seed),
        **describe_attainable(best),
        depths=layout.depths,
        widths=layout.widths,
        flow_widths=layout.flow_widths,
        strength=learnt.strength,
        curve=learnt.curve,
        removal=source.removal,
        contrast=source.contrast,
        seed=seed,
        seconds=round(time.perf_counter() - start, 1),
        weights=dict(hashes),
        **about,
    )
    if fit_hashes(model) != hashes:
        raise RuntimeError("the model's weights changed while it was fitted, so that the fit is of no weights at all.")
    return report


def warn_few(judged: int, what: str, stacklevel: int) -> None:
    """Warns where a fit is judged on too few texts, or images, for its interval to be sure."""
    if judged < FEW_JUDGED:
        warnings.warn(
            f"the fit is judged on {judged} {what} alone, so that the interval of its skill is itself uncertain; give "
            f"more {what} or a larger held_out for {FEW_JUDGED} and more.",
            stacklevel=stacklevel,
        )
