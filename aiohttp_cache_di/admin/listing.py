"""The table of entries: one walk over the store answers a query, and its result is kept while it is paged through.

A store can be walked but neither sorts nor has pages. So one walk collects the entries that a query selects, packed and
sorted, and pages are slices of that. A listing takes about 300 bytes per entry, is bounded, and is dropped when no page
of it was requested for a minute. A walk that takes too long ends early, and its listing says so.
"""

from __future__ import annotations

import asyncio
import heapq
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from aiohttp_cache_di.admin.messages import AdminError
from aiohttp_cache_di.admin.preview import shown
from aiohttp_cache_di.backends.calls import SharedTask
from aiohttp_cache_di.entries.info import EntryInfo

__all__ = ["MAX_ROWS", "Listing", "Listings", "Order", "Query", "Sort"]

MAX_ROWS: Final = 200_000
"""The most rows of a listing; of more, those that come first in its order."""

MAX_PACKED_BYTES: Final = 96 * 1024 * 1024
CHUNK: Final = 250  # entries, after which the walk yields to other tasks: some 3 ms of work
IDLE_S: Final = 60.0
YOUNG_S: Final = 2.0  # so old a listing is used for the same query without a walk
WITHIN_S: Final = 30.0  # after which a walk ends
MAX_KEPT: Final = 3
MAX_WALKS: Final = 2

Sort: TypeAlias = Literal["url", "method", "status", "type", "size", "stored", "fresh", "partition"]
Order: TypeAlias = Literal["asc", "desc"]

_VALUES: Final[dict[Sort, Callable[[EntryInfo], Any]]] = {
    "url": lambda info: info.url,
    "method": lambda info: info.method,
    "status": lambda info: info.status,
    "type": lambda info: info.content_type,
    "size": lambda info: info.body_bytes,
    "stored": lambda info: info.stored_at,
    "fresh": lambda info: info.fresh_until,
    "partition": lambda info: info.partition,
}

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(EntryInfo).decode


class Query(Struct, frozen=True):
    """Which entries, and in which order.

    Args:
        words: in lower case; each has to occur in the columns of an entry.
        state: "fresh" or "stale"; "" for either.
        partition: a short id; "-" for entries without one; "" for any.
        selectors: those of `CacheBackend.entries`, as pairs.
    """

    words: tuple[str, ...] = ()
    state: Literal["", "fresh", "stale"] = ""
    partition: str = ""
    sort: Sort = "stored"
    order: Order = "desc"
    selectors: tuple[tuple[str, str], ...] = ()

    def is_meant(self, info: EntryInfo, now: float) -> bool:
        """Whether the query selects *info*, which its `selectors` do."""
        if self.state and (info.fresh_until > now) != (self.state == "fresh"):
            return False
        if self.partition and info.partition != ("" if self.partition == "-" else self.partition):
            return False
        if not self.words:
            return True
        told = (info.method, info.url, str(info.status), info.content_type, info.variant, info.partition, *info.tags)
        text = " ".join(told).lower()
        return all(word in text for word in self.words)


class Listing:
    """The entries that a query selected at one moment, in order.

    Args:
        rows: the packed entries.
        total: the number of all entries that the query selects, beyond `MAX_ROWS` too.
        body_bytes: the size of their bodies together.
        is_all: whether the walk has come to the end of the store.
    """

    def __init__(self, query: Query, rows: list[bytes], total: int, body_bytes: int, *, is_all: bool) -> None:
        self.id: str = secrets.token_hex(8)
        self.query = query
        self.at: float = time.time()
        self.total = total
        self.body_bytes = body_bytes
        self.is_all = is_all
        self._rows = rows
        self.used_at: float = time.monotonic()

    def __len__(self) -> int:
        return len(self._rows)

    def page(self, offset: int, limit: int) -> list[EntryInfo]:
        """The entries from *offset* on."""
        self.used_at = time.monotonic()
        return [_unpack(row) for row in self._rows[offset : offset + limit]]


