# SPDX-License-Identifier: Apache-2.0
"""A web service whose predictions come with their explanations: `mhex serve`, or `create_app(explainer)`."""

from __future__ import annotations

from typing import Any

from ..._lazy import lazy_names

__all__ = ["EndpointHandler", "ServiceSettings", "create_app", "serve"]

_HOMES = {"EndpointHandler": "handler", "ServiceSettings": "settings", "create_app": "app", "serve": "server"}
_NEED_EXTRA = ("create_app", "serve")
_find = lazy_names(__name__, _HOMES)


def __getattr__(name: str) -> Any:
    if name in _NEED_EXTRA:
        from .extra import check_extra

        check_extra()
    return _find(name)
