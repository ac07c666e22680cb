# SPDX-License-Identifier: Apache-2.0
"""What fitted matrices, or a fit to come, read in one forward pass: states of all depths, and attention flow.

Axes: B texts, P places of a text, T tokens, H hidden units, A units of attention, C labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NoReturn

import torch
from torch import Tensor

from .attention_hook import watch_attention
from .eval_mode import run_in_eval_mode
from .heads.attention_flow import AttentionLog, pooled_weights
from .heads.head import Reading
from .heads.readout import FittedReadout
from .hooks import ForwardRecord, HeadLog
from .padding import TokenMask, inputs_of
from .tasks import sequence_classification

# (B, P) int64, -1 where a text has fewer, or what makes them of the logits that a pass gives at all positions
Positions = Tensor | Callable[[Tensor], Tensor]


class FitReader:
    """Reads one forward pass of a model that says one thing of a text.

    Args:
        readout: the fitted matrices, where they are to explain.
        output_states: keep states and flow, for a fit to come.
    """

    MERGES = True  # rows of the attention in long texts

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
        if (output_states or (readout is not None and readout.reads_flow)) and self.can_follow_attention(arguments):
            watch_attention(model.config._attn_implementation)
            matrix = None if readout is None or output_states else readout.flow_matrix
            self.attention = AttentionLog(matrix, merges=self.MERGES)

    def can_follow_attention(self, arguments: Mapping[str, Any]) -> bool:
        """Whether attention can be followed to where the label is read from: whole texts, a known place."""
        return _whole(arguments) and self.model.mhex_site.pooled_position(self.model.config) is not None

    def head_log(self, reading: Reading) -> HeadLog:
        """What the heads show in this pass, with the states shown to this reader where it reads any."""
        return HeadLog(reading, self._observe if self.keeps or self.readout is not None else None)

    def _observe(self, state: Tensor) -> None:
        state = self.mask.cut(state)
        if self.keeps:
            self.states.append(state.clone())
        if self.readout is not None:
            self.scores.append(self.readout.read(len(self.scores), state))

    def read(self, record: ForwardRecord, plain: Any) -> dict[str, Any]:
        """States and flow, where they are kept, and fitted attributions.

        Raises:
            RuntimeError: fitted matrices read an attention flow that this attention implementation does not show.
        """
        flow = self._pooled_flow(record)
        outputs: dict[str, Any] = {"states": tuple(self.states), "attention_flow": flow} if self.keeps else {}
        if self.readout is None:
            return outputs
        flow_scores = self.flow_scores(flow)
        return {**outputs, "fitted_attributions": self.readout.combine(self.scores, flow_scores)}

    def flow_scores(self, flow: tuple[Any, ...]) -> Any:
        """What the matrices say of the flow, which they have read already unless it is kept."""
        assert self.readout is not None
        if self.readout.reads_flow and not flow:
            raise RuntimeError(
                "the fitted matrices read what reaches the label through attention, which this attention "
                "implementation does not show: call model.set_attn_implementation('sdpa'), or fit again."
            )
        return self.readout.read_flow(flow) if self.keeps else flow

    def _pooled_flow(self, record: ForwardRecord) -> tuple[Any, ...]:
        """(B, T, A) of each layer, or what its matrix reads of it; none where attention did not show itself."""
        layers = _shown(record)
        if not layers:
            return ()
        (batch, _, tokens), device = layers[-1].size, layers[-1].device
        pooled = self.model.mhex_site.pooled_position(self.model.config)
        start, position = pooled_weights(pooled, record.mask.real, batch, tokens)
        position = None if position is None else position.to(device)
        assert record.attention is not None
        return record.attention.flow(start.to(device), position)


class PositionReader(FitReader):
    """Reads one forward pass of a model that says something at each position, for some of them at once.

    Args:
        task: the functions of the model's task.
        positions: the places that are wanted; without any nothing is read of attention.

    Raises:
        TypeError, ValueError: positions that are not (B, P) integers, a packed batch, and matrices without places.
    """

    MERGES = False

    def __init__(
        self,
        model: Any,
        arguments: Mapping[str, Any],
        mask: TokenMask,
        readout: FittedReadout | None,
        output_states: bool,
        task: ModuleType,
        positions: Positions | None,
    ) -> None:
        self.task, self.positions = task, positions
        if positions is None and readout is not None:
            raise ValueError(
                "positions must say at which tokens the model is to be explained, a (batch, places) tensor or a "
                "function of its logits, got None with output_attributions=True."
            )
        if positions is not None:
            _check_unpacked(arguments)
        super().__init__(model, arguments, mask, readout, output_states)

    def can_follow_attention(self, arguments: Mapping[str, Any]) -> bool:
        """Whether places are wanted, of whole texts, in layers that the label is read after without a decoder."""
        return self.positions is not None and _whole(arguments) and not self.model.config.is_encoder_decoder

    def read(self, record: ForwardRecord, plain: Any) -> dict[str, Any]:
        """States and the flow into each place, where they are kept, and fitted attributions of the places."""
        outputs: dict[str, Any] = {"states": tuple(self.states)} if self.keeps else {}
        if self.positions is None:
            return outputs
        logits = self.task.position_logits(plain, self.mask)  # (B, T, C)
        positions = self.positions(logits) if callable(self.positions) else self.positions
        positions = _check_positions(positions, logits.shape, self.mask).to(logits.device)
        start = self.task.start_rows(positions, logits.shape[1], self.mask)
        flow = self._flow_into(positions, start, record)
        outputs |= {"attention_flow": flow} if self.keeps else {}
        outputs["attribution_positions"] = positions
        if self.readout is None:
            return outputs
        scored = (positions >= 0)[..., None]
        if self.mask.real is not None:
            scored = scored & self.mask.real.to(positions.device)[:, None]
        flow_scores = self.flow_scores(flow)
        combined = self.readout.combine_at(self.scores, flow_scores, start, scored.expand_as(start))
        return {**outputs, "fitted_attributions": combined}

    def _flow_into(self, positions: Tensor, start: Tensor, record: ForwardRecord) -> tuple[Any, ...]:
        """(B, P, T, A) of each layer, or what its matrix reads of it; none where attention did not show itself."""
        layers = _shown(record)
        if not layers:
            return ()
        device = layers[-1].device
        single = positions.clamp(min=0).to(device) if self.task.SINGLE_ROWS else None
        assert record.attention is not None
        return record.attention.flow(start.to(device), single)


def reader_of(
    task: ModuleType,
    model: Any,
    arguments: Mapping[str, Any],
    mask: TokenMask,
    readout: FittedReadout | None,
    output_states: bool,
    positions: Positions | None,
) -> FitReader:
    """The reader of one forward pass of a model of this task.

    Raises:
        TypeError, ValueError: as `PositionReader`, and positions for a model that says one thing of a text.
    """
    if task is not sequence_classification:
        return PositionReader(model, arguments, mask, readout, output_states, task, positions)
    if positions is not None:
        raise ValueError(f"positions are for models with a label at each position, got {type(model).__name__}.")
    return FitReader(model, arguments, mask, readout, output_states)


def refuse_unfollowed(model: Any) -> NoReturn:
    """For models whose attention shows itself in no pass: what is said at a position could be explained by nothing."""
    raise ValueError(
        f"{type(model).__name__} cannot be explained at positions: attention in its family ({model.config.model_type}) "
        "does not go through transformers' AttentionInterface, or reaches the position by a decoder, so that it cannot "
        "be followed; its heads can be trained all the same."
    )


def follows_attention(model: Any, input_ids: Tensor) -> bool:
    """Whether the attention of a model with a label at each position can be followed, seen in a pass over (T,) ids."""
    options = {"output_states": True, "output_head_logits": False, "return_dict": True}
    with torch.inference_mode():
        inputs = {"input_ids": input_ids[None].to(model.device), "positions": torch.zeros(1, 1, dtype=torch.long)}
        return bool(run_in_eval_mode(model, {**inputs, **options}).attention_flow)


def _whole(arguments: Mapping[str, Any]) -> bool:
    return inputs_of(arguments) is not None and arguments.get("past_key_values") is None


def _shown(record: ForwardRecord) -> list[Any]:
    """What the attention of all layers was given; nothing where some did not show it."""
    log = record.attention
    return [] if log is None or len(log.layers) != len(record.heads.outputs) else log.layers


def _check_unpacked(arguments: Mapping[str, Any]) -> None:
    positions = arguments.get("position_ids")
    if isinstance(positions, Tensor) and positions.device.type == "cpu" and bool((positions.diff(dim=-1) < 0).any()):
        raise ValueError(
            "position_ids must rise along a row to explain positions, got several texts packed into one row: give one "
            "text a row."
        )


def _check_positions(positions: Any, shape: Any, mask: TokenMask) -> Tensor:
    """(B, P) int64, each -1 or a real token; values are looked at on the CPU alone."""
    batch, tokens = shape[:2]
    if not isinstance(positions, Tensor) or positions.dtype not in (torch.int64, torch.int32):
        kind = positions.dtype if isinstance(positions, Tensor) else type(positions).__name__
        raise TypeError(f"positions must be a tensor of integers, or a function that returns one, got {kind}.")
    if positions.dim() != 2 or len(positions) != batch:
        raise ValueError(f"positions must be ({batch}, places), got {tuple(positions.shape)}.")
    if positions.device.type == "cpu" and not torch.compiler.is_compiling():
        bad = positions[(positions < -1) | (positions >= tokens)]
        if not bad.numel() and mask.real is not None:
            padding = ~mask.real.cpu().gather(1, positions.clamp(min=0)) & (positions >= 0)
            bad = positions[padding]
        if bad.numel():
            raise ValueError(f"positions must be those of a text's tokens, or -1 for none, got {int(bad[0])}.")
    return positions.long()
