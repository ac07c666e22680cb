# SPDX-License-Identifier: Apache-2.0
"""The faithfulness loss: what is removed, what is asked, and that training brings it down."""

from __future__ import annotations

import pytest
import torch

from helpers.families import inputs_for, plain_model
from helpers.tiny import tiny_bert, tiny_trainer
from mhex_nlp import MhexConfig, get_mhex_model
from mhex_nlp.models.heads.losses import faithfulness_loss, removed_part


def test_what_is_removed():
    torch.manual_seed(0)
    ids = torch.arange(10, 18).repeat(500, 1)
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[250:, 5:] = False
    changed, removed = removed_part({"input_ids": ids, "labels": ids, "attention_mask": mask.long()}, mask, 4)
    assert "labels" not in changed
    assert torch.equal(changed["input_ids"], ids.masked_fill(removed, 4))
    assert not (removed & ~mask).any() and not removed[:, 0].any()
    assert not removed[:250, 7].any() and not removed[250:, 4].any()
    sizes = removed.sum(1)
    assert sizes[:250].unique().tolist() == [1, 2, 3, 4, 5, 6] and sizes[250:].unique().tolist() == [1, 2, 3]
    assert (torch.bincount(sizes[:250], minlength=7)[1:] > 20).all()  # sizes are drawn uniformly


def test_without_a_mask_token_tokens_are_hidden():
    ids = torch.arange(10, 16).repeat(3, 1)
    changed, removed = removed_part({"input_ids": ids}, None, None)
    assert torch.equal(changed["attention_mask"], (~removed).long()) and torch.equal(changed["input_ids"], ids)


def test_the_loss_by_hand():
    attributions = torch.zeros(1, 3, 2, 2)
    attributions[0, 1, :, 0] = torch.tensor([1.0, 3.0])  # mean over depths: 2 for label 0
    attributions[0, 2, :, 1] = 100.0  # not removed
    removed = torch.tensor([[False, True, False]])
    whole, rest = torch.tensor([[3.0, 1.0]]), torch.tensor([[2.0, 1.0]])  # the removed token is worth (1, 0)
    assert faithfulness_loss(attributions, whole, rest, removed, centred=False).item() == pytest.approx(0.5)
    # (2, 0) - (1, 0) = (1, 0), centred (0.5, -0.5)
    assert faithfulness_loss(attributions, whole, rest, removed, centred=True).item() == pytest.approx(0.25)


@pytest.mark.parametrize("family", ["bert", "llama", "longformer", "t5"])
def test_it_is_part_of_the_loss_in_training_alone(family):
    settings = MhexConfig(faithfulness_weight=0.5, mask_token_id=4 if family in ("bert", "t5") else None)
    model = get_mhex_model(plain_model(family, dropout=False), settings)
    inputs, labels = inputs_for(family), torch.tensor([0, 1, 2, 0])
    model.train()
    torch.manual_seed(0)
    output = model(**inputs, labels=labels)
    expected = output.task_loss + 0.3 * output.supervision_loss + 0.5 * output.faithfulness_loss
    torch.testing.assert_close(output.loss, expected)
    assert output.faithfulness_loss > 0
    output.loss.backward()
    assert model.eval()(**inputs, labels=labels).faithfulness_loss is None


def test_training_brings_it_down(tmp_path):
    def last(weight):
        settings = MhexConfig(faithfulness_weight=weight, mask_token_id=4)
        model = get_mhex_model(tiny_bert(dropout=0.0), settings)
        tiny_trainer(model, tmp_path, max_steps=60, learning_rate=3e-3).train()
        model.train().config.mhex["faithfulness_weight"] = 1e-9  # measured, not asked for
        ids = torch.randint(5, 20, (200, 10), generator=torch.Generator().manual_seed(1))
        torch.manual_seed(2)
        with torch.no_grad():
            return float(model(input_ids=ids, labels=torch.zeros(200, dtype=torch.long)).faithfulness_loss)

    assert last(1.0) < 0.5 * last(0.0)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (
            {"faithfulness_weight": -1},
            ValueError,
            "MhexConfig.faithfulness_weight must be finite and at least 0, got -1",
        ),
        ({"faithfulness_weight": "much"}, TypeError, "MhexConfig.faithfulness_weight must be a number"),
        ({"mask_token_id": -4}, ValueError, "MhexConfig.mask_token_id must be a token id or None, got -4"),
    ],
)
def test_bad_settings(settings, error, message):
    with pytest.raises(error, match=message):
        MhexConfig(**settings)


def test_embedded_inputs_are_refused():
    model = get_mhex_model(tiny_bert(), MhexConfig(faithfulness_weight=1.0)).train()
    with pytest.raises(ValueError, match="faithfulness_weight needs input_ids"):
        model(inputs_embeds=torch.zeros(1, 4, 32), labels=torch.tensor([0]))
