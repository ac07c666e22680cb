# SPDX-License-Identifier: Apache-2.0
"""What explainers of texts share that asks for no model: tokenised texts in, results out, in order. Without torch."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from ..inputs.encoding import TokenisedText, tensor, tokenise
from ..inputs.texts import SurrogateWarnings, check_pairs, check_texts, warn
from ..inputs.windows import tokenise_in_windows
from .request import Budget, Request
from .targets import ClassName, ClassTable

if TYPE_CHECKING:
    from ..models.tasks.names import Task

R = TypeVar("R")


class TextExplainer(ABC, Generic[R]):
    """An explainer whose result for one text is an R, with torch or an exported graph behind it.

    Attributes: `tokenizer`; `max_length`, tokens a text is cut at, `None` for any; `stride` of windows, or `None`;
    `batch_tokens`, texts times longest text of a batch; `language` of the words; `non_negative`, whether scores are
    clamped; `weights`, a hash of what explains; `dtype`, such as "float32".
    """

    task: ClassVar[Task]
    columns: ClassVar[tuple[str, str]] = ("texts", "text_pairs")  # what sentences call the two halves of many texts
    tokenizer: Any
    max_length: int | None
    stride: int | None
    batch_tokens: int
    language: str | None
    non_negative: bool

    @property
    @abstractmethod
    def classes(self) -> ClassTable:
        """The model's classes."""

    @property
    @abstractmethod
    def weights(self) -> str:
        """A hash of all that the model's answers and its scores rest on."""

    @property
    @abstractmethod
    def dtype(self) -> str:
        """Of the weights, such as "float32"."""

    @abstractmethod
    def request(
        self,
        target: ClassName | None = None,
        foil: ClassName | None = None,
        classes: str = "target",
        layers: bool = False,
        budget: Budget | None = None,
        tolerance: float | None = None,
        max_budget: int | None = None,
        seed: int = 0,
        flip: bool = False,
    ) -> Request:
        """The options of a call, checked; errors as there."""

    def tokenise(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, name: str = "text", start: int | None = 0
    ) -> list[TokenisedText]:
        """Texts that were checked, tokenised for this model: cut, or in windows where there is a `stride`.

        `name` and `start` (number of the first text; `None`: there is only one) make what sentences call a text.

        Raises:
            ValueError: a text of which the tokenizer makes no token at all.
        """
        accepts = self._accepts
        common: dict[str, Any] = {"name": name, "start": start, "array": self._array}
        if self.stride is None or self.max_length is None:
            return tokenise(self.tokenizer, texts, pairs, self.max_length, accepts, **common)
        return tokenise_in_windows(self.tokenizer, texts, pairs, self.max_length, self.stride, accepts, **common)

    def _array(self, values: Sequence[int]) -> Any:
        """What holds the numbers of an input."""
        return tensor(values)

    @property
    @abstractmethod
    def _accepts(self) -> Collection[str]:
        """Names of the inputs that the model reads."""

    @abstractmethod
    def _explain(self, items: Sequence[TokenisedText], ids: Sequence[str], request: Request) -> list[R]:
        """The results of all items, in their order."""

    def _stream(self, rows: Iterator[dict[str, Any]], batch_size: int, request: Request) -> Iterator[R]:
        start, surrogates = 0, SurrogateWarnings()
        while chunk := list(itertools.islice(rows, batch_size)):
            texts = check_texts((row["texts"] for row in chunk), self.columns[0], start=start, surrogates=surrogates)
            halves = [row["text_pairs"] for row in chunk] if "text_pairs" in chunk[0] else None
            pairs = check_pairs(texts, halves, self.columns[1], start=start, surrogates=surrogates)
            surrogates.emit()
            names = [str(row.get("ids", start + offset)) for offset, row in enumerate(chunk)]
            items = self.tokenise(texts, pairs, name=self.columns[0], start=start)
            yield from self._explain(items, names, request)
            start += len(chunk)

    def _warn_of_cuts(self, items: Sequence[TokenisedText], ids: Sequence[str]) -> None:
        cut = [index for index, item in enumerate(items) if item.truncated]
        if cut:
            more = f" (and {len(cut) - 1} more)" if len(cut) > 1 else ""
            warn(f"text {ids[cut[0]]}{more}: {items[cut[0]].cut_note()}")
