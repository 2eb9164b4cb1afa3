"""The contract of a store: the part that memory, SQLite, Redis and others each implement.

A store keeps *records*: an item under a key, until it expires. It knows nothing of requests, freshness, deadlines or
other stores; `backends/wrap` adds all of that. `Store` is what every store must do. The protocols in `capabilities`
(`Leasing`, `Versioned`, `Spooling` …) are optional.

Promises that every store keeps, each tested for each store (`tests/backends/store_contract.py`):

1. A `get` returns the item exactly as it was put, or nothing. Bytes that are damaged, not ours, wrongly signed or
   stored under another key are `UNREADABLE`, never an error and never an item.
2. A `get` that begins after a `put`, `delete` or `clear` has returned sees its effect, from any process; only if users
   let replicas answer (as DynamoDB does without ``consistent_reads``), other processes may see it somewhat later.
3. The event loop is never blocked: not by a file, a lock or a database.
4. A call that is cancelled affects no other call. A `put` that was cancelled may or may not have happened.
5. Errors of a driver may be raised as they are, preferably as a `StorageError`; the guard counts them.
6. A store belongs to no event loop. Each loop that uses it has its own connections, and so has a forked child.
7. `close` may be called twice; a store that is used after that opens again.

Items are passed decoded: a store encodes and decodes them by the `EntryCodec` that it is given, in the thread where it
handles the bytes (SQLite's, or one of a pool), so that this does not block the loop.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Final, Protocol, TypeAlias

from msgspec import Struct

from aiohttp_cache_di.entries.items import UNREADABLE, Item, Unreadable
from aiohttp_cache_di.errors import StorageError

__all__ = [
    "AFTER_MARKS",
    "MARK_PREFIX",
    "SECRET_BYTES",
    "UNREADABLE",
    "Counter",
    "Found",
    "Item",
    "Lease",
    "Limits",
    "PartlyReadError",
    "Record",
    "Row",
    "Store",
    "StoreEvents",
    "Unreadable",
    "Written",
    "is_mark",
]


MARK_PREFIX: Final = "aiohttp-cache-di:tag:"
"""The beginning of the keys of records of purges by tag (`wrap.marks`), which are no responses."""


AFTER_MARKS: Final = f"{MARK_PREFIX[:-1]};"
"""In the order of keys, the first text after those of all records of purges."""


def is_mark(key: str) -> bool:
    """Whether *key* is the key of a record of a purge; these are not shown to users, and not counted."""
    return key.startswith(MARK_PREFIX)


SECRET_BYTES: Final = 32
"""The length of a secret that a store keeps (`Keeping`); anything of another length is replaced."""


class Lease(enum.IntEnum):
    """The answer to a request for a lease; a bool is accepted, too."""

    REFUSED = 0
    GRANTED = 1
    GRANTED_LATE = 2
    """Granted, and a record is stored under the key, perhaps since the caller has looked it up."""


class Limits(Struct, frozen=True):
    """The limits of a store, which the stack observes.

    Args:
        value_bytes: size of the largest encoded item under one key; larger items are split. None for no limit.
        batch: most keys in one call.
        reads: most keys in one call of `get` when reads are batched; 0 for *batch*.
        parallel: most concurrent calls of `get`, and of `put`; further keys queue, and so make larger batches.
        linger_s: seconds for which a write may be delayed to gather a batch, while no caller waits for it; useful if a
            call for many keys costs the store much less than many calls.
        doubts: misses in a row after which a look-up also asks for the lease (`LookingOrLeasing`), once one has found
            an unknown key; greater for stores where such a look-up is expensive if it finds a record.
    """

    value_bytes: int | None = None
    batch: int = 1
    reads: int = 0
    parallel: int = 1
    linger_s: float = 0.0
    doubts: int = 1


class Found(Struct, frozen=True, gc=False):
    """A record that was found.

    Args:
        version: a number that grows with each change of the key; 0 if the store has no versions (see `Versioned`).
    """

    item: Item | Unreadable
    version: int = 0


class PartlyReadError(StorageError):
    """Some servers of a store have not answered a `get`; this error has the answers of the others.

    Args:
        answers: in the order of the keys; an error for each key that could not be looked up.
    """

    def __init__(self, answers: Sequence[Found | StorageError | None]) -> None:
        missing = [each for each in answers if isinstance(each, StorageError)]
        super().__init__(f"{len(missing)} of {len(answers)} keys could not be looked up: {missing[0]}")
        self.__cause__: BaseException | None = missing[0].__cause__
        self.answers = answers


class Record(Struct, frozen=True):
    """An item to store under a key.

    Args:
        until: POSIX time at which it expires and may be deleted; ``inf`` for never.
        leased: release the lease on the key together with the write, if this process holds it.
        info: the packed info for listings, if it cannot be made from the item; see `inspecting`.
    """

    key: str
    item: Item
    until: float
    leased: bool = False
    info: bytes | None = None


Written: TypeAlias = int | StorageError
"""The version of a written record (0 if the store has none), or the error if it could not be written."""


class Row(Struct, frozen=True):
    """A record in a listing.

    Args:
        leads_on: whether it is a redirect or an alias, rather than another response.
        item: None if the listing is without items.
    """

    key: str
    leads_on: bool
    item: Item | Unreadable | None = None


class Counter(Protocol):
    """Counts events of a store, as `CacheStats` does."""

    def count_evicted(self, count: int) -> None:
        """Count evicted records."""

    def count_unreadable(self, count: int = 1) -> None:
        """Count records that could not be read."""


class StoreEvents:
    """Events of a store, reported to all users of it; see `Telling`."""

    __slots__ = ("_counters", "_when_lost", "_when_unreadable")

    def __init__(self) -> None:
        self._counters: list[Counter] = []
        self._when_unreadable: list[Callable[[int], None]] = []
        self._when_lost: list[Callable[[], None]] = []

    def count_into(self, counter: Counter) -> None:
        """Add *counter*."""
        if all(each is not counter for each in self._counters):
            self._counters.append(counter)

    def when_unreadable(self, listener: Callable[[int], None]) -> None:
        """Call *listener* with the number of records that could not be read, unless all are lost."""
        self._when_unreadable.append(listener)

    def when_lost(self, listener: Callable[[], None]) -> None:
        """Call *listener* when all records are lost."""
        self._when_lost.append(listener)

    def evicted(self, count: int) -> None:
        """Report that *count* records were evicted."""
        for counter in self._counters:
            counter.count_evicted(count)

    def unreadable(self, count: int = 1) -> None:
        """Report that *count* records could not be read."""
        for counter in self._counters:
            counter.count_unreadable(count)
        for listener in self._when_unreadable:
            listener(count)

    def lost(self) -> None:
        """Report that all records are lost, as with a damaged or replaced file; counted as one unreadable record."""
        for counter in self._counters:
            counter.count_unreadable()
        for listener in self._when_lost:
            listener()


class Store(Protocol):
    """Stores records."""

    limits: Limits

    async def get(self, keys: Sequence[str]) -> Sequence[Found | None]:
        """Look *keys* up, `Limits.batch` of them at most; the answers are in the same order, None if missing.

        Raises:
            PartlyReadError: some could not be looked up; it has the answers of the others.
            StorageError, or an error of the driver: none could be looked up.
        """
        ...

    async def put(self, records: Sequence[Record]) -> Sequence[Written]:
        """Write *records*, `Limits.batch` of them at most; a later one of a key replaces an earlier one.

        Raises:
            StorageError, or an error of the driver: none could be written.
        """
        ...

    async def delete(self, keys: Collection[str]) -> None:
        """Delete *keys*, `Limits.batch` of them at most; missing ones are no error."""

    def pages(self, *, items: bool) -> AsyncIterator[Sequence[Row]]:
        """Iterate over all records, a page at a time, in bounded memory, and without blocking other calls.

        Records that are written or deleted meanwhile may be included or not; all others are, some perhaps twice.

        Args:
            items: whether the rows have items.
        """
        ...

    async def clear(self) -> None:
        """Delete all records that were put before, those of purges last: entries would be used again without them."""

    async def close(self) -> None:
        """Finish calls under way, and release the running loop's connections."""
