"""How much goes to the store in one put: half as much after one that failed, twice as much after one that did not."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import islice
from typing import Final

from aiohttp_cache_di.backends.wrap.writing.write import Write

__all__ = ["MAX_BATCH_BYTES", "PutSize"]

MAX_BATCH_BYTES: Final = 4 * 1024 * 1024  # of one put, so that it ends within its deadline


class PutSize:
    """How many writes the next put takes.

    Args:
        most: as the limits of the store say.
    """

    __slots__ = ("_count", "_most")

    def __init__(self, most: int) -> None:
        self._count = self._most = most

    def choose(self, ready: Mapping[str, Write], busy: Collection[str]) -> list[Write]:
        """Choose of what is *ready*, the oldest first, what goes together; one that is too large goes alone.

        Args:
            busy: the keys that are being put right now: two puts of one key could overtake each other.
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
        """The store has taken a put."""
        self._count = min(2 * self._count, self._most)

    def shrink(self, failed: int) -> None:
        """A put of so many writes has *failed*: one that is at fault is to be alone soon."""
        self._count = max(1, failed // 2)
