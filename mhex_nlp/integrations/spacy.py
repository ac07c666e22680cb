# SPDX-License-Identifier: Apache-2.0
"""The spaCy component "mhex", and explanations as Docs.

spaCy imports this module, by its entry point, whenever a pipeline is made: nothing here may import torch or
transformers before a model is asked for.
"""

from __future__ import annotations

from spacy.language import Language

from .spacy_component import MhexComponent
from .spacy_doc import annotate, displacy_options, register_extensions, to_doc

__all__ = ["MhexComponent", "annotate", "displacy_options", "make_mhex", "register_extensions", "to_doc"]


@Language.factory(
    "mhex",
    assigns=["doc._.mhex", "doc.cats", "doc.spans", "span._.mhex", "token._.mhex"],
    default_config={
        "revision": None,
        "dtype": None,
        "device": None,
        "aggregation": "auto",
        "contrast": "auto",
        "non_negative": False,
        "batch_tokens": None,
        "max_length": None,
        "stride": None,
        "language": None,
        "target": None,
        "foil": None,
        "classes": "target",
        "layers": False,
        "top_k": None,
    },
)
def make_mhex(
    nlp: Language,
    name: str,
    model: str | None,
    revision: str | None,
    dtype: str | None,
    device: str | None,
    aggregation: str,
    contrast: str,
    non_negative: bool,
    batch_tokens: int | None,
    max_length: int | None,
    stride: int | None,
    language: str | None,
    target: str | int | None,
    foil: str | int | None,
    classes: str,
    layers: bool,
    top_k: int | None,
) -> MhexComponent:
    """`nlp.add_pipe("mhex", config={"model": "path-or-name"})`; the other keys are those of
    `MhexExplainer.from_pretrained` and of a call of the explainer, and `top_k` of `MhexComponent`.

    `"model": None` makes a component whose explainer is set afterwards, or read by from_disk.

    Raises:
        ValueError: no such model, or an option that it refuses.
    """
    return MhexComponent.from_config(
        nlp,
        name,
        model,
        revision,
        dtype,
        device,
        settings={
            "aggregation": aggregation,
            "contrast": contrast,
            "non_negative": non_negative,
            "batch_tokens": batch_tokens,
            "max_length": max_length,
            "stride": stride,
            "language": language,
        },
        target=target,
        foil=foil,
        classes=classes,
        layers=layers,
        top_k=top_k,
    )
