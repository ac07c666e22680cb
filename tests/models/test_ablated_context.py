# SPDX-License-Identifier: Apache-2.0
"""Log-probabilities of ablated prompts: left out, cached, batched or padded, they are those of plain passes."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, T5Config, T5ForConditionalGeneration

import mhex_nlp.models.ablated_context as module
from helpers.language_models import FAMILIES, tiny_language_model
from mhex_nlp.models.ablated_context import AblatedContext
from mhex_nlp.models.context_attention import attention_of_continuation

PROMPT, LENGTH = 60, 66
SEGMENTS = [range(start, start + 10) for start in range(4, 54, 10)]


def ids() -> torch.Tensor:
    return torch.randint(2, 250, (LENGTH,), generator=torch.Generator().manual_seed(1))


def subsets(count: int = 12) -> torch.Tensor:
    """(S, T) bool: five segments that are there or not, the whole prompt and the barest among them."""
    kept = torch.ones(count, PROMPT, dtype=torch.bool)
    draw = torch.rand(count, len(SEGMENTS), generator=torch.Generator().manual_seed(2)) < 0.5
    draw[0], draw[1] = True, False
    for number, segment in enumerate(SEGMENTS):
        kept[:, list(segment)] = draw[:, number, None]
    return kept


def plainly(model, tokens, kept) -> torch.Tensor:
    """One row at a time, nothing cached or left out: the mask has holes, positions have none."""
    rows = []
    for row in kept:
        mask = torch.cat([row, torch.ones(LENGTH - PROMPT, dtype=torch.bool)])[None].long()
        with torch.inference_mode():
            logits = model(input_ids=tokens[None], attention_mask=mask, position_ids=torch.arange(LENGTH)[None]).logits
        logp = logits[0, PROMPT - 1 : -1].double().log_softmax(-1)
        rows.append(logp.gather(1, tokens[PROMPT:, None])[:, 0])
    return torch.stack(rows)


# gemma2, whose softcap sdpa does not know, is eager alone
CASES = [(family, "eager" if family == "gemma2" else "sdpa") for family in FAMILIES] + [("llama", "eager")]


@pytest.mark.parametrize(("family", "attention"), CASES)
def test_shortcuts_change_nothing(family, attention, monkeypatch):
    monkeypatch.setitem(module._WORTH, "cpu", 12)
    model, tokens, kept = tiny_language_model(family, attention), ids(), subsets()
    expected = plainly(model, tokens, kept)
    assert (expected[0] - expected[1]).abs().sum() > 0.1  # the context matters
    for shares, budget in ((True, 500), (True, 1), (False, 500)):  # many rows a batch, or one
        ablated = AblatedContext(model, batch_tokens=budget, shares=shares)
        torch.testing.assert_close(ablated.log_probabilities(tokens, PROMPT, kept), expected, atol=1e-4, rtol=0)


def test_rows_are_shared_and_tokens_left_out(monkeypatch):
    """What the shortcuts are for: fewer tokens go through the model than rows times length."""
    monkeypatch.setitem(module._WORTH, "cpu", 12)
    model, tokens, kept = tiny_language_model(), ids(), subsets()
    seen: list[int] = []
    model.register_forward_pre_hook(lambda _, __, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True)
    counts = {}
    for shares in (True, False):
        ablated = AblatedContext(model, shares=shares)
        seen.clear()
        ablated.log_probabilities(tokens, PROMPT, torch.cat([kept, kept]))
        counts[shares] = sum(seen)
    assert counts[True] < counts[False] < 0.9 * len(kept) * LENGTH  # equal subsets run once


def test_windows_count_what_is_hidden():
    """A window of 16 tokens reaches less far back where tokens are left out, so there they are only hidden."""
    ablated = AblatedContext(tiny_language_model("mistral"))
    torch.testing.assert_close(
        ablated._ask(ids(), PROMPT, subsets(), compact=False), ablated.log_probabilities(ids(), PROMPT, subsets())
    )
    apart = ablated._ask(ids(), PROMPT, subsets(), compact=True) - ablated._ask(ids(), PROMPT, subsets(), compact=False)
    assert apart.abs().max() > 1e-3


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_positions_stay_where_generate_would_move_them(family):
    """`generate` counts positions along the mask, so under holes it asks the model another question than we do."""
    model, tokens, kept = tiny_language_model(family), ids(), subsets()[1:2]
    ours = AblatedContext(model).log_probabilities(tokens, PROMPT, kept)[0, 0]
    mask = kept.long()
    written = model.generate(
        input_ids=tokens[None, :PROMPT],
        attention_mask=mask,
        max_new_tokens=1,
        do_sample=False,
        return_dict_in_generate=True,
        output_logits=True,
    )
    theirs = written.logits[0][0].double().log_softmax(-1)[tokens[PROMPT]]
    moved = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.inference_mode():
        logits = model(input_ids=tokens[None, :PROMPT], attention_mask=mask, position_ids=moved).logits[0, -1]
    torch.testing.assert_close(theirs, logits.double().log_softmax(-1)[tokens[PROMPT]], atol=1e-4, rtol=0)
    assert abs(float(theirs - ours)) > 1e-3
    torch.testing.assert_close(ours, plainly(model, tokens, kept)[0, 0], atol=1e-4, rtol=0)


def test_training_mode_and_grad_are_left_alone():
    model = tiny_language_model(attention_dropout=0.5)
    expected = AblatedContext(model).log_probabilities(ids(), PROMPT, subsets())
    model.train()
    torch.testing.assert_close(AblatedContext(model).log_probabilities(ids(), PROMPT, subsets()), expected)
    assert model.training and all(parameter.grad is None for parameter in model.parameters())


def test_half_precision():
    model = tiny_language_model().to(torch.bfloat16)
    expected = plainly(model, ids(), subsets())
    apart = AblatedContext(model).log_probabilities(ids(), PROMPT, subsets()) - expected
    assert apart.abs().mean() < 0.1


@pytest.mark.parametrize(("family", "attention"), CASES)
def test_attention_of_the_continuation(family, attention):
    """The rows that eager attention returns, whichever implementation ran."""
    tokens = ids()
    weights = attention_of_continuation(tiny_language_model(family, attention), tokens, PROMPT)
    with torch.inference_mode():
        output = tiny_language_model(family, "eager")(input_ids=tokens[None], output_attentions=True)
    expected = torch.stack(output.attentions).float().mean((0, 2))[0, PROMPT - 1 : -1]
    torch.testing.assert_close(weights, expected, atol=1e-5, rtol=1e-3)


def test_refusals():
    mamba = AutoModelForCausalLM.from_config(
        AutoConfig.for_model("mamba", vocab_size=300, hidden_size=16, num_hidden_layers=1, state_size=4)
    )
    with pytest.raises(ValueError, match="model must read its context by attention alone, got a MambaForCausalLM"):
        AblatedContext(mamba)
    hybrid = {"layer_types": ["linear_attention", "full_attention"], "num_experts": 0}
    with pytest.raises(ValueError, match="by attention alone, got a Qwen3NextForCausalLM"):
        AblatedContext(tiny_language_model("qwen3_next", **hybrid))
    bloom = AutoModelForCausalLM.from_config(
        AutoConfig.for_model("bloom", vocab_size=300, hidden_size=16, n_layer=1, n_head=2)
    )
    with pytest.raises(ValueError, match="model must take position_ids.* got a BloomForCausalLM"):
        AblatedContext(bloom)
    t5 = T5ForConditionalGeneration(T5Config(vocab_size=300, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2))
    with pytest.raises(ValueError, match="model must be a decoder alone, got a T5ForConditionalGeneration"):
        AblatedContext(t5)
    with pytest.raises(TypeError, match="model must be a causal language model of transformers"):
        AblatedContext(tiny_language_model().model)
    kept = torch.zeros(1, PROMPT, dtype=torch.bool)
    with pytest.raises(ValueError, match="kept must hold the first token"):
        AblatedContext(tiny_language_model()).log_probabilities(ids(), PROMPT, kept)
