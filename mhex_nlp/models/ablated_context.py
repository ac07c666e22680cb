# SPDX-License-Identifier: Apache-2.0
"""A causal language model asked how probable a continuation is when parts of its prompt are hidden.

A token is hidden by the attention mask while all others keep their positions. What is hidden is read by nobody, so that
the same is had, at less cost, by leaving it out and saying at which positions the others stand; and what begins alike
is read once and kept in a KV cache. Both is done wherever it changes nothing. Ours; ablation by masks is common.

Axes: T tokens of the prompt, A of the continuation, L = T + A, S subsets of the prompt's tokens.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from ..inputs.batching import token_batches, usual_batch_tokens
from .eval_mode import run_in_eval_mode

_RECURRENT = ("linear", "mamba", "recurrent", "conv", "ssm", "rwkv")  # in the names of layers that keep a state
_WINDOWS = ("sliding_window", "attention_chunk_size", "window_size")  # counted over what is there, not by positions
_WORTH = {"cpu": 32}  # tokens that a further pass over a shared beginning must save; _WORTH_ELSEWHERE on other devices
_WORTH_ELSEWHERE = 1024
_TOLERANCE = 0.02  # nats, in half precision; a model that sees hidden tokens is off by far more


@dataclass(frozen=True, slots=True)
class _Question:
    """One prompt and continuation, and what of the prompt is kept; rows are numbers of subsets."""

    ids: Tensor  # (L,) int64
    read: Tensor  # (S, L) bool, on the CPU: which tokens go through the model
    seen: Tensor  # (S, L) bool: which of these the others see
    prompt: int  # T


class AblatedContext:
    """Log-probabilities of continuations of ablated prompts.

    Args:
        model: a causal language model of transformers; its mode is not touched, its weights get no gradient.
        batch_tokens: rows times longest row of one batch; by default what suits the device.
        shares: whether common beginnings are read once.

    `rows` counts the rows that went through the model, each row from the first token that is its own.

    Raises:
        TypeError, ValueError: no causal language model, or one whose answers do not go by attention and positions
            alone.
    """

    def __init__(self, model: Any, *, batch_tokens: int | None = None, shares: bool = True) -> None:
        check_reads_by_attention(model)
        self.model, self.shares = model, shares
        self.device = model.get_input_embeddings().weight.device
        self.batch_tokens = usual_batch_tokens(self.device) if batch_tokens is None else batch_tokens
        token_batches([], self.batch_tokens)  # refuses a bad budget
        self.rows = 0
        self._keeps_logits = "logits_to_keep" in _arguments(model)
        self._compacts = self._leaving_out_is_hiding()
        self.rows = 0

    def log_probabilities(self, ids: Tensor, prompt: int, kept: Tensor) -> Tensor:
        """(S, A) float64 on the CPU: of each token of the continuation given those before it, in nats.

        Args:
            ids: (L,) int64, prompt and continuation.
            prompt: T, tokens of the prompt, at least 1.
            kept: (S, T) bool, those of the prompt that are there; the first one always is.

        Raises:
            ValueError: a first token that is not kept, or log-probabilities that are not finite.
        """
        return self._ask(ids, prompt, kept, self._compacts and len(ids) <= self._window())

    def _ask(self, ids: Tensor, prompt: int, kept: Tensor, compact: bool) -> Tensor:
        if not bool(kept[:, 0].all()):
            raise ValueError("kept must hold the first token of the prompt: without it nothing can be attended to.")
        rows, inverse = torch.unique(kept.cpu(), dim=0, return_inverse=True)
        seen = torch.cat([rows, torch.ones(len(rows), len(ids) - prompt, dtype=torch.bool)], 1)
        question = _Question(ids.cpu(), seen if compact else torch.ones_like(seen), seen, prompt)
        results = torch.zeros(len(rows), len(ids) - prompt, dtype=torch.float64)
        with torch.inference_mode():
            rest = self._visit(question, list(range(len(rows))), 0, 0, None, results)
            self._finish(question, rest, 0, None, results)
        if not torch.isfinite(results).all():
            raise ValueError("the model's log-probabilities are not finite, so nothing can be said of its answers.")
        return results[inverse]

    def _visit(
        self, question: _Question, rows: list[int], cached: int, alike: int, cache: Any, results: Tensor
    ) -> list[int]:
        """Runs rows that are alike in the columns before `alike`, of which `cache` holds those before `cached`.

        Returns the rows that are still to run from `cache` on.
        """
        last = question.prompt - 1  # whose logits are wanted
        different = (question.seen[rows, alike:last] != question.seen[rows[0], alike:last]).any(0).nonzero()
        end = alike + int(different[0]) if len(different) else last
        tokens = int(question.read[rows[0], cached:end].sum())
        extends = self.shares and tokens * (len(rows) - 1) >= _WORTH.get(self.device.type, _WORTH_ELSEWHERE)
        if extends:
            before, cached = cached, end
            cache = self._extended(question, rows[0], before, end, cache)
        if end < last:
            there = [row for row in rows if question.seen[row, end]]
            gone = [row for row in rows if not question.seen[row, end]]
            parts = [there, gone] if self.shares else []
            rest = [row for part in parts for row in self._visit(question, part, cached, end, cache, results)]
            rest = rest if parts else rows
        else:
            rest = rows
        if extends:
            self._finish(question, rest, cached, cache, results)
            return []
        return rest

    def _extended(self, question: _Question, row: int, start: int, end: int, cache: Any) -> Any:
        """A new cache that also holds the columns from `start` to `end` of a row."""
        longer = DynamicCache(config=self.model.config) if cache is None else copy.deepcopy(cache)
        columns = torch.arange(start, end)[question.read[row, start:end]]
        if len(columns):
            self._run(question, [row], [columns], start, longer, 1)
        return longer

    def _finish(self, question: _Question, rows: Sequence[int], start: int, cache: Any, results: Tensor) -> None:
        """Runs the rest of rows, from column `start` on, and notes their log-probabilities."""
        length = question.ids.shape[0]
        columns = {row: torch.arange(start, length)[question.read[row, start:]] for row in rows}
        past = 0 if cache is None else cache.get_seq_length()
        sizes = [len(columns[row]) + past // 4 for row in rows]  # what is cached costs memory, but little time
        answers = question.ids[question.prompt :].to(self.device)
        for batch in token_batches(sizes, self.batch_tokens):
            chosen = [rows[index] for index in batch]
            copied = None
            if cache is not None:
                copied = copy.deepcopy(cache)
                copied.batch_repeat_interleave(len(chosen))
            logits = self._run(question, chosen, [columns[row] for row in chosen], start, copied, len(answers) + 1)
            self.rows += len(chosen)
            results[chosen] = _log_probabilities(logits[:, :-1], answers).double().cpu()

    def _run(
        self, question: _Question, rows: Sequence[int], columns: Sequence[Tensor], start: int, cache: Any, last: int
    ) -> Tensor:
        """The logits of the `last` columns of each row, (B, last, V), of those `columns`, padded on the left.

        `cache` holds what is read of the columns before `start`.
        """
        width = max(map(len, columns))
        past = question.seen[rows][:, :start]
        if cache is not None:  # all rows are alike there
            past = past[:, question.read[rows[0], :start]]
        ids, mask, positions = (torch.zeros(len(rows), width, dtype=torch.int64) for _ in range(3))
        for number, (row, own) in enumerate(zip(rows, columns, strict=True)):
            ids[number, width - len(own) :] = question.ids[own]
            mask[number, width - len(own) :] = question.seen[row, own].long()
            positions[number, width - len(own) :] = own
        inputs: dict[str, Any] = {
            "input_ids": ids.to(self.device),
            "attention_mask": torch.cat([past.long(), mask], 1).to(self.device),
            "position_ids": positions.to(self.device),
            "use_cache": cache is not None,
            "return_dict": True,
        }
        if cache is not None:
            inputs["past_key_values"] = cache
        if self._keeps_logits:
            inputs["logits_to_keep"] = last
        logits: Tensor = run_in_eval_mode(self.model, inputs).logits
        return logits[:, -last:]

    def _window(self) -> float:
        """The tokens a text may have while no layer's window is full."""
        config = self.model.config.get_text_config()
        return min((w for name in _WINDOWS if isinstance(w := getattr(config, name, None), int)), default=float("inf"))

    def _leaving_out_is_hiding(self) -> bool:
        """Whether a hidden token may be left out, tried on a few tokens.

        Raises:
            ValueError: hidden tokens are read all the same.
        """
        size = min(10, self.model.config.get_text_config().vocab_size)
        ids = torch.arange(size)
        kept = torch.ones(1, size - 3, dtype=torch.bool)
        kept[0, 2:5] = False
        other = ids.clone()
        other[2:5] = ids[:3]
        hidden, changed = (self._ask(tokens, size - 3, kept, compact=False) for tokens in (ids, other))
        if not torch.allclose(hidden, changed, atol=_TOLERANCE):
            raise ValueError(
                f"model must read its context by attention that a mask can hide tokens from, got a "
                f"{type(self.model).__name__}, whose answers depend on hidden tokens."
            )
        # flash attention takes positions with gaps for several texts in one row
        if self.model.config._attn_implementation not in ("sdpa", "eager"):
            return False
        left_out = self._ask(ids, size - 3, kept, compact=True)
        return torch.allclose(hidden, left_out, atol=1e-3 if self.model.dtype == torch.float32 else _TOLERANCE)


