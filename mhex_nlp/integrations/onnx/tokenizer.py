# SPDX-License-Identifier: Apache-2.0
"""The tokenizer beside a graph: a `tokenizer.json`, called as fast tokenizers of transformers are, without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Encoding, Tokenizer

NAME = "tokenizer.json"
SETTINGS = ("truncation_side", "padding_side", "model_max_length", "mask_token_id", "pad_token_id")


class EncodedTexts(dict[str, Any]):
    """Ids, types and attention masks by name, a list of numbers a text each; and the `encodings` they are of."""

    def __init__(self, encodings: Sequence[Encoding]) -> None:
        super().__init__(
            input_ids=[encoding.ids for encoding in encodings],
            token_type_ids=[encoding.type_ids for encoding in encodings],
            attention_mask=[encoding.attention_mask for encoding in encodings],
        )
        self.encodings = list(encodings)


class GraphTokenizer:
    """Calls a tokenizer of `tokenizers` with those options of transformers' that texts and windows need.

    Args:
        backend: the tokenizer.
        settings: `SETTINGS` of the tokenizer that it was saved from, by name.
    """

    is_fast = True

    def __init__(self, backend: Tokenizer, settings: Mapping[str, Any]) -> None:
        backend.no_truncation()
        backend.no_padding()
        self._tokenizer = backend
        self.truncation_side, self.padding_side = settings["truncation_side"], settings["padding_side"]
        self.model_max_length = settings["model_max_length"]
        self.mask_token_id, self.pad_token_id = settings["mask_token_id"], settings["pad_token_id"]

    @classmethod
    def load(cls, folder: Path, settings: Mapping[str, Any]) -> GraphTokenizer:
        """That of a folder of `export_onnx`.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it cannot be read.
        """
        path = folder / NAME
        if not path.is_file():
            raise FileNotFoundError(
                f"folder must hold {NAME} beside the graph, got {folder} without it: the graph reads token ids, and "
                "only its own tokenizer makes them."
            )
        try:
            backend = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers knows no other kind
            raise ValueError(f"{path} is not a tokenizer that can be read: {error}.") from error
        return cls(backend, settings)

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """The tokenizer of `tokenizers`."""
        return self._tokenizer

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Tokens of the template around a text, or a pair."""
        return int(self._tokenizer.num_special_tokens_to_add(pair))

    def __call__(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        truncation: bool | str = False,
        max_length: int | None = None,
        stride: int = 0,
        return_overflowing_tokens: bool = False,
    ) -> EncodedTexts:
        """Texts or pairs encoded; with truncation cut at `max_length`, what is cut off as texts of their own if asked.

        Not for several threads at once: call a `private_copy`.
        """
        if truncation and max_length is not None:
            strategy = "longest_first" if truncation is True else truncation
            self._tokenizer.enable_truncation(
                max_length, stride=stride, strategy=strategy, direction=self.truncation_side
            )
        else:
            self._tokenizer.no_truncation()
        inputs: list[Any] = list(texts) if pairs is None else list(zip(texts, pairs, strict=True))
        encodings = self._tokenizer.encode_batch(inputs)
        if not return_overflowing_tokens:
            return EncodedTexts(encodings)
        return EncodedTexts([part for encoding in encodings for part in (encoding, *encoding.overflowing)])
