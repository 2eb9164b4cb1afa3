"""`ExpiryQueue`: which entry of a table expires next."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from aiohttp_cache_di.backends.memory.packed import Packed
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["ExpiryQueue"]

SURPLUS: Final = 100  # items, beside two for each entry, before outdated ones are looked for
SIFTED: Final = 4  # items that are checked for each one that is added


class Due(msgspec.Struct, frozen=True, order=True, gc=False):
    """When the entry under *key* expires (POSIX time); orders by time."""

    until: float
    key: str


class ExpiryQueue:
    """The entries of *table* in the order in which they expire; its owner reports each entry that is added.

    Not thread-safe. There are two heaps. An item stays when its entry is deleted or replaced; if there are many such
    items, sifting moves the others from the second heap to the first, a few at a time.
    """

    __slots__ = ("_queue", "_table", "_unsifted")

    def __init__(self, table: Mapping[str, Any]) -> None:
        self._table = table
        self._queue: list[Due] = []
        self._unsifted: list[Due] = []

    def __len__(self) -> int:
        return len(self._queue) + len(self._unsifted)

    def add(self, key: str, until: float) -> None:
        """Report that an entry was stored under *key*, until *until* (POSIX time); ``inf`` for ever."""
        if until == math.inf:
            return
        heapq.heappush(self._queue, Due(until, key))
        if self._unsifted or len(self._queue) > 2 * len(self._table) + SURPLUS:
            self._sift()

    def next_expired(self, now: float) -> str | None:
        """The key of an entry that has expired at *now*, which leaves the queue; None if there is none."""
        for queue in (self._queue, self._unsifted):
            while queue and queue[0].until <= now:
                due = heapq.heappop(queue)
                if self._is_current(due):
                    return due.key
        return None

    def free(self, count: int) -> None:
        """Drop *count* items of each heap, in no order: the table is not used any more."""
        for queue in (self._queue, self._unsifted):
            del queue[-count:]

    def _sift(self) -> None:
        if not self._unsifted:
            self._queue, self._unsifted = [], self._queue
        for _ in range(min(SIFTED, len(self._unsifted))):
            due = self._unsifted.pop()  # a heap without its last item is still a heap
            if self._is_current(due):
                heapq.heappush(self._queue, due)

    def _is_current(self, due: Due) -> bool:
        entry = self._table.get(due.key)
        return isinstance(entry, StoredResponse | Packed) and entry.store_until == due.until
