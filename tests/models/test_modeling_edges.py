# SPDX-License-Identifier: Apache-2.0
"""Odd but legitimate uses of a model with heads, each of which once gave wrong numbers or crashed."""

from __future__ import annotations

import pytest
import torch
from accelerate import cpu_offload
from transformers import AutoModelForSequenceClassification, BertForSequenceClassification

from helpers.families import batch, plain_model, train_heads
from mhex_nlp import AutoMhexModelForSequenceClassification, MhexConfig, get_mhex_model, head_collaboration
from mhex_nlp.models.heads.head import trained

LABELS = torch.tensor([0, 1, 2, 0])


def model_of(family: str = "bert", **config):
    gate = config.pop("gate", True)
    return train_heads(get_mhex_model(plain_model(family, **config), MhexConfig(gate=gate)))


@pytest.mark.parametrize(("family", "length"), [("longformer", 13), ("big_bird", 41)])
def test_padding_inside_the_model_is_no_text(family, length):
    """Without a mask these families pad to a multiple of their window all the same."""
    model = model_of(family)
    ids = batch(rows=(length, length))["input_ids"]
    with torch.no_grad():
        torch.manual_seed(0)
        without = model(ids, output_attributions=True)
        torch.manual_seed(0)
        with_mask = model(ids, torch.ones_like(ids), output_attributions=True)
    assert without.layer_attributions.shape[1] == length
    torch.testing.assert_close(without.head_logits, with_mask.head_logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(without.logits, with_mask.logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3"])
def test_decoders_do_not_read_trailing_padding(family):
    """Without a mask a decoder's logits ignore what follows the last token; so do its heads."""
    model = model_of(family)
    inputs = batch(rows=(9, 5))
    with torch.no_grad():
        without = model(inputs["input_ids"], output_attributions=True)
        with_mask = model(**inputs, output_attributions=True)
    torch.testing.assert_close(without.head_logits, with_mask.head_logits, rtol=0, atol=1e-5)
    assert not without.layer_attributions[1, 5:].any()


def test_multi_label_ignores_what_is_not_known():
    model = model_of(problem_type="multi_label_classification")
    labels = torch.eye(3)[[0, 1, 2, 0]]
    whole = model(**batch(), labels=labels)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(whole.logits, labels)
    torch.testing.assert_close(whole.task_loss, expected.detach())
    labels[:, 1] = -100
    kept = labels != -100
    part = model(**batch(), labels=labels)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(part.logits[kept], labels[kept])
    torch.testing.assert_close(part.task_loss, expected.detach())
    part.loss.backward()
    assert model.classifier.bias.grad[1] == 0


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_integer_labels_of_any_kind(dtype):
    model = model_of()
    assert torch.equal(model(**batch(), labels=LABELS.to(dtype)).loss, model(**batch(), labels=LABELS).loss)


def test_integer_labels_for_regression():
    model = model_of(problem_type="regression", num_labels=1)
    assert torch.equal(model(**batch(), labels=LABELS).loss, model(**batch(), labels=LABELS.float()).loss)


def test_heads_without_supervision_do_not_pass_as_trained():
    """The gates move W1 and with it W2 W1, though no head has learnt a class."""
    model = get_mhex_model(plain_model("bert")).train()
    assert not trained(model.mhex)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(**batch()).logits, LABELS).backward()
        optimizer.step()
    assert model.mhex[0].equivalent_matrix.any() and not trained(model.mhex)
    model(**batch(), labels=LABELS).loss.backward()
    optimizer.step()
    assert trained(model.mhex)


def test_replaced_modules_are_noticed():
    model = model_of()
    model.bert.encoder.layer[1].attention.output.dropout = torch.nn.Identity()
    with pytest.raises(RuntimeError, match="2 of 3 MHEX heads ran: layers or modules were replaced"):
        model(**batch())


def test_without_heads_saves_a_plain_checkpoint(tmp_path):
    model = model_of(gate=False)
    model.save_pretrained(tmp_path / "heads")
    loaded = AutoMhexModelForSequenceClassification.from_pretrained(tmp_path / "heads").eval()
    loaded.without_heads().save_pretrained(tmp_path / "plain")
    plain, info = AutoModelForSequenceClassification.from_pretrained(tmp_path / "plain", output_loading_info=True)
    assert type(plain) is BertForSequenceClassification and not info["unexpected_keys"]
    assert not hasattr(plain.config, "mhex")
    with torch.no_grad():
        assert torch.equal(plain.eval()(**batch()).logits, model(**batch()).logits)


def test_a_plain_copy_of_a_checkpoint_with_heads_is_noticed(tmp_path):
    """Loaded as a plain model and saved again, it says that it has heads and holds none."""
    model_of().save_pretrained(tmp_path / "heads")
    AutoModelForSequenceClassification.from_pretrained(tmp_path / "heads").save_pretrained(tmp_path / "plain")
    with pytest.raises(ValueError, match="says that it has MHEX heads and holds none"):
        AutoMhexModelForSequenceClassification.from_pretrained(tmp_path / "plain")
    fresh = AutoMhexModelForSequenceClassification.from_pretrained(tmp_path / "plain", mhex=MhexConfig())
    assert not trained(fresh.mhex)


def test_offloaded_weights():
    model = model_of()
    with torch.no_grad():
        expected = model(**batch(), output_attributions=True)
        offloaded = cpu_offload(model_of(), torch.device("cpu"))
        actual = offloaded(**batch(), output_attributions=True)
    assert torch.equal(actual.head_logits, expected.head_logits) and trained(offloaded.mhex)


def test_tuples_hold_what_the_plain_model_gives():
    """Trainer with `config.return_dict=False` passes everything but the first to compute_metrics."""
    plain, model = plain_model("bert"), model_of(gate=False)
    for options in ({}, {"labels": LABELS}):
        expected = plain(**batch(), **options, return_dict=False)
        actual = model(**batch(), **options, return_dict=False)
        assert len(actual) == len(expected) and torch.equal(actual[-1], expected[-1])
    assert len(model(**batch(), return_dict=False, output_attributions=True)) == 3


def test_a_cache_and_its_full_mask():
    model = model_of("llama", gate=False)
    ids = batch(rows=(8,), eos=False)["input_ids"]
    with torch.no_grad():
        whole = model(ids, use_cache=True, output_attributions=True)
        first = model(ids[:, :5], use_cache=True)
        rest = model(
            ids[:, 5:],
            attention_mask=torch.ones_like(ids),
            past_key_values=first.past_key_values,
            output_attributions=True,
        )
    torch.testing.assert_close(rest.logits, whole.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(rest.layer_attributions * 3, whole.layer_attributions[:, 5:] * 8, rtol=1e-3, atol=1e-4)


def test_a_model_called_inside_another():
    outer, inner = model_of(), model_of("distilbert")
    expected = outer(**batch()).head_logits
    outer.bert.encoder.layer[1].attention.self.register_forward_hook(lambda *_: inner(**batch()) and None)
    assert torch.equal(outer(**batch()).head_logits, expected)


def test_checkpointing_switched_on_before_the_heads():
    plain = plain_model("bert").train()
    plain.activation_checkpointing_enable()
    model = train_heads(get_mhex_model(plain))
    model(**batch(), labels=LABELS).loss.backward()
    assert model.mhex[0].w1.grad.abs().max() > 0


def test_a_card_is_brought_up_to_date(tmp_path):
    model_of().save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text() + "\n## Results\n\nFine.\n"
    (tmp_path / "README.md").write_text(card)
    model_of(gate=False).save_pretrained(tmp_path)
    again = (tmp_path / "README.md").read_text()
    assert "predicts differently" not in again and "predicts the same" in again
    assert again.count("## Loading this model") == 1 and again.endswith("## Results\n\nFine.\n")


def test_adapters_would_lose_the_heads(tmp_path):
    model = model_of()
    model._hf_peft_config_loaded = True  # as model.add_adapter leaves it
    with pytest.raises(ValueError, match="lose the MHEX heads"):
        model.save_pretrained(tmp_path)


def test_collaboration_needs_input_ids():
    with pytest.raises(ValueError, match="batch must hold input_ids, got inputs_embeds"):
        head_collaboration(model_of(), {"inputs_embeds": torch.zeros(4, 3, 32)}, LABELS)


def test_left_padding_with_a_mask():
    """Rotary positions: a decoder padded on the left gives the same scores."""
    model = model_of("llama")
    inputs = batch(rows=(7,))
    padded = {
        "input_ids": torch.cat([torch.ones(1, 3, dtype=torch.long), inputs["input_ids"]], 1),
        "attention_mask": torch.cat([torch.zeros(1, 3, dtype=torch.long), inputs["attention_mask"]], 1),
    }
    positions = torch.tensor([[0, 0, 0, *range(7)]])
    with torch.no_grad():
        expected = model(**inputs, output_attributions=True).layer_attributions
        actual = model(**padded, position_ids=positions, output_attributions=True).layer_attributions
    assert not actual[:, :3].any()
    torch.testing.assert_close(actual[:, 3:], expected, rtol=1e-4, atol=1e-5)
