# SPDX-License-Identifier: Apache-2.0
"""Reading the body of a request, of bounded size."""

from __future__ import annotations

from starlette.requests import Request

from .requests import RefusedError

_THROWN_AWAY = 16 * 1024 * 1024  # bytes read of a body that is too large, so that its sender reads why


async def read_body(request: Request, max_bytes: int, *, keep: bool = True) -> bytes:
    """The body of a request; with `keep=False` it is read and thrown away.

    Raises:
        RefusedError: more bytes than allowed, or another type than JSON.
        ClientDisconnect: the sender went away.
    """
    size, chunks = 0, list[bytes]()
    async for chunk in request.stream():
        size += len(chunk)
        if size > _THROWN_AWAY:
            break
        if keep and size <= max_bytes:
            chunks.append(chunk)
        else:
            chunks.clear()
    if size > max_bytes:
        raise RefusedError(413, "bytes", f"the body must have at most {max_bytes:,} bytes, got more.")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RefusedError(415, "type", f"Content-Type must be application/json, got {kind or 'none'!r:.40}.")
    return b"".join(chunks)
