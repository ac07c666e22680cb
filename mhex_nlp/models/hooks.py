# SPDX-License-Identifier: Apache-2.0
"""Puts heads into a live model: two hooks a layer, and the record of one forward pass that they share.

Axes: B texts, T tokens, H hidden units, C labels.
"""

from __future__ import annotations

import copy
import itertools
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from .families import Site
from .heads.attention_flow import AttentionLog
from .heads.head import MhexHead, Reading
from .padding import TokenMask


class _RunningRecord:
    """The record of the forward pass that now runs: one a thread, a plain attribute under torch.compile.

    Only the pass itself keeps its record alive. An interrupt that comes before `close_record` thus leaves nothing
    behind: no mask for a later pass, and no tensors.
    """

    def __init__(self) -> None:
        self.variable: ContextVar[weakref.ref[ForwardRecord] | None] = ContextVar("mhex_record", default=None)
        self.compiled: ForwardRecord | None = None  # torch.compile cannot trace a ContextVar

    def get(self) -> ForwardRecord | None:
        if torch.compiler.is_compiling():
            return self.compiled
        reference = self.variable.get()
        return None if reference is None else reference()

    def enter_layer(self) -> ForwardRecord | None:
        """As `get`, for hooks of heads: a compiled pass may have parts that run as they are, between two graphs of it
        or compiled too often already, and these belong to the compiled pass. So does their attention."""
        record = self.get()
        if record is None and (record := self.compiled) is not None:
            self.variable.set(weakref.ref(record))
        return record

    def leave_layer(self) -> None:
        """Undoes what `enter_layer` did."""
        if not torch.compiler.is_compiling() and self.compiled is not None and self.get() is self.compiled:
            self.variable.set(None)

    def set(self, record: ForwardRecord | None) -> None:
        if torch.compiler.is_compiling():
            self.compiled = record
        else:
            self.variable.set(None if record is None else weakref.ref(record))


@dataclass
class HeadLog:
    """What heads and layers show in one forward pass, in order of depth.

    Args:
        reading: what the heads read, as `MhexHead.forward` says.
        observe: is given the states of each depth, (B, T, H): the stream that enters the first layer, z of every layer,
            the last hidden state. They are good for that call alone, since heads overwrite z.
        outputs: gets what each head says, two of its forward's three values.
    """

    reading: Reading
    observe: Callable[[Tensor], None] | None = None
    outputs: list[tuple[Tensor | None, Tensor | None]] = field(default_factory=list)


@dataclass
class ForwardRecord:
    """One forward pass, as the hooks of its layers see it; a part for each of its customers.

    Args:
        mask: which tokens are real, for the gates.
        heads: what heads and layers show; nobody looks at it while gradient checkpointing recomputes a layer, which
            must read the same once more.
        attention: what the layers' attention is given, where its flow is followed.
        interrupted: the record of the pass that this one interrupted.
        stream: what the layer now running adds its attention to.
        x: a copy of what it adds, where the layer adds in place (`image_hooks`).
    """

    mask: TokenMask
    heads: HeadLog
    attention: AttentionLog | None = None
    interrupted: ForwardRecord | None = None
    stream: Tensor | None = None
    x: Tensor | None = None


_record = _RunningRecord()


def open_record(mask: TokenMask, heads: HeadLog, attention: AttentionLog | None = None) -> ForwardRecord:
    """Begins a forward pass in this thread; `close_record` must follow, whatever happens."""
    # a hook inside one model may call another model: its pass goes on afterwards
    record = ForwardRecord(mask, heads, attention, interrupted=_record.get())
    _record.set(record)
    return record


def close_record(record: ForwardRecord) -> None:
    """Ends a forward pass and goes back to the one it interrupted, if any."""
    _record.set(record.interrupted)


def running_record() -> ForwardRecord | None:
    """The record of the forward pass that now runs in this thread."""
    return _record.get()


def running_attention() -> tuple[AttentionLog, TokenMask] | None:
    """The log of the attention now running, between the two hooks of a layer, and the tokens' mask; else `None`.

    Decoder self-attention and cross-attention run outside those hooks and are not recorded.
    """
    record = _record.get()
    if record is None or record.attention is None or record.stream is None:
        return None
    return record.attention, record.mask


def checkpoint_contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """`context_fn` of torch's non-reentrant checkpoint: gives mask and reading of the pass back to the recomputation.

    Called while the forward pass runs; the second context is entered later, on CUDA in autograd's own thread, where
    no variable of ours is set.
    """
    record = _record.get()
    return nullcontext(), nullcontext() if record is None else _replay(record.mask, record.heads.reading)


@contextmanager
def _replay(mask: TokenMask, reading: Reading) -> Iterator[None]:
    before, record = _record.get(), ForwardRecord(mask, HeadLog(reading))
    _record.set(record)
    try:
        yield
    finally:
        _record.set(before)


