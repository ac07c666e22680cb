# SPDX-License-Identifier: Apache-2.0
"""One forward pass of a classifier with heads: the plain model's own, watched, with the heads' share added.

Axes: B texts, T tokens, H hidden units, L depths, C labels.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .attention_hook import watch_attention
from .families import Site, find_site
from .heads.attention_flow import pooled_weights, rolled_writes
from .heads.attribution import layer_attributions
from .heads.losses import faithfulness_loss, removed_part
from .hooks import close_frame, open_frame, unwire, wire
from .outputs import EXTRA_OUTPUTS, MhexOutput
from .tasks.sequence_classification import check_labels, deep_supervision_loss, problem_type, task_loss

_Mixed: Any = PreTrainedModel if TYPE_CHECKING else object


class ForwardMixin(_Mixed):
    """What a forward pass needs of the model beside its heads, `self.mhex`."""

    @property
    def _site(self) -> Site:
        return find_site(self.config.model_type)

    def _token_mask(self, arguments: Mapping[str, Any], takes_mask: bool) -> Tensor | None:
        """(B, T) bool, True on real tokens; `None` where every token is real."""
        mask, ids, pad = arguments.get("attention_mask"), arguments.get("input_ids"), self.config.pad_token_id
        if mask is None:
            if ids is None or pad is None:
                return None
            if not takes_mask:  # fnet sees padding as text; the heads should not
                return ids != pad
            if self._site.causal:  # decoders find their last token by the pad id, and never see what follows it
                return (ids != pad).flip(1).cumsum(1).flip(1) > 0
            return None
        if not isinstance(mask, Tensor) or mask.dim() != 2:
            came = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
            raise ValueError(f"attention_mask must be (batch, tokens) for a model with MHEX heads, got {came}.")
        tokens = _tokens(arguments)
        real = (mask if tokens is None else mask[:, -tokens:]) != 0  # with a cache the mask covers the past as well
        return None if real.device.type == "cpu" and not _is_traced() and bool(real.all()) else real

    def _watches(self, arguments: Mapping[str, Any]) -> bool:
        """Whether what tokens write into the place that the label is read from can be followed."""
        known = _inputs(arguments) is not None and arguments.get("past_key_values") is None
        if not known or self._site.pooled_position(self.config) is None:
            return False
        watch_attention()
        return True

    def _writes(self, frame: Any) -> tuple[Any, ...]:
        """(B, T, A) of each layer, or what its matrix reads of it; none where attention did not show itself."""
        if not frame.attended or len(frame.attended) != len(frame.records):
            return ()
        query = frame.attended[-1].query
        pooled = self._site.pooled_position(self.config)
        start, place = pooled_weights(pooled, frame.mask, query.shape[0], query.shape[2])
        place = None if place is None else place.to(query.device)
        return rolled_writes(frame.attended, start.to(query.device), place, frame.write_matrix)

    def _before_forward(self, arguments: Mapping[str, Any]) -> None:
        """Refuses what the heads cannot follow, and undoes what an earlier forward pass changed for good."""
        if self.config.mhex["gate"] and arguments.get("past_key_values") is not None:
            raise ValueError("past_key_values cannot be used with MHEX gates, which pool over all tokens of a text.")
        drop = max(getattr(self.config, name, 0.0) or 0.0 for name in ("layerdrop", "encoder_layerdrop"))
        if self.training and drop > 0:
            raise ValueError(
                f"MHEX heads need every layer in training, got layerdrop={drop}; set it to 0 in the config."
            )
        if field := self._site.sticky:
            base, configured = self.base_model, getattr(self.config, field)
            if getattr(base, field) != configured:
                getattr(base, f"set_{field}")(configured)

    def _rest(
        self, base: type[PreTrainedModel], given: dict[str, Any], mask: Tensor | None, tokens: int | None
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, C) of the texts without a random part of their tokens, and that part, (B, T) bool."""
        mask_token_id = self.config.mhex["mask_token_id"]
        changed, removed = removed_part(given, mask, mask_token_id)
        left = mask if mask_token_id is not None else changed["attention_mask"] != 0
        frame = open_frame(left, tokens, evidence=False)
        try:
            return base.forward(self, **changed, return_dict=True).logits, removed
        finally:
            close_frame(frame)

    def _explained(
        self,
        plain: Any,
        frame: Any,
        labels: Tensor | None,
        output_attributions: bool,
        rest: tuple[Tensor, Tensor] | None = None,
    ) -> MhexOutput:
        """The plain output with the heads' share added; `rest`, of `_rest`, adds the faithfulness loss."""
        device = plain.logits.device
        depths = self.config.num_hidden_layers if "*" in self._site.layers else len(self.mhex)
        if len(frame.records) != depths:
            raise RuntimeError(
                f"{len(frame.records)} of {depths} MHEX heads ran: layers or modules were replaced after the heads had "
                "been added; change the plain model first and add heads then."
            )
        head_logits = attributions = None
        if frame.evidence:
            evidence = torch.stack([e.to(device) for e, _ in frame.records], dim=2)  # (B, T, L, C)
            biases = torch.stack([b.to(device) for _, b in frame.records]).float()  # (L, C)
            if frame.tokens is not None:  # longformer and big_bird pad T inside
                evidence = evidence[:, : frame.tokens]
            attributions = layer_attributions(evidence, frame.mask)
            head_logits = attributions.sum(1) + biases  # (B, L, C)
        loss, supervision, own, faithfulness = plain.loss, None, None, None
        if labels is not None:
            assert head_logits is not None and attributions is not None  # as checked in `forward`
            supervision = deep_supervision_loss(head_logits, labels, self.config)
            trainable = torch.is_grad_enabled() and any(p.requires_grad for p in self.mhex.parameters())
            if trainable and not supervision.requires_grad:
                raise RuntimeError(
                    "the MHEX heads got no gradient: reentrant checkpointing (use_reentrant=True) is not supported."
                )
            if plain.loss is None:  # see `forward`: the plain loss would take -100 for a target
                loss = task_loss(plain.logits, labels, self.config)
            own = loss.detach()
            loss = loss + self.config.mhex["loss_weight"] * supervision.to(loss.dtype)
            if rest is not None:
                single = problem_type(self.config) == "single_label_classification" and self.config.num_labels > 1
                logits, removed = rest
                faithfulness = faithfulness_loss(attributions, plain.logits, logits, removed, centred=single)
                loss = loss + self.config.mhex["faithfulness_weight"] * faithfulness.to(loss.dtype)
        known = MhexOutput.__dataclass_fields__
        extra = {key: value for key, value in plain.items() if key in known and key not in ("loss", "logits")}
        return MhexOutput(
            loss=loss,
            logits=plain.logits,
            head_logits=head_logits,
            layer_attributions=attributions if output_attributions else None,
            task_loss=own,
            supervision_loss=None if supervision is None else supervision.detach(),
            faithfulness_loss=None if faithfulness is None else faithfulness.detach(),
            **extra,
        )