def _log_probabilities(logits: Tensor, answers: Tensor) -> Tensor:
    """(B, A) float32 of the tokens `answers` (A,) by logits (B, A, V); one row at a time, since V is large."""
    index = answers[:, None]
    rows = [row.float() for row in logits]
    return torch.stack([row.gather(1, index)[:, 0] - row.logsumexp(1) for row in rows])


def check_reads_by_attention(model: Any) -> None:
    """Refuses what is no causal language model, or does not read by attention and explicit positions alone."""
    name = type(model).__name__
    config = getattr(model, "config", None)
    if config is None or getattr(model, "get_output_embeddings", lambda: None)() is None:
        raise TypeError(f"model must be a causal language model of transformers (AutoModelForCausalLM), got a {name}.")
    if config.is_encoder_decoder:
        raise ValueError(f"model must be a decoder alone, got a {name}, which is an encoder-decoder.")
    text_config = config.get_text_config()
    kinds = {str(kind) for kind in getattr(text_config, "layer_types", None) or ()}
    recurrent = [kind for kind in kinds if any(word in kind for word in _RECURRENT)]
    stateful = getattr(model, "_is_stateful", False) or not getattr(text_config, "num_attention_heads", None)
    if recurrent or stateful:
        raise ValueError(
            f"model must read its context by attention alone, got a {name}, which carries a state from token to token: "
            "nothing can be hidden from that."
        )
    needed = {"position_ids", "attention_mask", "past_key_values"}
    if not needed <= _arguments(model) or getattr(text_config, "alibi", False):
        raise ValueError(
            f"model must take position_ids, or hiding tokens would move the others, got a {name}, which counts "
            "positions itself."
        )


def _arguments(model: Any) -> set[str]:
    """The names that the forward of the model itself takes, inside torch.compile and PEFT."""
    model = getattr(model, "_orig_mod", model)
    model = model.get_base_model() if hasattr(model, "get_base_model") else model
    return set(inspect.signature(model.forward).parameters)
