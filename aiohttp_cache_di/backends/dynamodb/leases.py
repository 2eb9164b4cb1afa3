"""The operations on leases, and which keys a process has to read consistently because of them."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from aiohttp_cache_di.backends.dynamodb.client import CONDITION_FAILED, Connection, error_code
from aiohttp_cache_di.backends.dynamodb.items import NO_RECORD, Attributes, Layout
from aiohttp_cache_di.backends.rows import LeaseTerms, RowRecord
from aiohttp_cache_di.backends.store import Lease

__all__ = ["Consistency", "ItemLeases", "is_met"]

IS_FREE: Final = "attribute_not_exists(#l) OR #l <= :now"
CONSISTENT_FOR_S: Final = 5.0  # after a lease, a write or a deletion; replicas usually agree within a second

Finding: TypeAlias = Callable[[Connection, Sequence[str]], Awaitable[Sequence[RowRecord]]]


class Consistency:
    """Decides which items are read consistently, at twice the price.

    Args:
        always: read all items consistently.
    """

    def __init__(self, *, always: bool) -> None:
        self._always = always
        self._until: OrderedDict[str, float] = OrderedDict()  # in the order in which they end

    def is_due(self, name: str) -> bool:
        """Whether the item *name* has to be read consistently."""
        now = time.monotonic()
        return self._always or now < self._until.get(name, 0.0)

    def note(self, names: Iterable[str]) -> None:
        """Read *names* consistently for `CONSISTENT_FOR_S`."""
        now = time.monotonic()
        for name in names:
            self._until[name] = now + CONSISTENT_FOR_S
            self._until.move_to_end(name)
        while self._until and next(iter(self._until.values())) <= now:
            self._until.popitem(last=False)


class ItemLeases:
    """Takes, renews and releases leases; see `RowLeases`.

    Args:
        layout: the layout of the items.
        consistency: notes each key for which a lease is asked.
        find: finds the records of keys, in any order.
    """

    def __init__(self, layout: Layout, consistency: Consistency, find: Finding) -> None:
        self._layout = layout
        self._consistency = consistency
        self._find = find

    async def take(self, here: Connection, terms: LeaseTerms) -> Lease:
        """Ask for a lease."""
        update = "SET #o = :o, #l = :l, #f = if_not_exists(#f, :f), #t = if_not_exists(#t, :t)"
        is_taken, answer = await self._ask(here, terms, IS_FREE, update, ReturnValues="UPDATED_OLD")
        if not is_taken:
            return Lease.REFUSED
        kind = answer.get("Attributes", {}).get("f", {}).get("N", NO_RECORD)  # before the update
        return Lease.GRANTED if kind == NO_RECORD else Lease.GRANTED_LATE

    async def look_or_take(self, here: Connection, terms: LeaseTerms) -> RowRecord | Lease:
        """The record of the key if there is one; else whether the lease was granted."""
        condition = f"attribute_not_exists(#k) OR (({IS_FREE}) AND (#f = :f OR #u <= :s))"
        update = "SET #o = :o, #l = :l, #f = :f, #t = :t REMOVE #v, #i, #u"
        is_taken, answer = await self._ask(
            here, terms, condition, update, ReturnValuesOnConditionCheckFailure="ALL_OLD"
        )
        if is_taken:
            return Lease.GRANTED
        item: Attributes | None = answer.get("Item")
        if item is not None:
            there = self._layout.record_in(item)
        else:  # some servers do not return it
            there = next(iter(await self._find(here, (terms.key,))), None)
        return terms.live(there) or Lease.REFUSED

    async def renew(self, here: Connection, terms: LeaseTerms) -> bool:
        """Let a lease end at the time of *terms*; False if it is no longer held."""
        return await is_met(here.client.update_item(**self._changing(terms, "#o = :o", "SET #l = :l")))

    async def release(self, here: Connection, key: str, token: str) -> None:
        """Release the lease on *key*, and delete the item if it has no record."""
        name, values = self._layout.name_of(key), {":o": {"S": token}, ":f": {"N": NO_RECORD}}
        emptied = self._layout.changing(name, "#o = :o AND #f = :f", values)
        if not await is_met(here.client.delete_item(**emptied)):
            await is_met(here.client.update_item(**self._layout.changing(name, "#o = :o", values, "REMOVE #o, #l")))

    async def _ask(
        self, here: Connection, terms: LeaseTerms, condition: str, update: str, **returned: str
    ) -> tuple[bool, Mapping[str, Any]]:
        """Whether the condition was met, and the server's answer; from now on the item is read consistently."""
        try:
            return await _answered(here.client.update_item(**self._changing(terms, condition, update), **returned))
        finally:
            self._consistency.note((self._layout.name_of(terms.key),))

    def _changing(self, terms: LeaseTerms, condition: str, update: str) -> dict[str, Any]:
        values = {
            ":o": {"S": terms.token},
            ":l": {"N": str(terms.end_ms)},
            ":now": {"N": str(terms.now_ms)},
            ":s": {"N": f"{terms.now_ms / 1000:.3f}"},
            ":f": {"N": NO_RECORD},
            ":t": {"N": str(math.ceil(terms.end_ms / 1000))},
        }
        return self._layout.changing(self._layout.name_of(terms.key), condition, values, update)


async def is_met(call: Awaitable[Any]) -> bool:
    """Await *call*; return whether its condition was met."""
    return (await _answered(call))[0]


async def _answered(call: Awaitable[Any]) -> tuple[bool, Mapping[str, Any]]:
    """Await *call*; return whether its condition was met, and the server's answer."""
    try:
        return True, await call
    except Exception as exc:
        if error_code(exc) != CONDITION_FAILED:
            raise
        return False, getattr(exc, "response", {})
