# SPDX-License-Identifier: Apache-2.0
"""The states that a text classifier reads its labels off: what its last linear layer turns into logits.

Axes: N texts, B texts of a batch, T tokens, H features of the state, C labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..inputs.encoding import TokenisedText
from .batches import InputBatcher
from .eval_mode import eval_view
from .modeling import MhexMixin
from .perturbed import check_finite_logits

_ALIKE = 1e-5  # of the largest logit: logits of one row that differ by less are the same


def label_states(
    model: Any, batcher: InputBatcher, items: Sequence[TokenisedText], batch_tokens: int
) -> tuple[Tensor, Tensor]:
    """The pooled states of texts and their logits, by one forward pass a batch; the model is not touched.

    Whatever a family pools with, the state is what goes into the linear layer whose output the logits are: of a layer
    that runs at every position, at the one whose output is the text's, or the mean where theirs is. A text in windows
    has the means over them.

    Args:
        model: a text classifier, plain or with heads.
        batcher: of the model and its tokenizer.
        items: N tokenised texts.
        batch_tokens: texts times longest text of one batch, padding included.

    Returns:
        (N, H) and (N, C), float32 on the CPU.

    Raises:
        ValueError: a model whose logits come from no linear layer, or are not finite.
    """
    inputs = [(owner, part) for owner, item in enumerate(items) for part in item.inputs]
    view = eval_view(model)
    calls: list[tuple[Tensor, Tensor]] = []
    for layer in _label_layers(view):
        layer.register_forward_hook(partial(_keep, calls))
    options = {"output_head_logits": False} if isinstance(model, MhexMixin) else {}
    states: Any = [None] * len(inputs)
    logits: Any = [None] * len(inputs)
    for batch in batcher.indices([part.features["input_ids"] for _, part in inputs], batch_tokens):
        calls.clear()
        with torch.inference_mode():
            features = batcher.collate([inputs[index][1].features for index in batch])
            said = view(**features, **options, return_dict=True).logits
            rows = _read(calls, said, features.get("attention_mask"), model)
        said = check_finite_logits(said.float().cpu())
        for index, state, logit in zip(batch, rows.float().cpu(), said, strict=True):
            states[index], logits[index] = state, logit
    owners = torch.tensor([owner for owner, _ in inputs])
    return _means(torch.stack(states), owners, len(items)), _means(torch.stack(logits), owners, len(items))


def _label_layers(model: Any) -> Iterator[nn.Linear]:
    """The linear layers that may make the logits: outside the base model and the heads, with an output a label."""
    inside = set(map(id, model.base_model.modules())) if model.base_model is not model else set()
    for name, module in model.named_modules():
        of_labels = isinstance(module, nn.Linear) and module.out_features == model.config.num_labels
        if of_labels and id(module) not in inside and not name.startswith("mhex"):
            yield module


def _keep(calls: list[tuple[Tensor, Tensor]], module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    calls.append((inputs[0], output))


def _read(calls: Sequence[tuple[Tensor, Tensor]], logits: Tensor, mask: Tensor | None, model: Any) -> Tensor:
    """(B, H): what went into the layer whose output the logits (B, C) are; `mask` (B, T) has the real tokens."""
    near = _ALIKE * max(float(logits.abs().max()), 1.0)
    rows = torch.arange(len(logits), device=logits.device)
    for state, output in reversed(calls):
        if output.shape == logits.shape and (output - logits).abs().max() <= near:
            return state
        if output.ndim == 3 and len(output) == len(logits) and output.shape[2] == logits.shape[1]:
            apart = (output - logits[:, None]).abs().amax(2)  # (B, T)
            places = apart.argmin(1)
            if apart[rows, places].max() <= near:
                return state[rows, places]
            real = torch.ones_like(output[..., 0]) if mask is None else mask.to(output.dtype)  # a mean of all positions
            share = (real / real.sum(1, keepdim=True))[..., None]
            if real.shape == output.shape[:2] and ((output * share).sum(1) - logits).abs().max() <= near:
                return (state * share).sum(1)
    raise ValueError(
        f"train needs a model whose logits are the output of a linear layer, which those of {type(model).__name__} are "
        "not: it has no state to compare texts by."
    )


def _means(rows: Tensor, owners: Tensor, count: int) -> Tensor:
    """The mean row of each of `count` owners."""
    sums = torch.zeros(count, rows.shape[1]).index_add_(0, owners, rows)
    return sums / owners.bincount(minlength=count).clamp(min=1)[:, None]
