"""A hit is a real ClientResponse: whatever aiohttp's own tells of a response, the stored one tells too."""

from __future__ import annotations

import time
from typing import Any

from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["entry"]


def entry(body: bytes = b"text", **fields: Any) -> StoredResponse:
    """A stored response, fresh for a minute."""
    now = time.time()
    values: dict[str, Any] = {
        "key": "key",
        "method": "GET",
        "url": "http://example.org/",
        "status": 200,
        "reason": b"OK",
        "raw_headers": ((b"Content-Type", b"text/plain; charset=utf-8"),),
        "requested_at": now,
        "received_at": now,
        "created_at": now,
        "fresh_until": now + 60,
        "body": body,
    }
    return StoredResponse(**{**values, **fields})