class _Collector:
    """Sorts entries in runs, each short enough to be sorted without holding up the event loop."""

    def __init__(self, query: Query) -> None:
        self._value = _VALUES[query.sort]
        self._is_down = query.order == "desc"
        self._runs: list[list[tuple[Any, int, bytes]]] = []
        self._run: list[tuple[Any, int, bytes]] = []
        self._kept = self._weight = 0

    def add(self, info: EntryInfo, number: int) -> None:
        try:
            packed = _pack(info)
        except UnicodeError:  # a URL with a lone surrogate, which no store returns
            packed = _pack(msgspec.structs.replace(info, url=shown(info.url)))
        self._run.append((self._value(info), number, packed))
        self._kept += 1
        self._weight += len(packed)

    async def rest(self) -> None:
        """Sort the entries added since the last call, and yield to other tasks."""
        self._run.sort(reverse=self._is_down)
        self._runs.append(self._run)
        self._run = []
        if self._kept > 1.25 * MAX_ROWS or self._weight > 1.25 * MAX_PACKED_BYTES:
            self._runs = [await self._merged()]
        await asyncio.sleep(0)

    async def rows(self) -> list[bytes]:
        return [packed for _, _, packed in await self._merged()]

    async def _merged(self) -> list[tuple[Any, int, bytes]]:
        self._run.sort(reverse=self._is_down)
        merged: list[tuple[Any, int, bytes]] = []
        weight = 0
        for one in heapq.merge(*self._runs, self._run, reverse=self._is_down):
            weight += len(one[2])
            if len(merged) >= MAX_ROWS or weight > MAX_PACKED_BYTES:
                break
            merged.append(one)
            if not len(merged) % CHUNK:
                await asyncio.sleep(0)
        self._kept, self._weight = len(merged), weight
        return merged


async def collect(entries: AsyncGenerator[EntryInfo], query: Query) -> Listing:
    """Make a listing of those of *entries* that *query* selects, as far as they come within `WITHIN_S`."""
    collector, now = _Collector(query), time.time()
    seen = total = body_bytes = 0
    limit = asyncio.timeout(WITHIN_S)  # a store that is searched for few entries may return none for long
    try:
        async with limit, aclosing(entries):
            async for info in entries:
                seen += 1
                if query.is_meant(info, now):
                    total += 1
                    body_bytes += info.body_bytes
                    collector.add(info, total)
                if not seen % CHUNK:
                    await collector.rest()
    except TimeoutError:
        if not limit.expired():
            raise
    return Listing(query, await collector.rows(), total, body_bytes, is_all=not limit.expired())


class Listings:
    """The listings of one cache that are being paged through."""

    def __init__(self) -> None:
        self._kept: dict[str, Listing] = {}
        self._walks: SharedTask[Listing] = SharedTask("the list of entries")
        self._timer: asyncio.TimerHandle | None = None

    async def get(self, query: Query, entries: Callable[[], AsyncGenerator[EntryInfo]], known_id: str = "") -> Listing:
        """The listing *known_id* if it is still kept, else a recent one of the same query, else a new one.

        Raises:
            AdminError: too many walks are running.
        """
        known = self._kept.get(known_id)
        if known is not None and known.query == query:
            return known
        for listing in self._kept.values():  # an id of another worker's listing: continue with ours of the same query
            if listing.query == query and (known_id or time.time() - listing.at < YOUNG_S):
                return listing
        if len(self._walks) >= MAX_WALKS and self._walks.here(query) is None:
            raise AdminError(
                503,
                "busy",
                "the store is being searched for other requests; try again in a second",
                {"Retry-After": "1"},
            )
        return await self._walks.run(lambda: self._make(query, entries), query)

    def forget(self) -> None:
        """Drop all listings, as after a purge."""
        self._kept.clear()

    def close(self) -> None:
        """Drop all listings, and cancel the walks in this event loop."""
        self.forget()
        if self._timer is not None:
            self._timer.cancel()
        self._walks.cancel()

    async def _make(self, query: Query, entries: Callable[[], AsyncGenerator[EntryInfo]]) -> Listing:
        listing = await collect(entries(), query)
        while len(self._kept) >= MAX_KEPT:
            del self._kept[min(self._kept.values(), key=lambda one: one.used_at).id]
        self._kept[listing.id] = listing
        self._watch()
        return listing

    def _watch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(IDLE_S / 4, self._drop_idle)

    def _drop_idle(self) -> None:
        self._timer = None
        now = time.monotonic()
        self._kept = {one.id: one for one in self._kept.values() if now - one.used_at < IDLE_S}
        if self._kept:
            self._watch()
