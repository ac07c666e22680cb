# SPDX-License-Identifier: Apache-2.0
"""Explanations in JSON form, written by hand, for the tests of the renderers."""

from __future__ import annotations

import copy
from typing import Any

Pieces = list[tuple[str, int | None, float]]  # (tokenizer's piece, word, score); word None: special


def explanation(text: str, pieces: Pieces, text_pair: str | None = None, **changes: Any) -> dict[str, Any]:
    """Place each piece at the next occurrence of its letters; `changes` replace top-level keys."""
    texts, tokens, sequence, reached = (text, text_pair or ""), [], 0, 0
    for index, (piece, word, score) in enumerate(pieces):
        if word is None:
            position: dict[str, Any] = {"text": "", "start": None, "end": None, "sequence": None}
            if index and text_pair is not None:
                sequence, reached = 1, 0
        else:
            letters = piece.removeprefix("##").lstrip("\u0120\u2581")
            start = texts[sequence].lower().index(letters.lower(), reached)
            reached = start + len(letters)
            source = texts[sequence][start:reached]
            position = {"text": source, "start": start, "end": reached, "sequence": sequence}
        tokens.append({**position, "piece": piece, "word": word, "special": word is None, "score": score})
    total = sum(token["score"] for token in tokens)
    return {
        "schema": "mhex-explanation/1.3",
        "id": "0",
        "text": text,
        "text_pair": text_pair,
        "prediction": {
            "label": "positive",
            "id": 1,
            "probability": 0.9871,
            "probabilities": {"negative": 0.0129, "positive": 0.9871},
        },
        "target": {"label": "positive", "id": 1},
        "foil": None,
        "method": {
            "name": "mhex",
            "explains": "model",
            "aggregation": "fitted",
            "contrast": "centred",
            "non_negative": False,
            "removal": "mask",
            "fitted": True,
            "skill": 0.71,
            "attainable": 0.93,
            "r2": 0.64,
        },
        "model": {"name": "reviews-minilm", "revision": "4f1c2d9a77e05b13"},
        "library": "mhex_nlp 0.1.0",
        "heads": {"label": "positive", "id": 1, "agrees": True},
        "tokens": tokens,
        "sum": total,
        "base_value": 0.0412,
        "truncated": False,
        "windows": 1,
        "notes": [],
        **changes,
    }


def _with_layers(example: dict[str, Any], depths: int) -> dict[str, Any]:
    for token in example["tokens"]:
        token["layers"] = [token["score"] * (depth + 1) / depths - 0.03 * (depth % 3) for depth in range(depths)]
    return example


def _with_classes(example: dict[str, Any], classes: list[str], weights: list[float]) -> dict[str, Any]:
    for index, token in enumerate(example["tokens"]):
        token["scores"] = [token["score"] * weight + 0.05 * ((index + k) % 3 - 1) for k, weight in enumerate(weights)]
    example["classes"] = classes
    return example


POSITIVE = _with_layers(
    explanation(
        "The plot was thin, and the second half drags a little, but the acting was superb and the "
        "cinematography unforgettable.",
        [
            ("[CLS]", None, 0.11),
            ("the", 0, 0.01),
            ("plot", 1, -0.06),
            ("was", 2, -0.02),
            ("thin", 3, -0.38),
            (",", 4, 0.0),
            ("and", 5, 0.02),
            ("the", 6, 0.01),
            ("second", 7, -0.03),
            ("half", 8, -0.05),
            ("drag", 9, -0.31),
            ("##s", 9, -0.12),
            ("a", 10, 0.01),
            ("little", 11, -0.09),
            (",", 12, 0.0),
            ("but", 13, 0.21),
            ("the", 14, 0.04),
            ("acting", 15, 0.19),
            ("was", 16, 0.05),
            ("superb", 17, 0.8124),
            ("and", 18, 0.06),
            ("the", 19, 0.02),
            ("cinema", 20, 0.11),
            ("##tography", 20, 0.13),
            ("un", 21, 0.18),
            ("##for", 21, 0.16),
            ("##get", 21, 0.2),
            ("##table", 21, 0.09),
            (".", 22, 0.03),
            ("[SEP]", None, -0.07),
        ],
    ),
    12,
)

