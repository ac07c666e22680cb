# SPDX-License-Identifier: Apache-2.0
"""Chinese: characters are units, and phrases join those that belong together."""

from __future__ import annotations

import itertools
from typing import Any

from standin import explainer_for_recipe, options

THINGS = ["这家饭店", "外卖", "这碗面", "服务员", "那杯咖啡"]
GOOD = ["味道很好", "非常好吃", "态度热情", "值得推荐"]
BAD = ["味道太差", "非常难吃", "态度冷淡", "令人失望"]
ENDS = ["我昨天去的", "就在学校旁边", ""]


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    args = options(__doc__).parse_args(arguments)
    rows = [
        (f"{thing}{said}，{end}。" if end else f"{thing}{said}。", int(said in GOOD))
        for thing, said, end in itertools.product(THINGS, [*GOOD, *BAD], ENDS)
    ]
    texts, labels = [text for text, _ in rows], [label for _, label in rows]
    explainer = explainer_for_recipe(
        args.model, texts, labels, pattern=r"\p{Han}|[^\s\p{Han}]+", steps=40, id2label={0: "差评", 1: "好评"}
    )

    one = explainer("那杯咖啡味道很好，就在学校旁边。")
    print(f"{one.label} {one.probability:.0%}")
    print("characters:", " ".join(f"{word.text}{word.score:+.2f}" for word in one.top(4)))
    print("phrases:   ", " ".join(f"{phrase.text}{phrase.score:+.2f}" for phrase in one.phrases(1)))
    return {"explanation": one}


if __name__ == "__main__":
    main()
