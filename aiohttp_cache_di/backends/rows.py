"""The common part of stores that keep one row per key in a database server; the row also has the key's lease."""

from __future__ import annotations

import math
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, ClassVar, Final, Generic, Protocol, TypeAlias, TypeVar

from msgspec import Struct

from aiohttp_cache_di.backends.bounded import MAX_HELD, Bounded
from aiohttp_cache_di.backends.calls import DetachedCalls, SharedTask, aside, conclude
from aiohttp_cache_di.backends.loops import PerLoop
from aiohttp_cache_di.backends.store import UNREADABLE, Found, Item, Lease, Limits, Record, Row, Unreadable, Written
from aiohttp_cache_di.backends.store.inspecting import InfoRow, Wanted, packed_info
from aiohttp_cache_di.backends.store.sizes import item_bytes
from aiohttp_cache_di.entries.codec import EntryCodec, leads_on
from aiohttp_cache_di.entries.info import unpack_info
from aiohttp_cache_di.errors import StorageError

__all__ = ["FAR_AT", "LeaseTerms", "OfLoop", "RowLeases", "RowRecord", "RowStore"]

LOOKS_ALONE_FOR_S: Final = 60.0  # how long look-ups ask for no lease after the server has refused one
FAR_AT: Final = 253_402_300_800.0  # the year 10000: a record that expires later never does


class OfLoop:
    """The connection of one event loop to a server; subclasses add the driver's client.

    Args:
        closing: closes the driver's client; None for one that its user closes.

    Attributes:
        tasks: background tasks by name, which end with the connection.
        calls: calls that may outlive their callers.
        held: the tokens of the leases that this loop holds, by key.
        looks_alone_until: monotonic time until which look-ups ask for no lease, because the server has refused one.
    """

    def __init__(self, closing: Callable[[], Coroutine[Any, Any, object]] | None) -> None:
        self.tasks: SharedTask[None] = SharedTask("the connection to the store")
        self.calls: DetachedCalls = DetachedCalls()
        self.held: Bounded[str, str] = Bounded(MAX_HELD)
        self.looks_alone_until: float = 0.0
        self._closing = closing

    def look_alone(self) -> None:
        """For a while, do not ask for a lease with a look-up: that is a write, which the server has refused."""
        self.looks_alone_until = time.monotonic() + LOOKS_ALONE_FOR_S

    async def close(self) -> None:
        """End the background tasks, finish the calls, and close the driver's client unless its user does."""
        await self.tasks.end()
        await self.calls.finish()
        if self._closing is not None:
            await conclude(self._closing())


C = TypeVar("C", bound=OfLoop)
C_contra = TypeVar("C_contra", bound=OfLoop, contravariant=True)
A = TypeVar("A")


class LeaseTerms(Struct, frozen=True):
    """A lease that is asked for.

    Args:
        token: identifies the owner to the server.
        now_ms: the time, in POSIX milliseconds, by the clock that the processes go by.
        end_ms: the time at which the lease ends, unless it is renewed.
    """

    key: str
    token: str
    now_ms: int
    end_ms: int

    def live(self, record: RowRecord | None) -> RowRecord | None:
        """*record*, unless there is none or it has expired."""
        return record if record is not None and record.until * 1000 > self.now_ms else None


Ask: TypeAlias = Callable[[C, LeaseTerms], Coroutine[Any, Any, A]]


class RowRecord(Struct, frozen=True):
    """The record in a row.

    Args:
        until: POSIX time at which it expires; ``inf`` for never. In records to write it is at least 0, and before
            `FAR_AT`.
        frame: the value that is stored as the frame, which may be damaged; None if it was not read.
        info: the packed info (`pack_info`); None if there is none, or if it was not read.
    """

    key: str
    leads_on: bool
    until: float
    frame: object = None
    info: Any = None

    @property
    def frame_bytes(self) -> int:
        """The size of the frame, if it was read."""
        return len(self.frame) if isinstance(self.frame, bytes) else 0


