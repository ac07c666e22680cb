# SPDX-License-Identifier: Apache-2.0
"""The colours of the style sheet, for displays that read no style sheet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources


@cache
def light_palette() -> Mapping[str, str]:
    """The light scheme by name, as `#rrggbb`: `p1`..`p10` for, `n1`..`n10` against, `bg`, `fg`, `for` and so on."""
    css = (resources.files("mhex_nlp.render") / "templates" / "highlight.css").read_text(encoding="utf-8")
    found = dict(re.findall(r"--([a-z]+\d*): (#[0-9a-f]{3,6});", css[: css.index("@media")]))
    return {name: _long(colour) for name, colour in found.items()}


def level_name(level: int) -> str:
    """The name of a level other than 0 in the palette."""
    return f"{'p' if level > 0 else 'n'}{abs(level)}"


def _long(colour: str) -> str:
    return colour if len(colour) == 7 else "#" + "".join(digit * 2 for digit in colour[1:])
