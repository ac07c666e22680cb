# SPDX-License-Identifier: Apache-2.0
"""Which parts of its context a causal language model used: prompt and continuation in, a `ContextExplanation` out.

Axes: T tokens of the prompt, A of the continuation, N units, C spans, S ablations.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from ..._version import __version__
from ...inputs.checks import as_integer
from ...inputs.segmentation import CharSpan, check_language
from ...inputs.texts import check_texts
from ...inputs.tokenizer import check_tokenizer, load_tokenizer, private_copy
from ...models.ablated_context import AblatedContext
from ...models.checkpoint import shown_name
from ...models.context_attention import attention_of_continuation
from ...models.devices import load_model
from ...models.eval_mode import eval_view
from ..parts import ModelRef
from .estimate import Array, Estimate, chosen_subsets, estimate
from .explanation import ContextExplanation
from .parts import ContinuationSpan
from .prompts import Messages, Prompt, write_prompt
from .units import (
    ReadContinuation,
    ReadPrompt,
    Units,
    check_units,
    read_continuation,
    read_generated,
    read_prompt,
    spans_of,
)

_NO_ATTENTION = "The model's attention cannot be seen, so that the scores start from no prior."
_PRIOR_ALONE = (
    "No ablation was made: the scores are the mean attention that the span pays to each unit, which share out nothing "
    "and say nothing of nats."
)


class ContextExplainer:
    """Says what each sentence, word or token of a context adds to the log-probability of what a model writes.

    A unit is removed by hiding its tokens from attention, while all positions stay. Scores are estimates of the Shapley
    values of that game, from `budget` ablations and the attention that the continuation pays (`estimate.py`).

    Args:
        model: a causal language model of transformers, of any family that reads by attention and takes position_ids.
        tokenizer: its fast tokenizer.
        batch_tokens: rows times longest row of a batch; by default what suits the device.
        language: a spaCy code for words and sentences, as in `MhexExplainer`.

    Raises:
        TypeError, ValueError: another kind of model, such as Mamba, or a slow tokenizer.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, batch_tokens: int | None = None, language: str | None = None
    ) -> None:
        check_language(language)
        self._ablated = AblatedContext(model, batch_tokens=batch_tokens)
        check_tokenizer(tokenizer, model)
        self.model, self.tokenizer, self.language = model, tokenizer, language

    @classmethod
    def from_pretrained(
        cls,
        name: str,
        *,
        revision: str | None = None,
        dtype: str | torch.dtype | None = None,
        device: str | torch.device | None = None,
        **options: Any,
    ) -> ContextExplainer:
        """Loads model and tokenizer from a folder or the hub; `options` are those of the class.

        Raises:
            ValueError: a dtype that the device cannot compute in, no such device, or no tokenizer files.
        """
        model = load_model(AutoModelForCausalLM, name, revision=revision, dtype=dtype, device=device)
        return cls(model, load_tokenizer(name, revision), **options)

    def explain(
        self,
        prompt: str | Messages | None = None,
        continuation: str | None = None,
        *,
        context: str | None = None,
        query: str | None = None,
        units: Units = "sentences",
        span: CharSpan | list[CharSpan] | None = None,
        budget: int = 32,
        seed: int = 0,
        max_new_tokens: int = 128,
        id: str = "0",
    ) -> ContextExplanation:
        """What each unit of the prompt adds to each span of the continuation.

        Args:
            prompt: a text that the model reads as it is, or chat messages, whose contents are units and whose template
                is not.
            continuation: what follows the prompt, to the letter; by default what the model writes (greedily).
            context, query: instead of a prompt: a text whose parts are the units, and a question about it, which always
                stays.
            units: what is removed at a time.
            span: the part of the continuation to be explained, [start, end) in code points, or several; by default
                each of its sentences.
            budget: ablations, all spans together; 0: attention alone, which is a guess.
            seed: of the choice of ablations.
            max_new_tokens: of a continuation that the model writes.
            id: handed on.

        Raises:
            TypeError, ValueError: one sentence that names the argument, what came and what was expected.
        """
        units = check_units(units)
        budget, seed = as_integer(budget, "budget", at_least=0), as_integer(seed, "seed", at_least=0)
        tokenizer = private_copy(self.tokenizer)
        written = write_prompt(tokenizer, prompt, context, query)
        read = read_prompt(tokenizer, written, units, self.language)
        if continuation is None:
            spoken = self._generated(tokenizer, written, read, as_integer(max_new_tokens, "max_new_tokens", at_least=1))
        else:
            spoken = read_continuation(tokenizer, written, read.ids, check_texts(continuation, "continuation")[0])
        self._check_length(
            len(read.ids) + len(spoken.ids), f"prompt and continuation of {len(read.ids)} and {len(spoken.ids)}"
        )
        spans, members = spans_of(spoken, span, self.language)
        return self._explained(written, read, spoken, spans, members, continuation is None, budget, seed, id)

    def _explained(
        self,
        written: Prompt,
        read: ReadPrompt,
        spoken: ReadContinuation,
        spans: list[CharSpan],
        members: Tensor,
        generated: bool,
        budget: int,
        seed: int,
        name: str,
    ) -> ContextExplanation:
        ids = torch.cat([read.ids, spoken.ids])
        attention = self._attention(ids, read, members)
        notes = list(read.notes)
        if attention is None:
            notes.append(_NO_ATTENTION)
            if budget == 0:
                raise ValueError("budget must be at least 1 for a model whose attention cannot be seen, got 0.")
        units = len(read.units)
        subsets = chosen_subsets(np.ones(units) if attention is None else attention.mean(1), budget, seed)
        kept = torch.from_numpy(np.concatenate([np.ones((1, units), dtype=bool), subsets]))
        answers = (self._ablated.log_probabilities(ids, len(read.ids), read.kept_tokens(kept)) @ members).numpy()
        if len(subsets):
            results = estimate(subsets, answers[1:], answers[0], attention)
        else:
            assert attention is not None
            results = Estimate(attention, None, (None,) * len(spans))
            notes.append(_PRIOR_ALONE)
        config = self.model.config
        revision = getattr(config, "_commit_hash", None)
        return ContextExplanation(
            id=str(name),
            library=f"mhex_nlp {__version__}",
            model=ModelRef(shown_name(config._name_or_path) or type(self.model).__name__, revision and str(revision)),
            prompt=written.text,
            continuation=spoken.text,
            generated=generated,
            units=read.units,
            spans=_scored(spoken.text, spans, answers, results),
            budget=budget,
            passes=len(kept) + (attention is not None),
            prior="none" if attention is None else "attention",
            notes=tuple(notes),
        )

    def _attention(self, ids: Tensor, read: ReadPrompt, members: Tensor) -> Array | None:
        """(N, C): the attention that the tokens of each span pay to the tokens of each unit, mean over the former."""
        rows = attention_of_continuation(self.model, ids, len(read.ids))  # (A, L)
        if rows is None:
            return None
        owned = torch.nn.functional.one_hot(read.owners + 1, len(read.units) + 1)[:, 1:].double()  # (T, N)
        by_unit = rows[:, : len(read.ids)].double() @ owned
        return np.asarray((by_unit.T @ members / members.sum(0)).numpy())

    def _generated(self, tokenizer: Any, written: Prompt, read: ReadPrompt, new_tokens: int) -> ReadContinuation:
        """What the model writes, greedily, without the token that ends it."""
        self._check_length(len(read.ids) + new_tokens, f"prompt of {len(read.ids)} and max_new_tokens of {new_tokens}")
        ids = read.ids[None].to(self._ablated.device)
        runner = eval_view(self.model) if any(module.training for module in self.model.modules()) else self.model
        settings = {"do_sample": False, "num_beams": 1, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0}
        with torch.inference_mode():
            mask = torch.ones_like(ids)
            output = runner.generate(input_ids=ids, attention_mask=mask, max_new_tokens=new_tokens, **settings)
        generated = output[0, len(read.ids) :].cpu()
        end = self.model.generation_config.eos_token_id
        ends = torch.tensor([] if end is None else end).flatten()
        stops = torch.isin(generated, ends).nonzero()
        generated = generated[: int(stops[0])] if len(stops) else generated
        if not tokenizer.decode(generated, skip_special_tokens=False).strip():
            raise ValueError("continuation must be given where the model writes nothing of its own: it ended at once.")
        return read_generated(tokenizer, written, read.ids, generated)

    def _check_length(self, tokens: int, what: str) -> None:
        longest = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        if longest is not None and tokens > longest:
            raise ValueError(f"{what} tokens must be no more than the {longest} that the model takes, got {tokens}.")


def _scored(text: str, spans: list[CharSpan], answers: Array, results: Estimate) -> tuple[ContinuationSpan, ...]:
    """The spans of a continuation with their scores; answers are (M, C), those to the whole prompt first."""
    return tuple(
        ContinuationSpan(
            text=text[start:end],
            start=start,
            end=end,
            log_probability=float(answers[0, number]),
            empty_log_probability=None if results.errors is None else float(answers[-1, number]),
            scores=tuple(results.scores[:, number].tolist()),
            errors=None if results.errors is None else tuple(results.errors[:, number].tolist()),
            lds=results.lds[number],
        )
        for number, (start, end) in enumerate(spans)
    )
