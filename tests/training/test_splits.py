# SPDX-License-Identifier: Apache-2.0
"""Three parts of the texts of a fit: nothing twice, nothing lost, near-duplicates on one side."""

from __future__ import annotations

import numpy as np
import pytest

from mhex_nlp.training.fitting.splits import near_duplicates, split

WORDS = [
    "river",
    "mountain",
    "harbour",
    "kettle",
    "violin",
    "orchard",
    "lantern",
    "saddle",
    "marble",
    "thunder",
    "pepper",
    "castle",
    "meadow",
]


def made_texts(count: int, seed: int = 0) -> list[str]:
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, 12)) for _ in range(count)]


@pytest.mark.parametrize(("count", "held"), [(20, 5), (300, 30), (4000, 300)])
def test_every_text_is_in_one_part(count, held):
    parts = split(made_texts(count), 0.1, seed=1)
    assert sorted(sum(parts, [])) == list(range(count))
    assert len(parts.choose) == len(parts.judge) == held
    assert parts == split(made_texts(count), 0.1, seed=1) != split(made_texts(count), 0.1, seed=2)


def test_near_duplicates_are_kept_on_one_side():
    texts = made_texts(200)
    changes = [str.upper, lambda text: f"{text}!", lambda text: text.replace(" ", "  "), lambda text: f"{text} indeed"]
    copies = [changes[number % 4](text) for number, text in enumerate(texts)]
    for seed in range(5):
        side = {number: name for name, part in enumerate(split(texts + copies, 0.2, seed)) for number in part}
        assert all(side[number] == side[number + 200] for number in range(200))


def test_texts_that_differ_in_a_word_of_few_are_no_duplicates():
    groups = near_duplicates(
        ["the food was good", "the food was bad", "a b", "a c", "", "…", "很好的电影", "很差的电影"]
    )
    assert len(set(groups.tolist())) == 8


def test_a_group_larger_than_a_part_is_learnt_from():
    parts = split(["one and the same sentence"] * 30 + made_texts(30), 0.1, seed=0)
    assert set(range(30)) <= set(parts.learn)
