# SPDX-License-Identifier: Apache-2.0
"""One forward pass of an image classifier with heads: the plain model's own, watched, with the heads' share added.

Axes: B images, T cells of the common grid, N cells of a depth's own, L depths, C labels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .attention_hook import watch_attention
from .forward import OPTIONS, argument_names, said_by_heads, signature_with, supervised_losses
from .heads.attention_flow import AttentionLog
from .heads.head import Reading
from .heads.image_head import common_size, resample_sum
from .hooks import ForwardRecord, HeadLog, close_record, open_record
from .image_families import ImageSite
from .image_hooks import attach_image_heads, detach_image_heads
from .outputs import EXTRA_OUTPUTS, MhexOutput
from .padding import TokenMask
from .tasks import image_classification as task


def make_image_forward(base: type[PreTrainedModel]) -> Callable[..., Any]:
    """The `forward` of the class with heads over `base`, under the signature of the base's own with our options."""
    names = argument_names(base)

    @functools.wraps(base.forward)  # Trainer and pipelines read the signature of `forward`
    def forward(
        self: Any,
        *args: Any,
        output_attributions: bool = False,
        output_states: bool = False,
        output_head_logits: bool = True,
        **kwargs: Any,
    ) -> Any:
        return_dict = kwargs.pop("return_dict", None)
        arguments = {**dict(zip(names, args, strict=False)), **kwargs}
        _prepare(self, output_attributions, output_states)
        labels = _take_labels(self, arguments, output_head_logits)
        if "labels" not in names:  # of a model that learns from a teacher: our loss is that of its mean
            arguments.pop("labels", None)
        reading: Reading = None
        if output_head_logits and len(self.mhex):
            reading = "tokens" if output_attributions else "text"
        states: list[Tensor] = []
        record = _open(self, arguments, HeadLog(reading, states.append if output_states else None), output_states)
        try:
            plain = base.forward(self, **arguments, return_dict=True)
        finally:
            close_record(record)
        known = MhexOutput.__dataclass_fields__
        fields = {key: value for key, value in plain.items() if key in known}
        if "logits" not in fields and "last_hidden_state" in plain:  # pp_lcnet calls its logits so
            fields["logits"] = plain["last_hidden_state"]
        fields |= _read_heads(self, arguments, plain, record)
        if labels is not None:
            fields |= _losses(self, fields, labels)
        if output_states:
            fields["states"] = tuple(state_map(self, state, arguments) for state in states)
            fields["attention_flow"] = _flow(self, record)
        output = MhexOutput(**fields)
        if self.config.return_dict if return_dict is None else return_dict:
            return output
        extras = EXTRA_OUTPUTS if not output_attributions else ()
        return tuple(value for name, value in output.items() if name not in extras)

    # labels as well, which Trainer looks for
    forward.__signature__ = signature_with(  # type: ignore[attr-defined]
        base, {"labels": (None, Tensor | None), **OPTIONS}
    )
    return forward


def _prepare(model: Any, output_attributions: bool, output_states: bool) -> None:
    """Lets a replica of DataParallel use its own heads, and refuses what takes heads where there are none."""
    if getattr(model, "_is_replica", False):  # its hooks still lead to the original's heads
        detach_image_heads(model)
        attach_image_heads(model, list(model.mhex), model.mhex_site)
    if (output_attributions or output_states) and not len(model.mhex):
        name = "output_attributions" if output_attributions else "output_states"
        raise ValueError(
            f"{name} must be False for the family {model.config.model_type!r}, whose models get no MHEX heads: fit "
            "equivalent matrices and explain it by them."
        )


def _take_labels(model: Any, arguments: dict[str, Any], output_head_logits: bool) -> Tensor | None:
    """The labels, checked, as the losses take them; those in `arguments` become what the plain model gets."""
    if len(model.mhex) and not output_head_logits and arguments.get("labels") is not None:
        raise ValueError("output_head_logits must be True where there are labels: the heads learn from them.")
    images = arguments.get("pixel_values")
    shape = (len(images), 0) if isinstance(images, Tensor) and not torch.compiler.is_compiling() else None
    labels: Tensor | None = task.take_labels(arguments, model.config, shape)
    return labels


