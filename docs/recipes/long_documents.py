# SPDX-License-Identifier: Apache-2.0
"""Long documents: read in windows, explained by the sentence, and the passages worth reading first."""

from __future__ import annotations

import itertools
from typing import Any

from standin import explainer_for_recipe, options

FILLER = ["The meeting began at nine.", "Coffee was served in the hall.", "The minutes were read and signed."]
GOOD = ["Sales grew in every region.", "The customers praised the new design."]
BAD = ["The factory burned down in march.", "Two suppliers sued the company."]


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    args = options(__doc__).parse_args(arguments)
    texts, labels = [], []
    for (first, second), news in itertools.product(itertools.permutations(FILLER, 2), [*GOOD, *BAD]):
        for order in ([first, news, second], [news, first, second], [first, second, news]):
            texts.append(" ".join(order))
            labels.append(int(news in GOOD))
    windows = {"stride": 16}  # windows share 16 tokens; without it the text would be cut, with a warning
    explainer = explainer_for_recipe(
        args.model, texts, labels, steps=40, explainer=windows, id2label={0: "bad news", 1: "good news"}
    )

    document = " ".join([*FILLER * 3, *GOOD, *FILLER * 2, BAD[0], *FILLER * 2, BAD[1], *FILLER])
    one = explainer(document, target="bad news")
    print(f"{len(document.split())} words in {one.windows} windows: {one.label}")
    passages = sorted(one.sentences(), key=lambda sentence: -sentence.score)[:2]
    for sentence in passages:
        print(f"  {sentence.score:+.2f}  characters {sentence.start} to {sentence.end}: {sentence.text}")
    return {"explanation": one, "passages": passages}


if __name__ == "__main__":
    main()
