"""The contract of a store: the little that memory, SQLite, Redis and each later store do in a way of their own.

A store keeps *records*: an item under a key, until a time. It knows nothing of requests, freshness, callers' patience
or other stores; `backends/wrap` gives it all of that. What a store must do is in `Store`. What it can do besides is
told by the protocols of `capabilities` that it satisfies (`Leasing`, `Versioned`, `Spooling` …).

Promises that every store keeps, each tested for each store (`tests/backends/store_contract.py`):

1. What was put is what is got: all of an item, or nothing. Bytes that are damaged, foreign, wrongly signed or stored
   under another key are `UNREADABLE`, never an error and never an item.
2. A `get` that begins after a `put`, `delete` or `clear` has returned sees its effect, from any process.
3. Nothing waits in the event loop: not for a file, a lock or a database.
4. A call that is cancelled takes no other call with it. A `put` that was cancelled may have happened, or not.
5. Whatever a driver raises may be raised, best as a `StorageError`; the guard counts it.
6. A store belongs to no event loop. Each loop that uses it has connections of its own, and so has a forked child.
7. `close` may be called twice; a store that is used again opens again.

Items travel decoded: a store encodes and decodes by the `EntryCodec` that it is given, where its bytes are (SQLite's
thread, a pool's), so that the loop does not.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Final, Protocol, TypeAlias

from msgspec import Struct

from aiohttp_cache_di.entries.codec import UNREADABLE, Item, Unreadable
from aiohttp_cache_di.errors import StorageError

__all__ = [
    "MARK_PREFIX",
    "SECRET_BYTES",
    "UNREADABLE",
    "Counter",
    "Found",
    "Item",
    "Lease",
    "Limits",
    "Record",
    "Row",
    "Store",
    "StoreEvents",
    "Unreadable",
    "Written",
    "is_mark",
]


MARK_PREFIX: Final = "aiohttp-cache-di:tag:"
"""Keys that begin like this are of records that tell of purges by tag (`wrap.marks`), and so of no response."""


def is_mark(key: str) -> bool:
    """Whether *key* is one of a record that tells of purges; it is shown to no one, and not counted."""
    return key.startswith(MARK_PREFIX)


SECRET_BYTES: Final = 32
"""How long a secret is that a store keeps (`Keeping`); what is not as long is none, and is replaced."""


class Lease(enum.IntEnum):
    """The answer to a request to be the only process that fetches a key; a plain bool will do."""

    REFUSED = 0
    GRANTED = 1
    GRANTED_LATE = 2
    """Granted, and something is stored under the key: perhaps since the process that asks has looked."""


class Limits(Struct, frozen=True):
    """What the stack has to know of a store.

    Args:
        value_bytes: the largest encoded item that fits under one key; larger ones are split. None for any size.
        batch: how many keys one call may have.
        reads: how many keys a call of `get` has at most of those that come together; 0 for as many as it may have.
        parallel: how many calls of `get`, and as many of `put`, are under way at a time; more wait and so make larger
            batches.
        linger_s: seconds for which a write that none waits for may wait for others, where one call for many costs the
            store much less.
        doubts: how many looks in a row have to find nothing, after one that has found something, before the next one
            leases too (`LookingOrLeasing`): the more, the dearer such a look is that finds something.
        drops_expired: the store drops a record by itself when its time has come, and shows it no more until then.
    """

    value_bytes: int | None = None
    batch: int = 1
    reads: int = 0
    parallel: int = 1
    linger_s: float = 0.0
    doubts: int = 1
    drops_expired: bool = False


class Found(Struct, frozen=True, gc=False):
    """What a store has under a key.

    Args:
        version: a number that grows with the changes of the key; 0 where the store has none (see `Versioned`).
    """

    item: Item | Unreadable
    version: int = 0


class Record(Struct, frozen=True):
    """An item to be kept.

    Args:
        until: POSIX time from which it may be dropped; ``inf`` for never.
        leased: give the lease on the key back with the write, at once or (no lease known) not at all.
        info: what can be told of it without its item, where the item does not tell it; see `inspecting`.
    """

    key: str
    item: Item
    until: float
    leased: bool = False
    info: bytes | None = None


Written: TypeAlias = int | StorageError
"""The version that a record got (0 where the store has none), or why this one could not be written."""


class Row(Struct, frozen=True):
    """One record met on a walk.

    Args:
        leads_on: whether it is a redirect or an alias, rather than a response that is an end in itself.
        item: None on a walk over keys alone.
    """

    key: str
    leads_on: bool
    item: Item | Unreadable | None = None


class Counter(Protocol):
    """Counts what happens in a store; `CacheStats` does."""

    def count_evicted(self, count: int) -> None:
        """Count records that were dropped to make room."""

    def count_unreadable(self, count: int = 1) -> None:
        """Count records that could not be read."""


class StoreEvents:
    """What happens in a store besides what it answers, told to all who share it; see `Telling`."""

    __slots__ = ("_counters", "_when_lost")

    def __init__(self) -> None:
        self._counters: list[Counter] = []
        self._when_lost: list[Callable[[], None]] = []

    def count_into(self, counter: Counter) -> None:
        """Let *counter* count from now on, too."""
        if all(each is not counter for each in self._counters):
            self._counters.append(counter)

    def when_lost(self, listener: Callable[[], None]) -> None:
        """Call *listener* when all that was stored is gone."""
        self._when_lost.append(listener)

    def evicted(self, count: int) -> None:
        """*count* records were dropped to make room."""
        for counter in self._counters:
            counter.count_evicted(count)

    def unreadable(self, count: int = 1) -> None:
        """*count* records could not be read."""
        for counter in self._counters:
            counter.count_unreadable(count)

    def lost(self) -> None:
        """All is gone, as with a file that is damaged or replaced; it counts as one record."""
        self.unreadable()
        for listener in self._when_lost:
            listener()


class Store(Protocol):
    """A place where records are kept."""

    limits: Limits

    async def get(self, keys: Sequence[str]) -> Sequence[Found | None]:
        """Look *keys* up, `Limits.batch` of them at most; the answers are in their order, None for nothing.

        Raises:
            PartlyReadError (`backends.store.partly`): some could be looked up, and have their answers in it.
            StorageError, or what the driver raises: none of them could be.
        """
        ...

    async def put(self, records: Sequence[Record]) -> Sequence[Written]:
        """Keep *records*, `Limits.batch` of them at most; a later one of a key replaces an earlier one.

        Raises:
            StorageError, or what the driver raises: none of them could be written.
        """
        ...

    async def delete(self, keys: Collection[str]) -> None:
        """Drop *keys*, `Limits.batch` of them at most; missing ones are no error."""

    def pages(self, *, items: bool) -> AsyncIterator[Sequence[Row]]:
        """Walk over all records, a page at a time: in bounded memory, and without holding others up.

        A record that is put or dropped meanwhile may be met or not; all others are met, some perhaps twice.

        Args:
            items: with their items; else keys alone.
        """
        ...

    async def clear(self) -> None:
        """Drop all that was put before."""

    async def close(self) -> None:
        """Finish what was begun and release the running loop's connections."""
