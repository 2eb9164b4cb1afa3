"""Entries for tests of storages."""

from __future__ import annotations

import math
import time

from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["make_entry"]


def make_entry(key: str, body: bytes = b"body", store_until: float = math.inf) -> StoredResponse:
    """Make an entry that was stored just now."""
    now = time.time()
    return StoredResponse(
        key=key,
        method="GET",
        url=f"http://origin.test/{key}",
        status=200,
        reason=b"OK",
        raw_headers=((b"Content-Type", b"text/plain"),),
        requested_at=now,
        received_at=now,
        created_at=now,
        fresh_until=now + 60,
        store_until=store_until,
        body=body,
    )
