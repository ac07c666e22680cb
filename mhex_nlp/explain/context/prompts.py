# SPDX-License-Identifier: Apache-2.0
"""What a language model reads: a prompt as it is, chat messages or context and query as the chat template writes them,
and which stretches of it are the user's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...inputs.segmentation import CharSpan
from ...inputs.texts import check_texts

Messages = Sequence[Mapping[str, str]]

_BEFORE, _BETWEEN, _AFTER = "Context: ", "\n\nQuery: ", "\n\nAnswer:"  # the first two as ContextCite writes them


@dataclass(frozen=True, slots=True)
class Prompt:
    """The text that the model reads."""

    text: str
    regions: tuple[CharSpan, ...]  # of code points that are the user's own; the rest is the template's, or the query
    templated: bool  # by a chat template, which writes special tokens itself


def write_prompt(tokenizer: Any, prompt: str | Messages | None, context: str | None, query: str | None) -> Prompt:
    """A prompt, or messages, or a context and a query, as the model reads them.

    Raises:
        TypeError, ValueError: neither or both are given, or empty; messages without a template that finds room for
            them.
    """
    if (prompt is None) == (context is None):
        came = "neither" if prompt is None else "both"
        raise ValueError(f"prompt or context must be given, and not both, got {came}.")
    if context is not None:
        if query is None:
            raise ValueError("query must be given beside context, got None.")
        return _context_and_query(tokenizer, check_texts(context, "context"), check_texts(query, "query"))
    if query is not None:
        raise ValueError("query must come beside context; a prompt holds its question already.")
    if isinstance(prompt, str):
        text = check_texts(prompt, "prompt")[0]
        return Prompt(text, ((0, len(text)),), templated=False)
    contents = _contents(prompt)
    text, starts, contents = _rendered(tokenizer, [dict(message) for message in prompt or ()], contents)
    ends = [start + len(content) for start, content in zip(starts, contents, strict=True)]
    return Prompt(text, tuple(zip(starts, ends, strict=True)), templated=True)


def _context_and_query(tokenizer: Any, contexts: list[str], queries: list[str]) -> Prompt:
    if len(contexts) != 1 or len(queries) != 1:
        raise TypeError("context and query must be one string each.")
    content = f"{_BEFORE}{contexts[0]}{_BETWEEN}{queries[0]}"
    if tokenizer.chat_template is None:
        text, start, templated = f"{content}{_AFTER}", 0, False
    else:
        text, (start,), (content,) = _rendered(tokenizer, [{"role": "user"}], [content])
        templated = True
    start += len(_BEFORE)
    return Prompt(text, ((start, start + len(contexts[0])),), templated)


def _contents(messages: Any) -> list[str]:
    """What the messages say."""
    expected = "prompt must be a string or a list of messages such as {'role': 'user', 'content': 'a text'}"
    if not isinstance(messages, Sequence) or not messages:
        raise TypeError(
            f"{expected}, got {'no message' if isinstance(messages, Sequence) else type(messages).__name__}."
        )
    for message in messages:
        if not isinstance(message, Mapping) or not isinstance(message.get("content"), str):
            raise TypeError(f"{expected}, got {str(message)!r:.80}.")
    return [check_texts(message["content"], "prompt")[0] for message in messages]


def _rendered(tokenizer: Any, messages: list[dict[str, str]], contents: list[str]) -> tuple[str, list[int], list[str]]:
    """What the chat template makes of messages with these contents, where each begins, and the contents as they stand.

    The template is asked about markers in their place: what it writes around these is its own. Many a template strips
    what it is given.
    """
    if tokenizer.chat_template is None:
        raise ValueError(
            f"prompt must be a string, since the {type(tokenizer).__name__} has no chat template for messages."
        )

    def render(says: Sequence[str]) -> str:
        filled = [{**message, "content": content} for message, content in zip(messages, says, strict=True)]
        return str(tokenizer.apply_chat_template(filled, tokenize=False, add_generation_prompt=True))

    markers = [f"\ue000{number}\ue001" for number in range(len(contents))]
    template = render(markers)
    for says in (contents, [content.strip() for content in contents]):
        text, starts, rest = "", [], template
        for marker, content in zip(markers, says, strict=True):
            before, _, rest = rest.partition(marker)
            starts.append(len(text) + len(before))
            text += before + content
        text += rest
        if all(template.count(marker) == 1 for marker in markers) and render(says) == text:
            return text, starts, says
    raise ValueError(
        "prompt cannot be found again in what the chat template makes of these messages, which it changes or leaves "
        "out: give the prompt as one string, written as the model is to read it."
    )
