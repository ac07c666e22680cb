# SPDX-License-Identifier: Apache-2.0
"""Taking tokens out of a text: each way by hand, special tokens never, missing mask token said."""

from __future__ import annotations

import pytest
import torch

from mhex_nlp.inputs.removal import remove
from mhex_nlp.inputs.removal_kinds import REMOVALS, choose_removal

MASK = 4
FEATURES = {"input_ids": torch.tensor([2, 10, 11, 12, 3]), "token_type_ids": torch.tensor([0, 0, 1, 1, 1])}
SPECIAL = torch.tensor([True, False, False, False, True])
SUBSETS = torch.tensor([[False, True, False, True, False], [False, False, True, False, False]])


def lists(rows):
    return [{name: value.tolist() for name, value in row.items()} for row in rows]


def test_mask_puts_the_mask_token_in_their_place():
    rows = lists(remove(FEATURES, SUBSETS, "mask", MASK, special=SPECIAL))
    assert rows == [
        {"input_ids": [2, MASK, 11, MASK, 3], "token_type_ids": [0, 0, 1, 1, 1]},
        {"input_ids": [2, 10, MASK, 12, 3], "token_type_ids": [0, 0, 1, 1, 1]},
    ]


def test_deletion_cuts_every_input():
    features = {**FEATURES, "attention_mask": torch.ones(5, dtype=torch.long)}
    rows = lists(remove(features, SUBSETS, "deletion", special=SPECIAL))
    assert rows == [
        {"input_ids": [2, 11, 3], "token_type_ids": [0, 1, 1], "attention_mask": [1, 1, 1]},
        {"input_ids": [2, 10, 12, 3], "token_type_ids": [0, 0, 1, 1], "attention_mask": [1, 1, 1, 1]},
    ]


def test_attention_keeps_ids_and_hides_positions():
    rows = lists(remove(FEATURES, SUBSETS, "attention", special=SPECIAL))
    assert [row["attention_mask"] for row in rows] == [[1, 0, 1, 0, 1], [1, 1, 0, 1, 1]]
    assert all(row["input_ids"] == FEATURES["input_ids"].tolist() for row in rows)
    hidden = {**FEATURES, "attention_mask": torch.tensor([1, 1, 1, 1, 0])}
    assert remove(hidden, SUBSETS[1], "attention", special=SPECIAL)[0]["attention_mask"].tolist() == [1, 1, 0, 1, 0]


@pytest.mark.parametrize("how", REMOVALS)
def test_one_subset_none_removed_and_no_sharing(how):
    (row,) = remove(FEATURES, torch.zeros(5, dtype=torch.bool), how, MASK, special=SPECIAL)
    assert torch.equal(row["input_ids"], FEATURES["input_ids"])
    row["input_ids"][1] = 99
    assert FEATURES["input_ids"][1] == 10, "the text's own tensor was changed"


@pytest.mark.parametrize("how", REMOVALS)
def test_special_tokens_are_never_removed(how):
    removed = torch.tensor([[False, True, False, False, False], [True, False, False, False, True]])
    with pytest.raises(ValueError, match=r"special tokens alone, got positions \[0, 4\]"):
        remove(FEATURES, removed, how, MASK, special=SPECIAL)


def test_a_missing_mask_token_is_said_with_what_to_use():
    with pytest.raises(ValueError, match="removal='mask' needs .* mask token.*use removal='attention'"):
        choose_removal("mask", None)
    with pytest.raises(ValueError, match="use removal='attention'"):
        remove(FEATURES, SUBSETS, "mask", special=SPECIAL)
    with pytest.warns(UserWarning, match="no mask token, so tokens are removed by the attention mask"):
        assert choose_removal("auto", None) == "attention"
    assert choose_removal("auto", 4) == "mask"
    assert choose_removal("deletion", None) == "deletion"
    with pytest.raises(ValueError, match="'auto', 'mask', 'deletion', 'attention'.*got 'zero'"):
        choose_removal("zero", 4)


def test_shapes_and_types_that_do_not_fit():
    with pytest.raises(ValueError, match=r"removed must be \(5,\) or \(S, 5\), got \(4,\)"):
        remove(FEATURES, torch.zeros(4, dtype=torch.bool), "mask", MASK, special=SPECIAL)
    with pytest.raises(TypeError, match="removed must be a bool tensor, got torch.int64"):
        remove(FEATURES, torch.zeros(5, dtype=torch.long), "mask", MASK, special=SPECIAL)
    with pytest.raises(ValueError, match=r"special must have one entry a token, \(5,\), got \(3,\)"):
        remove(FEATURES, SUBSETS, "mask", MASK, special=SPECIAL[:3])
    with pytest.raises(ValueError, match=r"features\['token_type_ids'\] must have one entry a token"):
        remove({**FEATURES, "token_type_ids": torch.zeros(4)}, SUBSETS, "mask", MASK, special=SPECIAL)
