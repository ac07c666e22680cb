# SPDX-License-Identifier: Apache-2.0
"""Hashes over a model's weights: of its base alone, or of all of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import torch
import xxhash
from transformers import PreTrainedModel

from .loading import HEAD_PREFIXES


def base_hash(model: PreTrainedModel) -> str:
    """sha256 over names, dtypes, shapes and bytes of all weights but the heads'."""
    digest = hashlib.sha256()
    for part in _bytes_of(model, heads=False):
        digest.update(part)
    return digest.hexdigest()


def model_hash(model: PreTrainedModel) -> str:
    """xxh3 over all weights, the heads' and the fit's as well, and over what the config says of them.

    Every call over a dataset asks for it, and sha256 would take longer than some hundred texts.
    """
    record = {key: getattr(model.config, key, None) for key in ("mhex", "mhex_fit", "id2label", "problem_type")}
    digest = xxhash.xxh3_128(json.dumps(record, sort_keys=True, default=str).encode())
    for part in _bytes_of(model, heads=True):
        digest.update(part)
    return digest.hexdigest()


def _bytes_of(model: PreTrainedModel, heads: bool) -> Iterator[Any]:
    """Name, dtype and shape of each weight, and then its bytes."""
    for key, value in sorted(model.state_dict().items()):
        if heads or not key.startswith(HEAD_PREFIXES):
            yield f"{key} {value.dtype} {tuple(value.shape)}\n".encode()
            yield value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
