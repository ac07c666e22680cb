# SPDX-License-Identifier: Apache-2.0
"""Whole texts through the model of a `ModelValues`, batched, for methods that look inside it.

Axes: B texts, T tokens of a text, C labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..inputs import collate_features, forward_batches, pad_id
from ..metrics.text_values import TextValues
from ..metrics.values import ModelValues
from ..modeling import forward_arguments
from ..sites import SITES, Site

# As metrics.values has it: of a family that is not in the table nothing is taken for granted.
_UNKNOWN = Site("unknown", "unknown", "unknown", causal=True, pads=False, positions_after_pad=True)


def whole_texts(
    values: ModelValues, texts: Sequence[TextValues], batch_tokens: int
) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
    """Batches of texts as the model takes them: their indices in `texts` and the inputs (B, T), on its device.

    Texts of like length go together and are padded on the right; equal lengths alone where padding changes the model,
    and one text at a time where there is nothing to pad with.

    Args:
        values: whose model runs.
        texts: made by it; one text may stand there several times.
        batch_tokens: texts times longest text of one batch; a longer text goes alone.
    """
    config, accepts = values.model.config, forward_arguments(values.model)
    site = SITES.get(config.model_type, _UNKNOWN)
    pad = pad_id(config, values.tokenizer, site)
    for batch in forward_batches([len(text.item) for text in texts], batch_tokens, config, site, pad):
        inputs = collate_features([texts[index].item.features for index in batch], pad or 0, accepts)
        yield batch, {name: value.to(values.model.device) for name, value in inputs.items()}


def explained_output(values: ModelValues, logits: Tensor, targets: Tensor) -> Tensor:
    """What all methods explain: the target's logit, less the mean over classes where classes exclude each other.

    Args:
        values: whose model gave the logits.
        logits: (B, C).
        targets: (B,) class ids.

    Returns:
        (B,).
    """
    own = logits.gather(1, targets[:, None]).squeeze(1)
    return own - logits.mean(1) if values.classes.exclusive else own


def output_name(values: ModelValues) -> str:
    """The same for `TextValues.value`: "centred", or "logit"."""
    return "centred" if values.classes.exclusive else "logit"


def check_finite(values: Tensor, name: str) -> Tensor:
    """`values` in float64 on the CPU; ValueError where they are not finite."""
    found = values.detach().double().cpu()
    if not torch.isfinite(found).all():
        raise ValueError(f"{name} must be finite, got values that are NaN or infinite.")
    return found
