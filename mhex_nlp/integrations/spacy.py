# SPDX-License-Identifier: Apache-2.0
"""spaCy: the factory of the pipeline component "mhex", and what users import of the integration.

spaCy imports this module, by its entry point, whenever a pipeline is made: so nothing heavy is imported here.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from spacy.language import Language

if TYPE_CHECKING:
    from .spacy_component import MhexComponent
    from .spacy_docs import displacy_colors as displacy_colors
    from .spacy_docs import to_doc as to_doc

DEFAULTS: dict[str, Any] = {
    "model": None,
    "revision": None,
    "dtype": None,
    "device": None,
    "aggregation": "auto",
    "contrast": "auto",
    "non_negative": False,
    "batch_tokens": 4096,
    "max_length": None,
    "stride": None,
    "language": None,
    "target": None,
    "foil": None,
    "classes": "target",
    "layers": False,
}
_HOMES = {"MhexComponent": "spacy_component", "displacy_colors": "spacy_docs", "to_doc": "spacy_docs"}


@Language.factory(
    "mhex",
    assigns=["doc.cats", "doc.spans", "doc._.mhex", "token._.mhex", "span._.mhex"],
    default_config=DEFAULTS,
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
    batch_tokens: int,
    max_length: int | None,
    stride: int | None,
    language: str | None,
    target: str | int | None,
    foil: str | int | None,
    classes: str,
    layers: bool,
) -> MhexComponent:
    """The component: `nlp.add_pipe("mhex", config={"model": "path-or-name"})`.

    The config holds what `MhexExplainer.from_pretrained` and a call of the explainer take. Without a `model` the
    component is given its explainer: `nlp.add_pipe("mhex").explainer = explainer`.

    Raises:
        OSError: no such model; not while a saved pipeline is loaded, which brings its own.
    """
    from .spacy_component import MhexComponent

    component = MhexComponent(
        name,
        model,
        {"revision": revision, "dtype": dtype, "device": device}
        | {"aggregation": aggregation, "contrast": contrast, "non_negative": non_negative}
        | {"batch_tokens": batch_tokens, "max_length": max_length, "stride": stride, "language": language},
        {"target": target, "foil": foil, "classes": classes, "layers": layers},
    )
    if model is not None and not _is_loading():
        component.check_model()
    return component


def _is_loading() -> bool:
    """Whether a pipeline is being made of a config: the place where its model was may not exist on this machine."""
    frame, wanted = sys._getframe(), Language.from_config.__func__.__code__
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code is wanted:
            return True
    return False


def __getattr__(name: str) -> Any:
    from ..lazy import lazy_names

    return lazy_names(__package__, _HOMES)(name)
