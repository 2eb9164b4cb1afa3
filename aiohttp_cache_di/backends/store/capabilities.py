"""What a store may be able to do besides: optional capabilities, told by the protocols that it satisfies.

The stack looks for them once, when it is built (`wrap/abilities.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol, runtime_checkable

from aiohttp_cache_di.backends.store.contract import Found, Item, Lease, Record, StoreEvents
from aiohttp_cache_di.backends.store.spooling import Spool, Spooling
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = [
    "Awaiting",
    "Changing",
    "Checking",
    "Describing",
    "Discreet",
    "Expiring",
    "Immediate",
    "Judging",
    "Keeping",
    "Leasing",
    "LookingOrLeasing",
    "Peeking",
    "Placed",
    "Renewing",
    "Restrained",
    "Sorting",
    "Spool",
    "Spooling",
    "Telling",
    "Touching",
    "Versioned",
]


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
    """Tells operators where it is."""

    @property
    def where(self) -> str:
        """The path, or host, port and database; without credentials."""
        ...


@runtime_checkable
class Restrained(Protocol):
    """Changes something even when it is only read: makes what is missing, or puts what is damaged aside."""

    def only_read(self) -> None:
        """Change nothing from now on; called before the first use."""


@runtime_checkable
class Discreet(Protocol):
    """Knows what the words of its driver may not repeat; without this, no words of its driver are told."""

    @property
    def secrets(self) -> Collection[str] | None:
        """What its driver was given and no message may repeat; None where that is not known."""
        ...


@runtime_checkable
class Describing(Protocol):
    """Knows what may be told of an error beside its kind, however secret the words of its driver are."""

    def told_of(self, error: BaseException) -> str:
        """What its server calls *error*, or words that repeat nothing that was given; "" where there are none."""
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
