# SPDX-License-Identifier: Apache-2.0
"""The handler of Hugging Face inference endpoints: predictions, and with `explain` why.

A `handler.py` beside the model's files is enough:

    from mhex_nlp.integrations.service.handler import EndpointHandler

    __all__ = ["EndpointHandler"]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .requests import RefusedError, check_request
from .served import ServedModel, load_served
from .settings import ServiceSettings


class EndpointHandler:
    """Loads a model once and answers requests of the form `{"inputs": ..., "parameters": {...}}`.

    >>> handler = EndpointHandler("runs/mood-fitted")
    >>> handler({"inputs": "The soup was cold.", "parameters": {"explain": True}})["explanations"]

    Args:
        path: folder of the model.

    Raises:
        OSError, ValueError: no model there, or one that cannot be explained.
    """

    limits = ServiceSettings()

    def __init__(self, path: str = "") -> None:
        self.served = ServedModel(load_served(path))

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Answers as `POST /predict` does.

        Args:
            data: `inputs`, a text, a list of texts, or {"text": ..., "text_pair": ...}; in `parameters`, which may be
                left out, `explain`, `target`, `foil`, `budget` and `text_pair`.

        Raises:
            ValueError: one sentence for what is wrong.
        """
        document, explain = _document(data)
        try:
            request = check_request(document, explain, self.limits)
        except RefusedError as error:
            raise ValueError(error.sentence) from error
        ids = [str(index) for index in range(len(request.texts))]
        return self.served.document(self.served.answers(request.texts, request.pairs, ids, request.options))


def _document(data: Any) -> tuple[dict[str, Any], bool]:
    """The body that `POST /predict` would have, and whether to explain."""
    if not isinstance(data, Mapping) or "inputs" not in data:
        raise ValueError('data must be {"inputs": ...}, a text or a list of texts, got no inputs.')
    inputs, parameters = data["inputs"], data.get("parameters") or {}
    if not isinstance(parameters, Mapping):
        raise ValueError(f"parameters must be an object, got a {type(parameters).__name__}.")
    document = {**(inputs if isinstance(inputs, Mapping) else {"text": inputs}), **parameters}
    explain = document.pop("explain", False)
    if not isinstance(explain, bool):
        raise ValueError(f"explain must be true or false, got {explain!r:.40}.")
    return document, explain
