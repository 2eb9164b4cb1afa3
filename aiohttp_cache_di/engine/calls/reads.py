"""`EarlyRead`: the result of one look-up in the store."""

from __future__ import annotations

from msgspec import Struct

from aiohttp_cache_di.backends.wrap.guarding.guard import FAILED, Failed
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["FAILED", "EarlyRead", "Failed"]


class EarlyRead(Struct, frozen=True):
    """The result of the fast lane's look-up, kept so that the store is not asked twice.

    If it found nothing, the look-up may have leased the key, too (`LoopStack.fetch`).

    Args:
        key: the key that was looked up.
        found: the entry; None if there is none, `FAILED` if the store has failed.
        deletions: their `count` before the look-up (`LoopStack.deletions`).
    """

    key: str
    found: StoredResponse | Failed | None
    deletions: int = 0
