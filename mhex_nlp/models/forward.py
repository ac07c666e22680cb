# SPDX-License-Identifier: Apache-2.0
"""One forward pass of a classifier with heads: the plain model's own, watched, with the heads' share added.

Axes: B texts, T tokens, H hidden units, L depths, C labels.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .attention_hook import watch_attention
from .heads.attention_flow import AttentionLog, attention_flow, pooled_weights
from .heads.attribution import layer_attributions
from .heads.losses import faithfulness_loss, removed_part
from .heads.readout import FittedReadout
from .hooks import ForwardRecord, HeadLog, attach_heads, close_record, detach_heads, open_record
from .outputs import EXTRA_OUTPUTS, MhexOutput
from .padding import TokenMask, inputs_of, token_mask
from .tasks.sequence_classification import check_labels, deep_supervision_loss, is_exclusive, problem_type, task_loss

_OPTIONS = (("output_attributions", False), ("output_states", False), ("output_head_logits", True))


def make_forward(base: type[PreTrainedModel]) -> Callable[..., Any]:
    """The `forward` of the class with heads over `base`, under the signature of the base's own with our options."""
    positions = positions_of(base)

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
        arguments = {**dict(zip(positions, args, strict=False)), **kwargs}
        _prepare(self, arguments)
        labels = _take_labels(self, arguments, output_head_logits)
        mask = token_mask(arguments, self.config, self.mhex_site, "attention_mask" in positions)
        readout = getattr(self, "mhex_fit", None) if output_attributions else None
        reader = _FitReader(self, arguments, mask, readout, output_states)
        record, plain = _run_base(self, base, arguments, mask, reader.head_log(output_head_logits), reader.attention)
        known = MhexOutput.__dataclass_fields__
        fields = {key: value for key, value in plain.items() if key in known} | _read_heads(self, plain.logits, record)
        if labels is not None:
            faithful = self.training and self.config.mhex.get("faithfulness_weight")
            rest = _forward_without_part(self, base, arguments, mask) if faithful else None
            fields |= _losses(self, fields, labels, rest)
        if not output_attributions:
            del fields["layer_attributions"]
        output = MhexOutput(**fields, **reader.read(record))
        if self.config.return_dict if return_dict is None else return_dict:
            return output
        return _as_tuple(output, output_attributions)

    signature = inspect.signature(base.forward)
    parameters = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    rest = [p for p in signature.parameters.values() if p.kind is inspect.Parameter.VAR_KEYWORD]
    ours = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=bool)
        for name, default in _OPTIONS
    ]
    forward.__signature__ = signature.replace(parameters=[*parameters, *ours, *rest])  # type: ignore[attr-defined]
    return forward


def positions_of(base: type[PreTrainedModel]) -> tuple[str, ...]:
    """Names of the parameters of `forward`, without `self`, in order."""
    return tuple(inspect.signature(base.forward).parameters)[1:]


def _prepare(model: Any, arguments: Mapping[str, Any]) -> None:
    """Refuses what the heads cannot follow, and undoes what an earlier forward pass changed for good."""
    if getattr(model, "_is_replica", False):  # of DataParallel: its hooks still lead to the original's heads
        detach_heads(model.base_model, model.mhex_site)
        attach_heads(model.base_model, list(model.mhex), model.mhex_site)
    config, site = model.config, model.mhex_site
    if config.mhex["gate"] and arguments.get("past_key_values") is not None:
        raise ValueError("past_key_values cannot be used with MHEX gates, which pool over all tokens of a text.")
    drop = max(getattr(config, name, 0.0) or 0.0 for name in ("layerdrop", "encoder_layerdrop"))
    if model.training and drop > 0:
        raise ValueError(f"MHEX heads need every layer in training, got layerdrop={drop}; set it to 0 in the config.")
    if field := site.sticky:
        base, configured = model.base_model, getattr(config, field)
        if getattr(base, field) != configured:
            getattr(base, f"set_{field}")(configured)


def _take_labels(model: Any, arguments: dict[str, Any], output_head_logits: bool) -> Tensor | None:
    """The labels, checked, in the dtype of the task; those in `arguments` become what the plain forward is given."""
    labels, config = arguments.get("labels"), model.config
    if labels is None:
        return None
    if not output_head_logits:
        raise ValueError("output_head_logits must be True where there are labels: the heads learn from them.")
    inputs = inputs_of(arguments)
    if not torch.compiler.is_compiling() and inputs is not None:
        check_labels(labels, config, inputs.shape[0])
    task = problem_type(config, labels)
    labels = labels.long() if task == "single_label_classification" else labels.float()
    # The first labels tell which task it is, and a checkpoint must say so: transformers' own losses write it likewise.
    config.problem_type = task
    # several labels: our loss leaves out what is -100, transformers' would not
    arguments["labels"] = None if task == "multi_label_classification" else labels
    return labels


