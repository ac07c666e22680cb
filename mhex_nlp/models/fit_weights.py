# SPDX-License-Identifier: Apache-2.0
"""A fit belongs to the weights it was made on: their hash, taken anew only when they can have changed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from threading import Lock
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
import xxhash

from .adapters import adapters_in_use, split_weights
from .loading import HEAD_PREFIXES
from .weights_hash import raw, stored_tensors

_PATIENCE = 100  # a hash is trusted for so many times the time it takes: under 1 % of all time goes into hashing


class _Known(NamedTuple):
    versions: tuple[Any, ...]
    hash: str
    until: float


_known: WeakKeyDictionary[Any, _Known] = WeakKeyDictionary()
_lock = Lock()


def fit_hashes(model: Any) -> dict[str, str]:
    """What a fit's record keeps: hashes of the weights that the model's answers rest on, by 16-bit dtype.

    All but the fit's own matrices, and heads that only read. Weights are rounded first, so that a model that is loaded
    in another floating-point dtype still has the weights of its fit; changed ones differ in some bit of some weight.
    """
    return {str(dtype).removeprefix("torch."): _hash(model, dtype) for dtype in (torch.bfloat16, torch.float16)}


def has_weights_of(model: Any, record: Mapping[str, Any]) -> bool | None:
    """Whether the model still has the weights that the record of a fit names; None where it names none.

    Nearly any in-place change through torch raises a version counter, which is looked at each time (0.1 to 0.2 ms for
    MiniLM). Fused optimizers raise none, but train in training mode, and `model.train()` is noticed. For the sake of
    writes to `.data` the hash is taken anew after a hundred times the time that it takes.
    """
    hashes = record.get("weights")
    if hashes is None:
        return None
    dtype = torch.float16 if model.dtype == torch.float16 else torch.bfloat16
    return bool(hashes.get(str(dtype).removeprefix("torch.")) == _current(model, dtype))


def _current(model: Any, dtype: torch.dtype) -> str:
    tensors = [(id(value), value.data_ptr(), _version(value)) for value in _tensors(model)]
    versions = (dtype, getattr(model, "last_trained", None), adapters_in_use(model), *tensors)
    with _lock:
        known = _known.get(model)
    if known is None or known.versions != versions or time.monotonic() > known.until:
        start = time.monotonic()
        digest = _hash(model, dtype)
        end = time.monotonic()
        known = _Known(versions, digest, end + _PATIENCE * (end - start))
        with _lock:
            _known[model] = known
    return known.hash


def _tensors(model: Any) -> list[torch.Tensor]:
    """Parameters and buffers of all modules; `model.modules()` would take longer, and this runs with every batch."""
    modules, tensors = [model], []
    for module in modules:  # which grows meanwhile
        if module is not None:
            tensors += module._parameters.values()
            tensors += module._buffers.values()
            modules += module._modules.values()
    return [value for value in tensors if value is not None]


def _version(value: torch.Tensor) -> int:
    return 0 if value.is_inference() else value._version


def _hash(model: Any, dtype: torch.dtype) -> str:
    digest = xxhash.xxh3_128()
    settings = getattr(model.config, "mhex", None)  # none of a plain model, of images alone
    skipped = ("mhex_fit.",) if settings and settings["gate"] else HEAD_PREFIXES
    base, adapter = split_weights(model)
    weights = {key: value for key, value in base.items() if not key.startswith(skipped)} | adapter
    for name in sorted(weights):
        for key, value in stored_tensors(name, weights[name]):
            digest.update(f"{key} {tuple(value.shape)}\n".encode())
            digest.update(raw(value.to(dtype) if value.is_floating_point() else value))
    return digest.hexdigest()
