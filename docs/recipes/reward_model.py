# SPDX-License-Identifier: Apache-2.0
"""A reward model with a decoder (Qwen 2, or Llama with `--family llama`): which words of an answer earn its reward?"""

from __future__ import annotations

import itertools
from typing import Any

from standin import explainer_for_recipe, options

QUESTIONS = ["how do i boil an egg ?", "when does the train leave ?", "why is the sky blue ?"]
GOOD = ["sure , here is how it works", "good question , in short", "thanks for asking , step by step"]
BAD = ["that is a stupid question", "look it up yourself", "i do not care"]
ENDS = ["it takes ten minutes", "nobody knows for certain", "see the table"]


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = options(__doc__)
    parser.add_argument("--family", default="qwen2", choices=["qwen2", "llama"], help="of the stand-in")
    args = parser.parse_args(arguments)
    rows = [
        (f"{question} {manner} , {end}", 1.0 if manner in GOOD else -1.0)
        for question, manner, end in itertools.product(QUESTIONS, [*GOOD, *BAD], ENDS)
    ]
    texts, rewards = [text for text, _ in rows], [[reward] for _, reward in rows]
    explainer = explainer_for_recipe(args.model, texts, rewards, family=args.family, num_labels=1)

    # two answers to one question, as a preference pair has them
    chosen, rejected = explainer([f"{QUESTIONS[0]} {GOOD[0]} , {ENDS[0]}", f"{QUESTIONS[0]} {BAD[0]} , {ENDS[0]}"])
    for name, one in (("chosen", chosen), ("rejected", rejected)):
        answer = [word for word in one.words() if word.start >= len(QUESTIONS[0])]
        strongest = sorted(answer, key=lambda word: -abs(word.score))[:3]
        words = ", ".join(f"{word.text!r} {word.score:+.2f}" for word in strongest)
        print(f"{name}: {one.prediction.value:+.2f}  {words}")
    return {"chosen": chosen, "rejected": rejected}


if __name__ == "__main__":
    main()
