# SPDX-License-Identifier: Apache-2.0
"""Do the heads pull together? Cosines between the gradients of their losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..models.eval_mode import eval_view
from ..models.modeling import MhexMixin
from ..models.tasks.sequence_classification import check_labels, deep_supervision_loss


def head_collaboration(model: Any, batch: Mapping[str, Tensor], labels: Tensor | None = None) -> Tensor:
    """Cosine similarity between the gradients of the head losses and the task loss at the embedding output.

    The paper's gradient-based collaboration analysis (our reading): each text's gradient of each loss with respect to
    its embedded tokens, flattened over real tokens; cosines averaged over the texts. The embedding output is where
    every head has a gradient. Positive: two heads pull together; negative: they fight.

    Args:
        model: a model with MHEX heads; its weights get no gradient, its modes are not touched.
        batch: the model's inputs, (B, T) each, with `input_ids`; "labels" may be among them.
        labels: as the model takes them; goes before the batch's own.

    Returns:
        (L + 1, L + 1) float32, symmetric, entries in [-1, 1]: the L heads in order of depth, then the task loss. A
        loss without any gradient in a text (as every head's before training) counts as 0 there.

    Raises:
        ValueError: a model without heads, or no labels.
    """
    if not isinstance(model, MhexMixin):
        raise ValueError(
            f"model must have MHEX heads, got {type(model).__name__}; get_mhex_model(model) gives it some."
        )
    inputs, labels = _split(batch, labels)
    ids, mask = inputs["input_ids"], inputs.get("attention_mask")
    check_labels(labels, model.config, len(ids))
    real = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask != 0
    embedded: list[Tensor] = []

    def cut(module: Any, args: Any, output: Tensor) -> Tensor:
        embedded.append(output.detach().requires_grad_())
        return embedded[-1]

    view = eval_view(model)  # whose hook no other pass meets
    encoder = view.base_model.get_encoder() if model.config.is_encoder_decoder else view
    encoder.get_input_embeddings().register_forward_hook(cut)
    with torch.enable_grad():
        output = view(**inputs, return_dict=True)
        logits = torch.cat([output.head_logits, output.logits[:, None].float()], dim=1)  # (B, L + 1, C)
        gradients = []
        for depth in range(logits.shape[1]):
            # texts do not see each other, so the gradient of the batch's loss holds each text's own, scaled alike
            loss = deep_supervision_loss(logits[:, [depth]], labels, model.config)
            (gradient,) = torch.autograd.grad(loss, embedded[0], retain_graph=True)  # (B, T, H)
            gradients.append(torch.where(real[..., None], gradient, 0.0).flatten(1).float())
    unit = torch.nn.functional.normalize(torch.stack(gradients, dim=1), dim=-1)  # (B, L + 1, T * H), zeros stay zeros
    return torch.einsum("bkf,bmf->bkm", unit, unit).mean(0).clamp(-1, 1)


def _split(batch: Mapping[str, Tensor], labels: Tensor | None) -> tuple[dict[str, Tensor], Tensor]:
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    labels = batch.get("labels") if labels is None else labels
    if labels is None:
        raise ValueError("labels must be given, in the batch or beside it: the losses need them.")
    if "input_ids" not in inputs:
        raise ValueError(f"batch must hold input_ids, got {', '.join(sorted(inputs)) or 'nothing'}.")
    return inputs, labels
