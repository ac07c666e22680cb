# SPDX-License-Identifier: Apache-2.0
"""Libraries that only the extra `bench` installs."""

from __future__ import annotations

import pytest


def needs(*modules: str) -> None:
    """Skips the test where one of them is missing."""
    for module in modules:
        pytest.importorskip(module, reason=f"{module} comes with the extra: pip install 'mhex_nlp[bench]'")
