# SPDX-License-Identifier: Apache-2.0
"""`get_mhex_model`: heads for a model that is already in memory."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from .config import MhexConfig
from .hooks import shared_copy
from .loading import check_task
from .modeling import MhexMixin, mhex_class, settings_for, site_of
from .sidecar import load_weights, read_record
from .tasks.names import auto_class, task_of


def get_mhex_model(
    model: PreTrainedModel, config: MhexConfig | Mapping | str | PathLike[str] | None = None
) -> PreTrainedModel:
    """A model with MHEX heads that shares the tensors of `model`, and none of its modules, hooks or config.

    Args:
        model: a transformers model for sequence, token or image classification or question answering; left untouched.
        config: settings of fresh heads (`MhexConfig(gate=False)` keeps every prediction bit-identical for ever, and is
            what image classifiers get by default), or the folder that `save_explainer` wrote.

    Raises:
        TypeError: no transformers model for one of these tasks, or one wrapped by PEFT, torch.compile or DataParallel.
        ValueError: heads already there, a quantised or dispatched model, an unknown family (names `register_site`), a
            model that its config calls one for another task, a folder made for other weights or broken.
        FileNotFoundError: no such folder.
    """
    _check_plain(model)
    folder = config if isinstance(config, str | PathLike) else None
    record: dict[str, Any] = {"mhex": config} if folder is None else read_record(folder, model)
    with_heads: Any = shared_copy(model)
    with_heads.__class__ = mhex_class(type(model))
    if hasattr(with_heads.config, "mhex_fit"):  # of a checkpoint with heads that was loaded as a plain model
        del with_heads.config.mhex_fit
    with_heads._add_heads(settings_for(with_heads.task, record["mhex"]))
    with_heads.mhex.to(device=model.device, dtype=model.dtype).train(model.training)
    if folder is not None:
        if record.get("mhex_fit") is not None:
            with_heads.add_readout(record["mhex_fit"], where=record["path"])
        load_weights(folder, with_heads, record.get("sha256"))
    if model.is_activation_checkpointing:  # as the plain model had it, but so that the heads take part
        with_heads.activation_checkpointing_enable()
    return with_heads


def _check_plain(model: Any) -> None:
    wrapper = type(model).__name__
    if hasattr(model, "peft_config") or hasattr(model, "base_model_prepare_inputs_for_generation"):
        raise TypeError(
            f"model must be a plain transformers model, got a PEFT model ({wrapper}); pass model.merge_and_unload()."
        )
    if hasattr(model, "_orig_mod") or (isinstance(model, nn.Module) and hasattr(model, "module")):
        inner = "_orig_mod" if hasattr(model, "_orig_mod") else "module"
        raise TypeError(f"model must be a plain transformers model, got a {wrapper} around one; pass model.{inner}.")
    if not isinstance(model, PreTrainedModel):
        raise TypeError(f"model must be a transformers model, got {wrapper}.")
    if isinstance(model, MhexMixin):
        raise ValueError(f"model already has MHEX heads ({wrapper}).")
    task = task_of(type(model))
    if getattr(model, "is_quantized", False) or getattr(model, "hf_quantizer", None) is not None:
        raise ValueError(
            f"model must not be quantised, got a quantised {wrapper}; load it without quantization_config."
        )
    if any(hasattr(module, "_hf_hook") for module in model.modules()):
        raise ValueError(
            "model must lie on one device, got one that accelerate dispatched (device_map); load it with "
            f"{auto_class(task)}.from_pretrained(..., device_map=...)."
        )
    check_task(model.config, model.config._name_or_path or wrapper, task)
    site_of(model.config.model_type, task)
