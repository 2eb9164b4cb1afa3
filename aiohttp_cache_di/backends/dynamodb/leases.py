"""The operations on leases, and which keys a process has to read consistently because of them."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

from aiohttp_cache_di.backends.dynamodb.client import CONDITION_FAILED, Connection, error_code
from aiohttp_cache_di.backends.dynamodb.items import NO_RECORD, Attributes, Layout
from aiohttp_cache_di.backends.store import Lease

__all__ = ["Consistency", "ItemLeases", "is_met"]

CONSISTENT_FOR_S: Final = 5.0  # after a lease, a write or a deletion; replicas usually agree within a second

Reading: TypeAlias = Callable[[Connection, Sequence[str]], Awaitable[Sequence[Attributes]]]
"""Returns the items of keys, in any order."""


class Consistency:
    """Decides which items are read consistently, at twice the price.

    Args:
        always: read all items consistently.
    """

    def __init__(self, *, always: bool) -> None:
        self._always = always
        self._until: OrderedDict[str, float] = OrderedDict()  # in the order in which they end
        self._all_until = 0.0

    def is_due(self, name: str) -> bool:
        """Whether the item *name* has to be read consistently."""
        now = time.monotonic()
        return self._always or now < self._all_until or now < self._until.get(name, 0.0)

    def note(self, names: Iterable[str]) -> None:
        """Read *names* consistently for `CONSISTENT_FOR_S`."""
        now = time.monotonic()
        for name in names:
            self._until[name] = now + CONSISTENT_FOR_S
            self._until.move_to_end(name)
        while self._until and next(iter(self._until.values())) <= now:
            self._until.popitem(last=False)

    @contextmanager
    def of_all(self) -> Generator[None]:
        """Read all items consistently in the ``with`` block, and for `CONSISTENT_FOR_S` after it."""
        self._all_until = float("inf")
        try:
            yield
        finally:
            self._all_until = time.monotonic() + CONSISTENT_FOR_S


class ItemLeases:
    """Takes, renews and releases leases; see `RowLeases`.

    Args:
        layout: the layout of the items.
        consistency: notes each key for which a lease is asked.
        read: reads items.
    """

    def __init__(self, layout: Layout, consistency: Consistency, read: Reading) -> None:
        self._layout = layout
        self._consistency = consistency
        self._read = read

    async def take(self, here: Connection, key: str, token: str, ttl_s: float) -> Lease:
        """Ask for the lease on *key*."""
        name = self._layout.name_of(key)
        try:
            answer = await here.client.update_item(**self._layout.taking(name, token, time.time(), ttl_s))
        except Exception as exc:
            if error_code(exc) != CONDITION_FAILED:
                raise
            return Lease.REFUSED
        finally:
            self._consistency.note((name,))
        kind = answer.get("Attributes", {}).get("f", {}).get("N", NO_RECORD)  # before the update
        return Lease.GRANTED if kind == NO_RECORD else Lease.GRANTED_LATE

    async def look_or_take(self, here: Connection, key: str, token: str, ttl_s: float) -> Attributes | Lease | None:
        """The item of *key* if it has a record; else whether the lease was granted, None if no lease was asked."""
        name, now = self._layout.name_of(key), time.time()
        try:
            await here.client.update_item(**self._layout.looking(name, token, now, ttl_s))
        except Exception as exc:
            if error_code(exc) == CONDITION_FAILED:
                self._consistency.note((name,))
                there: Attributes | None = getattr(exc, "response", {}).get("Item")
                found = await self._read(here, (key,)) if there is None else (there,)  # some servers do not return it
                return found[0] if found and self._layout.has_record(found[0], now) else Lease.REFUSED
            if not error_code(exc):
                raise
            # Writes are denied or throttled, or there is no table: a look-up does not depend on that.
            here.look_alone()
            found = await self._read(here, (key,))
            return found[0] if found else None
        self._consistency.note((name,))
        return Lease.GRANTED

    async def renew(self, here: Connection, key: str, token: str, ttl_s: float) -> bool:
        """Extend the lease on *key* to *ttl_s* seconds from now; False if it is no longer held."""
        renewing = self._layout.renewing(self._layout.name_of(key), token, time.time() + ttl_s)
        return await is_met(here.client.update_item(**renewing))

    async def release(self, here: Connection, key: str, token: str) -> None:
        """Release the lease on *key*, and delete the item if it has no record."""
        name = self._layout.name_of(key)
        if not await is_met(here.client.delete_item(**self._layout.dropping(name, token))):
            await is_met(here.client.update_item(**self._layout.giving_back(name, token)))


async def is_met(call: Any) -> bool:
    """Await *call*; return whether its condition was met."""
    try:
        await call
    except Exception as exc:
        if error_code(exc) != CONDITION_FAILED:
            raise
        return False
    return True
