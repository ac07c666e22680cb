# SPDX-License-Identifier: Apache-2.0
"""What a MHEX checkpoint carries beside its weights, so that it says how to load itself."""

from __future__ import annotations

import re
from pathlib import Path

from ..inputs.folders import check_replaced, read_object

SHIM = "modeling_mhex.py"
_HEADING = "## Loading this model"
_SHOWN = {  # by task: what the card calls the model, what explains it, and what that is given
    "SequenceClassification": ("a text classifier", "MhexExplainer", '"Some text."'),
    "TokenClassification": ("a token classifier", "MhexEntityExplainer", '"Some text."'),
    "QuestionAnswering": ("a model for question answering", "MhexAnswerExplainer", '"Some question?", "Some context."'),
    "ImageClassification": ("an image classifier", "MhexImageExplainer", '"image.png"'),
}


def shown_name(name: str | None) -> str | None:
    """A model's name as it is passed on: the hub's, or a folder's own, and not where that lies, or lay, on a disk."""
    if not name or (re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name) and not Path(name).is_dir()):
        return name
    return re.split(r"[\\/]", name.rstrip("\\/"))[-1].strip(".") or None


def auto_map(class_name: str, auto: str) -> dict[str, str]:
    """The `auto_map` of the config: with `trust_remote_code=True` the plain Auto class gives the MHEX model.

    `auto` is the name of ours, such as `AutoMhexModelForSequenceClassification`.
    """
    return {auto.replace("Mhex", ""): f"{SHIM.removesuffix('.py')}.{class_name}"}


def write_shim(directory: Path, class_name: str) -> None:
    """The module `auto_map` names: one import from the installed package, none of its code."""
    (directory / SHIM).write_text(f"from mhex_nlp.models import {class_name}  # pip install mhex_nlp\n", "utf-8")


def ensure_card(directory: Path, class_name: str, auto: str, *, gate: bool) -> None:
    """Makes the folder's README.md say how to load the checkpoint; the rest of a card that is there stays."""
    path = directory / "README.md"
    card = path.read_text("utf-8") if path.exists() else "---\nlibrary_name: transformers\ntags:\n- mhex\n---\n"
    before, heading, after = card.partition(f"{_HEADING}\n")
    following = after.find("\n## ") if heading else -1  # the section of a checkpoint saved here earlier is replaced
    rest = after[following + 1 :] if following >= 0 else ""
    parts = [before.rstrip(), _section(class_name, auto, gate).rstrip(), rest.rstrip()]
    path.write_text("\n\n".join(part for part in parts if part) + "\n", "utf-8")


def check_output(directory: Path, argument: str = "output") -> None:
    """Before a model is saved: ValueError where the folder holds such files and no model, or links that lead out."""
    names = ["config.json", "model.safetensors", SHIM, "README.md", "tokenizer.json", "tokenizer_config.json"]
    check_replaced(directory, names, "model_type" in read_object(directory / names[0]), argument)


def _section(class_name: str, auto: str, gate: bool) -> str:
    plain = (
        "The attention gates take part in its predictions: loaded as a plain model it reports the `mhex.*` weights as "
        "unexpected and predicts differently."
        if gate
        else "Its heads only read: loaded as a plain model it predicts the same and explains nothing."
    )
    kind, explainer, inputs = _SHOWN[auto.removeprefix("AutoMhexModelFor")]
    return f"""{_HEADING}

This is a `{class_name}`, {kind} with MHEX heads that explain its predictions. {plain}

```python
from mhex_nlp import {auto}, {explainer}

{explainer}.from_pretrained("path-or-name-of-this-model")({inputs}).show()
model = {auto}.from_pretrained("path-or-name-of-this-model")  # the model alone
```
"""
