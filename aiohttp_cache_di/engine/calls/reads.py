"""What one look into the store has brought."""

from __future__ import annotations

from msgspec import Struct

from aiohttp_cache_di.backends.wrap.guarding.guard import FAILED, Failed
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["FAILED", "EarlyRead", "Failed"]


class EarlyRead(Struct, frozen=True):
    """What the fast lane has just read, so that the store is not asked twice.

    Where it found nothing, the lease on the key may have come with it (`LoopStack.fetch`).

    Args:
        key: under which.
        found: what the store has there.
    """

    key: str
    found: StoredResponse | Failed | None
