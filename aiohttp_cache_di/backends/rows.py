"""The common part of stores that keep one row per key in a database server; the row also has the key's lease."""

from __future__ import annotations

import asyncio
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, ClassVar, Final, Generic, Protocol, TypeAlias, TypeVar

from msgspec import Struct

from aiohttp_cache_di.backends.loops import DetachedCalls, PerLoop, aside
from aiohttp_cache_di.backends.store import UNREADABLE, Found, Item, Lease, Record, Row, Unreadable, Written
from aiohttp_cache_di.backends.store.inspecting import InfoRow, Wanted
from aiohttp_cache_di.backends.store.sizes import item_bytes
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.entries.info import unpack_info
from aiohttp_cache_di.errors import StorageError

__all__ = ["HeldLease", "OfLoop", "RowLayout", "RowLeases", "RowStore"]

LOOKS_ALONE_FOR_S: Final = 60.0  # how long look-ups ask for no lease after the server has refused one
MAX_HELD: Final = 4096  # remembered leases; with more, expired ones are forgotten


class HeldLease(Struct, frozen=True):
    """A lease that was granted.

    Args:
        token: identifies the owner to the server.
        until: loop time when it expires, unless renewed.
    """

    token: str
    until: float


class OfLoop(ABC):
    """The connection of one event loop to a server; subclasses add the driver's client.

    Attributes:
        calls: calls that may outlive their callers.
        held: the leases that this loop holds, by key.
        looks_alone_until: monotonic time until which look-ups ask for no lease, because the server has refused one.
    """

    def __init__(self) -> None:
        self.calls: DetachedCalls = DetachedCalls()
        self.held: dict[str, HeldLease] = {}
        self.looks_alone_until: float = 0.0

    def look_alone(self) -> None:
        """For a while, do not ask for a lease with a look-up: that is a write, which the server has refused."""
        self.looks_alone_until = time.monotonic() + LOOKS_ALONE_FOR_S

    def hold(self, key: str, token: str, ttl_s: float) -> None:
        """Remember the lease on *key*."""
        now = asyncio.get_running_loop().time()
        if len(self.held) >= MAX_HELD:
            self.held = {key: held for key, held in self.held.items() if held.until > now}
        self.held[key] = HeldLease(token, now + ttl_s)

    @abstractmethod
    async def close(self) -> None:
        """Stop background tasks, and close the driver's client if the store has made it."""


