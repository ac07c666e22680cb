# SPDX-License-Identifier: Apache-2.0
"""How much of the attack in `tests/attack` is run, and where its figures go.

Every attack is drawn from a seed. The tests run a twentieth of it; `python -m studies.attack` runs all of it and
collects what `record` is given.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

SHARE, RESULTS = "MHEX_ATTACK_SHARE", "MHEX_ATTACK_RESULTS"


def rounds(full: int) -> int:
    """How many of the `full` number of rounds to run, at least one: the environment's share of them."""
    return max(1, round(full * float(os.environ.get(SHARE, "0.05"))))


def record(attack: str, **figures: Any) -> None:
    """Adds a line of figures (what was tried, what went wrong, seconds) to the file that the environment names."""
    if path := os.environ.get(RESULTS):
        with Path(path).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"attack": attack, **figures}) + "\n")
