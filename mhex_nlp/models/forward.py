# SPDX-License-Identifier: Apache-2.0
"""One forward pass of a model with heads: the plain model's own, watched, with the heads' share added.

Axes: B texts, P places of a text, T tokens, H hidden units, L depths, C labels.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .fit_reader import Positions, reader_of
from .heads.attention_flow import AttentionLog
from .heads.attribution import layer_attributions
from .heads.head import Reading
from .heads.losses import faithfulness_loss, removed_part
from .hooks import ForwardRecord, HeadLog, attach_heads, close_record, detach_heads, open_record
from .outputs import EXTRA_OUTPUTS, MhexOutput
from .padding import TokenMask, inputs_of, token_mask
from .tasks import module_of, sequence_classification
from .tasks.sequence_classification import is_exclusive, task_loss

OPTIONS: dict[str, tuple[Any, Any]] = {  # of our own: defaults and types
    "output_attributions": (False, bool),
    "output_states": (False, bool),
    "output_head_logits": (True, bool),
}


def make_forward(base: type[PreTrainedModel]) -> Callable[..., Any]:
    """The `forward` of the class with heads over `base`, under the signature of the base's own with our options."""
    names, task = argument_names(base), module_of(base)

    @functools.wraps(base.forward)  # Trainer and pipelines read the signature of `forward`
    def forward(
        self: Any,
        *args: Any,
        output_attributions: bool = False,
        output_states: bool = False,
        output_head_logits: bool = True,
        positions: Positions | None = None,
        **kwargs: Any,
    ) -> Any:
        return_dict = kwargs.pop("return_dict", None)
        arguments = {**dict(zip(names, args, strict=False)), **kwargs}
        _prepare(self, arguments)
        labels = _take_labels(self, task, arguments, output_head_logits)
        mask = token_mask(arguments, self.config, self.mhex_site, "attention_mask" in names)
        readout = getattr(self, "mhex_fit", None) if output_attributions else None
        reader = reader_of(task, self, arguments, mask, readout, output_states, positions)
        faithful = labels is not None and self.training and self.config.mhex.get("faithfulness_weight")
        by_token = output_attributions or faithful or task is not sequence_classification
        reading: Reading = ("tokens" if by_token else "text") if output_head_logits else None
        record, plain = run_base(self, base, arguments, mask, reader.head_log(reading), reader.attention)
        known = MhexOutput.__dataclass_fields__
        fields = {key: value for key, value in plain.items() if key in known} | _read_heads(self, task, plain, record)
        if labels is not None:
            rest = _forward_without_part(self, base, arguments, mask) if faithful else None
            fields |= _losses(self, task, fields, labels, rest)
        if not output_attributions:
            fields.pop("layer_attributions", None)
        output = MhexOutput(**fields, **reader.read(record, plain))
        if self.config.return_dict if return_dict is None else return_dict:
            return output
        return _as_tuple(output, output_attributions)

    places = {} if task is sequence_classification else {"positions": (None, Positions | None)}
    forward.__signature__ = signature_with(base, {**OPTIONS, **places})  # type: ignore[attr-defined]
    return forward


def signature_with(base: type[PreTrainedModel], options: Mapping[str, tuple[Any, Any]]) -> inspect.Signature:
    """That of the base's `forward` with those options, a default and a type each, that it has not itself."""
    signature = inspect.signature(base.forward)
    parameters = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    rest = [p for p in signature.parameters.values() if p.kind is inspect.Parameter.VAR_KEYWORD]
    ours = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (default, kind) in options.items()
        if name not in signature.parameters
    ]
    return signature.replace(parameters=[*parameters, *ours, *rest])


def argument_names(base: type[PreTrainedModel]) -> tuple[str, ...]:
    """Names of the parameters of `forward`, without `self`, in order."""
    return tuple(inspect.signature(base.forward).parameters)[1:]


def _prepare(model: Any, arguments: Mapping[str, Any]) -> None:
    """Refuses what the heads cannot follow, and undoes what an earlier forward pass changed for good."""
    if getattr(model, "_is_replica", False):  # of DataParallel: its hooks still lead to the original's heads
        detach_heads(model.base_model, model.mhex_site)
        attach_heads(model.base_model, list(model.mhex), model.mhex_site)
    config, site = model.config, model.mhex_site
    if arguments.get("past_key_values") is not None and config.mhex["gate"]:
        raise ValueError("past_key_values cannot be used with MHEX gates, which pool over all tokens of a text.")
    drop = model.training and max(getattr(config, name, 0.0) or 0.0 for name in ("layerdrop", "encoder_layerdrop"))
    if drop:
        raise ValueError(f"MHEX heads need every layer in training, got layerdrop={drop}; set it to 0 in the config.")
    if field := site.sticky:
        base, configured = model.base_model, getattr(config, field)
        if getattr(base, field) != configured:
            getattr(base, f"set_{field}")(configured)


def _take_labels(model: Any, task: ModuleType, arguments: dict[str, Any], output_head_logits: bool) -> Tensor | None:
    """The labels, checked, as the task's losses take them; those in `arguments` become what the plain model gets."""
    if not output_head_logits and task.labels_in(arguments) is not None:
        raise ValueError("output_head_logits must be True where there are labels: the heads learn from them.")
    inputs = inputs_of(arguments)
    shape = None if inputs is None or torch.compiler.is_compiling() else tuple(inputs.shape[:2])
    labels: Tensor | None = task.take_labels(arguments, model.config, shape)
    return labels


