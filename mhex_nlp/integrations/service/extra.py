# SPDX-License-Identifier: Apache-2.0
"""Whether the libraries of the extra `serve` are there."""

from __future__ import annotations

from importlib.util import find_spec

_PACKAGES = {"fastapi": "FastAPI", "uvicorn": "uvicorn", "prometheus_client": "prometheus-client"}


def check_extra() -> None:
    """ImportError, which says how to install it, for a library that a service needs and that is missing."""
    missing = [name for module, name in _PACKAGES.items() if find_spec(module) is None]
    if missing:
        names = " and ".join(filter(None, [", ".join(missing[:-1]), missing[-1]]))
        raise ImportError(f'a service needs {names}: pip install "mhex_nlp[serve]" installs what is missing.')
