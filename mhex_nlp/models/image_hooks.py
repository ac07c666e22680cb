# SPDX-License-Identifier: Apache-2.0
"""Puts heads into a live image classifier: the hooks of a block, whose record is that of text models (`hooks`).

Axes: B images, T tokens, N cells, D channels, H x W a feature map.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from .heads.image_head import ImageHead
from .hooks import ForwardRecord, keep_hooks, running_record
from .image_families import IMAGE_SITES, ImageSite


class ImageHooks:
    """The hooks of one head: bound methods, which deepcopy rebinds to the copied head and block."""

    def __init__(self, head: ImageHead, block: nn.Module, site: ImageSite, specials: int) -> None:
        self.head, self.block, self.site, self.specials = head, block, site, specials

    def attach(self) -> None:
        """Puts the hooks on the block's submodules."""
        stream, output = (self.block.get_submodule(path) for path in (self.site.stream, self.site.output))
        if self.site.addition is not None:
            stream.register_forward_hook(self.capture_returned)
            output.register_forward_hook(self.keep_output)
            self.block.get_submodule(self.site.addition).register_forward_pre_hook(self.gate_sum)
        else:
            stream.register_forward_pre_hook(self.capture_stream)
            output.register_forward_hook(self.gate_output)

    def capture_stream(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Forward pre-hook of the site's `stream`: keeps x_global until x is there."""
        if (record := running_record()) is not None:
            record.stream = args[0]

    def capture_returned(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        """Forward hook of a `stream` that returns x_global."""
        if (record := running_record()) is not None:
            record.stream = output

    def keep_output(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        """Forward hook of `output` where the block adds x_global to x in place: x is copied, if the gate needs it."""
        if (record := running_record()) is not None and self.head.gate:
            record.x = output.clone()

    def gate_sum(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Forward pre-hook of `addition`, which is given z: makes it z + (g - 1) x, at g = 1 z to the bit."""
        record = _running()
        first, x, record.x = record.stream, record.x, None
        z, *rest = args
        gate = self._read(record, first, z)
        if gate is None or x is None:
            return None
        return (z + (gate - 1) * x, *rest)

    def gate_output(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        """Forward hook of the site's `output`: reads z, gates x."""
        record = _running()
        stream = record.stream
        assert stream is not None
        x, *rest = output if isinstance(output, tuple) else (output,)
        log = record.heads
        if log.reading is None and log.observe is None and not self.head.gate:
            gate = self._read(record, stream, None)
        else:
            scale = None if self.site.scale is None else getattr(self.block, self.site.scale)
            gate = self._read(record, stream, stream + (x if scale is None else x * scale))
        if gate is None:
            return None
        gated = x * gate
        return (gated, *rest) if isinstance(output, tuple) else gated

    def _read(self, record: ForwardRecord, stream: Tensor | None, z: Tensor | None) -> Tensor | None:
        """Logs what the head says of z, as the sites have it; the gate in the shape and dtype of z, `None` without."""
        record.stream = None  # else the last block's activations would outlive the backward pass
        log = record.heads
        if z is not None and log.observe is not None:
            if not log.outputs and stream is not None:
                log.observe(stream.clone())
            log.observe(z.clone())
        gate: Tensor | None = None
        said: Tensor | None = None
        bias: Tensor | None = None
        if z is not None and (log.reading is not None or self.head.gate):
            cells = z[:, self.specials :] if self.site.tokens else z.flatten(2).transpose(1, 2)
            gate, said, bias = self.head(cells, reading=log.reading)
            if said is not None and said.dim() == 3 and not self.site.tokens:
                said = said.unflatten(1, tuple(z.shape[2:]))  # (B, H, W, C)
        log.outputs.append((said, bias))
        if gate is None or z is None:
            return None
        gate = gate.to(device=z.device, dtype=z.dtype)  # accelerate may have put the head elsewhere
        return gate if self.site.tokens else gate.transpose(1, 2)[..., None]


def _running() -> ForwardRecord:
    record = running_record()
    if record is None or record.stream is None:
        raise RuntimeError(
            "MHEX heads ran outside their model's forward: call the model itself rather than its base model, and "
            "turn checkpointing on with model.activation_checkpointing_enable()."
        )
    return record


def image_heads(model: Any, gate: bool) -> nn.ModuleList:
    """A head for each block that has a residual; none where the family has no row.

    Raises:
        ValueError: gates for such a family.
    """
    config, site = model.config, model.mhex_site
    if site is None:
        if gate:
            raise ValueError(
                f"MhexConfig.gate must be False for the family {config.model_type!r}, whose models get no MHEX heads "
                f"(families with heads: {', '.join(sorted(IMAGE_SITES))})."
            )
        return nn.ModuleList()
    widths = [block_width(block, site) for block in site.find_blocks(model.base_model)]
    return nn.ModuleList(ImageHead(width, config.num_labels, gate=gate, pre_norm=site.pre_norm) for width in widths)


def attach_image_heads(model: Any, heads: Sequence[Any], site: ImageSite | None) -> None:
    """Hooks each head to its block, in order of depth; nothing where the family has no row.

    Raises:
        ValueError: as many heads as blocks are needed.
    """
    blocks = [] if site is None else site.find_blocks(model.base_model)
    if len(blocks) != len(heads):
        raise ValueError(f"{len(heads)} MHEX heads do not fit the {len(blocks)} blocks of {type(model).__name__}.")
    if site is not None:
        for head, block in zip(heads, blocks, strict=True):
            ImageHooks(head, block, site, site.specials(model.config)).attach()
        model.base_model.register_forward_hook(observe_last_map)


def detach_image_heads(model: nn.Module) -> None:
    """Takes our hooks off in this model alone: a DataParallel replica shares its hook tables with the original."""
    for module in model.modules():
        keep_hooks(module, lambda hook: not is_image_hook(hook))


def is_image_hook(hook: Any) -> bool:
    """Whether a hook is one of ours."""
    return hook is observe_last_map or isinstance(getattr(hook, "__self__", None), ImageHooks)


def observe_last_map(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
    """Forward hook of the base model: shows its last hidden state to the observer of the pass."""
    record = running_record()
    if record is not None and record.heads.observe is not None and isinstance(output[0], Tensor):
        record.heads.observe(output[0])


def block_width(block: nn.Module, site: ImageSite) -> int:
    """D of what a block adds to its stream, by the last weight before or after it.

    Raises:
        ValueError: neither submodule of the site holds a weight.
    """
    for path in (site.output, site.stream):
        weights = [getattr(module, "weight", None) for module in block.get_submodule(path).modules()]
        if known := [weight for weight in weights if isinstance(weight, Tensor)]:
            return int(known[-1].shape[0])
    raise ValueError(f"{site} says of no weight how wide the stream of {type(block).__name__} is.")
