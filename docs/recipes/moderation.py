# SPDX-License-Identifier: Apache-2.0
"""Multi-label moderation: a reason for each label that a comment gets."""

from __future__ import annotations

import itertools
from typing import Any

from standin import explainer_for_recipe, options

LABELS = {0: "insult", 1: "threat", 2: "advert"}
PARTS = {
    0: ["you are an idiot", "what a stupid clown you are"],
    1: ["i will find your house", "you will regret it"],
    2: ["buy cheap watches now", "click here and win money"],
    None: ["the weather is nice today", "thanks for the photo"],
}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    args = options(__doc__).parse_args(arguments)
    texts, labels = [], []
    for (first, ones), (second, others) in itertools.product(PARTS.items(), repeat=2):
        for one, other in itertools.product(ones, others):
            texts.append(f"{one} . {other} .")
            labels.append([float(label in (first, second)) for label in LABELS])
    explainer = explainer_for_recipe(
        args.model, texts, labels, steps=100, id2label=LABELS, problem_type="multi_label_classification"
    )

    comment = "thanks for the photo . you are an idiot . i will find your house ."
    reasons = explainer(comment, target="predicted")  # one pass, an explanation for each label
    for one in reasons:
        chance = (one.prediction.probabilities or {})[one.target.label]
        reason = max(one.sentences(), key=lambda sentence: sentence.score)
        print(f"{one.target.label:8} {chance:.0%}  because of {reason.text!r}")
    return {"reasons": reasons}


if __name__ == "__main__":
    main()
