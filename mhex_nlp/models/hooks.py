# SPDX-License-Identifier: Apache-2.0
"""Puts heads into a live model: two hooks a layer, and the state of one forward pass that they share.

B texts, T tokens, H hidden units, C labels.
"""

from __future__ import annotations

import copy
import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from .families import Site
from .heads.head import MhexHead

_T = TypeVar("_T")


class _Slot(Generic[_T]):
    """A value per thread in eager mode, a plain attribute under torch.compile, which cannot trace a ContextVar."""

    def __init__(self, name: str) -> None:
        self.variable: ContextVar[_T | None] = ContextVar(name, default=None)
        self.compiled: _T | None = None

    def get(self) -> _T | None:
        return self.compiled if torch.compiler.is_compiling() else self.variable.get()

    def set(self, value: _T | None) -> None:
        if torch.compiler.is_compiling():
            self.compiled = value
        else:
            self.variable.set(value)


@dataclass
class Frame:
    """One forward pass: which tokens are real, and what the heads read.

    `mask` is (B, T) bool or `None`, `tokens` the T of the inputs; `records` gets (evidence (B, T, C), bias (C,)) from
    each head in order of depth, or `None` where `evidence` is off. `recording` is off while gradient checkpointing
    recomputes a layer: the gate needs the mask again, the records are already there. `observe` is handed the states of
    each depth, (B, T, H), in order: the stream entering the first layer, z of every layer, the last hidden state; they
    are good for that call alone, since heads overwrite z. Where `attended` is a list, it likewise gets what each
    layer's attention was given, to be read by the `write_matrix` (C, A) of each layer where one is given; `seen`
    remembers the masks that layers share. `before` is what this frame interrupted.
    """

    mask: Tensor | None = None
    tokens: int | None = None
    recording: bool = True
    evidence: bool = True
    records: list[tuple[Tensor, Tensor] | None] = field(default_factory=list)
    observe: Callable[[Tensor], None] | None = None
    attended: list[Any] | None = None
    write_matrix: Callable[[int], Tensor | None] | None = None
    seen: dict[Any, tuple[Any, Tensor]] = field(default_factory=dict)
    before: tuple[Frame | None, Tensor | None] = (None, None)

    def mask_for(self, state: Tensor) -> Tensor | None:
        """The mask for a layer's (B, T, H): longformer and big_bird pad T to a multiple of their window."""
        length = state.shape[1]
        if self.mask is None:
            if self.tokens is None or self.tokens == length:
                return None
            real = torch.ones(state.shape[0], self.tokens, dtype=torch.bool, device=state.device)
        else:
            real = self.mask
        return nn.functional.pad(real, (0, length - real.shape[1])) if real.shape[1] < length else real


_frame: _Slot[Frame] = _Slot("mhex_frame")
_stream: _Slot[Tensor] = _Slot("mhex_stream")  # what the layer now running adds its attention to


def open_frame(
    mask: Tensor | None,
    tokens: int | None = None,
    observe: Callable[[Tensor], None] | None = None,
    watch_attention: bool = False,
    evidence: bool = True,
    write_matrix: Callable[[int], Tensor | None] | None = None,
) -> Frame:
    """Begins a forward pass in this thread; `close_frame` must follow, whatever happens."""
    # a hook inside one model may call another model: its pass goes on afterwards
    before = (_frame.get(), _stream.get())
    attended: list[Any] | None = [] if watch_attention else None
    frame = Frame(
        mask,
        tokens,
        evidence=evidence,
        observe=observe,
        attended=attended,
        write_matrix=write_matrix,
        before=before,
    )
    _frame.set(frame)
    _stream.set(None)
    return frame


def watched_frame() -> Frame | None:
    """The frame that watches the attention now running, between the two hooks of a layer; else `None`.

    Attention outside those hooks, a decoder's own or across to its encoder, is nobody's business.
    """
    frame = _frame.get()
    wanted = frame is not None and frame.attended is not None and frame.recording and _stream.get() is not None
    return frame if wanted else None


def close_frame(frame: Frame) -> None:
    """Ends a forward pass and goes back to the one it interrupted, if any."""
    before, stream = frame.before
    _frame.set(before)
    _stream.set(stream)


def checkpoint_contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """`context_fn` of torch's non-reentrant checkpoint: gives the running frame's mask back to the recomputation.

    Called while the forward pass runs; the second context is entered later, on CUDA in autograd's own thread, where
    no variable of ours is set.
    """
    frame = _frame.get()
    return nullcontext(), _replay(frame.mask if frame else None)