NEGATIVE = explanation(
    "I wanted to like this phone.\n\nAfter two weeks the battery dies by noon,\tthe screen flickers and "
    "support never answered.",
    [
        ("<s>", None, 0.4),
        ("\u0120wanted", 1, 0.09),
        ("\u0120to", 2, 0.03),
        ("\u0120like", 3, -0.22),
        ("\u0120this", 4, 0.0),
        ("\u0120phone", 5, 0.02),
        ("\u0120battery", 11, 0.13),
        ("\u0120dies", 12, 0.51),
        ("\u0120noon", 14, 0.08),
        ("\u0120flick", 18, 0.26),
        ("ers", 18, 0.07),
        ("\u0120support", 20, 0.1),
        ("\u0120never", 21, 0.44),
        ("\u0120answered", 22, 0.17),
        ("</s>", None, 0.9),
    ],
    id="row-1841",
    prediction={
        "label": "negative",
        "id": 0,
        "probability": 0.99981,
        "probabilities": {"negative": 0.99981, "positive": 0.00019},
    },
    target={"label": "negative", "id": 0},
    heads={"label": "positive", "id": 1, "agrees": False},
    notes=[
        "The heads choose positive where the model chooses negative.",
        "The text is longer than the model reads; the last 12 tokens are cut off.",
    ],
    truncated=True,
)

PAIR = _with_classes(
    explanation(
        "A man in a blue shirt is repairing a bicycle outside the shop.",
        [
            ("[CLS]", None, 0.02),
            ("man", 1, 0.12),
            ("blue", 4, 0.01),
            ("shirt", 5, -0.02),
            ("repairing", 7, 0.41),
            ("bicycle", 9, 0.33),
            ("outside", 10, 0.18),
            ("shop", 12, -0.04),
            ("[SEP]", None, 0.03),
            ("nobody", 13, 0.62),
            ("is", 14, 0.05),
            ("working", 15, 0.37),
            (".", 16, 0.01),
            ("[SEP]", None, 0.01),
        ],
        "Nobody is working.",
        id="17",
        prediction={
            "label": "contradiction",
            "id": 2,
            "probability": 0.913,
            "probabilities": {"entailment": 0.021, "neutral": 0.066, "contradiction": 0.913},
        },
        target={"label": "contradiction", "id": 2},
        foil={"label": "neutral", "id": 1},
        method={**POSITIVE["method"], "contrast": "foil", "aggregation": "ema", "explains": "heads"},
    ),
    ["entailment", "neutral", "contradiction"],
    [-0.7, -0.3, 1.0],
)

CHINESE = explanation(
    "这家餐厅的服务太差了😡，但是甜点真的很好吃👨‍👩‍👧！",
    [
        ("[CLS]", None, 0.03),
        ("这", 0, 0.01),
        ("家", 1, 0.0),
        ("餐", 2, 0.04),
        ("厅", 3, 0.04),
        ("的", 4, 0.0),
        ("服", 5, 0.08),
        ("务", 6, 0.09),
        ("太", 7, 0.22),
        ("差", 8, 0.74),
        ("了", 9, 0.12),
        ("😡", 10, 0.39),
        ("，", 11, 0.01),
        ("但", 12, -0.13),
        ("是", 13, -0.1),
        ("甜", 14, -0.16),
        ("点", 15, -0.03),
        ("真", 16, -0.11),
        ("很", 18, -0.2),
        ("好", 19, -0.51),
        ("吃", 20, -0.28),
        ("👨", 21, -0.02),
        ("👩", 22, -0.03),
        ("👧", 23, -0.01),
        ("！", 24, 0.02),
        ("[SEP]", None, 0.02),
    ],
    id="评论-3",
    prediction={
        "label": "负面",
        "id": 0,
        "probability": 0.772,
        "probabilities": {"负面": 0.772, "正面": 0.228},
    },
    target={"label": "负面", "id": 0},
    heads={"label": "负面", "id": 0, "agrees": True},
)

REGRESSION = explanation(
    "Great value for the price.",
    [("[CLS]", None, 0.0), ("great", 0, 0.9), ("value", 1, 0.4), ("price", 4, -0.1), ("[SEP]", None, 0.0)],
    prediction={"label": None, "id": None, "probability": None, "probabilities": None, "value": 4.31},
    target={"label": "stars", "id": 0},
    heads=None,
)

MULTI_LABEL = explanation(
    "You absolute clown, get lost.",
    [("[CLS]", None, 0.0), ("absolute", 1, 0.2), ("clown", 2, 0.9), ("lost", 5, 0.3), ("[SEP]", None, 0.0)],
    prediction={
        "label": "toxic",
        "id": 0,
        "probability": 0.94,
        "probabilities": {"toxic": 0.94, "threat": 0.07, "insult": 0.81},
        "labels": ["toxic", "insult"],
    },
    target={"label": "insult", "id": 2},
    heads=None,
)


