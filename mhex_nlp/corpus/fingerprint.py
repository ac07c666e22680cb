# SPDX-License-Identifier: Apache-2.0
"""What explanations depend on beside the texts: a cache, and a job taken up again, must know when it changes."""

from __future__ import annotations

from typing import Any

from .._version import __version__
from ..explain.request import Request
from ..explain.text_explainer import TextExplainer
from ..inputs.tokenizer import tokenizer_hash


def identity_of(explainer: TextExplainer[Any], request: Request) -> dict[str, Any]:
    """By name, as JSON: the release, weights and tokenizer by their hashes, the explainer's settings, the request."""
    labels = request.table.labels
    return {
        "library": __version__,
        "model": request.model.name,
        "weights": explainer.weights,
        "dtype": explainer.dtype,
        "tokenizer": tokenizer_hash(explainer.tokenizer),
        "max_length": explainer.max_length,
        "stride": explainer.stride,
        "batch_tokens": explainer.batch_tokens,
        "language": explainer.language,
        "non_negative": explainer.non_negative,
        "target": None if request.target is None else labels[request.target],
        "foil": None if request.foil is None else labels[request.foil],
        "classes": "all" if request.all_classes else "target",
        "layers": request.layers,
        "contrast": request.contrast,
        "aggregation": request.aggregation,
        "beta": request.beta,
        **({"budget": request.budget, "seed": request.seed} if request.budget else {}),
        **({"flip": True} if request.flip else {}),
        **({} if request.tolerance is None else {"tolerance": request.tolerance}),
    }
