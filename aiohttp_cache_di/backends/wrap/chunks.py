"""Splits items that are too large for one key of a store into chunks, and a head with the number of chunks.

Head and chunks contain a random generation. Chunks are written before their head, under keys that are the same for each
generation; a read while another generation is being written finds chunks that do not match the head, and is a miss.
If a new generation has fewer chunks, the surplus old ones are deleted if this process knows of them (it does if it has
looked the entry up before it replaces it); else they expire with their own generation.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Final, cast

import msgspec
from msgspec.structs import replace

from aiohttp_cache_di.backends.batches import in_batches
from aiohttp_cache_di.backends.bounded import Bounded
from aiohttp_cache_di.backends.store import (
    UNREADABLE,
    Found,
    Item,
    Lease,
    Limits,
    Record,
    Row,
    Store,
    Unreadable,
    Written,
)
from aiohttp_cache_di.backends.store.inspecting import packed_info
from aiohttp_cache_di.backends.store.sizes import RecordLimit, item_bytes
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.entries.items import Opaque, item_leads_on
from aiohttp_cache_di.errors import StorageError

if TYPE_CHECKING:
    from aiohttp_cache_di.backends.store.capabilities import LookingOrLeasing

__all__ = ["ChunkedStore"]

FRAME_BYTES: Final = 256  # at least what a frame and its MAC add to a chunk
MAX_REMEMBERED: Final = 4096  # keys whose number of chunks is remembered
_MARK: Final = b"\x00aiohttp-cache-di chunks\x00"
_CHUNK: Final = "\x00chunk "  # part of the key of a chunk; the keys of requests contain no zero byte


class _Head(msgspec.Struct, frozen=True, array_like=True):
    generation: bytes
    count: int


_encode = msgspec.msgpack.Encoder().encode


@cache
def _decoder() -> msgspec.msgpack.Decoder[_Head]:
    return msgspec.msgpack.Decoder(_Head)


class ChunkedStore:
    """A store for items of any size, on top of a store that limits their size.

    Args:
        store: the store; its `Limits.value_bytes` is the size of a chunk.
        codec: encodes the items that are split.
        value_bytes: returns the size of the largest item that is written or read.
    """

    def __init__(self, store: Store, codec: EntryCodec, value_bytes: Callable[[], int] | None = None) -> None:
        self._store = store
        self._codec = codec
        self._value_bytes = value_bytes or RecordLimit()
        self._piece_bytes = (store.limits.value_bytes or sys.maxsize) - FRAME_BYTES
        self._counts: Bounded[str, int] = Bounded(MAX_REMEMBERED)  # chunks, by keys that were read or written lately
        self.limits: Limits = msgspec.structs.replace(store.limits, value_bytes=None)

    async def get(self, keys: Sequence[str]) -> Sequence[Found | None]:
        """Look *keys* up, with the chunks of split items."""
        return [await self._whole(key, found) for key, found in zip(keys, await self._store.get(keys), strict=True)]

    async def get_or_acquire(self, key: str, ttl_s: float) -> Found | Lease | None:
        """See `LookingOrLeasing`; call it only if the store is one."""
        answer = await cast("LookingOrLeasing", self._store).get_or_acquire(key, ttl_s)
        return await self._whole(key, answer) if isinstance(answer, Found) else answer

    async def put(self, records: Sequence[Record]) -> Sequence[Written]:
        """Write *records*, the large ones in chunks."""
        heads: list[Record] = []
        failed: dict[int, StorageError] = {}
        for number, record in enumerate(records):
            try:
                heads.append(await self._split(record))
            except StorageError as exc:
                failed[number] = exc
        results = await self._store.put(heads) if heads else ()
        await self._drop_left_over(
            [record for record, result in zip(heads, results, strict=True) if not isinstance(result, StorageError)]
        )
        written = iter(results)
        return [failed[number] if number in failed else next(written) for number in range(len(records))]

    async def _drop_left_over(self, heads: Sequence[Record]) -> None:
        """Delete surplus chunks of the items that *heads* have replaced."""
        left_over: list[str] = []
        for record in heads:
            head = _head(record.item)
            count = 0 if head is None else head.count
            left_over += [_chunk_key(record.key, number) for number in range(count, self._counts.pop(record.key, 0))]
            self._note(record.key, count)
        with suppress(Exception):  # if that fails, they only take space until they expire
            await self._delete_chunks(left_over)

    def _note(self, key: str, count: int) -> None:
        if count:
            self._counts.note(key, count)

    async def _delete_chunks(self, names: Sequence[str]) -> None:
        for part in in_batches(names, self.limits.batch):
            await self._store.delete(part)

    async def delete(self, keys: Collection[str]) -> None:
        """Delete *keys* with their chunks."""
        asked = list(keys)
        chunks: list[str] = []
        for key, found in zip(asked, await self._store.get(asked), strict=True):
            head = None if found is None else _head(found.item)
            if head is not None and self._is_possible(head):
                chunks += [_chunk_key(key, number) for number in range(head.count)]
        await self._store.delete(keys)
        await self._delete_chunks(chunks)

    async def pages(self, *, items: bool) -> AsyncIterator[Sequence[Row]]:
        """Iterate over all records, without the chunks."""
        async for page in self._store.pages(items=items):
            rows = [row for row in page if self.is_record(row.key)]
            yield [await self._row(row) for row in rows] if items else rows

    @staticmethod
    def is_record(key: str) -> bool:
        """Whether *key* is the key of a record, not of a chunk."""
        return _CHUNK not in key

    async def clear(self) -> None:
        """Delete everything."""
        await self._store.clear()

    async def close(self) -> None:
        """Close the store."""
        await self._store.close()

    async def _row(self, row: Row) -> Row:
        if row.item is None or _head(row.item) is None:
            return row
        found = await self._whole(row.key, Found(row.item))
        return replace(row, item=UNREADABLE if found is None else found.item)

    async def _split(self, record: Record) -> Record:
        item, key = record.item, record.key
        if 2 * item_bytes(item) < self._piece_bytes:  # an estimate, so larger items are encoded to be sure
            return record
        data = self._codec.pack(item, key)
        if len(data) <= self._piece_bytes:
            return record
        if len(data) > self._value_bytes():
            raise StorageError(f"an entry of {len(data)} bytes is more than this cache keeps")
        generation = secrets.token_bytes(8)
        pieces = [data[first : first + self._piece_bytes] for first in range(0, len(data), self._piece_bytes)]
        chunks = [
            Record(name, Opaque(name, generation + piece), record.until)
            for number, piece in enumerate(pieces)
            for name in (_chunk_key(key, number),)
        ]
        for batch in in_batches(chunks, self.limits.batch):
            for written in await self._store.put(batch):
                if isinstance(written, StorageError):
                    raise written
        head = _encode(_Head(generation, len(pieces)))
        return replace(record, item=Opaque(key, _MARK + head, item_leads_on(item)), info=packed_info(record))

    async def _whole(self, key: str, found: Found | None) -> Found | None:
        head = None if found is None else _head(found.item)
        if found is None or head is None:
            return found
        if not self._is_possible(head):
            return Found(UNREADABLE, found.version)
        self._note(key, head.count)
        names = [_chunk_key(key, number) for number in range(head.count)]
        pieces: list[bytes] = []
        for batch in in_batches(names, self.limits.batch):
            for chunk in await self._store.get(batch):
                payload = chunk.item.payload if chunk is not None and isinstance(chunk.item, Opaque) else b""
                if not payload.startswith(head.generation):
                    return None
                pieces.append(payload[len(head.generation) :])
        item: Item | Unreadable = self._codec.unpack(b"".join(pieces), key)
        return Found(item, found.version)

    def _is_possible(self, head: _Head) -> bool:
        """Whether the number of chunks is plausible for the largest item; all chunks but the last are full."""
        return 0 <= (head.count - 1) * self._piece_bytes <= self._value_bytes()


def _head(item: Item | Unreadable | None) -> _Head | None:
    if not isinstance(item, Opaque) or not item.payload.startswith(_MARK):
        return None
    try:
        return _decoder().decode(memoryview(item.payload)[len(_MARK) :])
    except msgspec.MsgspecError:
        return None


def _chunk_key(key: str, number: int) -> str:
    return f"{key}{_CHUNK}{number}"
