"""How many writes go into one put: half as many after a failure, twice as many after a success."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import islice
from typing import Final

from aiohttp_cache_di.backends.wrap.writing.write import Write

__all__ = ["MAX_BATCH_BYTES", "PutSize"]

MAX_BATCH_BYTES: Final = 4 * 1024 * 1024  # of one put, so that it ends within its deadline


class PutSize:
    """The size of the next put.

    Args:
        most: most writes in one put, by the limits of the store.
    """

    __slots__ = ("_count", "_most")

    def __init__(self, most: int) -> None:
        self._count = self._most = most

    def choose(self, ready: Mapping[str, Write], busy: Collection[str]) -> list[Write]:
        """Choose the writes of the next put from *ready*, the oldest first; one that is too large goes alone.

        Args:
            busy: keys that are being put now, which are left out: two puts of one key could overtake each other.
        """
        batch: list[Write] = []
        total_bytes = 0
        for key, write in islice(ready.items(), 2 * self._count + len(busy)):
            if key in busy:
                continue
            total_bytes += write.size
            if batch and total_bytes > MAX_BATCH_BYTES:
                break
            batch.append(write)
            if len(batch) >= self._count:
                break
        return batch

    def grow(self) -> None:
        """Note that a put has succeeded."""
        self._count = min(2 * self._count, self._most)

    def shrink(self, failed: int) -> None:
        """Note that a put of *failed* writes has failed; halving isolates a write that is at fault."""
        self._count = max(1, failed // 2)
