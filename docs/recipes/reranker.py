# SPDX-License-Identifier: Apache-2.0
"""A reranker: which words of a passage, and of the query, make it the first hit?"""

from __future__ import annotations

import itertools
from typing import Any

from standin import explainer_for_recipe, options

TOPICS = {
    "passport": "a passport is renewed at the town hall within three weeks",
    "parking": "parking is free on sundays in front of the station",
    "library": "the library lends books for one month to residents",
    "garbage": "garbage is collected on mondays before eight",
    "swimming": "swimming lessons for children start in june",
}
QUESTIONS = ["how do i {}", "what about {} here", "{} rules", "tell me about {} please"]


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    args = options(__doc__).parse_args(arguments)
    questions = [(topic, template.format(topic)) for topic in TOPICS for template in QUESTIONS]
    rows = [
        (question, passage, float(asked == topic))
        for (asked, question), (topic, passage) in itertools.product(questions, TOPICS.items())
    ]
    queries, passages, relevance = (list(column) for column in zip(*rows, strict=True))
    explainer = explainer_for_recipe(
        args.model, queries, [[value] for value in relevance], text_pairs=passages, num_labels=1, steps=150, gaps=False
    )

    query = "how do i passport here"
    ranked = sorted(
        explainer([query] * len(TOPICS), list(TOPICS.values())), key=lambda one: -float(one.prediction.value or 0)
    )
    for place, one in enumerate(ranked[:2], start=1):
        words = ", ".join(f"{word.text!r} {word.score:+.2f}" for word in one.top(3))
        print(f"{place}. {one.prediction.value:+.2f}  {one.text_pair}\n   raised by {words}")
    return {"ranked": ranked}


if __name__ == "__main__":
    main()
