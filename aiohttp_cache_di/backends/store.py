"""The contract of a store: the little that memory, SQLite, Redis and each later store do in a way of their own.

A store keeps *records*: an item under a key, until a time. It knows nothing of requests, freshness, callers' patience
or other stores; `backends/wrap` gives it all of that. What a store must do is in `Store`. What it can do besides is
told by the protocols that it satisfies (`Leasing`, `Versioned`, `Spooling` …): the stack looks for them once, when it
is built.

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
from typing import Final, NamedTuple, Protocol, TypeAlias, runtime_checkable

from msgspec import Struct

from aiohttp_cache_di.backends.spooling import Spool, Spooling
from aiohttp_cache_di.entries.codec import UNREADABLE, Item, Unreadable
from aiohttp_cache_di.errors import StorageError
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = [
    "MARK_PREFIX",
    "SECRET_BYTES",
    "UNREADABLE",
    "Awaiting",
    "Changing",
    "Checking",
    "Counter",
    "Discreet",
    "Expiring",
    "Found",
    "Immediate",
    "Item",
    "Judging",
    "Keeping",
    "Lease",
    "Leasing",
    "Limits",
    "LookingOrLeasing",
    "Peeking",
    "Placed",
    "Record",
    "Renewing",
    "Row",
    "Sorting",
    "Spool",
    "Spooling",
    "Store",
    "StoreEvents",
    "Telling",
    "Touching",
    "Unreadable",
    "Versioned",
    "Written",
    "is_mark",
]


MARK_PREFIX: Final = "aiohttp-cache-di:tag:"
"""Keys that begin like this are of records that tell of purges by tag (`wrap.purges`), and so of no response."""


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
        parallel: how many calls of `get`, and as many of `put`, are under way at a time; more wait and so make larger
            batches.
        linger_s: seconds for which a write that none waits for may wait for others, where one call for many costs the
            store much less.
        drops_expired: the store drops a record by itself when its time has come, and shows it no more until then.
    """

    value_bytes: int | None = None
    batch: int = 1
    parallel: int = 1
    linger_s: float = 0.0
    drops_expired: bool = False


class Found(Struct, frozen=True):
    """What a store has under a key.

    Args:
        version: a number that grows with the changes of the key; 0 where the store has none (see `Versioned`).
    """

    item: Item | Unreadable
    version: int = 0


class Record(NamedTuple):
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


class Row(NamedTuple):
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
            PartlyReadError (`backends.partly`): some could be looked up, and have their answers in it.
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
        """Walk over all records, a page at a time: in bounded memory, and without holding anybody up.

        A record that is put or dropped meanwhile may be met or not; all others are met, some perhaps twice.

        Args:
            items: with their items; else keys alone.
        """
        ...

    async def clear(self) -> None:
        """Drop all that was put before."""

    async def close(self) -> None:
        """Finish what was begun and release the running loop's connections."""


# ---- what a store may be able to do besides


@runtime_checkable
class Checking(Protocol):
    """Is on several servers, of which a record of any key tries only one."""

    async def check(self) -> None:
        """Try all of them.

        Raises:
            StorageError, or what the driver raises: one of them cannot be used.
        """


@runtime_checkable
class Telling(Protocol):
    """Drops records to make room, or may lose them all, and tells of it."""

    @property
    def events(self) -> StoreEvents:
        """Where it tells of it."""
        ...


@runtime_checkable
class Sorting(Protocol):
    """Tells responses from what leads on to others without reading them whole. Other stores are read for that."""

    async def kinds(self, keys: Sequence[str]) -> Sequence[bool | None]:
        """Whether what is under each of *keys*, `Limits.batch` of them at most, leads on; None for nothing.

        What cannot be read is of one kind or the other, and may be told from nothing or not.
        """
        ...


@runtime_checkable
class Peeking(Protocol):
    """Has some responses at hand at once; what it does not have at hand may be there all the same."""

    def peek(self, key: str) -> StoredResponse | None:
        """The response under *key*, if it is at hand."""
        ...


