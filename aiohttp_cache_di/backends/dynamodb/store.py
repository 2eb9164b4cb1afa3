"""A DynamoDB table as a store: an item per key, dropped by the server some time after its time has come."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from aiohttp_cache_di.backends.dynamodb.batches import READ_AT_ONCE, read_items, write_items
from aiohttp_cache_di.backends.dynamodb.client import CONDITION_FAILED, NOT_THERE, Connection, Service, error_code
from aiohttp_cache_di.backends.dynamodb.items import NO_RECORD, Attributes, Layout, is_leading_on
from aiohttp_cache_di.backends.loops import PerLoop, aside
from aiohttp_cache_di.backends.store import (
    UNREADABLE,
    Found,
    Item,
    Lease,
    Limits,
    Record,
    Row,
    Unreadable,
    Written,
)
from aiohttp_cache_di.backends.store.inspecting import Glance, Wanted
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.entries.info import unpack_info
from aiohttp_cache_di.errors import StorageError
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["DynamoDBStore"]

CONSISTENT_FOR_S: Final = 5.0  # after a lease or a deletion; replicas agree within a second as a rule
DROPPED_AT_ONCE: Final = 25  # conditional deletions under way; a batch of the server's has no conditions
LOOKS_ALONE_FOR_S: Final = 60.0  # after a look that was to lease was refused by the server
DOUBTS: Final = 16  # a look that leases and finds something costs as many write units as a write of it
MAX_NOTED: Final = 4096  # leases and keys that are remembered before those that are over are looked for


class DynamoDBStore:
    """Records in one table, for any number of processes and machines.

    Reads are eventually consistent, and cost half, unless this process has deleted the key or asked for a lease on it
    in the last seconds. Leases are timed by the clocks of the processes: DynamoDB has none to ask. A record that is
    written ends any lease on its key, because the batch that writes it can have no condition.

    Args:
        layout: the table, its attributes, and the namespace in it.
        codec: makes frames of items.
        context: see `Service`.
        create: see `Service`.
        consistent_reads: make every read a consistent one.
        options: arguments of the driver's ``create_client``.

    Raises:
        TypeError, ConfigurationError, MissingDependencyError: see `Service`.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        codec: EntryCodec,
        context: Any = None,
        create: bool = False,
        consistent_reads: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._service = Service(layout, context, options or {}, create=create)
        self._layout = layout
        self._codec = codec
        self._is_consistent = consistent_reads
        self._consistent: dict[str, float] = {}
        self._all_consistent_until = 0.0
        self._loops = PerLoop(self._service.connect, Connection.close)
        self._looks_alone_until = 0.0
        self.limits: Limits = Limits(
            value_bytes=layout.value_bytes, batch=READ_AT_ONCE, parallel=8, doubts=DOUBTS, drops_expired=True
        )

    @property
    def where(self) -> str:
        """The endpoint or region."""
        return self._service.where

    @property
    def layout(self) -> Layout:
        """The table, its attributes, and the namespace in it."""
        return self._layout

    # ---- Store

    async def get(self, keys: Sequence[str]) -> Sequence[Found | None]:
        """Look *keys* up, all with one ``BatchGetItem``, or with two where some have to be consistent."""
        here = self._loops.now() or await self._loops.here()
        names = [self._layout.name_of(key) for key in keys]
        strict = {name for name in names if self._must_be_consistent(name)}
        groups = [(wanted, is_strict) for is_strict in (True, False) if (wanted := _those(names, strict, is_strict))]
        reading = (
            read_items(here.client, self._layout.table, list(map(self._layout.at, wanted)), is_consistent=is_strict)
            for wanted, is_strict in groups
        )
        try:
            answers = await asyncio.gather(*reading) if len(groups) != 1 else [await next(reading)]
        except Exception as exc:
            if error_code(exc) != NOT_THERE or not await self._service.make_again(here.client):
                raise
            return [None] * len(keys)
        items = {self._layout.name_in(item): item for found in answers for item in found}
        work = partial(self._found, keys, [items.get(name) for name in names])
        return await aside(work, sum(map(self._weight, items.values())))

    async def put(self, records: Sequence[Record]) -> Sequence[Written]:
        """Keep *records*, with a ``BatchWriteItem`` for each 25 of them."""
        here = await self._loops.here()
        latest = {self._layout.name_of(record.key): record for record in records}
        made = await aside(partial(self._made, latest), sum(_size(record.item) for record in latest.values()))
        requests = {name: {"PutRequest": {"Item": item}} for name, item in made.items() if not _is_error(item)}
        failed = {name: item for name, item in made.items() if isinstance(item, StorageError)}
        weights = {name: self._weight(item) for name, item in made.items() if not isinstance(item, StorageError)}
        failed |= await write_items(here.client, self._layout.table, requests, weights)
        for name, record in latest.items():
            if record.leased and name not in failed:
                here.held.pop(name, None)
        return [failed.get(self._layout.name_of(record.key), 0) for record in records]

    async def kinds(self, keys: Sequence[str]) -> Sequence[bool | None]:
        """Tell what is under *keys*, with one ``BatchGetItem`` that leaves the frames where they are."""
        here = await self._loops.here()
        layout, now = self._layout, time.time()
        names = [layout.name_of(key) for key in keys]
        wanted = list(map(layout.at, dict.fromkeys(names)))
        items = await read_items(here.client, layout.table, wanted, is_consistent=True, only=layout.projection)
        kinds = {
            layout.name_in(item): is_leading_on(item)
            for item in items
            if layout.has_record(item) and not _is_over(item, now)
        }
        return [kinds.get(name) for name in names]

    async def delete(self, keys: Collection[str]) -> None:
        """Drop *keys*, and leases on them."""
        here = await self._loops.here()
        names = {self._layout.name_of(key) for key in keys}
        self._note_consistent(names)
        failed = await write_items(here.client, self._layout.table, self._deletions(names))
        self._note_consistent(names)
        for error in failed.values():
            raise error

    async def pages(self, *, items: bool) -> AsyncIterator[Sequence[Row]]:
        """Walk over all records: a Scan reads, and costs, the whole table."""
        async for page in self._scan(self._layout.scanning(items=items, records_only=True)):
            yield await aside(partial(self._rows, page, items), sum(map(self._weight, page)))

    async def infos(self, wanted: Wanted) -> AsyncIterator[Sequence[Glance]]:
        """Find records by what stands beside their frames: a Scan that costs as much as one of all, and brings less."""
        async for page in self._scan(self._layout.scanning(items=False, records_only=True, infos=True)):
            now = time.time()
            glances: list[Glance] = []
            for item in page:
                if not _is_over(item, now):
                    key = self._layout.key_in(item)
                    info = unpack_info(item.get("i", {}).get("B"), key)
                    if info is None or wanted(info):
                        glances.append(Glance(key, info))
            yield glances

    async def clear(self) -> None:
        """Drop all items of this namespace, page by page; the table stays."""
        here = await self._loops.here()
        self._all_consistent_until = float("inf")
        try:
            async for page in self._scan(self._layout.scanning(items=False, records_only=False)):
                deletions = self._deletions(map(self._layout.name_in, page))
                failed = await write_items(here.client, self._layout.table, deletions)
                for error in failed.values():
                    raise error
        finally:
            self._all_consistent_until = time.monotonic() + CONSISTENT_FOR_S

    async def close(self) -> None:
        """Close the running loop's client."""
        await self._loops.close()

    # ---- Expiring

    async def delete_expired(self, now: float) -> int:
        """Drop what may be dropped at *now*, which a table without an expiry of its own never does; it costs a Scan."""
        here = await self._loops.here()
        count = 0
        async for page in self._scan(self._layout.scanning_expired(now)):
            names = list(map(self._layout.name_in, page))
            for first in range(0, len(names), DROPPED_AT_ONCE):
                calls = (
                    _conditional(here.client.delete_item(**self._layout.dropping_expired(name, now)))
                    for name in names[first : first + DROPPED_AT_ONCE]
                )
                count += sum(await asyncio.gather(*calls))
            self._note_consistent(names)
        return count

    # ---- Leasing

    async def acquire(self, key: str, ttl_s: float) -> Lease:
        """Ask for the lease on *key* with a conditional write."""
        here = await self._loops.here()
        name, token = self._layout.name_of(key), secrets.token_hex(12)
        has_record = await here.errands.undone(
            self._ask(here, name, token, ttl_s), lambda: self._give_back(here, name, token)
        )
        self._note_consistent((name,))
        if has_record is None:
            return Lease.REFUSED
        self._hold(here, name, token, ttl_s, has_record=has_record)
        return Lease.GRANTED_LATE if has_record else Lease.GRANTED

    async def get_or_acquire(self, key: str, ttl_s: float) -> Found | Lease | None:
        """What is under *key*, or else the answer to a request for the lease on it: with one conditional write.

        Such a look costs as much as a write of what it finds.
        """
        here = self._loops.now() or await self._loops.here()
        if time.monotonic() < self._looks_alone_until:
            return (await self.get((key,)))[0]
        name, token = self._layout.name_of(key), secrets.token_hex(12)
        try:
            there = await here.errands.undone(
                self._look_or_ask(here, name, token, ttl_s), lambda: self._give_back(here, name, token)
            )
        except Exception as exc:
            if not error_code(exc):
                raise
            # We may not write, writes are throttled, there is no table: none of that is in the way of a look.
            self._looks_alone_until = time.monotonic() + LOOKS_ALONE_FOR_S
            return (await self.get((key,)))[0]
        self._note_consistent((name,))
        if there is None:
            self._hold(here, name, token, ttl_s, has_record=False)
            return Lease.GRANTED
        if not self._layout.has_record(there):
            return Lease.REFUSED
        return (await aside(partial(self._found, (key,), (there,)), self._weight(there)))[0]

    async def renew(self, key: str, ttl_s: float) -> bool:
        """Hold the lease on *key* for *ttl_s* seconds from now, unless it has passed to another process."""
        here = await self._loops.here()
        name = self._layout.name_of(key)
        held = here.held.get(name)
        if held is None:
            return False
        token, has_record, _ = held
        renewed = here.client.update_item(**self._layout.renewing(name, token, time.time() + ttl_s))
        is_held = await _conditional(renewed)
        if name in here.held:
            here.held[name] = token, has_record, asyncio.get_running_loop().time() + ttl_s
        return is_held

    async def release(self, key: str) -> None:
        """Give the lease on *key* back, unless it has passed to another process."""
        here = await self._loops.here()
        name = self._layout.name_of(key)
        held = here.held.pop(name, None)
        if held is not None:
            await self._give_back(here, name, held[0], held[1])

    async def _ask(self, here: Connection, name: str, token: str, ttl_s: float) -> bool | None:
        """Take the lease if it is free: whether there is a record; None where another owner has it."""
        try:
            answer = await here.client.update_item(**self._layout.taking(name, token, time.time(), ttl_s))
        except Exception as exc:
            if error_code(exc) != CONDITION_FAILED:
                raise
            return None
        return "f" in answer.get("Attributes", {}) and self._layout.has_record(answer["Attributes"])

    async def _look_or_ask(self, here: Connection, name: str, token: str, ttl_s: float) -> Attributes | None:
        """Take the lease if nothing is there; else the item."""
        try:
            await here.client.update_item(**self._layout.looking(name, token, time.time(), ttl_s))
        except Exception as exc:
            if error_code(exc) != CONDITION_FAILED:
                raise
            there: Attributes | None = getattr(exc, "response", {}).get("Item")
            if there is None:  # from a server that does not tell
                found = await read_items(here.client, self._layout.table, [self._layout.at(name)], is_consistent=True)
                there = found[0] if found else {"f": {"N": NO_RECORD}}  # of one that has just let go
            return there
        return None

    def _hold(self, here: Connection, name: str, token: str, ttl_s: float, *, has_record: bool) -> None:
        now = asyncio.get_running_loop().time()
        if len(here.held) >= MAX_NOTED:
            here.held = {name: held for name, held in here.held.items() if held[2] > now}
        here.held[name] = token, has_record, now + ttl_s

    async def _give_back(self, here: Connection, name: str, token: str, has_record: bool = False) -> None:
        """Take the lease away from *token*; nothing happens where another has it.

        Args:
            has_record: there is one for certain; it may be there else too, since not every server told it.
        """
        if has_record or not await _conditional(here.client.delete_item(**self._layout.dropping(name, token))):
            await _conditional(here.client.update_item(**self._layout.giving_back(name, token)))

    # ---- reading

    async def _scan(self, query: dict[str, Any]) -> AsyncIterator[list[Attributes]]:
        here = await self._loops.here()
        while True:
            answer = await here.client.scan(**query)
            page: list[Attributes] = answer["Items"]
            if page:
                yield page
            last = answer.get("LastEvaluatedKey")
            if not last:
                return
            query["ExclusiveStartKey"] = last

    def _must_be_consistent(self, name: str) -> bool:
        if self._is_consistent:
            return True
        now = time.monotonic()
        return now < self._all_consistent_until or now < self._consistent.get(name, 0.0)

    def _note_consistent(self, names: Iterable[str]) -> None:
        """Read *names* consistently for a while."""
        now = time.monotonic()
        if len(self._consistent) >= MAX_NOTED:
            self._consistent = {name: until for name, until in self._consistent.items() if until > now}
        self._consistent.update(dict.fromkeys(names, now + CONSISTENT_FOR_S))

    # ---- writing

    def _deletions(self, names: Iterable[str]) -> dict[str, Any]:
        return {name: {"DeleteRequest": {"Key": self._layout.at(name)}} for name in names}

    def _made(self, latest: Mapping[str, Record]) -> dict[str, Attributes | StorageError]:
        made: dict[str, Attributes | StorageError] = {}
        for name, record in latest.items():
            try:
                frame = self._codec.pack(record.item, record.key)
            except StorageError as exc:
                made[name] = exc
                continue
            item = self._layout.item_of(record, frame)
            too_large = StorageError(f"an entry of {len(frame)} bytes is too large for DynamoDB")
            made[name] = item if self._layout.fits(item, frame) else too_large
        return made

    # ---- items

    def _found(self, keys: Sequence[str], items: Sequence[Attributes | None]) -> list[Found | None]:
        now = time.time()
        return [
            None
            if item is None or not self._layout.has_record(item) or _is_over(item, now)
            else Found(self._item(item, key))
            for key, item in zip(keys, items, strict=True)
        ]

    def _rows(self, page: Sequence[Attributes], items: bool) -> list[Row]:
        now = time.time()
        rows: list[Row] = []
        for item in page:
            if not _is_over(item, now):
                key = self._layout.key_in(item)
                rows.append(Row(key, is_leading_on(item), self._item(item, key) if items else None))
        return rows

    def _item(self, item: Attributes, key: str) -> Item | Unreadable:
        frame = self._layout.frame_in(item)
        return self._codec.unpack(frame, key) if isinstance(frame, bytes) else UNREADABLE

    def _weight(self, item: Attributes) -> int:
        frame = self._layout.frame_in(item)
        return len(frame) if isinstance(frame, bytes) else 0


def _those(names: Sequence[str], strict: Collection[str], is_strict: bool) -> list[str]:
    return [name for name in dict.fromkeys(names) if (name in strict) is is_strict]


def _is_error(item: object) -> bool:
    return isinstance(item, StorageError)


def _is_over(item: Attributes, now: float) -> bool:
    until = item.get("until", {}).get("N")
    return until is not None and float(until) <= now


def _size(item: Item) -> int:
    """About how large *item* is."""
    if isinstance(item, StoredResponse):
        return item.size_bytes
    return len(item) if isinstance(item, str) else len(item.payload)


async def _conditional(call: Any) -> bool:
    """Whether the condition of *call* held."""
    try:
        await call
    except Exception as exc:
        if error_code(exc) != CONDITION_FAILED:
            raise
        return False
    return True