def _open(model: Any, arguments: Mapping[str, Any], heads: HeadLog, with_flow: bool) -> ForwardRecord:
    """Begins the pass; attention is logged where its flow is wanted and its place known."""
    site: ImageSite | None = model.mhex_site
    images, tokens, attention = arguments.get("pixel_values"), None, None
    if with_flow and site is not None and site.pooled is not None and isinstance(images, Tensor):
        high, wide = site.patch_sides(model.config)
        tokens = site.specials(model.config) + (images.shape[-2] // high) * (images.shape[-1] // wide)
        watch_attention(model.config._attn_implementation)
        attention = AttentionLog()
    return open_record(TokenMask(None, tokens), heads, attention)


def _read_heads(model: Any, arguments: Mapping[str, Any], plain: Any, record: ForwardRecord) -> dict[str, Any]:
    """Logits (B, L, C), and with attributions those of each depth on the common grid, (B, T, L, C), and its size.

    A depth's attributions are its evidence divided by its number of cells: summed over the grid they are the logits
    less the bias, as resampling keeps sums.
    """
    said, biases = said_by_heads(record, len(model.mhex), plain)
    if not said:
        return {}
    if biases is None:
        return {"head_logits": torch.stack(said, dim=1)}
    maps = [_as_map(model, part, arguments) for part in said]  # (B, h, w, C)
    rows, cols = common_size([(part.shape[1], part.shape[2]) for part in maps])
    shares = [resample_sum(part / (part.shape[1] * part.shape[2]), rows, cols).flatten(1, 2) for part in maps]
    attributions = torch.stack(shares, dim=2)  # (B, T, L, C)
    logits = torch.stack([part.mean((1, 2)) for part in maps], dim=1) + biases
    grid = torch.tensor([[rows, cols]], device=biases.device).expand(len(attributions), 2)
    return {"head_logits": logits, "layer_attributions": attributions, "attribution_grid": grid}


def _as_map(model: Any, cells: Tensor, arguments: Mapping[str, Any]) -> Tensor:
    """(B, h, w, C) of cells, (B, N, C) where they are patches."""
    if cells.dim() == 4:
        return cells
    height, width = arguments["pixel_values"].shape[-2:]
    return cells.unflatten(1, model.mhex_site.token_grid(cells.shape[1], height, width, model.config))


def state_map(model: Any, state: Tensor, arguments: Mapping[str, Any]) -> Tensor:
    """(B, D, h, w) of a depth's state, be it a map or tokens (B, T, D), of which special ones are left out."""
    if state.dim() == 4:
        return state
    return _as_map(model, state[:, model.mhex_site.specials(model.config) :], arguments).permute(0, 3, 1, 2)


def _flow(model: Any, record: ForwardRecord) -> tuple[Tensor, ...]:
    """The flow of attention from each patch into the place that the label is read from: (B, patches, A) a layer.

    Empty where attention does not go through transformers' `AttentionInterface`, or does not show all layers.
    """
    log = record.attention
    if log is None or not log.layers or len(log.layers) != len(record.heads.outputs):
        return ()
    batch, _, tokens = log.layers[-1].size
    start_row = model.mhex_site.start_row(model, tokens)
    if start_row is None:
        return ()
    row, place = start_row
    device = log.layers[-1].device
    start = row.to(device).expand(batch, -1)
    position = None if place is None else torch.full((batch,), place, device=device)
    special = model.mhex_site.specials(model.config)
    return tuple(flow[:, special:] for flow in log.flow(start, position) if flow is not None)


def _losses(model: Any, fields: Mapping[str, Any], labels: Tensor) -> dict[str, Tensor]:
    """The task's loss, with deep supervision where there are heads."""
    if len(model.mhex):
        losses, learnt = supervised_losses(model, task, fields, labels)
        return {**losses, "loss": learnt}
    loss = fields.get("loss")
    loss = task.task_loss(fields["logits"], labels, model.config) if loss is None else loss
    return {"task_loss": loss.detach(), "loss": loss}
