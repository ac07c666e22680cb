# SPDX-License-Identifier: Apache-2.0
"""Tiny random causal language models of many families, and a byte-level tokenizer with a chat template for them."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are helpful.<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SIZES = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
# what differs from _SIZES; the windows are shorter than the texts of the tests
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},  # SmolLM and SmolLM2 as well
    "qwen2": {},
    "qwen3": {},
    "mistral": {"sliding_window": 16},
    "gemma": {},
    "gemma2": {"sliding_window": 16, "attn_logit_softcapping": 5.0, "final_logit_softcapping": 10.0},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512},
    "phi": {"partial_rotary_factor": 0.5},
    "phi3": {},
    "smollm3": {},
}


@cache
def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Every byte is a token, so that an emoji is four of them; "the" and " the" are words of their own."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the")]
    pieces = ["<|im_start|>", "<|im_end|>", *alphabet, *("".join(pair) for pair in merges)]
    tokenizer = Tokenizer(models.BPE({piece: number for number, piece in enumerate(pieces)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(piece, special=True) for piece in pieces[:2]])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=pieces[0], eos_token=pieces[1], pad_token=pieces[1]
    )
    fast.chat_template = TEMPLATE
    return fast


def tiny_language_model(family: str = "llama", attention: str = "sdpa", seed: int = 0, **changes: Any) -> Any:
    """A random model of the family in eval mode, with weights large enough for the context to matter."""
    config = AutoConfig.for_model(family, **{**_SIZES, **FAMILIES.get(family, {}), **changes})
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.2)
    return model
