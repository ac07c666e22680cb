# SPDX-License-Identifier: Apache-2.0
"""Tiny random configs of every family in the table, and the batches the invariants are tested on."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

VOCABULARY = 96
_COMMON = {"vocab_size": VOCABULARY, "num_labels": 3, "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3}
_SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
_DECODER = {**_SIZES, "num_key_value_heads": 2, "head_dim": 8}

CONFIGS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(
        ["bert", "roberta", "xlm-roberta", "camembert", "ernie", "data2vec-text", "rembert", "megatron-bert"], _SIZES
    ),
    **dict.fromkeys(["roberta-prelayernorm", "xlm-roberta-xl", "layoutlm", "ibert", "mpnet"], _SIZES),
    "electra": {**_SIZES, "embedding_size": 24},
    "roformer": {**_SIZES, "embedding_size": 24},
    "luke": {**_SIZES, "entity_vocab_size": 8, "entity_emb_size": 16},
    "deberta": {**_SIZES, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "max_relative_positions": 16},
    "deberta-v2": {
        **_SIZES,
        "relative_attention": True,
        "pos_att_type": ["c2p", "p2c"],
        "position_buckets": 8,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "position_biased_input": False,
    },
    "longformer": {**_SIZES, "attention_window": 8, "max_position_embeddings": 128},
    "big_bird": {**_SIZES, "block_size": 4, "num_random_blocks": 1, "attention_type": "block_sparse"},
    "convbert": {**_SIZES, "embedding_size": 24, "conv_kernel_size": 3, "head_ratio": 2},
    "nystromformer": {**_SIZES, "num_landmarks": 12, "segment_means_seq_len": 12, "conv_kernel_size": 3},
    "distilbert": {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": 64},
    "albert": {**_SIZES, "embedding_size": 24, "num_hidden_groups": 1},
    "modernbert": {
        **_SIZES,
        "global_attn_every_n_layers": 2,
        "local_attention": 8,
        "cls_token_id": 2,
        "sep_token_id": 3,
    },
    "eurobert": _DECODER,
    "fnet": {**_SIZES, "tpu_short_seq_length": 64},
    "mobilebert": {**_SIZES, "embedding_size": 24, "true_hidden_size": 16, "intra_bottleneck_size": 16},
    "t5": {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 3, "num_heads": 4, "decoder_start_token_id": 1},
    "bart": {
        "d_model": 32,
        "encoder_layers": 3,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 48,
        "decoder_ffn_dim": 48,
        "max_position_embeddings": 64,
    },
    "gpt2": {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64},
    **dict.fromkeys(["llama", "mistral", "qwen2", "qwen3"], _DECODER),
    "gemma2": {**_DECODER, "query_pre_attn_scalar": 8, "sliding_window": 16},
}
FAMILIES = sorted(CONFIGS)

SEED = 7


def plain_model(
    family: str, *, dropout: bool = True, auto: Any = AutoModelForSequenceClassification, **changes: Any
) -> PreTrainedModel:
    """A random model of the family, in eval mode, with weights large enough for every layer to matter."""
    torch.manual_seed(SEED)
    config = AutoConfig.for_model(family, **{**_COMMON, **CONFIGS[family], **changes})
    if not dropout:
        for name, value in config.to_dict().items():
            if "drop" in name and isinstance(value, float):
                setattr(config, name, 0.0)
    model = auto.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model


def batch(rows: tuple[int, ...] = (12, 7, 12, 4), eos: bool = True) -> dict[str, torch.Tensor]:
    """Rows of so many real tokens, padded on the right with id 1; each ends in the eos id 3, which t5 and bart read."""
    generator = torch.Generator().manual_seed(SEED)
    ids = torch.randint(5, VOCABULARY, (len(rows), max(rows)), generator=generator)
    mask = torch.arange(max(rows)) < torch.tensor(rows)[:, None]
    ids[~mask] = 1
    if eos:
        ids[torch.arange(len(rows)), torch.tensor(rows) - 1] = 3
    return {"input_ids": ids, "attention_mask": mask.long()}


def inputs_for(family: str, **kwargs: Any) -> dict[str, torch.Tensor]:
    """`batch` as the family's forward takes it."""
    features = batch(**kwargs)
    if family == "fnet":
        del features["attention_mask"]
    return features


def train_heads(model: PreTrainedModel, scale: float = 0.3) -> PreTrainedModel:
    """Heads as training might leave them: no weight at its start value, gates away from 1."""
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for parameter in model.mhex.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return model