@runtime_checkable
class Immediate(Protocol):
    """A store in this process's memory: it answers without waiting, and what it does not have is not there."""

    def look(self, key: str) -> Item | None:
        """As `Store.get`, at once."""
        ...

    def keep(self, record: Record) -> bool:
        """As `Store.put`, at once; False where it is too large for the store's bounds."""
        ...

    def drop(self, key: str) -> None:
        """As `Store.delete`, at once."""


@runtime_checkable
class Judging(Protocol):
    """Has responses at hand at once, and asks whether one that has tags may be given."""

    judge: Callable[[StoredResponse], StoredResponse | None]
    """What is to be given in its place; set by the stack around the store."""


@runtime_checkable
class Leasing(Protocol):
    """Lets one process fetch a key while others wait. Without this, each process fetches for itself."""

    async def acquire(self, key: str, ttl_s: float) -> Lease:
        """Ask to be the only process that fetches *key* for *ttl_s* seconds; cancelled, nothing stays held."""
        ...

    async def release(self, key: str) -> None:
        """Give a lease back before its time, unless it has passed to another process."""


@runtime_checkable
class Renewing(Protocol):
    """A `Leasing` store whose leases can be held for longer than they were asked for."""

    async def renew(self, key: str, ttl_s: float) -> bool:
        """Hold the lease on *key* for *ttl_s* seconds from now; False where it is not held any more."""
        ...


@runtime_checkable
class LookingOrLeasing(Protocol):
    """A `Leasing` store that looks up and leases in one round trip."""

    async def get_or_acquire(self, key: str, ttl_s: float) -> Found | Lease | None:
        """What is under *key*; where nothing is, the answer to a request for the lease on it, as `Leasing.acquire`.

        None: nothing is there, and the lease has to be asked for by itself. Cancelled, nothing stays held.
        """
        ...


@runtime_checkable
class Awaiting(Protocol):
    """A `Leasing` store that tells when a lease which was refused is worth asking for again."""

    async def until_free(self, key: str, within_s: float) -> None:
        """Wait until the lease on *key* is free or something is stored there, for *within_s* seconds at most.

        Raises nothing: that the store fails is told to who asks for the lease.
        """
        ...


@runtime_checkable
class Versioned(Protocol):
    """Tells from memory whether a copy is still what is stored, whichever process has written since."""

    def version(self, key: str) -> int | None:
        """The highest version that *key* may have by now. A copy of that or a later version is good.

        Never waits. None while it is not known: then no copy is believed.
        """
        ...


@runtime_checkable
class Changing(Protocol):
    """Tells of changes that others make to keys that were got here."""

    def on_change(self, listener: Callable[[Collection[str] | None], None]) -> None:
        """Call *listener* in the running loop with keys that have changed; None: any may have."""


@runtime_checkable
class Expiring(Protocol):
    """Finds what has expired without a walk over everything."""

    async def delete_expired(self, now: float) -> int:
        """Drop what may be dropped at *now* (POSIX time); return how many records went."""
        ...


@runtime_checkable
class Touching(Protocol):
    """Keeps an order of use, and so has to hear of uses that it does not see."""

    def touch(self, key: str) -> None:
        """Note that a copy of *key* was used; at once, written down whenever it suits the store."""


@runtime_checkable
class Placed(Protocol):
    """Tells where it is, for people who look after it."""

    @property
    def where(self) -> str:
        """The path, or host, port and database; without credentials."""
        ...


@runtime_checkable
class Discreet(Protocol):
    """Knows what the words of its driver may not repeat; without this, no words of its driver are told."""

    @property
    def secrets(self) -> Collection[str] | None:
        """What its driver was given and no message may repeat; None where that is not known."""
        ...


@runtime_checkable
class Keeping(Protocol):
    """Keeps a secret of its own, which is none of the records: no walk meets it, and `Store.clear` leaves it."""

    async def kept_secret(self) -> bytes | None:
        """The secret that is kept; None where none is, or what is no secret."""
        ...

    async def keep_secret(self, proposed: bytes) -> bytes:
        """Keep *proposed* unless there is one by now; return the one that is kept."""
        ...
