# SPDX-License-Identifier: Apache-2.0
"""The spaCy component: Docs in, explained Docs out, in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.tokens import Doc
from spacy.util import minibatch

from ..inputs.segmentation import check_language
from ..inputs.texts import warn
from . import spacy_folder
from .spacy_doc import TOP_K, annotate, clear, register_extensions

if TYPE_CHECKING:
    from ..explain.explainer import MhexExplainer
    from .spacy_doc import AnyExplanation

_MODELS = "mhex_models"  # key of nlp.meta: the models that were read for this pipeline, which to_disk puts inside
_READ_HERE: WeakKeyDictionary[Language, set[str]] = WeakKeyDictionary()


class MhexComponent(Pipe):  # type: ignore[misc, unused-ignore]  # spaCy's classes are untyped here
    """Explains the text of each Doc; see `mhex_nlp.integrations.spacy.annotate` for what is set.

    >>> component = MhexComponent(nlp, explainer)
    >>> doc = component(nlp.make_doc("The acting was superb."))

    Or as part of the pipeline: `nlp.add_pipe("mhex", config={"model": None}).explainer = explainer`.

    Args:
        nlp: the pipeline; its Docs are explained.
        explainer: a `MhexExplainer`, or a `MhexEntityExplainer`.
        name: of the component in the pipeline.
        target, foil, classes, layers, budget: as in a call of the explainer.
        top_k: how many spans `doc.spans["mhex"]` holds at most, the strongest, which is as many as displaCy can show
            legibly; None for all. Tokens have their scores, `token._.mhex`, either way.

    Raises:
        TypeError, ValueError: not an explainer, an unknown class, heads that were never trained, an extension name
            that other code has taken.
    """

    def __init__(
        self,
        nlp: Language | None,
        explainer: MhexExplainer | None,
        name: str = "mhex",
        *,
        target: str | int | None = None,
        foil: str | int | None = None,
        classes: str = "target",
        layers: bool = False,
        budget: int | str | None = None,
        top_k: int | None = TOP_K,
    ) -> None:
        if nlp is not None and not isinstance(nlp, Language):
            raise TypeError(f"nlp must be a spaCy pipeline (Language), got {type(nlp).__name__}.")
        if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 0):
            raise ValueError(f"top_k must be an integer of at least 0, or None for all spans, got {top_k!r}.")
        register_extensions()
        self.name = name
        self.top_k = top_k
        request = {"target": target, "foil": foil, "classes": classes, "layers": layers, "budget": budget}
        self._request: dict[str, Any] = request
        self._source: dict[str, Any] = {"model": None, "revision": None, "dtype": None, "device": None, "settings": {}}
        self._in_code = False  # whether the explainer came from code, so that no config holds its settings
        self._explainer: Any = None
        if explainer is not None:
            self.explainer = explainer

    def configure(self, nlp: Language, **source: Any) -> None:
        """Takes model, revision, dtype, device and settings from a config. The model is read at once, except that of a
        saved pipeline, which `from_disk` brings.
        """
        self._source, model = source, source["model"]
        _check_language(source["settings"]["language"])
        if model is not None and not _comes_with(nlp, model):
            self._use(spacy_folder.load(**self._source), in_code=False)
            _READ_HERE.setdefault(nlp, set()).add(model)
            nlp.meta[_MODELS] = sorted({*nlp.meta.get(_MODELS, []), model})
        rival = next((name for name, pipe in nlp.components if isinstance(pipe, MhexComponent)), None)
        if rival is not None:
            raise ValueError(
                f"a pipeline can hold one mhex component, since all write to the same attributes; got {self.name!r} "
                f"beside {rival!r}."
            )

    @property
    def explainer(self) -> Any:
        """The `MhexExplainer` that is used; another may be put in its place.

        Raises:
            ValueError: the component has no model yet.
        """
        if self._explainer is None:
            if self._source["model"] is None:
                raise ValueError(
                    f"the component {self.name!r} has no model: give `model` in its config, set its `explainer`, or "
                    "read it with from_disk or from_bytes."
                )
            self._use(spacy_folder.load(**self._source), in_code=False)
        return self._explainer

    @explainer.setter
    def explainer(self, explainer: MhexExplainer) -> None:
        from ..explain.entities import MhexEntityExplainer
        from ..explain.explainer import MhexExplainer

        if not isinstance(explainer, MhexExplainer | MhexEntityExplainer):
            raise TypeError(
                f"explainer must be a MhexExplainer or a MhexEntityExplainer, got {type(explainer).__name__}."
            )
        self._use(explainer, in_code=True)

    def _use(self, explainer: Any, *, in_code: bool) -> None:
        if explainer.task == "question_answering":
            raise ValueError("a pipeline reads texts alone, got a model that answers questions.")
        explainer.request(**self._request)  # an unknown class is an error here, not at the first text
        self._explainer, self._in_code = explainer, in_code

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes of the model; empty before it is read."""
        return () if self._explainer is None else tuple(self._explainer.classes.labels)

    def __call__(self, doc: Doc) -> Doc:
        """Explains one Doc. Text that is empty or blank is left without an explanation.

        Raises:
            ValueError: no model, or a text of which the model's tokenizer makes no token.
        """
        return self._annotate(doc, self._explain([doc])[0])

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Explains Docs, `batch_size` at a time, in order.

        A Doc that fails goes to the error handler alone, with an error that names it. By default that raises; with
        `nlp.set_error_handler(spacy.util.ignore_error)`, say, the pipe goes on without the Doc.
        """
        _ = self.explainer  # a missing model is an error of the component, not of a Doc
        handle, done = self.get_error_handler(), 0
        for docs in minibatch(stream, size=batch_size):
            explanations: list[AnyExplanation | None] | None = None
            if len(docs) > 1:
                with suppress(Exception):  # explaining each Doc alone shows which one fails
                    explanations = self._explain(docs)
            for index, doc in enumerate(docs):
                try:
                    self._annotate(doc, explanations[index] if explanations else self._explain([doc])[0])
                except ValueError as error:
                    named = ValueError(f"Doc {done + index} (counted from 0), {doc.text!r:.42}: {error}")
                    named.__cause__ = error
                    handle(self.name, self, [doc], named)
                except Exception as error:
                    handle(self.name, self, [doc], error)
                else:
                    yield doc
            done += len(docs)

    def _explain(self, docs: list[Doc]) -> list[AnyExplanation | None]:
        explainer = self.explainer
        texts = [doc.text for doc in docs if doc.text.strip()]
        # One id for all texts: an explanation must not depend on the batch that its Doc was in.
        explanations = iter(explainer(texts, ids=["0"] * len(texts), **self._request) if texts else ())
        return [next(explanations) if doc.text.strip() else None for doc in docs]

    def _annotate(self, doc: Doc, explanation: AnyExplanation | None) -> Doc:
        return clear(doc) if explanation is None else annotate(doc, explanation, self.top_k)

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Writes the model and its tokenizer (save_pretrained), so that the pipeline works elsewhere."""
        spacy_folder.save_folder(self.explainer, Path(path), self._source["model"], with_settings=self._in_code)

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> MhexComponent:
        """Reads what `to_disk` wrote, with the settings of the config, or those of an explainer that came from code.

        Warns where the config now names another model: the saved one is used.
        """
        explainer, about = spacy_folder.load_folder(Path(path), self._source)
        if self._source["model"] not in (None, about["model"]):
            warn(
                f"the component {self.name!r} explains the model that was saved with the pipeline, "
                f"{about['model'] or about['name']!r}, and not {self._source['model']!r}, which its config names now."
            )
        self._use(explainer, in_code=about["settings"] is not None)
        return self

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """What `to_disk` writes, as bytes."""
        return spacy_folder.to_bytes(self.to_disk)

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> MhexComponent:
        """Reads what `to_bytes` returned, with the settings that `from_disk` takes."""
        return spacy_folder.from_bytes(data, self.from_disk)

    def __reduce__(self) -> tuple[Any, ...]:
        make = partial(MhexComponent, None, None, self.name, top_k=self.top_k, **self._request)
        data = None if self._explainer is None else self.to_bytes()
        return make, (), (self._source, getattr(self, "error_handler", None), data)

    def __setstate__(self, state: tuple[dict[str, Any], Callable[..., Any] | None, bytes | None]) -> None:
        self._source, handler, data = state
        if handler is not None:
            self.set_error_handler(handler)
        if data is not None:
            self.from_bytes(data)


def _comes_with(nlp: Language, model: str) -> bool:
    """Whether the model comes from the files of the pipeline itself, which may be on another machine than the path.

    spaCy reads these files after it has made all components, and sets `nlp.path` then; meta.json it reads before.
    """
    return nlp.path is None and model in nlp.meta.get(_MODELS, []) and model not in _READ_HERE.get(nlp, set())


def _check_language(language: str | None) -> None:
    """Raise ValueError where spaCy has no such language, or lacks a package for it."""
    try:
        check_language(language)
    except ImportError as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"language must be one whose tokenizer spaCy can make, got {language!r}: {reason}") from error
