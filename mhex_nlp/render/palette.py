# SPDX-License-Identifier: Apache-2.0
"""The colours of the style sheet, for displays that read no style sheet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources


def read_template(name: str) -> str:
    """A file of the folder `templates`."""
    return (resources.files("mhex_nlp.render") / "templates" / name).read_text(encoding="utf-8")


@cache
def light_palette() -> Mapping[str, str]:
    """The light scheme by name, as `#rrggbb`: `p1`..`p10` for, `n1`..`n10` against, `bg`, `fg`, `for` and so on."""
    light, _, _ = read_template("highlight.css").partition("@media")
    colours = dict(re.findall(r"--([a-z]+\d*): #([0-9a-f]{3,6});", light))
    return {name: "#" + "".join(digit * (6 // len(digits)) for digit in digits) for name, digits in colours.items()}


def level_name(level: int) -> str:
    """The name of a level in the palette, which has none for 0, and its class in pages: p1..p10, n1..n10, z0."""
    return f"{'p' if level > 0 else 'n' if level else 'z'}{abs(level)}"