def make_forward(base: type[PreTrainedModel]) -> Callable[..., Any]:
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
        if getattr(self, "_is_replica", False):  # of DataParallel: its hooks still lead to the original's heads
            unwire(self.base_model, self._site)
            wire(self.base_model, list(self.mhex), self._site)
        return_dict = kwargs.pop("return_dict", None)
        return_dict = self.config.return_dict if return_dict is None else return_dict
        given = {**dict(zip(positions, args, strict=False)), **kwargs}
        self._before_forward(given)
        labels = given.get("labels")
        if labels is not None:
            if not output_head_logits:
                raise ValueError("output_head_logits must be True where there are labels: the heads learn from them.")
            if not torch.compiler.is_compiling() and (texts := _batch_size(given)) is not None:
                check_labels(labels, self.config, texts)
            task = problem_type(self.config, labels)
            labels = labels.long() if task == "single_label_classification" else labels.float()
            # several labels: ours leaves out what is -100, transformers' would not
            self.config.problem_type = task
            given["labels"] = None if task == "multi_label_classification" else labels
        mask, tokens = self._token_mask(given, "attention_mask" in positions), _tokens(given)
        fit = getattr(self, "mhex_fit", None) if output_attributions else None
        states: list[Tensor] = []
        scores: list[Tensor | None] = []  # of the fit, depth by depth: states are kept only where they are asked for

        def observe(state: Tensor) -> None:
            state = state[:, :tokens]  # longformer and big_bird pad T inside
            if output_states:
                states.append(state.clone())
            if fit is not None:
                scores.append(fit.read(len(scores), state))

        watched = output_states or fit is not None
        flows = (output_states or (fit is not None and fit.reads_writes)) and self._watches(given)
        matrix = None if fit is None or output_states else fit.write_matrix
        frame = open_frame(mask, tokens, observe if watched else None, flows, output_head_logits, matrix)
        try:
            plain = base.forward(self, **given, return_dict=True)
        finally:
            close_frame(frame)
        faithful = labels is not None and self.training and self.config.mhex.get("faithfulness_weight")
        rest = self._rest(base, given, mask, tokens) if faithful else None
        output = self._explained(plain, frame, labels, output_attributions, rest)
        writes = self._writes(frame)
        if output_states:
            output.states, output.writes = tuple(states), writes
        if fit is not None:
            if fit.reads_writes and not writes:
                raise RuntimeError(
                    "the fitted matrices read what tokens write through attention, which this attention implementation "
                    "does not show: call model.set_attn_implementation('sdpa'), or fit again."
                )
            output.fitted_attributions = fit.finish(scores, fit.read_writes(writes) if output_states else writes)
        return output if return_dict else _as_tuple(output, output_attributions)

    signature = inspect.signature(base.forward)
    parameters = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    rest = [p for p in signature.parameters.values() if p.kind is inspect.Parameter.VAR_KEYWORD]
    extra = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=bool)
        for name, default in (("output_attributions", False), ("output_states", False), ("output_head_logits", True))
    ]
    forward.__signature__ = signature.replace(parameters=[*parameters, *extra, *rest])  # type: ignore[attr-defined]
    return forward


def positions_of(base: type[PreTrainedModel]) -> tuple[str, ...]:
    """Names of the parameters of `forward`, without `self`, in order."""
    return tuple(inspect.signature(base.forward).parameters)[1:]


def _as_tuple(output: MhexOutput, with_extras: bool) -> tuple[Any, ...]:
    """What the plain model would give; the heads' share at the end where attributions were asked for."""
    plain = tuple(value for name, value in output.items() if name not in EXTRA_OUTPUTS)
    extras = tuple(value for name, value in output.items() if name in EXTRA_OUTPUTS)
    return plain + extras if with_extras else plain


def _is_traced() -> bool:
    """Whether what is seen in this pass's values must not decide what later passes do."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def _inputs(arguments: Mapping[str, Any]) -> Tensor | None:
    return next((arguments[k] for k in ("input_ids", "inputs_embeds") if arguments.get(k) is not None), None)


def _batch_size(arguments: Mapping[str, Any]) -> int | None:
    inputs = _inputs(arguments)
    return None if inputs is None else inputs.shape[0]


def _tokens(arguments: Mapping[str, Any]) -> int | None:
    inputs = _inputs(arguments)
    return None if inputs is None else inputs.shape[1]
