# SPDX-License-Identifier: Apache-2.0
"""The spaCy pipeline component "mhex": explains every Doc that comes by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import srsly
from spacy.tokens import Doc
from spacy.util import minibatch, raise_error

from ..explainer import MhexExplainer
from .spacy_docs import attach, set_extensions

_FOLDER = "explainer"


class MhexComponent:
    """Explains Docs with a `MhexExplainer`, which is loaded when the first Doc comes.

    Docs without anything but whitespace pass as they are.

    Args:
        name: of the component in its pipeline.
        model: folder or hub name; `None` where `explainer` will be set.
        options: of `MhexExplainer.from_pretrained`.
        call: of the explainer's call.
    """

    def __init__(
        self, name: str, model: str | None, options: Mapping[str, Any], call: Mapping[str, Any] | None = None
    ) -> None:
        self.name, self.model, self.options, self.call = name, model, dict(options), dict(call or {})
        self._explainer: MhexExplainer | None = None
        self._error_handler: Callable[..., Any] = raise_error
        set_extensions()

    @property
    def explainer(self) -> MhexExplainer:
        """What explains.

        Raises:
            ValueError: neither a model nor an explainer was given.
        """
        if self._explainer is None:
            if self.model is None:
                raise ValueError(
                    f"the component {self.name!r} must have a model, got None: "
                    'nlp.add_pipe("mhex", config={"model": ...}), or nlp.get_pipe("mhex").explainer = explainer.'
                )
            self._explainer = MhexExplainer.from_pretrained(self.model, **self.options)
        return self._explainer

    @explainer.setter
    def explainer(self, explainer: MhexExplainer) -> None:
        if not isinstance(explainer, MhexExplainer):
            raise TypeError(f"explainer must be a MhexExplainer, got {type(explainer).__name__}.")
        self._explainer = explainer

    def check_model(self) -> None:
        """Raises OSError where there is no such model, ValueError where it has no heads; its weights are not read."""
        from transformers import AutoConfig

        try:
            config = AutoConfig.from_pretrained(self.model, revision=self.options.get("revision"))
        except (OSError, ValueError) as error:
            wanted = f"model must be a folder or hub name of a model with heads, got {self.model!r}"
            raise OSError(f"{wanted}: {error}") from None
        if getattr(config, "mhex", None) is None:
            raise ValueError(
                f"model must have trained MHEX heads, got {self.model}, a plain {config.model_type}: "
                "mhex fit or mhex finetune gives it some."
            )

    def set_error_handler(self, error_handler: Callable[..., Any]) -> None:
        """As spaCy's own components have it."""
        self._error_handler = error_handler

    def get_error_handler(self) -> Callable[..., Any]:
        """What is called with a Doc that cannot be explained; by default it raises."""
        return self._error_handler

    def __call__(self, doc: Doc) -> Doc:
        """Explains one Doc."""
        for each in self.pipe([doc]):
            doc = each
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Explains Docs `batch_size` at a time, in order; each batch goes through the model sorted by length."""
        for docs in minibatch(stream, batch_size):
            yield from self._explain(list(docs))

    def _explain(self, docs: list[Doc]) -> Iterator[Doc]:
        sound = [doc for doc in docs if doc.text.strip()]
        try:
            found = iter(self.explainer([doc.text for doc in sound], **self.call)) if sound else iter(())
        except Exception as error:
            if len(docs) == 1:
                self._error_handler(self.name, self, docs, error)
                return
            for doc in docs:  # one of them at least: find which
                yield from self._explain([doc])
            return
        for doc in docs:
            if doc.text.strip():
                attach(doc, next(found))
            yield doc

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Saves the model with its heads and the tokenizer, so that the pipeline works elsewhere."""
        folder = Path(path) / _FOLDER
        self.explainer.model.save_pretrained(folder)
        self.explainer.tokenizer.save_pretrained(folder)

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> MhexComponent:
        """Loads what `to_disk` saved; options are the config's."""
        options = {name: value for name, value in self.options.items() if name != "revision"}
        self._explainer = MhexExplainer.from_pretrained(str(Path(path) / _FOLDER), **options)
        return self

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """What `to_disk` saves, as bytes."""
        with TemporaryDirectory() as folder:
            self.to_disk(folder)
            files = {file.name: file.read_bytes() for file in (Path(folder) / _FOLDER).iterdir() if file.is_file()}
        packed: bytes = srsly.msgpack_dumps(files)
        return packed

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> MhexComponent:
        """Loads what `to_bytes` gave."""
        with TemporaryDirectory() as folder:
            (Path(folder) / _FOLDER).mkdir()
            for name, content in srsly.msgpack_loads(data).items():
                (Path(folder) / _FOLDER / Path(name).name).write_bytes(content)
            return self.from_disk(folder)
