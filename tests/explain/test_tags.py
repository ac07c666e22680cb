# SPDX-License-Identifier: Apache-2.0
"""Labels of words read as entities: BIO and its kin, runs, and which label means what inside a run."""

from __future__ import annotations

import random

import pytest

from mhex_nlp.explain.tags import Tag, TagTable

BIO = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
BILOU = ["O", *(f"{prefix}-{kind}" for kind in ("PER", "LOC") for prefix in "BILU")]
IOBES = ["O", *(f"{prefix}_{kind}" for kind in ("PER", "LOC") for prefix in "BIES")]


def runs(labels, text, joined=None):
    words = text.split()
    return TagTable(labels, 0).runs([labels.index(word) for word in words], joined or [False] * len(words))


@pytest.mark.parametrize(
    ("labels", "text", "expected"),
    [
        (BIO, "O B-PER I-PER O B-PER B-PER", [(1, 3), (4, 5), (5, 6)]),
        (BIO, "I-PER I-PER B-PER I-LOC", [(0, 2), (2, 3), (3, 4)]),  # IOB1: B only where two of a type meet
        (BIO, "O O", []),
        (BILOU, "B-PER I-PER L-PER L-PER U-LOC U-LOC", [(0, 3), (3, 4), (4, 5), (5, 6)]),
        (IOBES, "S_PER B_LOC E_LOC I_LOC", [(0, 1), (1, 3), (3, 4)]),
        (["O", "PER", "LOC"], "PER PER LOC O LOC", [(0, 2), (2, 3), (4, 5)]),
        (["O", "B-cell", "nerve"], "B-cell B-cell nerve", [(0, 2), (2, 3)]),  # no prefix: another label has none
    ],
)
def test_runs(labels, text, expected):
    assert runs(labels, text) == expected


def test_words_that_no_space_separates_go_on():
    """ "U.S. U.S.": the model was taught one label for the whole, and says B at the first and at others too."""
    text, joined = "B-LOC B-LOC B-LOC B-LOC B-LOC", [False, True, True, True, False]
    assert runs(BIO, text, joined) == [(0, 4), (4, 5)]


def test_runs_are_those_of_any_tagging():
    """Every tagging of random runs is read back, in each scheme."""
    draw = random.Random(0)
    for labels in (BIO, BILOU, IOBES):
        mark = "_" if labels is IOBES else "-"
        for _ in range(50):
            words, expected = [], []
            while len(words) < 12:
                kind, size = draw.choice(["PER", "LOC", "O"]), draw.randint(1, 4)
                if kind == "O":
                    words += ["O"] * size
                    continue
                expected.append((len(words), len(words) + size))
                last, only = {"I": ("I", "B"), "L": ("L", "U"), "E": ("E", "S")}[
                    "L" if labels is BILOU else "E" if labels is IOBES else "I"
                ]
                marks = [only] if size == 1 else ["B", *"I" * (size - 2), last]
                words += [f"{one}{mark}{kind}" for one in marks]
            assert runs(labels, " ".join(words)) == expected


def test_a_label_means_the_run_s_own():
    table = TagTable(BIO, 0)
    assert table.swapped("B", "B") == [0, 1, 2, 3, 4]
    assert table.swapped("B", "I") == table.swapped("I", "B") == [0, 2, 1, 4, 3]
    partial = TagTable(["O", "B-PER", "I-PER", "B-LOC"], 0)  # LOC has no I: it is left
    assert partial.swapped("B", "I") == [0, 2, 1, 3]
    assert TagTable(BILOU, 0).swapped("B", "L") == [0, 3, 2, 1, 4, 7, 6, 5, 8]
    for first in "BIL":
        for later in "BIL":
            assert sorted(TagTable(BILOU, 0).swapped(first, later)) == list(range(9))


def test_types():
    table = TagTable(BIO, 0)
    assert table.types == ("PER", "LOC") and table.tags[2] == Tag("I", "PER")
    assert table.id_of_type("LOC", "I") == 4 and table.id_of_type("LOC", "B") == 3
    assert table.id_of_type("ORG", "B") is None and TagTable(["O", "PER"], 0).id_of_type("PER", "") == 1
    assert (table.first_prefix(), table.inside("B"), TagTable(["O", "PER"], 0).first_prefix()) == ("B", "I", "")


def test_labels_without_o_are_refused():
    with pytest.raises(ValueError, match=r"labels must have an O .* got NOUN, VERB; explain single words"):
        TagTable(["NOUN", "VERB"]).check_outside()
