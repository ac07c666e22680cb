# SPDX-License-Identifier: Apache-2.0
"""One forward pass from token ids to logits and scores, by fixed operations alone: what `torch.export` can trace.

Axes: B texts, T tokens, C labels.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from .attention_hook import watch_attention
from .forward import run_base, said_by_heads
from .heads.attribution import depth_weights, layer_attributions
from .heads.plain_flow import WeightsLog, head_blocks
from .heads.readout import FittedReadout
from .hooks import HeadLog, shared_copy
from .modeling import MhexMixin, forward_arguments
from .padding import TokenMask


class PlainPass(nn.Module):
    """A text classifier with heads as a function of tensors: (input_ids, attention_mask, ...) to three tensors.

    `forward` gives `logits` (B, C); `scores` (B, T, C), zero for the template's tokens, padding, and the token that a
    decoder reads its label off; and `token_scores` (B, T, C), zero on padding alone. All are float32; scores are summed
    over depths and not yet contrasted. Attention runs as the family's own eager function, which shows its weights; the
    model that is given stays as it is.

    Args:
        model: a text classifier with heads, in float32.
        aggregation: "fitted", or of the heads "mean", "last" or "ema".
        template: ids that the tokenizer's template adds.
        names: of the inputs beside `input_ids` and `attention_mask`, in order.
    """

    def __init__(self, model: Any, aggregation: str, template: Collection[int], names: Collection[str] = ()) -> None:
        super().__init__()
        copied: Any = shared_copy(model).eval()
        copied.config.use_cache = False
        self.base = next(cls for cls in type(copied).__mro__ if not issubclass(cls, MhexMixin))
        self.takes_mask = "attention_mask" in forward_arguments(copied)
        self.template, self.names, self.aggregation = sorted(template), tuple(names), aggregation
        self.readout: FittedReadout | None = copied.mhex_fit if aggregation == "fitted" else None
        self.reads_flow = self.readout is not None and self.readout.reads_flow
        self.blocks: list[str | None] = []
        if self.reads_flow:
            copied.set_attn_implementation("eager")
            watch_attention("eager")
            self._add_blocks(copied.config)
        self.model = copied

    def _add_blocks(self, config: Any) -> None:
        assert self.readout is not None
        heads = int(config.num_attention_heads)
        shared = int(getattr(config, "num_key_value_heads", None) or heads)
        for layer in range(int(config.num_hidden_layers)):
            matrix = self.readout.flow_matrix(layer)
            self.blocks.append(None if matrix is None else f"flow_{layer}")
            if matrix is not None:
                self.register_buffer(f"flow_{layer}", head_blocks(matrix.detach(), heads, shared), persistent=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, *others: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, scores and token scores of (B, T) int64 inputs.

        Raises:
            RuntimeError: the fit reads attention flow that this family's attention does not show.
        """
        real = attention_mask != 0
        mask = TokenMask(real, input_ids.shape[1])
        arguments = {"input_ids": input_ids, **dict(zip(self.names, others, strict=True))}
        if self.takes_mask:
            arguments["attention_mask"] = attention_mask
        if self.readout is None:
            logits, phi = self._by_heads(arguments, mask)
        else:
            logits, phi = self._by_fit(arguments, mask, self.readout)
        token_scores = torch.where(real[..., None], phi, 0.0)
        content = real
        for token_id in self.template:
            content = content & (input_ids != token_id)
        if self.model.mhex_site.causal:
            places = torch.arange(input_ids.shape[1], device=input_ids.device)
            content = content & (places != (places * real).amax(1, keepdim=True))
        return logits, torch.where(content[..., None], phi, 0.0), token_scores

    def _by_heads(self, arguments: dict[str, Any], mask: TokenMask) -> tuple[Tensor, Tensor]:
        record, plain = run_base(self.model, self.base, arguments, mask, HeadLog("tokens"))
        said, _ = said_by_heads(record, len(record.heads.outputs), plain)
        weights = depth_weights(self.aggregation, len(said), self.model.mhex_config.beta).tolist()
        evidence = torch.stack([mask.cut(part) * weight for part, weight in zip(said, weights, strict=True)]).sum(0)
        return plain.logits.float(), layer_attributions(evidence[:, :, None], mask.real)[:, :, 0]

    def _by_fit(self, arguments: dict[str, Any], mask: TokenMask, readout: FittedReadout) -> tuple[Tensor, Tensor]:
        parts, seen = list[Tensor](), list[int]()

        def observe(state: Tensor) -> None:
            score = readout.read(len(seen), mask.cut(state))
            seen.append(len(seen))
            if score is not None:
                parts.append(score)

        blocks = [None if name is None else getattr(self, name) for name in self.blocks]
        log = WeightsLog(blocks) if self.reads_flow else None
        _, plain = run_base(self.model, self.base, arguments, mask, HeadLog(None, observe), log)
        if log is not None:
            parts.append(self._flow(log, mask))
        return plain.logits.float(), torch.stack(parts).sum(0)

    def _flow(self, log: WeightsLog, mask: TokenMask) -> Tensor:
        if len(log.weights) != len(self.blocks):
            raise RuntimeError("the fitted matrices read attention flow, which this family's attention does not show.")
        real = mask.real
        assert real is not None
        pooled = self.model.mhex_site.pooled_position(self.model.config)
        if pooled == "mean":
            start = real.float() / real.sum(1, keepdim=True).clamp(min=1)
        else:
            places = torch.arange(real.shape[1], device=real.device)
            position = (places * real).amax(1, keepdim=True) if pooled == "last" else torch.zeros_like(places[:1])
            start = (places == position).float().expand(real.shape[0], -1)
        return log.total_flow(start, pooled == "first")
