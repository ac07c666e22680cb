# SPDX-License-Identifier: Apache-2.0
"""The reaction centre from atom maps, tokens of SMILES, and units of work on disk."""

from __future__ import annotations

import re

import numpy as np
import pytest
from sklearn.metrics import auc, precision_recall_curve

from studies.reactions import ATOM, SPECIAL, TOKEN, load, reaction, smiles_tokenizer


def marked(row: str) -> str:
    """The SMILES with the atoms of the centre in angle brackets."""
    known = reaction({"reactants>reagents>production": row, "class": "1"})
    tokens = re.findall(TOKEN, known.smiles)
    assert len(tokens) == len(known.atoms) == len(known.centre) and not (known.centre & ~known.atoms).any()
    return "".join(f"<{token}>" if centre else token for token, centre in zip(tokens, known.centre, strict=True))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        # an ether: both ends of the new bond, and of the one to what leaves
        (
            "[CH3:1][OH:15].[OH:2][c:3]1[cH:4][cH:5][cH:6][cH:13][cH:14]1>>"
            "[CH3:1][O:2][c:3]1[cH:4][cH:5][cH:6][cH:13][cH:14]1",
            "<C><O>.<O>c1ccccc1>><C><O>c1ccccc1",
        ),
        # a reduction: the order of a bond
        ("[CH3:1][CH:2]=[O:3]>>[CH3:1][CH2:2][OH:3]", "C<C>=<O>>>C<C><O>"),
        # what leaves is marked where it was bound, not inside, with maps or without
        ("[CH3:1][NH:2][Si:7]([CH3:8])([CH3:9])[CH3:10]>>[CH3:1][NH2:2]", "C<N><[Si]>(C)(C)C>>C<N>"),
        ("[CH3:1][NH:2][Si](C)(C)C>>[CH3:1][NH2:2]", "C<N><[Si]>(C)(C)C>>C<N>"),
        ("[CH3:1][NH2:2]>>[CH3:1][NH2:2]", "CN>>CN"),
    ],
)
def test_the_centre_by_hand(row, expected):
    pytest.importorskip("rdkit", reason="the extra bench is not installed")
    assert marked(row) == expected


def test_tokens_are_atoms_bonds_and_rings():
    vocabulary = [*SPECIAL.values(), "C", "Cl", "c", "1", "(", ")", "=", "O", "[nH]", ">>", ".", "Br"]
    text = "ClC(=O)c1[nH]cc1.Br>>CO[Fe]"
    encoded = smiles_tokenizer(vocabulary)(text, return_offsets_mapping=True)
    pieces = [text[start:end] for start, end in encoded["offset_mapping"][1:-1]]
    assert pieces == re.findall(TOKEN, text) and "".join(pieces) == text
    assert encoded["input_ids"][0] == vocabulary.index("[CLS]") and encoded["input_ids"][-1] == vocabulary.index(
        "[SEP]"
    )
    assert [vocabulary[index] for index in encoded["input_ids"][1:-1]] == [*pieces[:-1], "[UNK]"]
    assert [bool(re.fullmatch(ATOM, piece)) for piece in pieces[:8]] == [
        True,
        True,
        False,
        False,
        True,
        False,
        True,
        False,
    ]


def test_units_on_disk_give_a_figure_for_each_reaction(tmp_path):
    draw = np.random.default_rng(0)
    scores, centres = [draw.normal(size=n) for n in (5, 7)], [np.arange(n) % 3 == 0 for n in (5, 7)]
    for number, (row, centre) in enumerate(zip(scores, centres, strict=True)):
        seen = np.array([(True, True)] * (number + 1))
        np.savez(tmp_path / f"alti-{number}.npz", scores=row, centre=centre, lengths=np.array([len(row)]), seen=seen)
    figures = load(tmp_path, "alti", 40)
    for name, function in (("auprc", np.asarray), ("magnitude", np.abs)):
        for index in (0, 1):
            precision, recall, _ = precision_recall_curve(centres[index], function(scores[index]))
            assert figures[name][index] == pytest.approx(auc(recall, precision))
    np.testing.assert_allclose(figures["share"], [2 / 5, 3 / 7])
    assert len(figures["seen"]) == 2
    assert len(load(tmp_path, "alti", 20)["share"]) == 1 and load(tmp_path, "rollout", 40) == {}
