# SPDX-License-Identifier: Apache-2.0
"""What a budget costs: the time of K further passes over some texts by that of K passes over the same texts."""

from __future__ import annotations

from typing import Any

import torch

from ..common import ratio, timed_rounds
from ..faithfulness.models import Case, draw_texts

TEXTS, PASSES = 32, (8, 32)


def measure(case: Case, rounds: int) -> dict[str, Any]:
    """Medians of paired rounds, by K: (explained with a budget of K - explained without) / K passes of the model."""
    items = [text.item for text in draw_texts(case, TEXTS)]
    texts, features = [item.text for item in items], [item.features for item in items]
    values = case.values["mask"]

    def forward(passes: int) -> None:
        rows = [row for row in features for _ in range(passes)]
        for batch in values.batcher.indices([row["input_ids"] for row in rows], values.batch_tokens):
            with torch.inference_mode():
                case.model(**values.batcher.collate([rows[i] for i in batch]), output_head_logits=False)

    runs: dict[str, Any] = {"0": lambda: case.explainer(texts)}
    for passes in PASSES:
        runs[str(passes)] = lambda passes=passes: case.explainer(texts, budget=passes)
        runs[f"plain {passes}"] = lambda passes=passes: forward(passes)
    seconds = timed_rounds(runs, dict.fromkeys(runs, rounds))
    return {
        "texts": TEXTS,
        "rounds": rounds,
        "batch_tokens": values.batch_tokens,
        **{str(k): ratio(seconds[str(k)] - seconds["0"], seconds[f"plain {k}"]) for k in PASSES},
    }
