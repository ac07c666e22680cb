# SPDX-License-Identifier: Apache-2.0
"""What every MHEX model returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers.utils import ModelOutput


@dataclass
class MhexOutput(ModelOutput):
    """A model's output with the heads' share. Axes: B texts, P places of a text, T tokens, L depths, C labels.

    In images T are the cells of one grid for all depths, row by row. Where labels are read at positions, logits and
    what heads say have an axis T after B, and fitted attributions an axis P; question answering has start and end
    logits for logits, and two labels: start and end.

    One declared dataclass for all families, because torch.export rebuilds outputs by field name. Batch first and
    tokens second, because Trainer and DataParallel join batches on axis 0 and Trainer pads axis 1.
    """

    loss: Tensor | None = None  # (), task_loss + loss_weight * supervision_loss; only with labels
    logits: Tensor | None = None  # (B, C), the model's prediction; (B, T, C) of a token classifier
    start_logits: Tensor | None = None  # (B, T), question answering alone
    end_logits: Tensor | None = None  # (B, T)
    cls_logits: Tensor | None = None  # (B, C), the two heads of image classifiers that learnt from a teacher
    distillation_logits: Tensor | None = None  # (B, C)
    probabilities: Tensor | None = None  # (B, C), shieldgemma2
    # what the heads say; nothing with output_head_logits=False, which is quicker where fitted matrices explain
    head_logits: Tensor | None = None  # (B, L, C) float32; (B, T, L, C) where labels are read at positions
    layer_attributions: Tensor | None = None  # (B, T, L, C) float32, zero on padding; with output_attributions=True
    fitted_attributions: Tensor | None = None  # (B, T, depths read, C) float32, of a fitted model; not zero on padding
    attribution_grid: Tensor | None = None  # (B, 2) int64, of images: rows and columns, T = rows * columns
    # with `positions`, `fitted_attributions` are (B, P, T, depths read, C), zero on padding and where a position is -1
    attribution_positions: Tensor | None = None  # (B, P) int64, those positions
    states: tuple[Tensor, ...] | None = None  # (B, T, H) of each depth, (B, H, rows, columns) of images; output_states
    attention_flow: tuple[Tensor, ...] | None = None  # (B, T, A) or (B, P, T, A) of each layer; with output_states
    task_loss: Tensor | None = None  # (), detached
    supervision_loss: Tensor | None = None  # (), detached, before the weight
    faithfulness_loss: Tensor | None = None  # (), detached, before the weight; in training with a faithfulness_weight
    past_key_values: object | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    reshaped_hidden_states: tuple[Tensor, ...] | None = None  # swin and others: the same as feature maps
    attentions: tuple[Tensor, ...] | None = None
    global_attentions: tuple[Tensor, ...] | None = None  # longformer
    entity_hidden_states: tuple[Tensor, ...] | None = None  # luke
    decoder_hidden_states: tuple[Tensor, ...] | None = None  # encoder-decoders
    decoder_attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: tuple[Tensor, ...] | None = None
    encoder_attentions: tuple[Tensor, ...] | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        # as transformers' own, which looks all fields up for each one that is set: too long for a short text
        if value is not None and name in self.__dataclass_fields__:
            self[name] = value
        else:
            object.__setattr__(self, name, value)


# Trainer would hand every output but the loss to compute_metrics, which expects the logits alone.
EXTRA_OUTPUTS = (
    "head_logits",
    "layer_attributions",
    "attribution_grid",
    "fitted_attributions",
    "attribution_positions",
    "states",
    "attention_flow",
    "task_loss",
    "supervision_loss",
    "faithfulness_loss",
)
