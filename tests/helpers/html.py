# SPDX-License-Identifier: Apache-2.0
"""What a page holds, read as a browser reads it, and explanations of any shape to draw."""

from __future__ import annotations

import copy
import re
from html.parser import HTMLParser
from typing import Any

from hypothesis import strategies as st

from helpers.render_examples import POSITIVE

UNHOLDABLE = "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef{}]".format(
    "".join(chr(plane * 0x10000 + last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
)


class Reader(HTMLParser):
    """Collects tags, the words of the texts, and the texts themselves (what is inside `<p class="t">`)."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.words: list[tuple[dict[str, str | None], str]] = []
        self.everything = ""
        self._in_text = self._in_word = False
        # As a browser reads it: a bare return is a new line.
        self.feed(page.replace("\r\n", "\n").replace("\r", "\n"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        assert len(attributes) == len(attrs), f"an attribute is there twice in {tag}: {attrs}"
        self.tags.append((tag, attributes))
        if tag == "p" and attributes.get("class") == "t":
            self.texts.append("")
            self._in_text = True
        elif tag == "span" and self._in_text:
            self.words.append((attributes, ""))
            self._in_word = True

    def handle_endtag(self, tag: str) -> None:
        if tag == "p":
            self._in_text = False
        elif tag == "span":
            self._in_word = False

    def handle_data(self, data: str) -> None:
        self.everything += data
        if self._in_text:
            self.texts[-1] += data
            if self._in_word:
                self.words[-1] = (self.words[-1][0], self.words[-1][1] + data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment in the page: {data!r}")

    def handle_pi(self, data: str) -> None:
        raise AssertionError(f"a processing instruction in the page: {data!r}")

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(f"a declaration in the page: {data!r}")


def shown(text: str) -> str:
    """What a page shows of a text: U+FFFD for each character that HTML cannot hold."""
    return re.sub(UNHOLDABLE, "\ufffd", text)


CHARACTERS = st.one_of(
    st.characters(codec=None),
    st.sampled_from(" \t\n\r<>&\"'\x00\u200d\u0301\ufe0f\u202e\u2069\ud800\ufffe\U0001f1e9\U0001f3fd\U0001f469"),
)


@st.composite
def explanations(draw: st.DrawFn) -> dict[str, Any]:
    """Any texts, with tokens that overlap, touch, nest, are empty, or lie anywhere in any order."""
    texts = draw(st.lists(st.text(CHARACTERS, max_size=25), min_size=1, max_size=2))
    example = copy.deepcopy(POSITIVE)
    example["text"], example["text_pair"] = texts[0], texts[1] if len(texts) == 2 else None
    example["tokens"] = []
    for _ in range(draw(st.integers(0, 10))):
        sequence = draw(st.integers(0, len(texts) - 1))
        start, end = sorted(draw(st.tuples(*[st.integers(0, len(texts[sequence]))] * 2)))
        special = draw(st.booleans()) and draw(st.booleans())
        position = {"start": start, "end": end, "sequence": sequence, "word": draw(st.none() | st.integers(0, 6))}
        if special:
            position = dict.fromkeys(position)
        score = draw(st.floats(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | st.just(0.0))
        example["tokens"].append({"text": "", "piece": "x", "special": special, "score": score, **position})
    return example


def assert_inert(reader: Reader) -> None:
    """No element or attribute that loads, links or runs something, except one script of ours."""
    assert [tag for tag, _ in reader.tags].count("script") <= 1, "ours alone"
    for tag, attributes in reader.tags:
        assert tag not in ("iframe", "object", "embed", "link", "base", "form", "img", "a", "foreignobject")
        for name in attributes:
            assert name != "style" and not name.startswith("on"), (tag, name)
            links = ("src", "href", "srcset", "action", "xlink:href", "background", "poster")
            assert name not in links, (tag, name)
            assert re.fullmatch(r"[a-zA-Z][a-zA-Z-]*", name), (tag, name)
        if tag == "meta" and "http-equiv" in attributes:
            assert attributes["http-equiv"] == "Content-Security-Policy"


def hex_colour(computed: str) -> str:
    """`rgb(...)`, as a browser computes it, in hexadecimal."""
    return "#" + "".join(f"{int(channel):02x}" for channel in re.findall(r"\d+", computed)[:3])


def luminance(colour: str) -> float:
    full = "".join(c * 2 for c in colour[1:]) if len(colour) == 4 else colour[1:]
    channels = [int(full[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
