# SPDX-License-Identifier: Apache-2.0
"""What merging rows of attention changes in the scores of long texts, beside the exact formula.

    python -m studies.merged_rows --model MODEL --output docs/results/merged_rows.json

MODEL is a fitted classifier, such as the one that `mhex demo` leaves. Texts are sentences of the embedded corpus,
joined to each length. Figures: the largest difference of a score over the largest score, by text.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mhex_nlp import MhexExplainer
from mhex_nlp.cli.demo.corpus import load_corpus
from mhex_nlp.models.heads import attention_flow

from .common import be_quiet, machine, make_parser, write_json

LENGTHS = (24, 64, 128, 256, 512)


def main() -> None:
    options = make_parser(__doc__, "model", page=False, texts=20).parse_args()
    be_quiet()
    report: dict[str, Any] = {"machine": machine(), "rows": attention_flow.MOST_ROWS, "texts": options.texts}
    sentences = [sentence.text for sentence in load_corpus()]
    for length in LENGTHS:
        explainer = MhexExplainer.from_pretrained(options.model, max_length=length)
        joined = [
            " ".join(np.random.default_rng([seed, length]).permutation(sentences)) for seed in range(options.texts)
        ]
        with torch.inference_mode():
            merged = scores_of(explainer, joined)
            rows, attention_flow.MOST_ROWS = attention_flow.MOST_ROWS, 2**20
            exact = scores_of(explainer, joined)
            attention_flow.MOST_ROWS = rows
        errors = [
            float(np.abs(one - other).max() / np.abs(other).max()) for one, other in zip(merged, exact, strict=True)
        ]
        report[str(length)] = {"median": round(float(np.median(errors)), 5), "largest": round(max(errors), 5)}
    write_json(options.output, report)


def scores_of(explainer: MhexExplainer, texts: list[str]) -> list[np.ndarray]:
    """(tokens,) of each text."""
    return [np.asarray(explainer(text).scores, dtype=float) for text in texts]


if __name__ == "__main__":
    main()