@contextmanager
def _replay(mask: Tensor | None) -> Iterator[None]:
    before = _frame.get()
    _frame.set(Frame(mask, recording=False))
    try:
        yield
    finally:
        _frame.set(before)


class Tap:
    """The two hooks of one head: bound methods, which deepcopy rebinds to the copied head, as it would no closure."""

    def __init__(self, head: MhexHead, arg: int | str) -> None:
        self.head = head
        self.arg = arg

    def remember(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Forward pre-hook of the site's `stream`: keeps x_global until the attention output is there."""
        _stream.set(kwargs[self.arg] if isinstance(self.arg, str) else args[self.arg])

    def refine(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        """Forward hook of the site's `output`: reads the evidence, gates x."""
        frame, stream = _frame.get(), _stream.get()
        _stream.set(None)  # else the last layer's activations would outlive the backward pass
        if frame is None or stream is None:
            raise RuntimeError(
                "MHEX heads ran outside their model's forward: call the model itself rather than its base model, and "
                "turn checkpointing on with model.activation_checkpointing_enable()."
            )
        x, *rest = output if isinstance(output, tuple) else (output,)
        z: Tensor | None = None
        if frame.observe is not None and frame.recording:
            if not frame.records:
                frame.observe(stream)
            z = x + stream
            frame.observe(z)
        gated, record = x, None
        if frame.evidence or self.head.gate:
            gated, evidence, bias = self.head(x, stream, frame.mask_for(x), evidence=frame.evidence, z=z)
            record = None if evidence is None else (evidence, bias)
        if frame.recording:  # only append: any other operation would be missing from a checkpoint's recomputation
            frame.records.append(record)
        if not self.head.gate:
            return None
        gated = gated.to(x.device)  # accelerate may have put the head elsewhere
        return (gated, *rest) if isinstance(output, tuple) else gated


def observe_last(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
    """Forward hook of the base model: shows the encoder's last hidden state to whoever observes."""
    frame = _frame.get()
    if frame is not None and frame.observe is not None:
        encoded = output.get("encoder_last_hidden_state") if isinstance(output, dict) else None
        frame.observe(output[0] if encoded is None else encoded)


def wire(base_model: nn.Module, heads: Sequence[Any], site: Site) -> None:
    """Hooks each head to its layer, in order of depth.

    Raises:
        ValueError: as many heads as layers are needed.
    """
    layers = site.find_layers(base_model)
    if len(layers) != len(heads):
        raise ValueError(f"{len(heads)} MHEX heads do not fit the {len(layers)} layers of {type(base_model).__name__}.")
    for head, layer in zip(heads, layers, strict=True):
        tap = Tap(head, site.arg)
        layer.get_submodule(site.stream).register_forward_pre_hook(tap.remember, with_kwargs=True)
        layer.get_submodule(site.output).register_forward_hook(tap.refine)
    base_model.register_forward_hook(observe_last)


def unwire(base_model: nn.Module, site: Site) -> None:
    """Takes our hooks off in this model alone: a DataParallel replica shares its hook tables with the original."""
    for layer in site.find_layers(base_model):
        keep_hooks(layer.get_submodule(site.stream), lambda hook: not _is_tap(hook))
        keep_hooks(layer.get_submodule(site.output), lambda hook: not _is_tap(hook))
    keep_hooks(base_model, lambda hook: not _is_tap(hook))


def keep_hooks(module: nn.Module, wanted: Callable[[Any], bool]) -> None:
    """Gives `module` hook tables of its own with the wanted forward and backward hooks alone."""
    for name, companions in _HOOK_TABLES.items():
        table = {key: hook for key, hook in getattr(module, name).items() if wanted(hook)}
        setattr(module, name, OrderedDict(table))
        for companion in companions:
            setattr(module, companion, OrderedDict((k, v) for k, v in getattr(module, companion).items() if k in table))


_HOOK_TABLES = {
    "_forward_pre_hooks": ["_forward_pre_hooks_with_kwargs"],
    "_forward_hooks": ["_forward_hooks_with_kwargs", "_forward_hooks_always_called"],
    "_backward_pre_hooks": [],
    "_backward_hooks": [],
}


def _is_tap(hook: Any) -> bool:
    return hook is observe_last or isinstance(getattr(hook, "__self__", None), Tap)


def shared_copy(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of modules and config that shares the tensors; hooks of others are dropped, those of transformers stay."""
    tensors = itertools.chain(model.parameters(), model.buffers())
    shared = copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
    for module in shared.modules():
        keep_hooks(module, lambda hook: _is_tap(hook) or getattr(hook, "__module__", "").startswith("transformers."))
    return shared
