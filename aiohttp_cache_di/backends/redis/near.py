"""The near tier: copies of hot entries in this process, in front of a store that others write to."""

from __future__ import annotations

import time
from collections import OrderedDict

from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["NearTier"]

ENTRY_OVERHEAD_BYTES = 512  # objects and the table's slot


class NearTier:
    """A bounded table of entries, each believed for a short time only; the least recently used one goes first.

    Args:
        lifetime_s: seconds for which a copy is believed at most, whatever the server says or fails to say.
        max_bytes: what the copies may weigh together.
    """

    def __init__(self, lifetime_s: float, max_bytes: int) -> None:
        self.lifetime_s = lifetime_s
        self.max_bytes = max_bytes
        self.total_bytes = 0
        self._entries: OrderedDict[bytes, tuple[StoredResponse, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> StoredResponse | None:
        """Return the copy under *key* if it may still be believed."""
        found = self._entries.get(key)
        if found is None:
            return None
        entry, until = found
        if time.monotonic() >= until:
            self.drop(key)
            return None
        self._entries.move_to_end(key)
        return entry

    def put(self, key: bytes, entry: StoredResponse) -> None:
        """Keep a copy that was just read from the store."""
        self.drop(key)
        weight = _weight(entry)
        if weight > self.max_bytes // 8:  # one large body should not push out all the others
            return
        self._entries[key] = entry, time.monotonic() + self.lifetime_s
        self.total_bytes += weight
        while self.total_bytes > self.max_bytes:
            _, (oldest, _) = self._entries.popitem(last=False)
            self.total_bytes -= _weight(oldest)

    def drop(self, *keys: bytes) -> None:
        """Forget *keys*."""
        for key in keys:
            found = self._entries.pop(key, None)
            if found is not None:
                self.total_bytes -= _weight(found[0])

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.total_bytes = 0


def _weight(entry: StoredResponse) -> int:
    return entry.size_bytes + ENTRY_OVERHEAD_BYTES