C = TypeVar("C", bound=OfLoop)
R = TypeVar("R")
C_contra = TypeVar("C_contra", bound=OfLoop, contravariant=True)
R_contra = TypeVar("R_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)
A = TypeVar("A")

Ask: TypeAlias = Callable[[C, str, str, float], Coroutine[Any, Any, A]]
"""Asks for a lease; takes the loop's connection, the key, the token of the owner and seconds."""


class RowLayout(Protocol[R_contra]):
    """Where the values are in a row."""

    def key_in(self, row: R_contra) -> str:
        """The key of *row*."""
        ...

    def frame_in(self, row: R_contra) -> object:
        """The value that is stored as the frame, which may be damaged; None if there is none."""
        ...

    def info_in(self, row: R_contra) -> Any:
        """The packed info (`pack_info`) of the record in *row*; None if there is none."""
        ...

    def has_record(self, row: R_contra, now_s: float) -> bool:
        """Whether *row* has a record, not only a lease, that has not expired at *now_s* (POSIX time)."""
        ...

    def leads_on(self, row: R_contra) -> bool:
        """Whether the record in *row* is a redirect or an alias."""
        ...

    def fits(self, record: Record, frame: bytes) -> bool:
        """Whether a row for *record* with *frame* is within the server's size limit."""
        ...


class RowLeases(Protocol[C_contra, R_co]):
    """The calls to a server for leases."""

    async def take(self, here: C_contra, key: str, token: str, ttl_s: float) -> Lease:
        """Ask for the lease on *key*."""
        ...

    async def look_or_take(self, here: C_contra, key: str, token: str, ttl_s: float) -> R_co | Lease | None:
        """The row of *key* if it has a record; else the answer to a request for the lease; None if none was made."""
        ...

    async def renew(self, here: C_contra, key: str, token: str, ttl_s: float) -> bool:
        """Extend a lease to *ttl_s* seconds from now; False if it is lost."""
        ...

    async def release(self, here: C_contra, key: str, token: str) -> None:
        """Release the lease of *token* on *key*, and delete the row if it has no record."""


class RowStore(ABC, Generic[C, R]):
    """A store that reads rows as records, and writes records as rows.

    A row has a frame (see `EntryCodec`), and beside it the info for listings, which is read without the frame. An
    expired row counts as missing, whether the server has deleted it or not.

    Args:
        codec: encodes items as frames.
        connect: connects the running loop to the server.
        layout: where the values are in a row.
        leases: the calls to the server for leases.
    """

    make: ClassVar[str]
    """The name of the server's product, for messages."""

    def __init__(
        self,
        codec: EntryCodec,
        connect: Callable[[], Coroutine[Any, Any, C]],
        layout: RowLayout[R],
        leases: RowLeases[C, R],
    ) -> None:
        self._codec = codec
        self._loops = PerLoop(connect, _close)
        self._layout = layout
        self._leases = leases

    # ---- different in each store

    @abstractmethod
    async def get(self, keys: Sequence[str]) -> Sequence[Found | None]:
        """Look up *keys*; return a result for each, in the same order."""

    @abstractmethod
    async def _write(self, here: C, frames: Mapping[str, tuple[Record, bytes]]) -> dict[str, StorageError]:
        """Write records, by key; return errors by key for those that could not be written."""

    @abstractmethod
    def _walk(self, *, items: bool = False, infos: bool = False) -> AsyncGenerator[Sequence[R], None]:
        """Iterate over the rows of all records, a page at a time: with frames (*items*), infos (*infos*) or neither."""

    @abstractmethod
    def _code_of(self, error: BaseException) -> str:
        """The server's name for *error*; "" if it does not come from the server."""

    # ---- Store

    async def put(self, records: Sequence[Record]) -> Sequence[Written]:
        """Write *records* in as few calls as the server allows, and release leases together with their records."""
        here = await self._loops.here()
        latest = {record.key: record for record in records}
        frames, failed = await aside(
            partial(self._packed, latest), sum(item_bytes(each.item) for each in latest.values())
        )
        if frames:
            failed |= await self._write(here, frames)
        for key, record in latest.items():
            if record.leased and key not in failed:
                here.held.pop(key, None)
        return [failed.get(record.key, 0) for record in records]

    async def pages(self, *, items: bool) -> AsyncIterator[Sequence[Row]]:
        """Iterate over all records, a page at a time."""
        async with aclosing(self._walk(items=items)) as pages:
            async for page in pages:
                yield await aside(partial(self._rows, page, items), self._weight(page))

    async def infos(self, wanted: Wanted) -> AsyncIterator[Sequence[InfoRow]]:
        """Find records by the info beside their frames, without reading the frames."""
        async with aclosing(self._walk(infos=True)) as pages:
            async for page in pages:
                yield self._info_rows(page, wanted)

    async def close(self) -> None:
        """Close the running loop's client, unless the user has provided it."""
        await self._loops.close()

    def told_of(self, error: BaseException) -> str:
        """The part of *error* that contains no secret: the server's code, or our own message."""
        return str(error) if isinstance(error, StorageError) else self._code_of(error)

    # ---- Leasing

    async def acquire(self, key: str, ttl_s: float) -> Lease:
        """Ask for the lease on *key*."""
        return await self._leased(await self._loops.here(), key, ttl_s, self._leases.take)

    async def get_or_acquire(self, key: str, ttl_s: float) -> Found | Lease | None:
        """The record under *key*, or else the answer to a request for its lease, in one conditional write."""
        here = self._loops.now() or await self._loops.here()
        if time.monotonic() < here.looks_alone_until:
            return (await self.get((key,)))[0]
        row = await self._leased(here, key, ttl_s, self._leases.look_or_take)
        if row is None or isinstance(row, Lease):
            return row
        return (await self._answers((key,), (row,)))[0]

    async def renew(self, key: str, ttl_s: float) -> bool:
        """Extend the lease on *key* to *ttl_s* seconds from now, unless it has passed to another process."""
        here = await self._loops.here()
        held = here.held.get(key)
        if held is None:
            return False
        is_held = await self._leases.renew(here, key, held.token, ttl_s)
        if key in here.held:  # not released meanwhile
            here.hold(key, held.token, ttl_s)
        return is_held

    async def release(self, key: str) -> None:
        """Release the lease on *key*, unless it has passed to another process."""
        here = await self._loops.here()
        held = here.held.pop(key, None)
        if held is not None:
            await here.calls.run(self._leases.release(here, key, held.token))

    async def _leased(self, here: C, key: str, ttl_s: float, ask: Ask[C, A]) -> A:
        """The answer of *ask*; a granted lease is remembered, or released if the caller was cancelled meanwhile."""
        token = secrets.token_hex(12)
        answer = await here.calls.run_or_undo(
            ask(here, key, token, ttl_s), lambda: self._leases.release(here, key, token)
        )
        if isinstance(answer, Lease) and answer:
            here.hold(key, token, ttl_s)
        return answer

    # ---- rows as records

    async def _answers(self, keys: Sequence[str], rows: Sequence[R]) -> list[Found | None]:
        """The records in *rows*, which may be in any order, for *keys*."""
        return await aside(partial(self._found, keys, rows), self._weight(rows))

    def _kinds(self, keys: Sequence[str], rows: Sequence[R]) -> list[bool | None]:
        """Whether each of *keys* has a redirect or an alias; None if it has no record."""
        now = time.time()
        kinds = {
            self._layout.key_in(row): self._layout.leads_on(row) for row in rows if self._layout.has_record(row, now)
        }
        return [kinds.get(key) for key in keys]

    def _found(self, keys: Sequence[str], rows: Sequence[R]) -> list[Found | None]:
        now = time.time()
        there = {self._layout.key_in(row): row for row in rows if self._layout.has_record(row, now)}
        return [Found(self._item(there[key], key)) if key in there else None for key in keys]

    def _rows(self, page: Sequence[R], items: bool) -> list[Row]:
        now = time.time()
        return [
            Row(key, self._layout.leads_on(row), self._item(row, key) if items else None)
            for key, row in [(self._layout.key_in(row), row) for row in page if self._layout.has_record(row, now)]
        ]

    def _info_rows(self, page: Sequence[R], wanted: Wanted) -> list[InfoRow]:
        now = time.time()
        rows: list[InfoRow] = []
        for row in page:
            if self._layout.has_record(row, now):
                key = self._layout.key_in(row)
                info = unpack_info(self._layout.info_in(row), key)
                if info is None or wanted(info):
                    rows.append(InfoRow(key, info))
        return rows

    def _item(self, row: R, key: str) -> Item | Unreadable:
        frame = self._layout.frame_in(row)
        return self._codec.unpack(frame, key) if isinstance(frame, bytes) else UNREADABLE

    def _weight(self, rows: Sequence[R]) -> int:
        """Total size of the frames in *rows*, in bytes."""
        return sum(len(frame) for frame in map(self._layout.frame_in, rows) if isinstance(frame, bytes))

    # ---- records as rows

    def _packed(self, records: Mapping[str, Record]) -> tuple[dict[str, tuple[Record, bytes]], dict[str, StorageError]]:
        frames: dict[str, tuple[Record, bytes]] = {}
        failed: dict[str, StorageError] = {}
        for key, record in records.items():
            try:
                frame = self._codec.pack(record.item, key)
            except StorageError as exc:
                failed[key] = exc
                continue
            if self._layout.fits(record, frame):
                frames[key] = record, frame
            else:
                failed[key] = StorageError(f"an entry of {len(frame)} bytes is too large for {self.make}")
        return frames, failed


async def _close(here: OfLoop) -> None:
    await here.close()
