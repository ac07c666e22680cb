# SPDX-License-Identifier: Apache-2.0
"""Hashes over a model's weights: of its base alone, of its adapters, or of all of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import xxhash
from torch import Tensor
from transformers import PreTrainedModel

from .adapters import adapters_in_use, split_weights
from .loading import HEAD_PREFIXES


def base_hash(model: PreTrainedModel) -> str:
    """sha256 over names, dtypes, shapes and bytes of all weights but the heads' and those of adapters."""
    return _sha256(split_weights(model).base)


def adapter_hash(model: PreTrainedModel) -> str | None:
    """The same over the weights of the adapters that run; `None` where there are none."""
    weights = split_weights(model).adapter
    return _sha256(weights) if weights else None


def model_hash(model: PreTrainedModel) -> str:
    """xxh3 over all weights, the heads' and the fit's as well, and over what the config says of them.

    Every call over a dataset asks for it, and sha256 would take longer than some hundred texts.
    """
    record = {key: getattr(model.config, key, None) for key in ("mhex", "mhex_fit", "id2label", "problem_type")}
    if (adapters := adapters_in_use(model)) is not None:
        record["adapters"] = adapters
    digest = xxhash.xxh3_128(json.dumps(record, sort_keys=True, default=str).encode())
    for part in _bytes_of(model.state_dict()):
        digest.update(part)
    return digest.hexdigest()


def stored_tensors(key: str, value: Tensor) -> Iterator[tuple[str, Tensor]]:
    """A weight as it lies in memory: itself, or the named plain tensors that a quantised one consists of."""
    if not hasattr(value, "__tensor_flatten__"):
        yield key, value.detach()
        return
    for name in value.__tensor_flatten__()[0]:
        yield from stored_tensors(f"{key}.{name}", getattr(value, name))


def raw(value: Tensor) -> Any:
    """The bytes of a tensor, for a hash."""
    return value.cpu().contiguous().flatten().view(torch.uint8).numpy()


def _sha256(weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for part in _bytes_of({key: value for key, value in weights.items() if not key.startswith(HEAD_PREFIXES)}):
        digest.update(part)
    return digest.hexdigest()


def _bytes_of(weights: Mapping[str, Tensor]) -> Iterator[Any]:
    """Name, dtype and shape of each weight, and then its bytes."""
    for name in sorted(weights):
        for key, value in stored_tensors(name, weights[name]):
            yield f"{key} {value.dtype} {tuple(value.shape)}\n".encode()
            yield raw(value)
