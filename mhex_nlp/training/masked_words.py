# SPDX-License-Identifier: Apache-2.0
"""Training with masked words: in every training step a random part of some texts is hidden behind the mask token.

Fits and metrics ask a model what it says of parts of texts, and training with masked words shows it such parts (ours,
beyond the paper). It costs no further pass. It does not make what the model says a sum over words: on AG News, one
seed, the attainable skill went from 0.42 to 0.37, within noise, and accuracy by -0.005 [-0.013, +0.003], where 60 steps
with `faithfulness_weight` took the skill to 0.72 and accuracy by +0.001 (docs/masked_words.md).

It is a forward pre-hook on the model, and no collator: Trainer collates evaluation and prediction by the same collator,
whereas the hook knows training, and a user's own collator stays. It draws from torch's generator, as dropout does,
whose state checkpoints keep.

Axes: B texts, T tokens.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..inputs.checks import check_share
from ..models.heads.losses import draw_part
from ..models.modeling import forward_arguments
from ..models.padding import token_mask
from ..models.tasks import module_of, sequence_classification
from .head_watch import IdleHook
from .optimizer import require_heads

_TEMPLATE = ("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id", "pad_token_id", "mask_token_id")


class MaskedWords:
    """Masks words of the texts that a model is trained on, for as long as somebody holds it.

    Of each training batch the `share` of its texts, rounded up or down at random so that it holds on average, loses a
    random part of its content tokens to the mask token: 1 to all but one, each number as likely, as a fit removes them
    (`inputs.removal.random_subsets`). Labels stay. Special tokens, padding and the token that a decoder reads are never
    masked; the unknown token is content. Passes in evaluation mode and passes without labels are left alone.

    Args:
        model: what is called in training: a model with heads, or a wrapper around one.
        tokenizer: its tokenizer, which must have a mask token.
        share: of the texts of each batch, from 0 to 1.

    Raises:
        TypeError, ValueError: a share that is no number or out of range; a model without heads, a tokenizer without
            mask token; in training a batch without `input_ids`.
    """

    def __init__(self, model: nn.Module, tokenizer: Any, share: float) -> None:
        self.share = check_share(share, "masked_words")
        self.mask_token_id = getattr(tokenizer, "mask_token_id", None)
        if self.mask_token_id is None:
            raise ValueError(
                f"masked_words={share!r} needs a tokenizer with a mask token, got {type(tokenizer).__name__}, which "
                "has none: leave it out, or use faithfulness_weight, which can hide tokens by the attention mask."
            )
        heads = require_heads(model)
        self._config, self._site, self._task = heads.config, heads.mhex_site, module_of(heads)
        named = {getattr(tokenizer, name, None) for name in _TEMPLATE} - {None}
        unknown = {tokenizer.unk_token_id} - named
        self._special = torch.tensor(sorted(named | (set(tokenizer.all_special_ids) - unknown)))
        self._takes_mask = "attention_mask" in forward_arguments(heads)
        self._names = tuple(inspect.signature(model.forward).parameters)
        hook = model.register_forward_pre_hook(IdleHook(self._before), with_kwargs=True)
        self.remove: Callable[[], object] = weakref.finalize(self, hook.remove)

    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The arguments of a forward pass, masked where it is one of training."""
        arguments = {**dict(zip(self._names, args, strict=False)), **kwargs}
        if not module.training or self._task.labels_in(arguments) is None:
            return None
        if arguments.get("input_ids") is None:
            raise ValueError("masked_words needs input_ids, got a batch without them: tokens must be masked.")
        return (), {**arguments, "input_ids": self.mask(arguments)}

    @torch.no_grad()
    def mask(self, arguments: dict[str, Any]) -> Tensor:
        """(B, T) ids of `arguments["input_ids"]`, with a random part of `share` of the texts masked."""
        ids = arguments["input_ids"]
        texts, device = len(ids), ids.device
        real = token_mask(arguments, self._config, self._site, self._takes_mask).real
        removable = ~torch.isin(ids, self._special.to(device))
        if real is not None:
            removable &= real
        if self._site.causal and self._task is sequence_classification:  # the label is read off the last token
            position = torch.arange(ids.shape[1], device=device)
            last = position if real is None else torch.where(real, position, -1)
            removable &= position < last.amax(-1, keepdim=True)
        count = (self.share * texts + torch.rand((), dtype=torch.float32, device=device)).floor()
        chosen = torch.rand(texts, dtype=torch.float32, device=device).argsort().argsort() < count
        removed = draw_part(removable, removable.sum(1, keepdim=True) - 1)
        return ids.masked_fill(removed & chosen[:, None], self.mask_token_id)
