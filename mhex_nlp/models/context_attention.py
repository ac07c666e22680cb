# SPDX-License-Identifier: Apache-2.0
"""How much a continuation's tokens attend to each token before them, noted in a forward pass.

Axes: N attention heads, A tokens of the continuation, L tokens in all.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .attention_hook import watch_attention
from .eval_mode import run_in_eval_mode
from .heads.attention_flow import AttentionInputs, AttentionLog
from .hooks import HeadLog, close_record, open_record
from .padding import TokenMask


class _LastRows(AttentionLog):
    """Keeps of each layer the mean over heads of its last rows but one; never a whole (N, L, L)."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.last = slice(-rows - 1, -1)
        self.total: Tensor | None = None
        self.count = 0
        self._before: Any = None

    def keeps(self, inputs: AttentionInputs) -> bool:
        """Never: a few rows alone are wanted, which are made anew."""
        return False

    def add(self, inputs: AttentionInputs) -> None:
        """Adds a layer."""
        if inputs.query is self._before:
            return  # asked for a second time, as when one attention function failed
        self._before = inputs.query
        mean = inputs.weights(rows=self.last)[0].mean(0)  # of (1, N, A, L)
        self.total = mean if self.total is None else self.total + mean.to(self.total.device)
        self.count += 1


def attention_of_continuation(model: Any, ids: Tensor, prompt: int) -> Tensor | None:
    """(A, L) float32 on the CPU: the attention of the tokens that predict the continuation, mean over layers and heads.

    `None` where the model's attention cannot be seen.

    Args:
        model: the causal language model.
        ids: (L,) int64, prompt and continuation.
        prompt: tokens of the prompt.
    """
    watch_attention(model.config._attn_implementation)
    device = model.get_input_embeddings().weight.device
    log = _LastRows(len(ids) - prompt)
    record = open_record(TokenMask(None, len(ids)), HeadLog(None), log)
    record.stream = ids  # attention is noted while a layer's stream is there
    inputs = {
        "input_ids": ids[None].to(device),
        "attention_mask": torch.ones(1, len(ids), dtype=torch.int64, device=device),
        "position_ids": torch.arange(len(ids), device=device)[None],
        "use_cache": False,
    }
    try:
        with torch.inference_mode():
            run_in_eval_mode(model, inputs)
    finally:
        close_record(record)
    return None if log.total is None else (log.total / log.count).float().cpu()
