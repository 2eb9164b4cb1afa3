"""A DynamoDB table as a store: one item for each key, which the server deletes some time after it has expired."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Final, TypeVar

from aiohttp_cache_di.backends.batches import in_batches, marks_last
from aiohttp_cache_di.backends.dynamodb.batches import READ_AT_ONCE, read_items, write_items
from aiohttp_cache_di.backends.dynamodb.client import NOT_THERE, Connection, Service, error_code, missing, part_of
from aiohttp_cache_di.backends.dynamodb.items import KEY_BYTES, PAGE, Attributes, Layout
from aiohttp_cache_di.backends.dynamodb.leases import Consistency, ItemLeases, is_met
from aiohttp_cache_di.backends.rows import RowRecord, RowStore
from aiohttp_cache_di.backends.store import Limits
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.errors import StorageError

__all__ = ["DynamoDBStore"]

T = TypeVar("T")

DROPPED_AT_ONCE: Final = 25  # concurrent conditional deletions, since batches cannot have conditions
DOUBTS: Final = 16  # a look-up with a lease that finds something costs as many write units as writing that


class DynamoDBStore(RowStore[Connection]):
    """Records in one table, for any number of processes and machines.

    Reads are eventually consistent, and cost half, unless this process has written or deleted the key, or asked for a
    lease on it, in the last seconds. Leases are timed by the clocks of the processes, since DynamoDB has none to ask.
    Writing a record ends any lease on its key, since batches cannot have conditions. A look-up with a lease costs as
    much as writing what it finds.

    Args:
        layout: the table, its attributes, and the namespace in it.
        codec: encodes and decodes items.
        context: see `Service`.
        create: see `Service`.
        consistent_reads: read everything consistently.
        options: arguments of the driver's ``create_client``.

    Raises:
        ConfigurationError: see `Service`.
    """

    make: ClassVar[str] = "DynamoDB"
    key_bytes: ClassVar[int] = KEY_BYTES

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
        self._consistency = Consistency(always=consistent_reads)
        finding = partial(self._find, frames=True)
        super().__init__(codec, self._service.connect, ItemLeases(layout, self._consistency, finding))
        self.layout: Layout = layout
        self.where: str = self._service.where
        self.limits: Limits = Limits(value_bytes=layout.value_bytes, batch=READ_AT_ONCE, parallel=8, doubts=DOUBTS)

    # ---- Store

    async def delete(self, keys: Collection[str]) -> None:
        """Delete *keys*, and leases on them."""
        await self._drop(await self._loops.here(), set(map(self.layout.name_of, keys)))

    async def clear(self) -> None:
        """Delete all items of this namespace, page by page; the table stays."""
        here, items = await self._loops.here(), self._scan(self.layout.scanning(records_only=False))
        pages = (map(self.layout.name_in, page) async for page in items)
        async for names in marks_last(pages, self.layout.is_mark, batch=PAGE):
            await self._drop(here, names)

    def told_of(self, error: BaseException) -> str:
        """The part of *error* that contains no secret; of a missing table, region or credentials, how to get it."""
        if error_code(error) == NOT_THERE:
            return (
                f"there is no table {self.layout.table}; create it, or set create_if_not_exists "
                "(DYNAMODB__CREATE_TABLE=true)"
            )
        return missing(error) or super().told_of(error)

    # ---- Expiring

    async def delete_expired(self, now: float) -> int:
        """Delete records that have expired at *now*, for tables whose expiry is not switched on; costs a Scan."""
        here = await self._loops.here()
        count = 0
        async for page in self._scan(self.layout.scanning_expired(now)):
            names = list(map(self.layout.name_in, page))
            # On condition that the record was not replaced meanwhile.
            deletions = [self.layout.changing(name, "#u <= :now", {":now": {"N": f"{now:.3f}"}}) for name in names]
            for part in in_batches(deletions, DROPPED_AT_ONCE):
                count += sum(await asyncio.gather(*(is_met(here.client.delete_item(**each)) for each in part)))
            self._consistency.note(names)
        return count

    # ---- reading

    async def _find(self, here: Connection, keys: Sequence[str], *, frames: bool) -> Sequence[RowRecord]:
        """The records of *keys*, with one ``BatchGetItem``, or two if only some have to be read consistently."""
        items = await self._with_table(here, partial(self._read, here, keys, frames=frames))
        return list(filter(None, map(self.layout.record_in, items)))

    async def _with_table(self, here: Connection, call: Callable[[], Awaitable[T]]) -> T:
        """The result of *call*, which is repeated once if the table was gone and has been made again."""
        try:
            return await call()
        except Exception as exc:
            if error_code(exc) != NOT_THERE or not self._service.creates:
                raise
        await self._service.make_again(here)
        return await call()

    async def _read(self, here: Connection, keys: Sequence[str], *, frames: bool) -> Sequence[Attributes]:
        groups: dict[bool, list[Attributes]] = {}
        for name in dict.fromkeys(map(self.layout.name_of, keys)):
            groups.setdefault(not frames or self._consistency.is_due(name), []).append(self.layout.at(name))
        only = {} if frames else self.layout.projection
        reading = (
            read_items(here.client, self.layout.table, wanted, is_consistent=is_strict, only=only)
            for is_strict, wanted in groups.items()
        )
        answers = await asyncio.gather(*reading) if len(groups) != 1 else [await next(reading)]
        return [item for found in answers for item in found]

    async def _walk(self, *, frames: bool = False, infos: bool = False) -> AsyncGenerator[Sequence[RowRecord], None]:
        """Pages of a Scan, which reads, and is billed for, the whole table."""
        async for page in self._scan(self.layout.scanning(frames=frames, records_only=True, infos=infos)):
            yield list(filter(None, map(self.layout.record_in, page)))

    async def _scan(self, query: dict[str, Any]) -> AsyncGenerator[list[Attributes], None]:
        here = await self._loops.here()
        while True:
            answer = await here.client.scan(**query)
            page: list[Attributes] = part_of(answer, "Items")
            if page:
                yield page
            last = answer.get("LastEvaluatedKey")
            if not last:
                return
            query["ExclusiveStartKey"] = last

    # ---- writing

    async def _write(
        self, here: Connection, records: Mapping[str, RowRecord], held: Mapping[str, str]
    ) -> dict[str, StorageError]:
        """Write with one ``BatchWriteItem`` for each 25 records."""
        requests = {key: {"PutRequest": {"Item": self.layout.item_of(record)}} for key, record in records.items()}
        weights = {key: record.frame_bytes for key, record in records.items()}
        writing = partial(write_items, here.client, self.layout.table, requests, weights)
        failed = await self._with_table(here, writing)
        self._consistency.note(map(self.layout.name_of, records.keys() - failed.keys()))
        return failed

    async def _drop(self, here: Connection, names: Collection[str]) -> None:
        self._consistency.note(names)  # for reads meanwhile, and below from the end on
        deletions = {name: {"DeleteRequest": {"Key": self.layout.at(name)}} for name in names}
        for error in (await write_items(here.client, self.layout.table, deletions)).values():
            raise error
        self._consistency.note(names)

    # ---- rows

    def _code_of(self, error: BaseException) -> str:
        return error_code(error)
