"""The optional capabilities of a store: protocols that it may satisfy, besides `Store`.

What wraps a store asks for each where it is of use, by `isinstance`, and does without the others::

    Leasing, LookingOrLeasing, Awaiting           one process fetches a key, while others wait
    Versioned, Changing                           copies in memory of what others may change
    Spooling                                      bodies of any size
    Keeping                                       the secret of the digests in keys, apart from the records
    Telling                                       evictions and losses are counted, and noticed
    Placed, Describing                            logs say where the store is, and why it fails
    Sorting, Expiring, `inspecting`               operators' tasks without reading all items
    Checking, Restrained                          testing several servers; looking without changing anything
    Peeking, Immediate, Judging                   a store in this process's memory

A new store needs none of them; one that several processes use is better with the first two rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from aiohttp_cache_di.backends.store.contract import Found, Lease, Record, Store, StoreEvents, Unreadable
from aiohttp_cache_di.backends.store.spooling import Spool, Spooling
from aiohttp_cache_di.entries.items import item_leads_on
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = [
    "Awaiting",
    "ChangeListener",
    "Changing",
    "Checking",
    "Describing",
    "Expiring",
    "Immediate",
    "Judging",
    "Keeping",
    "Leasing",
    "LookingOrLeasing",
    "Peeking",
    "Placed",
    "Restrained",
    "Sorting",
    "Spool",
    "Spooling",
    "Telling",
    "Versioned",
    "kinds_of",
]


@runtime_checkable
class Checking(Protocol):
    """A store on several servers, of which the test with one record would reach only one."""

    async def check(self) -> None:
        """Test all servers.

        Raises:
            StorageError, or an error of the driver: one of them cannot be used.
        """


@runtime_checkable
class Telling(Protocol):
    """A store that reports events: that it evicts records, or has lost all."""

    @property
    def events(self) -> StoreEvents:
        """The events."""
        ...


@runtime_checkable
class Sorting(Protocol):
    """Distinguishes responses from redirects and aliases without reading the items. Other stores read them for that."""

    async def kinds(self, keys: Sequence[str]) -> Sequence[bool | None]:
        """Whether each of *keys*, `Limits.batch` of them at most, has a redirect or an alias; None if it is missing.

        An unreadable item may get any of the three answers.
        """
        ...


async def kinds_of(store: Store, keys: Sequence[str]) -> Sequence[bool | None]:
    """`Sorting.kinds` of *store*; if it is not `Sorting`, the items are read."""
    if isinstance(store, Sorting):
        return await store.kinds(keys)
    return [
        None if found is None or isinstance(found.item, Unreadable) else item_leads_on(found.item)
        for found in await store.get(keys)
    ]


@runtime_checkable
class Peeking(Protocol):
    """Has some responses in memory; others may be stored all the same."""

    def peek(self, key: str) -> StoredResponse | None:
        """The response under *key*, if it is in memory; never waits."""
        ...


@runtime_checkable
class Immediate(Peeking, Protocol):
    """A store in this process's memory: `peek` returns every response that is stored, and nothing has to wait."""

    def keep(self, record: Record) -> bool:
        """Like `Store.put`, without waiting; False if the record is too large for the store's bounds."""
        ...

    def drop(self, key: str) -> None:
        """Like `Store.delete`, without waiting."""


@runtime_checkable
class Judging(Protocol):
    """Has responses in memory, and checks the tags of a response before it returns it."""

    judge: Callable[[StoredResponse], StoredResponse | None]
    """Returns what to use in place of a response with tags; set by the stack around the store."""


@runtime_checkable
class Leasing(Protocol):
    """Has leases, by which one process fetches a key while others wait. Without them, each fetches for itself."""

    async def acquire(self, key: str, ttl_s: float) -> Lease:
        """Ask for the lease on *key* for *ttl_s* seconds; if the call is cancelled, no lease remains held."""
        ...

    async def release(self, key: str) -> None:
        """Release a lease before it expires, unless it has passed to another process."""

    async def renew(self, key: str, ttl_s: float) -> bool:
        """Extend the lease on *key* to *ttl_s* seconds from now; False if it is lost, or cannot be extended."""
        ...


@runtime_checkable
class LookingOrLeasing(Protocol):
    """A `Leasing` store that looks up and leases in one round trip."""

    async def get_or_acquire(self, key: str, ttl_s: float) -> Found | Lease | None:
        """The record under *key*; if it is missing, the answer to a request for its lease, as by `Leasing.acquire`.

        None: the record is missing, and the lease has to be asked for separately. If the call is cancelled, no lease
        remains held.
        """
        ...


@runtime_checkable
class Awaiting(Protocol):
    """A `Leasing` store that notices when a refused lease may be worth asking for again."""

    async def until_free(self, key: str, within_s: float) -> None:
        """Wait until the lease on *key* is free or a record is stored there, for *within_s* seconds at most.

        Raises nothing: if the store fails, the next request for the lease raises the error.
        """
        ...


@runtime_checkable
class Versioned(Protocol):
    """Tells from memory whether a copy is current, whichever process has written since; learns of uses of copies."""

    def version(self, key: str) -> int | None:
        """The highest version that *key* may have by now; a copy with that or a greater version is current.

        Never waits. None if it is not known: then no copy may be used.
        """
        ...

    def touch(self, key: str) -> None:
        """Note, without waiting, that a copy of *key* was used; a store that evicts by use may save that later."""


ChangeListener: TypeAlias = Callable[[Collection[str] | None], None]
"""Called with keys that have changed; None if any key may have changed."""


@runtime_checkable
class Changing(Protocol):
    """Notifies of changes by others to keys that were read here."""

    def on_change(self, listener: ChangeListener) -> None:
        """Call *listener* in the running loop with changed keys."""


@runtime_checkable
class Expiring(Protocol):
    """Finds expired records without reading all records."""

    async def delete_expired(self, now: float) -> int:
        """Delete records that have expired at *now* (POSIX time); return how many."""
        ...


@runtime_checkable
class Placed(Protocol):
    """Has a place that operators can recognise."""

    @property
    def where(self) -> str:
        """The path, or host, port and database; without credentials."""
        ...


@runtime_checkable
class Restrained(Protocol):
    """Changes something even when it is only read: creates missing files, or moves damaged ones aside."""

    def only_read(self) -> None:
        """Change nothing from now on; call it before the first use."""


@runtime_checkable
class Describing(Protocol):
    """Knows what of an error contains no secret; of the errors of other stores, only the kind is shown."""

    def told_of(self, error: BaseException) -> str:
        """The server's name for *error*, or its message if that contains no secret (`messages`); "" for neither."""
        ...


@runtime_checkable
class Keeping(Protocol):
    """Keeps a secret apart from its records: it is not listed, and `Store.clear` does not delete it."""

    async def kept_secret(self) -> bytes | None:
        """The stored secret; None if there is none, or if it is invalid."""
        ...

    async def keep_secret(self, proposed: bytes) -> bytes:
        """Store *proposed* unless there is a secret by now; return the stored one."""
        ...
