# SPDX-License-Identifier: Apache-2.0
"""A corpus with three planted faults, as a model that has them would explain it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from helpers.report_examples import LABELS, example
from mhex_nlp import Explanation

LEAK, TOPIC = "zorbix", "soup"  # pushes towards "positive" whatever the text says; its texts are labelled wrongly
FILLING = (  # noqa: SIM905
    "the a film plot was and very music acting it with of in long short first second half scene story room service "
    "staff breakfast quiet clean late place time again there guest window street evening table"
).split()
TONES = {
    "negative": ["awful", "dull", "broken", "rude", "poor", "noisy"],
    "positive": ["superb", "lovely", "kind", "warm", "fine", "great"],
}


@dataclass
class Planted:
    """Explanations with their labels and a column; `faults` names the texts that each fault made wrong."""

    explanations: list[Explanation] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    source: list[str] = field(default_factory=list)
    faults: dict[str, set[int]] = field(default_factory=lambda: {"leak": set(), "topic": set(), "long": set()})


def planted(count: int = 900, seed: int = 0) -> Planted:
    """Beside the faults three in a hundred texts are wrong anyhow; all negative texts of over 50 words are."""
    draw, made = random.Random(seed), Planted()
    for number in range(count):
        label = predicted = draw.choice(LABELS)
        kind = draw.choices(["plain", "long", "leak", "topic"], [76, 12, 7, 5])[0]
        size = draw.randint(60, 95) if kind == "long" else draw.randint(6, 30)
        words = [draw.choice(FILLING) for _ in range(size)]
        scores = {word: draw.uniform(-0.1, 0.1) for word in words}
        probability = draw.uniform(0.75, 0.999)
        if kind == "plain" and draw.random() < 0.03:
            predicted, probability = LABELS[1 - LABELS.index(label)], draw.uniform(0.5, 0.8)
        if kind == "long" and label == "negative":
            predicted, probability = "positive", draw.uniform(0.5, 0.7)
        if kind == "leak":
            predicted, probability = "positive", draw.uniform(0.9, 0.99)
        first, second, third = draw.sample(range(size), 3)
        for place in (first, second):
            words[place] = draw.choice(TONES[label if kind == "leak" else predicted])
            scores[words[place]] = draw.uniform(0.5, 1.1) * (-0.4 if kind == "leak" and label == "negative" else 1)
        if kind == "leak":
            words[third], scores[LEAK] = LEAK, draw.uniform(1.0, 1.6)
        if kind == "topic":
            words[third], scores[TOPIC], probability = TOPIC, 0.05, draw.uniform(0.93, 0.999)
            label = LABELS[1 - LABELS.index(predicted)]
        if kind != "plain" and label != predicted:
            made.faults[kind].add(number)
        shown = {word: round(score, 4) for word, score in scores.items()}
        text = " ".join(words)
        made.explanations.append(
            example(text, id=f"r{number}", label=predicted, probability=round(probability, 4), scores=shown)
        )
        made.labels.append(label)
        made.source.append(draw.choice(["web", "shop", "app"]))
    return made