class HeadHooks:
    """The two hooks of one head: bound methods, which deepcopy rebinds to the copied head, as it would no closure."""

    def __init__(self, head: MhexHead, arg: int | str) -> None:
        self.head = head
        self.arg = arg

    def capture_stream(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Forward pre-hook of the site's `stream`: keeps x_global until the attention output is there."""
        if (record := _record.enter_layer()) is not None:
            record.stream = kwargs[self.arg] if isinstance(self.arg, str) else args[self.arg]

    def apply_head(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        """Forward hook of the site's `output`: reads the evidence, gates x."""
        record = _record.enter_layer()
        stream = None if record is None else record.stream
        if record is None or stream is None:
            raise RuntimeError(
                "MHEX heads ran outside their model's forward: call the model itself rather than its base model, and "
                "turn checkpointing on with model.activation_checkpointing_enable()."
            )
        record.stream = None  # else the last layer's activations would outlive the backward pass
        _record.leave_layer()
        x, *rest = output if isinstance(output, tuple) else (output,)
        log = record.heads
        z: Tensor | None = None
        if log.observe is not None:
            if not log.outputs:
                log.observe(stream)
            z = x + stream
            log.observe(z)
        gated, said, bias = x, None, None
        if log.reading is not None or self.head.gate:
            gated, said, bias = self.head(x, stream, record.mask.of_layer(x), reading=log.reading, z=z)
        log.outputs.append((said, bias))
        if not self.head.gate:
            return None
        gated = gated.to(x.device)  # accelerate may have put the head elsewhere
        return (gated, *rest) if isinstance(output, tuple) else gated


def observe_last_state(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
    """Forward hook of the base model: shows the encoder's last hidden state to the observer of the pass."""
    record = _record.enter_layer()
    if record is not None and record.heads.observe is not None:
        encoded = output.get("encoder_last_hidden_state") if isinstance(output, dict) else None
        record.heads.observe(output[0] if encoded is None else encoded)
    _record.leave_layer()


def attach_heads(base_model: nn.Module, heads: Sequence[Any], site: Site) -> None:
    """Hooks each head to its layer, in order of depth.

    Raises:
        ValueError: as many heads as layers are needed.
    """
    layers = site.find_layers(base_model)
    if len(layers) != len(heads):
        raise ValueError(f"{len(heads)} MHEX heads do not fit the {len(layers)} layers of {type(base_model).__name__}.")
    for head, layer in zip(heads, layers, strict=True):
        hooks = HeadHooks(head, site.arg)
        layer.get_submodule(site.stream).register_forward_pre_hook(hooks.capture_stream, with_kwargs=True)
        layer.get_submodule(site.output).register_forward_hook(hooks.apply_head)
    base_model.register_forward_hook(observe_last_state)


def detach_heads(base_model: nn.Module, site: Site) -> None:
    """Takes our hooks off in this model alone: a DataParallel replica shares its hook tables with the original."""
    for layer in site.find_layers(base_model):
        keep_hooks(layer.get_submodule(site.stream), lambda hook: not _is_head_hook(hook))
        keep_hooks(layer.get_submodule(site.output), lambda hook: not _is_head_hook(hook))
    keep_hooks(base_model, lambda hook: not _is_head_hook(hook))


def keep_hooks(module: nn.Module, keep: Callable[[Any], bool]) -> None:
    """Gives `module` hook tables of its own with those forward and backward hooks alone that `keep` is true for."""
    for name, companions in _COMPANIONS.items():
        table = {key: hook for key, hook in getattr(module, name).items() if keep(hook)}
        setattr(module, name, OrderedDict(table))
        for companion in companions:
            setattr(module, companion, OrderedDict((k, v) for k, v in getattr(module, companion).items() if k in table))


_COMPANIONS = {
    "_forward_pre_hooks": ["_forward_pre_hooks_with_kwargs"],
    "_forward_hooks": ["_forward_hooks_with_kwargs", "_forward_hooks_always_called"],
    "_backward_pre_hooks": [],
    "_backward_hooks": [],
}
HOOK_TABLES = [*_COMPANIONS, *itertools.chain(*_COMPANIONS.values())]  # attributes of a module


def _is_head_hook(hook: Any) -> bool:
    return hook is observe_last_state or isinstance(getattr(hook, "__self__", None), HeadHooks)


def shared_copy(model: Any) -> Any:
    """A copy of modules and config that shares the tensors; hooks of others are dropped, those of transformers stay."""
    tensors = itertools.chain(model.parameters(), model.buffers())
    shared = copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
    for module in shared.modules():
        keep_hooks(
            module, lambda hook: _is_head_hook(hook) or getattr(hook, "__module__", "").startswith("transformers.")
        )
    return shared
