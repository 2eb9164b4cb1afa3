"""A DynamoDB table as a store: an item per key, dropped by the server some time after its time has come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Final, TypeVar

from aiohttp_cache_di.backends.dynamodb.batches import READ_AT_ONCE, read_items, write_items
from aiohttp_cache_di.backends.dynamodb.client import CONDITION_FAILED, NOT_THERE, Connection, Service, error_code
from aiohttp_cache_di.backends.dynamodb.items import NO_RECORD, Attributes, Layout
from aiohttp_cache_di.backends.rows import RowStore
from aiohttp_cache_di.backends.store import Found, Lease, Limits, Record
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.errors import StorageError

__all__ = ["DynamoDBStore"]

T = TypeVar("T")

CONSISTENT_FOR_S: Final = 5.0  # after a lease or a deletion; replicas agree within a second as a rule
DROPPED_AT_ONCE: Final = 25  # conditional deletions under way; a batch of the server's has no conditions
DOUBTS: Final = 16  # a look that leases and finds something costs as many write units as a write of it
MAX_NOTED: Final = 4096  # keys that are remembered before those that are over are looked for


class DynamoDBStore(RowStore[Connection, Attributes]):
    """Records in one table, for any number of processes and machines.

    Reads are eventually consistent, and cost half, unless this process has deleted the key or asked for a lease on it
    in the last seconds. Leases are timed by the clocks of the processes: DynamoDB has none to ask. A record that is
    written ends any lease on its key, because the batch that writes it can have no condition. A look that leases costs
    as much as a write of what it finds.

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

    make: ClassVar[str] = "DynamoDB"

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
        super().__init__(codec, self._service.connect)
        self._layout = layout
        self._is_consistent = consistent_reads
        self._consistent: dict[str, float] = {}
        self._all_consistent_until = 0.0
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
        return await self._answers(keys, await self._with_table(here, partial(self._read, here, keys)))

    async def kinds(self, keys: Sequence[str]) -> Sequence[bool | None]:
        """Tell what is under *keys*, with one ``BatchGetItem`` that leaves the frames where they are."""
        here = await self._loops.here()
        wanted = [self._layout.at(name) for name in dict.fromkeys(map(self._layout.name_of, keys))]
        only = self._layout.projection
        return self._kinds(
            keys, await read_items(here.client, self._layout.table, wanted, is_consistent=True, only=only)
        )

    async def delete(self, keys: Collection[str]) -> None:
        """Drop *keys*, and leases on them."""
        here = await self._loops.here()
        names = {self._layout.name_of(key) for key in keys}
        self._note_consistent(names)
        await self._drop(here, names)
        self._note_consistent(names)

    async def clear(self) -> None:
        """Drop all items of this namespace, page by page; the table stays."""
        here = await self._loops.here()
        self._all_consistent_until = float("inf")
        try:
            async for page in self._scan(self._layout.scanning(items=False, records_only=False)):
                await self._drop(here, map(self._layout.name_in, page))
        finally:
            self._all_consistent_until = time.monotonic() + CONSISTENT_FOR_S

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

    # ---- reading

    async def _with_table(self, here: Connection, call: Callable[[], Awaitable[T]]) -> T:
        """The result of *call*, made again when the table was gone and is there again by our doing."""
        try:
            return await call()
        except Exception as exc:
            if error_code(exc) != NOT_THERE or not await self._service.make_again(here.client):
                raise
        return await call()

    async def _read(self, here: Connection, keys: Sequence[str]) -> Sequence[Attributes]:
        groups: dict[bool, list[Attributes]] = {}
        for name in dict.fromkeys(map(self._layout.name_of, keys)):
            groups.setdefault(self._must_be_consistent(name), []).append(self._layout.at(name))
        reading = (
            read_items(here.client, self._layout.table, wanted, is_consistent=is_strict)
            for is_strict, wanted in groups.items()
        )
        answers = await asyncio.gather(*reading) if len(groups) != 1 else [await next(reading)]
        return [item for found in answers for item in found]

    async def _walk(self, *, items: bool = False, infos: bool = False) -> AsyncGenerator[Sequence[Attributes], None]:
        """With a Scan, which reads, and costs, the whole table."""
        async for page in self._scan(self._layout.scanning(items=items, records_only=True, infos=infos)):
            yield page

    async def _scan(self, query: dict[str, Any]) -> AsyncGenerator[list[Attributes], None]:
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

    async def _write(self, here: Connection, frames: Mapping[str, tuple[Record, bytes]]) -> dict[str, StorageError]:
        """With a ``BatchWriteItem`` for each 25 records."""
        requests = {key: {"PutRequest": {"Item": self._layout.item_of(*each)}} for key, each in frames.items()}
        weights = {key: len(frame) for key, (_, frame) in frames.items()}
        writing = partial(write_items, here.client, self._layout.table, requests, weights)
        return await self._with_table(here, writing)

    async def _drop(self, here: Connection, names: Iterable[str]) -> None:
        deletions = {name: {"DeleteRequest": {"Key": self._layout.at(name)}} for name in names}
        for error in (await write_items(here.client, self._layout.table, deletions)).values():
            raise error

    # ---- items

    def _key_in(self, row: Attributes) -> str:
        return self._layout.key_in(row)

    def _frame_in(self, row: Attributes) -> object:
        return self._layout.frame_in(row)

    def _info_in(self, row: Attributes) -> Any:
        return row.get("i", {}).get("B")

    def _has_record(self, row: Attributes, now: float) -> bool:
        return self._layout.has_record(row, now)

    def _leads_on(self, row: Attributes) -> bool:
        return self._layout.leads_on(row)

    def _fits(self, record: Record, frame: bytes) -> bool:
        return self._layout.fits(record, frame)

    def _code_of(self, error: BaseException) -> str:
        return error_code(error)

    # ---- leases

    async def _take(self, here: Connection, key: str, token: str, ttl_s: float) -> Lease:
        name = self._layout.name_of(key)
        try:
            answer = await here.client.update_item(**self._layout.taking(name, token, time.time(), ttl_s))
        except Exception as exc:
            if error_code(exc) != CONDITION_FAILED:
                raise
            return Lease.REFUSED
        finally:
            self._note_consistent((name,))
        kind = answer.get("Attributes", {}).get("f", {}).get("N", NO_RECORD)  # as it was
        return Lease.GRANTED if kind == NO_RECORD else Lease.GRANTED_LATE

    async def _look_or_take(self, here: Connection, key: str, token: str, ttl_s: float) -> Attributes | Lease | None:
        name, now = self._layout.name_of(key), time.time()
        try:
            await here.client.update_item(**self._layout.looking(name, token, now, ttl_s))
        except Exception as exc:
            if error_code(exc) == CONDITION_FAILED:
                self._note_consistent((name,))
                there: Attributes | None = getattr(exc, "response", {}).get("Item")
                found = await self._read(here, (key,)) if there is None else (there,)  # some servers do not tell
                return found[0] if found and self._layout.has_record(found[0], now) else Lease.REFUSED
            if not error_code(exc):
                raise
            # We may not write, writes are throttled, there is no table: none of that is in the way of a look.
            here.look_alone()
            found = await self._with_table(here, partial(self._read, here, (key,)))
            return found[0] if found else None
        self._note_consistent((name,))
        return Lease.GRANTED

    async def _renew(self, here: Connection, key: str, token: str, ttl_s: float) -> bool:
        renewing = self._layout.renewing(self._layout.name_of(key), token, time.time() + ttl_s)
        return await _conditional(here.client.update_item(**renewing))

    async def _give_back(self, here: Connection, key: str, token: str, has_record: bool = False) -> None:
        name = self._layout.name_of(key)
        if has_record or not await _conditional(here.client.delete_item(**self._layout.dropping(name, token))):
            await _conditional(here.client.update_item(**self._layout.giving_back(name, token)))


async def _conditional(call: Any) -> bool:
    """Whether the condition of *call* held."""
    try:
        await call
    except Exception as exc:
        if error_code(exc) != CONDITION_FAILED:
            raise
        return False
    return True