def _run_base(
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
    _, plain = _run_base(model, base, changed, left, HeadLog(evidence=False))
    return _Rest(plain.logits, removed)


def _read_heads(model: Any, logits: Tensor, record: ForwardRecord) -> dict[str, Tensor | None]:
    """Logits (B, L, C) and layer attributions (B, T, L, C) of the heads, `None` where they read no evidence."""
    assert record.heads is not None
    outputs = record.heads.outputs
    depths = model.config.num_hidden_layers if "*" in model.mhex_site.layers else len(model.mhex)
    if len(outputs) != depths:
        raise RuntimeError(
            f"{len(outputs)} of {depths} MHEX heads ran: layers or modules were replaced after the heads had been "
            "added; change the plain model first and add heads then."
        )
    read = [output for output in outputs if output is not None]
    if not read:
        return {"head_logits": None, "layer_attributions": None}
    evidence = torch.stack([evidence.to(logits.device) for evidence, _ in read], dim=2)  # (B, T, L, C)
    biases = torch.stack([bias.to(logits.device) for _, bias in read]).float()  # (L, C)
    attributions = layer_attributions(record.mask.cut(evidence), record.mask.real)
    return {"head_logits": attributions.sum(1) + biases, "layer_attributions": attributions}


def _losses(model: Any, fields: Mapping[str, Any], labels: Tensor, rest: _Rest | None) -> dict[str, Tensor]:
    """The task's loss with deep supervision, and with the faithfulness loss where there was a second pass."""
    config, logits, attributions = model.config, fields["logits"], fields["layer_attributions"]
    supervision = deep_supervision_loss(fields["head_logits"], labels, config)
    trainable = torch.is_grad_enabled() and any(p.requires_grad for p in model.mhex.parameters())
    if trainable and not supervision.requires_grad:
        raise RuntimeError(
            "the MHEX heads got no gradient: reentrant checkpointing (use_reentrant=True) is not supported."
        )
    loss = fields.get("loss")
    loss = task_loss(logits, labels, config) if loss is None else loss  # as `_take_labels` has it
    losses = {"task_loss": loss.detach(), "supervision_loss": supervision.detach()}
    loss = loss + config.mhex["loss_weight"] * supervision.to(loss.dtype)
    if rest is not None:
        faithfulness = faithfulness_loss(attributions, logits, rest.logits, rest.removed, is_exclusive(config))
        losses["faithfulness_loss"] = faithfulness.detach()
        loss = loss + config.mhex["faithfulness_weight"] * faithfulness.to(loss.dtype)
    return {**losses, "loss": loss}


class _FitReader:
    """What fitted matrices, or a fit to come, read in one forward pass: states and attention flow.

    Args:
        readout: the fitted matrices, where they are to explain.
        output_states: keep states and flow, for a fit to come.
    """

    def __init__(
        self,
        model: Any,
        arguments: Mapping[str, Any],
        mask: TokenMask,
        readout: FittedReadout | None,
        output_states: bool,
    ) -> None:
        self.model, self.mask, self.readout, self.keeps = model, mask, readout, output_states
        self.states: list[Tensor] = []
        self.scores: list[Tensor | None] = []  # by depth: states are kept only with output_states
        self.attention: AttentionLog | None = None
        if (output_states or (readout is not None and readout.reads_flow)) and _can_follow_attention(model, arguments):
            watch_attention(model.config._attn_implementation)
            self.attention = AttentionLog(None if readout is None or output_states else readout.flow_matrix)

    def head_log(self, evidence: bool) -> HeadLog:
        """What the heads show in this pass, with the states shown to this reader where it reads any."""
        return HeadLog(evidence, self._observe if self.keeps or self.readout is not None else None)

    def _observe(self, state: Tensor) -> None:
        state = self.mask.cut(state)
        if self.keeps:
            self.states.append(state.clone())
        if self.readout is not None:
            self.scores.append(self.readout.read(len(self.scores), state))

    def read(self, record: ForwardRecord) -> dict[str, Any]:
        """States and flow, where they are kept, and fitted attributions.

        Raises:
            RuntimeError: fitted matrices read an attention flow that this attention implementation does not show.
        """
        flow = _pooled_flow(self.model, record)
        outputs: dict[str, Any] = {"states": tuple(self.states), "attention_flow": flow} if self.keeps else {}
        if self.readout is None:
            return outputs
        if self.readout.reads_flow and not flow:
            raise RuntimeError(
                "the fitted matrices read what reaches the label through attention, which this attention "
                "implementation does not show: call model.set_attn_implementation('sdpa'), or fit again."
            )
        flow_scores = self.readout.read_flow(flow) if self.keeps else flow
        return {**outputs, "fitted_attributions": self.readout.combine(self.scores, flow_scores)}


def _can_follow_attention(model: Any, arguments: Mapping[str, Any]) -> bool:
    """Whether attention can be followed to where the label is read from: whole texts, a family whose place is known."""
    whole = inputs_of(arguments) is not None and arguments.get("past_key_values") is None
    return whole and model.mhex_site.pooled_position(model.config) is not None


def _pooled_flow(model: Any, record: ForwardRecord) -> tuple[Any, ...]:
    """(B, T, A) of each layer, or what its matrix reads of it; none where attention did not show itself."""
    log = record.attention
    if log is None or record.heads is None or not log.layers or len(log.layers) != len(record.heads.outputs):
        return ()
    last = log.layers[-1]
    query = last.query  # type: ignore[union-attr]  # the last layer is never weighed
    pooled = model.mhex_site.pooled_position(model.config)
    start, position = pooled_weights(pooled, record.mask.real, query.shape[0], query.shape[2])
    position = None if position is None else position.to(query.device)
    return attention_flow(log.layers, start.to(query.device), position, log.flow_matrix)


def _as_tuple(output: MhexOutput, with_extras: bool) -> tuple[Any, ...]:
    """What the plain model would give; the heads' share at the end where attributions were asked for."""
    plain = tuple(value for name, value in output.items() if name not in EXTRA_OUTPUTS)
    extras = tuple(value for name, value in output.items() if name in EXTRA_OUTPUTS)
    return plain + extras if with_extras else plain
