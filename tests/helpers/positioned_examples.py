# SPDX-License-Identifier: Apache-2.0
"""Texts with places, and answers of language models, in JSON form, written by hand for the tests of the renderers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from helpers.render_examples import POSITIVE, explanation, refined

Span = tuple[int, int, str]  # start, end and label of a place, in the text or, where it is an answer, in the pair


def weight(index: int, shift: int = 0) -> float:
    """Scores of both signs that differ from place to place."""
    return round(0.9 * math.sin(1.7 * index + 2.3 * shift) ** 3, 4)


def placed(
    text: str,
    span: Span,
    *,
    text_pair: str | None = None,
    sequence: int = 0,
    split: str = r"\w+|[^\w\s]",
    shift: int = 0,
    score: Callable[[int, int], float] = weight,
    **changes: Any,
) -> dict[str, Any]:
    """The explanation of one place: a token for each match of `split`, those of the place with a score far above."""
    start, end, label = span
    tokens: list[dict[str, Any]] = [_special("[CLS]")]
    for number, source in enumerate((text,) if text_pair is None else (text, text_pair)):
        for match in re.finditer(split, source):
            inside = number == sequence and match.start() < end and start < match.end()
            tokens.append(
                {
                    "text": match[0],
                    "piece": match[0],
                    "start": match.start(),
                    "end": match.end(),
                    "sequence": number,
                    "word": len(tokens),
                    "special": False,
                    "score": 2.5 if inside else score(len(tokens), shift),
                }
            )
        tokens.append(_special("[SEP]"))
    own = [
        index
        for index, token in enumerate(tokens)
        if token["sequence"] == sequence and token["start"] < end and start < token["end"]
    ]
    source = text if sequence == 0 else text_pair or ""
    predicted = label if label == "answer" else f"B-{label}"
    return {
        **explanation("", [], **changes),
        "schema": "mhex-explanation/1.3",
        "text": text,
        "text_pair": text_pair,
        "prediction": {
            "label": predicted,
            "id": 1,
            "probability": 0.981,
            "probabilities": {predicted: 0.981, "O": 0.019},
        },
        "target": {"label": predicted, "id": 1},
        "heads": None,
        "tokens": tokens,
        "sum": math.fsum(token["score"] for token in tokens),
        "place": {
            "text": source[start:end],
            "start": start,
            "end": end,
            "sequence": sequence,
            "label": label,
            "tokens": own,
        },
        **changes,
    }


def _special(piece: str) -> dict[str, Any]:
    place = dict.fromkeys(("start", "end", "sequence", "word"))
    return {"text": "", "piece": piece, **place, "special": True, "score": 0.05}


def positioned(
    text: str, spans: Sequence[Span], *, notes: Sequence[str] = (), id: str = "0", errors: float = 0.0, **options: Any
) -> dict[str, Any]:
    """A document with an explanation of each span."""
    explanations = [placed(text, span, shift=shift, id=id, **options) for shift, span in enumerate(spans)]
    if errors:
        explanations = [refined(example, error=errors) for example in explanations]
    return {
        "schema": "mhex-positioned/1.0",
        "id": id,
        "text": text,
        "text_pair": options.get("text_pair"),
        "task": "question_answering" if options.get("text_pair") else "token_classification",
        "explanations": explanations,
        "notes": list(notes),
    }


def spans_of(text: str, *names: tuple[str, str]) -> list[Span]:
    """The spans of words with their labels, each searched from the end of the one before it."""
    spans, at = [], 0
    for word, label in names:
        at = text.index(word, at)
        spans.append((at, at + len(word), label))
        at += len(word)
    return spans


_CITY = (
    "Michael Jordan moved from Wilmington to Chicago in 1984, and Nike built a whole brand on Jordan before Chicago "
    "had won a single title."
)
ENTITIES = positioned(
    _CITY,
    spans_of(
        _CITY,
        ("Michael Jordan", "PER"),
        ("Wilmington", "LOC"),
        ("Chicago", "LOC"),
        ("Nike", "ORG"),
        ("Jordan", "PER"),
        ("Chicago", "ORG"),
    ),
    id="row-7",
)
REFINED = positioned(_CITY, spans_of(_CITY, ("Michael Jordan", "PER"), ("Nike", "ORG")), errors=0.3)
REFINED["explanations"][1].update(
    target={"label": "B-LOC", "id": 3}, foil={"label": "B-ORG", "id": 5}, notes=["The fit knows few texts like this."]
)
ONE_ENTITY = positioned("Ada Lovelace wrote the first program.", [(0, 12, "PER")])
NO_ENTITY = positioned("nothing to see here", [], notes=["The model predicts no entity in this text."])
_HEBREW = "אני גר בירושלים עם דנה כהן."
HEBREW = positioned(
    _HEBREW,
    spans_of(
        _HEBREW,
        ("בירושלים", "LOC"),
        ("דנה כהן", "PER"),
    ),
)
_CHINESE = "王小明\U0001f600在北京的微软工作\U0001f468\u200d\U0001f469\u200d\U0001f467\u3002"
CHINESE = positioned(
    _CHINESE,
    spans_of(
        _CHINESE,
        ("王小明", "人物"),
        ("北京", "地点"),
        ("微软", "组织"),
    ),
    split=r"\S",
)
_MANY = " ".join(f"Name{n} met Town{n} and left." for n in range(20))
MANY = positioned(
    _MANY, spans_of(_MANY, *[pair for n in range(20) for pair in ((f"Name{n}", "PER"), (f"Town{n}", "LOC"))]), id="many"
)
_NESTED = "The New York City Marathon starts on Staten Island."
OVERLAPPING = positioned(
    _NESTED, [(4, 26, "EVENT"), (4, 17, "LOC"), (8, 33, "MISC"), (37, 50, "LOC"), (37, 50, "ORG"), (40, 41, "O")]
)
_CONTEXT = (
    "The Eiffel Tower is a lattice tower in Paris. It was built by the company of Gustave Eiffel from 1887 to 1889, "
    "and was the tallest structure in the world for 41 years."
)
_QUESTION = "Who built the Eiffel Tower?"
_ANSWER = spans_of(_CONTEXT, ("the company of Gustave Eiffel", "answer"))
ANSWER = positioned(_QUESTION, _ANSWER, text_pair=_CONTEXT, sequence=1, id="squad-12")
REFINED_ANSWER = positioned(_QUESTION, _ANSWER, text_pair=_CONTEXT, sequence=1, errors=0.2)

POSITIONED = {
    "entities": ENTITIES,
    "with errors": REFINED,
    "one entity": ONE_ENTITY,
    "no entity": NO_ENTITY,
    "Hebrew": HEBREW,
    "Chinese": CHINESE,
    "forty": MANY,
    "overlapping": OVERLAPPING,
    "answer": ANSWER,
    "answer with errors": REFINED_ANSWER,
}


def hostile(attack: str, places: int = 3) -> dict[str, Any]:
    """A document with the attack in every value that a reader can see; its places cut it in thirds."""
    text, step = attack * 3, max(1, len(attack))
    document = positioned(text, [(n * step, (n + 1) * step, attack) for n in range(places)], notes=[attack], id=attack)
    for example in document["explanations"]:
        example.update(
            prediction={"label": attack, "id": 1, "probability": 0.5, "probabilities": {attack: 0.5}},
            target={"label": attack + "2", "id": 1},
            foil={"label": attack + "3", "id": 2},
            model={"name": attack, "revision": attack},
            library=attack,
            notes=[attack + "!"],
        )
    return document


def context(
    units: Sequence[str],
    spans: Sequence[str],
    *,
    before: str = "<|user|>\nRead this.\n",
    after: str = "\n<|assistant|>\n",
    kind: str = "sentence",
    budget: int = 32,
    errors: bool = True,
    **changes: Any,
) -> dict[str, Any]:
    """A continuation with its spans, and a prompt of a template around its units."""
    prompt, continuation, placed_units, placed_spans = before, "", [], []
    for unit in units:
        placed_units.append({"text": unit, "start": len(prompt), "end": len(prompt) + len(unit), "kind": kind})
        prompt += unit + " "
    for number, span in enumerate(spans):
        scores = [round(4 * weight(unit, number), 3) for unit in range(len(units))]
        placed_spans.append(
            {
                "text": span,
                "start": len(continuation),
                "end": len(continuation) + len(span),
                "log_probability": -12.25 - number,
                "empty_log_probability": -40.5 if budget else None,
                "scores": scores,
                "errors": [0.2 + 0.1 * (unit % 3) for unit in range(len(units))] if budget and errors else None,
                "lds": 0.91 - 0.05 * number if budget else None,
            }
        )
        continuation += span + " "
    return {
        "schema": "mhex-context/1.0",
        "id": "0",
        "library": POSITIVE["library"],
        "model": {"name": "smollm2-135m-instruct", "revision": None},
        "prompt": prompt + after,
        "continuation": continuation,
        "generated": True,
        "units": placed_units,
        "spans": placed_spans,
        "budget": budget,
        "passes": budget + 2 if budget else 1,
        "prior": "attention",
        "notes": [],
        **changes,
    }


_SOURCES = [
    "The tower was built from 1887 to 1889.",
    "Its architect was Stephen Sauvestre.",
    "It was painted red at first.",
    "Today it has seven million visitors a year.",
    "Tickets cost more in the summer.",
]
_CLAIMS = ["Work on it began in 1887.", "Sauvestre drew it.", "It is a popular sight."]
SOURCES = context(_SOURCES, _CLAIMS, id="q-3")
PRIOR = context(_SOURCES, _CLAIMS, budget=0, notes=["A prior is not measured on this text."])
ONE_SPAN = context(_SOURCES, _CLAIMS[:1], errors=False, generated=False)
LONG = context(
    [f"Sentence {n} of the context says that the {n}th house is {'red' if n % 3 else 'blue'}." for n in range(60)],
    [f"Statement {n} of the answer is about house {7 * n}." for n in range(8)],
)
TOKENS = context(list("abcdefghijklmnopqrstuvwxyz") * 12, _CLAIMS, kind="token")
FOREIGN = context(
    [_HEBREW, _CHINESE, "\U0001f1e9\U0001f1ea\U0001f44d\U0001f3fd e\u0301"],
    [_HEBREW, "好\U0001f468\u200d\U0001f469"],
)
CONTEXTS = {
    "sources": SOURCES,
    "prior": PRIOR,
    "one span": ONE_SPAN,
    "long": LONG,
    "tokens": TOKENS,
    "foreign": FOREIGN,
}


def hostile_context(attack: str) -> dict[str, Any]:
    """The attack in every value that a reader can see."""
    return context(
        [attack, attack + "!"],
        [attack, attack + "?"],
        before=attack,
        after=attack,
        id=attack,
        library=attack,
        model={"name": attack, "revision": attack},
        prior=attack,
        notes=[attack],
    )


def entity_report(names: Sequence[str] = ("PER", "LOC", "ORG"), word: str = "said", **changes: Any) -> dict[str, Any]:
    """A report over a data set, with gold tags."""
    words = [{"word": f"{word}{n or ''}", "count": 5 - n, "sum": 2.5 - n, "mean": 0.5, "error": 0.25} for n in range(3)]
    examples = [{**entry, "examples": [[0, 0], [7, 1]]} for entry in words]
    sides = {"entities": 1204, "own": 3.1, "rest": 0.4, "for": examples, "against": [], "own_words": words}
    text = f"Acme {word} nothing."
    mistake = {"text": text, "start": 0, "end": 4, "gold": names[0], "predicted": names[1], "number": 7, "page": 1}
    said = [{"word": word, "score": 0.8, "error": 0.1}, {"word": "nothing", "score": -0.2, "error": 0.3}]
    return {
        **{"texts": 900, "entities": 1204, "without": 210, "truncated": 1, "windowed": 0},
        "gold": {"texts": 900, "entities": 1250, "precision": 0.81, "recall": 0.78, "f1": 0.795},
        "confusion": {names[0]: {names[0]: 400, names[1]: 12, "": 31}, "": {names[-1]: 9}},
        "types": {name: sides for name in names},
        "mistakes": [
            {**mistake, "kind": "wrong type", "words": said},
            {**mistake, "kind": "missed", "predicted": None, "words": [], "number": None, "page": None},
        ],
        "mistakes_counted": {"wrong type": 12, "missed": 31, "extra": 9},
        "model": POSITIVE["model"],
        "method": POSITIVE["method"],
        "passes": 1,
        **changes,
    }