def refined(example: dict[str, Any], passes: int = 33, error: float = 0.1) -> dict[str, Any]:
    """The example with errors as a budget of passes leaves them: those of neighbours go against each other."""
    document = copy.deepcopy(example)
    tokens = document["tokens"]
    sizes = [0.0 if token["special"] else error * (1 + index % 3) / 2 for index, token in enumerate(tokens)]
    document["covariance"] = [
        [sizes[i] * sizes[j] * (1.0 if i == j else -0.3 if i == j + 1 else 0.0) for j in range(i + 1)]
        for i in range(len(tokens))
    ]
    for token, size in zip(tokens, sizes, strict=True):
        token["error"] = size
    return {**document, "passes": passes}


EXAMPLES = {
    "positive": POSITIVE,
    "negative": NEGATIVE,
    "pair": PAIR,
    "chinese": CHINESE,
    "regression": REGRESSION,
    "multi-label": MULTI_LABEL,
}

# Each goes into text, piece, label, title, id, model name and notes.
ATTACKS = [
    "<script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "</p></article></main></body></html>",
    "<img src=x onerror=alert(1)>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    '" onmouseover="alert(1)',
    "' onfocus='alert(1)' autofocus='",
    '" style="position:fixed;inset:0',
    "` onmouseover=alert(1) `",
    "x onclick=alert(1) y",
    "<!-- never closed",
    "--><script>alert(1)</script><!--",
    "]]><script>alert(1)</script>",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?php echo 1 ?>",
    "<!doctype html><body onload=alert(1)>",
    '<iframe src="javascript:alert(1)"></iframe>',
    '<a href="javascript:alert(1)">x</a>',
    '<base href="https://example.org/">',
    '<meta http-equiv="refresh" content="0;url=https://example.org/">',
    '<link rel="stylesheet" href="https://example.org/x.css">',
    "<form action=https://example.org/><input type=submit>",
    "<math><mtext></table><img src=x onerror=alert(1)>",
    "</textarea></select></template><script>alert(1)</script>",
    "<plaintext>",
    "{{ 7 * 7 }}{% raw %}{# x #}",
    "${7*7} #{7*7}",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&amp;#60;script&amp;#62; &notanentity; &#0; &#x1F600",
    "body{display:none} .mhex{display:none} @import url(https://example.org/x.css);",
    "\u202eright to left override",
    "\u2067isolate \u2069\u2069\u2069 closed too often \u202a\u202b\u202d",
    "nul \x00 bell \x07 escape \x1b[31m\x1b]0;title\x07 c1 \x9b31m del \x7f",
    "lone \ud800 and \udfff surrogates",
    "noncharacters \ufffe\uffff\ufdd0\U0001fffe",
    "carriage\rreturn\r\nand\x0cfeed\x0bvertical\x85next\u2028line",
    "[bold red]not markup[/bold red] [link=https://example.org]x[/link] :smile:",
    "a" * 400,
    "%s %(x)s {0} {x!r} \\u003cscript\\u003e",
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 mixed e\u0301 \u200b \ufeff",
]


def attacked(attack: str) -> dict[str, Any]:
    """An explanation with the attack in every value that a reader can see."""
    example = copy.deepcopy(PAIR)
    middle = len(attack) // 2
    for sequence, name in ((0, "text"), (1, "text_pair")):
        example[name] = attack
        for token in example["tokens"]:
            if token["sequence"] == sequence:
                token.update(text=attack, piece=attack, start=0, end=len(attack), word=sequence)
    example["tokens"][1].update(start=0, end=middle, word=None)
    example["tokens"][2].update(start=middle, end=len(attack), word=None)
    example["tokens"][0]["piece"] = attack
    example["classes"] = [attack, attack + "2", attack + "3"]
    example["prediction"].update(label=attack, probabilities={name: 1 / 3 for name in example["classes"]})
    example["target"], example["foil"] = {"label": attack, "id": 0}, {"label": attack, "id": 1}
    example["heads"] = {"label": attack, "id": 1, "agrees": False}
    example["model"] = {"name": attack, "revision": attack}
    example.update(id=attack, library=attack, notes=[attack, attack])
    return example