class RowLeases(Protocol[C_contra]):
    """The calls to a server for leases."""

    async def take(self, here: C_contra, terms: LeaseTerms) -> Lease:
        """Ask for a lease."""
        ...

    async def look_or_take(self, here: C_contra, terms: LeaseTerms) -> RowRecord | Lease | None:
        """The record of the key if there is one; else the answer to a request for the lease; None if none was made.

        If the server refuses the call, the key is looked up without a lease, which may need fewer rights.
        """
        ...

    async def renew(self, here: C_contra, terms: LeaseTerms) -> bool:
        """Let a lease end at the time of *terms*; False if it is lost."""
        ...

    async def release(self, here: C_contra, key: str, token: str) -> None:
        """Release the lease of *token* on *key*, and delete the row if it has no record."""


class RowStore(ABC, Generic[C]):
    """A store that writes each record to a row, with a frame (see `EntryCodec`) and the info for listings.

    An expired row counts as missing, whether the server has deleted it or not.

    Args:
        codec: encodes items as frames.
        connect: connects the running loop to the server.
        leases: the calls to the server for leases.
    """

    make: ClassVar[str]
    """The name of the server's product, for messages."""
    key_bytes: ClassVar[int]
    """The size of the longest key that fits beside a frame of `Limits.value_bytes`."""
    limits: Limits

    def __init__(self, codec: EntryCodec, connect: Callable[[], Coroutine[Any, Any, C]], leases: RowLeases[C]) -> None:
        self._codec = codec
        self._loops = PerLoop(connect, OfLoop.close)
        self._leases = leases

    # ---- different in each store

    @abstractmethod
    async def _find(self, here: C, keys: Sequence[str], *, frames: bool) -> Sequence[RowRecord]:
        """The records of *keys* in any order, with frames or without, in as few calls as the server allows."""

    @abstractmethod
    async def _write(
        self, here: C, records: Mapping[str, RowRecord], held: Mapping[str, str]
    ) -> dict[str, StorageError]:
        """Write records, by key, with all their values.

        Args:
            held: tokens, by key, of leases to release with their records if the server can do that.

        Returns:
            Errors by key for those that could not be written.
        """

    @abstractmethod
    def _walk(self, *, frames: bool = False, infos: bool = False) -> AsyncGenerator[Sequence[RowRecord], None]:
        """Iterate over all records, a page at a time, with frames, infos or neither."""

    @abstractmethod
    def _code_of(self, error: BaseException) -> str:
        """The server's name for *error*; "" if it does not come from the server."""

    async def _now_ms(self, here: C) -> int:
        """The time in POSIX milliseconds by which leases end; by default that of this process."""
        return round(time.time() * 1000)

    # ---- Store

    async def get(self, keys: Sequence[str]) -> Sequence[Found | None]:
        """Look up *keys*; return a result for each, in the same order."""
        here = self._loops.now() or await self._loops.here()
        return await self._answers(keys, await self._find(here, keys, frames=True))

    async def kinds(self, keys: Sequence[str]) -> Sequence[bool | None]:
        """For each of *keys*, whether its record leads on, without reading frames; None if there is no record."""
        there = _current(await self._find(await self._loops.here(), keys, frames=False))
        return [there[key].leads_on if key in there else None for key in keys]

    async def put(self, records: Sequence[Record]) -> Sequence[Written]:
        """Write *records* in as few calls as the server allows, and release leases together with their records."""
        here = await self._loops.here()
        latest = {record.key: record for record in records}
        packed, failed = await aside(
            partial(self._packed, latest), sum(item_bytes(each.item) for each in latest.values())
        )
        leased = [key for key, record in latest.items() if record.leased]
        if packed:
            held = {key: here.held[key] for key in leased if key in here.held}
            failed |= await self._write(here, packed, held)
        for key in leased:
            if key not in failed:
                here.held.pop(key, None)
        return [failed.get(record.key, 0) for record in records]

    async def pages(self, *, items: bool) -> AsyncIterator[Sequence[Row]]:
        """Iterate over all records, a page at a time."""
        async with aclosing(self._walk(frames=items)) as pages:
            async for page in pages:
                yield await aside(partial(self._rows, page, items), _weight(page))

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
        """The record under *key*, or else the answer to a request for its lease, which a conditional write takes."""
        here = self._loops.now() or await self._loops.here()
        if time.monotonic() < here.looks_alone_until:
            return (await self.get((key,)))[0]
        try:
            found = await self._leased(here, key, ttl_s, self._leases.look_or_take)
        except Exception as exc:
            if not self._code_of(exc):
                raise
            # Writes are denied or throttled, or there is no table: a look-up does not depend on that.
            here.look_alone()
            return (await self.get((key,)))[0]
        if found is None or isinstance(found, Lease):
            return found
        return (await self._answers((key,), (found,)))[0]

    async def renew(self, key: str, ttl_s: float) -> bool:
        """Extend the lease on *key* to *ttl_s* seconds from now, unless it has passed to another process."""
        here = await self._loops.here()
        token = here.held.get(key)
        return token is not None and await self._leases.renew(here, await self._terms(here, key, token, ttl_s))

    async def release(self, key: str) -> None:
        """Release the lease on *key*, unless it has passed to another process."""
        here = await self._loops.here()
        token = here.held.pop(key, None)
        if token is not None:
            await here.calls.run(self._leases.release(here, key, token))

    async def _leased(self, here: C, key: str, ttl_s: float, ask: Ask[C, A]) -> A:
        """The answer of *ask*; a granted lease is remembered, or released if the caller was cancelled meanwhile."""
        token = secrets.token_hex(12)

        async def asked() -> A:
            return await ask(here, await self._terms(here, key, token, ttl_s))

        answer = await here.calls.run_or_undo(asked(), lambda: self._leases.release(here, key, token))
        if isinstance(answer, Lease) and answer:
            here.held.note(key, token)
        return answer

    async def _terms(self, here: C, key: str, token: str, ttl_s: float) -> LeaseTerms:
        now_ms = await self._now_ms(here)
        return LeaseTerms(key, token, now_ms, now_ms + max(1, round(ttl_s * 1000)))

    # ---- rows as records

    async def _answers(self, keys: Sequence[str], records: Sequence[RowRecord]) -> list[Found | None]:
        """The results for *keys*, of which *records* were read."""
        return await aside(partial(self._found, keys, records), _weight(records))

    def _found(self, keys: Sequence[str], records: Sequence[RowRecord]) -> list[Found | None]:
        there = _current(records)
        return [Found(self._item(there[key])) if key in there else None for key in keys]

    def _rows(self, page: Sequence[RowRecord], items: bool) -> list[Row]:
        return [
            Row(key, record.leads_on, self._item(record) if items else None) for key, record in _current(page).items()
        ]

    def _info_rows(self, page: Sequence[RowRecord], wanted: Wanted) -> list[InfoRow]:
        infos = [(key, unpack_info(record.info, key)) for key, record in _current(page).items()]
        return [InfoRow(key, info) for key, info in infos if info is None or wanted(info)]

    def _item(self, record: RowRecord) -> Item | Unreadable:
        return self._codec.unpack(record.frame, record.key) if isinstance(record.frame, bytes) else UNREADABLE

    # ---- records as rows

    def _packed(self, records: Mapping[str, Record]) -> tuple[dict[str, RowRecord], dict[str, StorageError]]:
        packed: dict[str, RowRecord] = {}
        failed: dict[str, StorageError] = {}
        for key, record in records.items():
            try:
                frame = self._codec.pack(record.item, key)
            except StorageError as exc:
                failed[key] = exc
                continue
            key_bytes = len(key.encode("utf-8", "surrogatepass"))
            if len(frame) + key_bytes <= (self.limits.value_bytes or math.inf) + self.key_bytes:
                until = max(record.until, 0.0) if record.until < FAR_AT else math.inf
                packed[key] = RowRecord(key, leads_on(frame), until, frame, packed_info(record))
            else:
                failed[key] = StorageError(f"an entry of {len(frame)} bytes is too large for {self.make}")
        return packed, failed


def _current(records: Sequence[RowRecord]) -> dict[str, RowRecord]:
    """Those of *records* that have not expired, by key."""
    now = time.time()
    return {record.key: record for record in records if record.until > now}


def _weight(records: Sequence[RowRecord]) -> int:
    """Total size of the frames of *records*, in bytes."""
    return sum(record.frame_bytes for record in records)
