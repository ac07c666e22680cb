# SPDX-License-Identifier: Apache-2.0
"""`get_mhex_model`: heads for a model that is already in memory."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from .adapters import inside_adapters
from .config import MhexConfig
from .hooks import shared_copy
from .loading import check_task
from .modeling import MhexMixin, mhex_class, settings_for, site_of
from .sidecar import load_weights, read_record
from .tasks.names import auto_class, task_of


def get_mhex_model(model: Any, config: MhexConfig | Mapping | str | PathLike[str] | None = None) -> Any:
    """A model with MHEX heads that shares the tensors of `model`, and none of its modules, hooks or config.

    Args:
        model: a transformers model for sequence, token or image classification or question answering, also one in 8 or
            4 bits, or a `PeftModel` around one, whose heads then are trained with the adapter; left untouched.
        config: settings of fresh heads (`MhexConfig(gate=False)` keeps every prediction bit-identical for ever, and is
            what image classifiers get by default), or the folder that `save_explainer` wrote.

    Returns:
        the same kind of model: a `PeftModel` around one with heads where `model` is a `PeftModel`. Heads are
        floating-point numbers whatever the model is stored as.

    Raises:
        TypeError: no transformers model for one of these tasks, or one wrapped by torch.compile or DataParallel.
        ValueError: heads already there, a dispatched model, one that learned a prompt, an unknown family (names
            `register_site`), a model that its config calls one for another task, a folder made for other weights or
            another adapter, or broken.
        FileNotFoundError: no such folder.
    """
    plain = inside_adapters(model)
    _check_plain(plain)
    folder = config if isinstance(config, str | PathLike) else None
    record: dict[str, Any] = {"mhex": config} if folder is None else read_record(folder, plain)
    copied: Any = shared_copy(model)
    with_heads: Any = inside_adapters(copied)
    with_heads.__class__ = mhex_class(type(plain))
    if hasattr(with_heads.config, "mhex_fit"):  # of a checkpoint with heads that was loaded as a plain model
        del with_heads.config.mhex_fit
    with_heads._add_heads(settings_for(with_heads.task, record["mhex"]))
    dtype = plain.dtype if plain.dtype.is_floating_point else torch.float32
    with_heads.mhex.to(device=plain.device, dtype=dtype).train(plain.training)
    if folder is not None:
        if record.get("mhex_fit") is not None:
            with_heads.add_readout(record["mhex_fit"], where=record["path"])
        load_weights(folder, with_heads, record.get("sha256"))
    if plain.is_activation_checkpointing:  # as the plain model had it, but so that the heads take part
        with_heads.activation_checkpointing_enable()
    return copied


def _check_plain(model: Any) -> None:
    wrapper = type(model).__name__
    if hasattr(model, "_orig_mod") or (isinstance(model, nn.Module) and hasattr(model, "module")):
        inner = "_orig_mod" if hasattr(model, "_orig_mod") else "module"
        raise TypeError(f"model must be a plain transformers model, got a {wrapper} around one; pass model.{inner}.")
    if not isinstance(model, PreTrainedModel):
        raise TypeError(f"model must be a transformers model, got {wrapper}.")
    if isinstance(model, MhexMixin):
        raise ValueError(f"model already has MHEX heads ({wrapper}).")
    task = task_of(type(model))
    if any(hasattr(module, "_hf_hook") for module in model.modules()):
        raise ValueError(
            "model must lie on one device, got one that accelerate dispatched (device_map); load it with "
            f"{auto_class(task)}.from_pretrained(..., device_map=...)."
        )
    check_task(model.config, model.config._name_or_path or wrapper, task)
    site_of(model.config.model_type, task)
