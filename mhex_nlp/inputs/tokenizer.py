# SPDX-License-Identifier: Apache-2.0
"""Tokenizers: loaded, found fit for a model, and shared without sharing their settings."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from .folders import read_object

_FEW = 1000  # no vocabulary of words or characters that is larger can be made of special tokens alone
_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json")
_PARTS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")


def private_copy(tokenizer: Any) -> Any:
    """The same fast tokenizer with truncation and padding of its own, made in a few milliseconds.

    transformers keeps both settings in the Rust tokenizer: two threads that cut at different lengths would overwrite
    each other's, and the user's. The vocabulary, which a deep copy takes seconds for, is shared.
    """
    backend = tokenizer.backend_tokenizer
    private = Tokenizer(backend.model)
    for name in _PARTS:
        if (part := getattr(backend, name)) is not None:
            setattr(private, name, part)
    private.encode_special_tokens = backend.encode_special_tokens
    added = backend.get_added_tokens_decoder()
    private.add_tokens([added[index] for index in sorted(added)])
    copied = copy.copy(tokenizer)
    # ids are given anew in order; a gap in them, which nobody makes on purpose, would shift those after it
    copied._tokenizer = private if private.get_added_tokens_decoder() == added else copy.deepcopy(backend)
    return copied


def tokenizer_hash(tokenizer: Any) -> str:
    """sha256 over all that decides which tokens a fast tokenizer makes of a text, of one that is too long as well."""
    settings = [tokenizer.truncation_side, tokenizer.padding_side, private_copy(tokenizer).backend_tokenizer.to_str()]
    return hashlib.sha256("\n".join(settings).encode()).hexdigest()


def load_tokenizer(name: str, revision: str | None = None) -> Any:
    """The tokenizer of a folder or hub name, of an adapter without one that of its base; ValueError where none is."""
    from transformers import AutoTokenizer  # not for those who use a tokenizer without it

    name = _home(name)
    problem = (
        f"{name} has no tokenizer files that can be read, such as tokenizer.json; save them there with "
        "tokenizer.save_pretrained, or give MhexExplainer the model and its tokenizer"
    )
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
    except OSError:
        raise
    except Exception as error:  # tokenizers knows no other kind
        raise ValueError(f"{problem} ({(str(error).strip().splitlines() or [type(error).__name__])[0]}).") from error
    if not has_vocabulary(tokenizer):  # what transformers makes without files
        raise ValueError(f"{problem}.")
    return tokenizer


def _home(name: str) -> str:
    """Where the tokenizer is: of a folder with an adapter and without a tokenizer, the base that the adapter names."""
    record = Path(name) / "adapter_config.json"
    if not record.is_file() or any((Path(name) / file).exists() for file in _FILES):
        return name
    base = read_object(record).get("base_model_name_or_path")
    return base if isinstance(base, str) and base else name


def has_vocabulary(tokenizer: Any) -> bool:
    """Whether the vocabulary holds a letter or digit beside its special tokens."""
    if len(tokenizer) > _FEW:
        return True
    ordinary = set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)
    return any(character.isalnum() for token in ordinary for character in token)


def check_tokenizer(tokenizer: Any, model: Any) -> None:
    """Refuses a slow tokenizer, and one that cannot be the model's."""
    kind = type(tokenizer).__name__
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(
            f"tokenizer must be a fast tokenizer, which knows the offsets of its tokens, got a slow {kind}."
        )
    if not has_vocabulary(tokenizer):
        raise ValueError(f"tokenizer must know words, got a {kind} with special tokens alone.")
    rows = getattr(model.get_input_embeddings(), "num_embeddings", None)
    if rows is not None and len(tokenizer) > rows:
        raise ValueError(
            f"tokenizer must be the model's own, got a {kind} with {len(tokenizer):,} tokens for a model with {rows:,} "
            "embeddings; after adding tokens call model.resize_token_embeddings(len(tokenizer))."
        )