def run_base(
    model: Any,
    base: type[PreTrainedModel],
    arguments: Mapping[str, Any],
    mask: TokenMask,
    heads: HeadLog,
    attention: AttentionLog | None = None,
) -> tuple[ForwardRecord, Any]:
    """The plain model's forward pass, and what its hooks recorded."""
    record = open_record(mask, heads, attention)
    try:
        return record, base.forward(model, **arguments, return_dict=True)
    finally:
        close_record(record)


class _Rest(NamedTuple):
    """A second pass over texts without a random part of their tokens: logits (B, C), and that part, (B, T) bool."""

    logits: Tensor
    removed: Tensor


def _forward_without_part(
    model: Any, base: type[PreTrainedModel], arguments: Mapping[str, Any], mask: TokenMask
) -> _Rest:
    mask_token_id = model.config.mhex["mask_token_id"]
    changed, removed = removed_part(arguments, mask.real, mask_token_id)
    left = mask if mask_token_id is not None else TokenMask(changed["attention_mask"] != 0, mask.tokens)
    _, plain = run_base(model, base, changed, left, HeadLog(None))
    return _Rest(plain.logits, removed)


def _read_heads(model: Any, task: ModuleType, plain: Any, record: ForwardRecord) -> dict[str, Tensor | None]:
    """Logits (B, L, C) and layer attributions (B, T, L, C) of the heads, `None` of what they did not read.

    Where labels are read at positions, logits (B, T, L, C) alone: a head says of a token what it reads off that token.
    """
    depths = model.config.num_hidden_layers if "*" in model.mhex_site.layers else len(model.mhex)
    said, biases = said_by_heads(record, depths, plain)
    if not said:
        return {}
    if biases is None:
        return {"head_logits": torch.stack(said, dim=1)}
    evidence = torch.stack(said, dim=2)  # (B, T, L, C)
    if task is not sequence_classification:
        return {"head_logits": task.head_logits(evidence, biases, record.mask)}
    attributions = layer_attributions(record.mask.cut(evidence), record.mask.real)
    return {"head_logits": attributions.sum(1) + biases, "layer_attributions": attributions}


def said_by_heads(record: ForwardRecord, depths: int, plain: Any) -> tuple[list[Tensor], Tensor | None]:
    """What each head said, on the device of the plain model's outputs: logits, or evidence beside biases (L, C).

    Raises:
        RuntimeError: other than `depths` heads ran.
    """
    outputs = record.heads.outputs
    if len(outputs) != depths:
        raise RuntimeError(
            f"{len(outputs)} of {depths} MHEX heads ran: layers or modules were replaced after the heads had been "
            "added; change the plain model first and add heads then."
        )
    if record.heads.reading is None:
        return [], None
    device = next(value.device for value in plain.values() if isinstance(value, Tensor) and value.dim())
    said = [part.to(device) for part, _ in outputs if part is not None]
    if record.heads.reading == "text":
        return said, None
    return said, torch.stack([bias.to(device) for _, bias in outputs if bias is not None])


def supervised_losses(
    model: Any, task: ModuleType, fields: Mapping[str, Any], labels: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """The task's loss and that of deep supervision, each for the record, and their sum, which is learnt from.

    Raises:
        RuntimeError: the heads would learn nothing.
    """
    config = model.config
    supervision = task.supervision(fields["head_logits"], labels, config)
    trainable = torch.is_grad_enabled() and any(p.requires_grad for p in model.mhex.parameters())
    if trainable and not supervision.requires_grad:
        raise RuntimeError(
            "the MHEX heads got no gradient: reentrant checkpointing (use_reentrant=True) is not supported."
        )
    loss = fields.get("loss")
    loss = task_loss(fields["logits"], labels, config) if loss is None else loss  # as `take_labels` has it
    losses = {"task_loss": loss.detach(), "supervision_loss": supervision.detach()}
    return losses, loss + config.mhex["loss_weight"] * supervision.to(loss.dtype)


def _losses(
    model: Any, task: ModuleType, fields: Mapping[str, Any], labels: Tensor, rest: _Rest | None
) -> dict[str, Tensor]:
    """The task's loss with deep supervision, and with the faithfulness loss where there was a second pass."""
    losses, loss = supervised_losses(model, task, fields, labels)
    if rest is not None:
        said = fields["layer_attributions"], fields["logits"]
        faithfulness = faithfulness_loss(*said, rest.logits, rest.removed, is_exclusive(model.config))
        losses["faithfulness_loss"] = faithfulness.detach()
        loss = loss + model.config.mhex["faithfulness_weight"] * faithfulness.to(loss.dtype)
    return {**losses, "loss": loss}


def _as_tuple(output: MhexOutput, with_extras: bool) -> tuple[Any, ...]:
    """What the plain model would give; the heads' share at the end where attributions were asked for."""
    plain = tuple(value for name, value in output.items() if name not in EXTRA_OUTPUTS)
    extras = tuple(value for name, value in output.items() if name in EXTRA_OUTPUTS)
    return plain + extras if with_extras else plain
