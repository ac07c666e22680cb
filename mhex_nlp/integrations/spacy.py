# SPDX-License-Identifier: Apache-2.0
"""The spaCy component "mhex", and explanations as Docs.

spaCy imports this module, by its entry point, whenever a pipeline is made: nothing here may import torch or
transformers before a model is asked for.
"""

from __future__ import annotations

from typing import Any

from spacy.language import Language

from .spacy_component import MhexComponent
from .spacy_doc import TOP_K, annotate, displacy_options, register_extensions, to_doc

__all__ = ["MhexComponent", "annotate", "displacy_options", "make_mhex", "register_extensions", "to_doc"]


@Language.factory("mhex", assigns=["doc._.mhex", "doc.cats", "doc.ents", "doc.spans", "span._.mhex", "token._.mhex"])
def make_mhex(
    nlp: Language,
    name: str,
    model: str | None,
    revision: str | None = None,
    dtype: str | None = None,
    device: str | None = None,
    aggregation: str = "auto",
    contrast: str = "auto",
    non_negative: bool = False,
    batch_tokens: int | None = None,
    max_length: int | None = None,
    stride: int | None = None,
    language: str | None = None,
    target: str | int | None = None,
    foil: str | int | None = None,
    classes: str = "target",
    layers: bool = False,
    budget: int | str | None = None,
    top_k: int | None = TOP_K,
) -> MhexComponent:
    """`nlp.add_pipe("mhex", config={"model": "path-or-name"})`; the other keys are those of
    `MhexExplainer.from_pretrained` and of a call of the explainer, and `top_k` of `MhexComponent`.

    `"model": None` makes a component whose explainer is set afterwards, or read by from_disk.

    Raises:
        ValueError: no such model, or an option that it refuses.
    """
    request: dict[str, Any] = {"target": target, "foil": foil, "classes": classes, "layers": layers, "budget": budget}
    component = MhexComponent(nlp, None, name, top_k=top_k, **request)
    settings = {
        "aggregation": aggregation,
        "contrast": contrast,
        "non_negative": non_negative,
        "batch_tokens": batch_tokens,
        "max_length": max_length,
        "stride": stride,
        "language": language,
    }
    component.configure(nlp, model=model, revision=revision, dtype=dtype, device=device, settings=settings)
    return component
