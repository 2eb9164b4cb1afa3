"""The work of a purge: counting entries, and deleting them or making them stale."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing, suppress
from typing import Final

from msgspec.structs import replace

from aiohttp_cache_di.backends.batches import in_batches
from aiohttp_cache_di.backends.operating.deleting import Deleting, delete_each
from aiohttp_cache_di.backends.operating.selection import Selectors, selection, tags_in
from aiohttp_cache_di.backends.store.inspecting import Purged
from aiohttp_cache_di.backends.wrap import upkeep
from aiohttp_cache_di.backends.wrap.stack import StoreStack
from aiohttp_cache_di.entries.info import EntryInfo
from aiohttp_cache_di.errors import StorageError
from aiohttp_cache_di.telemetry import CacheStats

__all__ = ["PurgeTotals", "Sweeps", "TagPurge", "batched", "drop_all", "soften"]

logger: logging.Logger = logging.getLogger(__name__)

PURGED_AT_A_TIME: Final = 256
SOFTENED_AT_A_TIME: Final = 32  # fewer, since their bodies are read


class PurgeTotals:
    """The number and size of the entries that a purge has found so far.

    Args:
        stats: counters that are increased, too; None for none.
    """

    def __init__(self, stats: CacheStats | None = None) -> None:
        self._stats = stats
        self.entries: int = 0
        self.bytes: int = 0

    def add(self, infos: Collection[EntryInfo]) -> None:
        """Add *infos*."""
        self.entries += len(infos)
        if self._stats is not None:
            self._stats.counts.here().purged += len(infos)
        self.bytes += sum(info.body_bytes for info in infos)


class TagPurge:
    """A purge by tags: takes effect at once; entries are counted and deleted afterwards, partly in the background.

    Args:
        backend: the backend.
        selectors: selectors by tags only.
        sweeps: those of the backend in the running loop.
    """

    def __init__(self, backend: Deleting, selectors: Selectors, sweeps: Sweeps) -> None:
        self.backend = backend
        self.stack: StoreStack = backend.stack
        self.tags: frozenset[str] = frozenset(tags_in(selectors))
        self.totals: PurgeTotals = PurgeTotals(backend.stats)
        self.number: int = 0
        """The number of the purge, once it has taken effect."""
        self._sweeps = sweeps
        self._done = asyncio.Event()
        self._is_counted = False
        self._error: Exception | None = None

    async def run(self, *, soft: bool, within_s: float) -> Purged:
        """Purge; return what was counted within *within_s* seconds, and before the store failed.

        The count needs a walk over all entries, which some proxies and users of a server may not do; the purge itself
        does not.
        """
        if soft:  # counted first, since later they look like all other stale entries
            self.stack.here().tasks.spawn(self._count(), owner=self.backend)
            await self._in_time(within_s)
            await upkeep.purge_tags(self.stack, self.tags, soft=True)
        else:
            self.number = await upkeep.purge_tags(self.stack, self.tags)
            self._sweeps.add(self)
            await self._in_time(within_s)
        return Purged(self.totals.entries, self.totals.bytes, self._is_counted)

    def concerns(self, info: EntryInfo) -> bool:
        """Whether this purge has made the entry of *info* unusable."""
        is_older = info.tagging is None or info.tagging.purges < self.number
        return is_older and not self.tags.isdisjoint(info.tags)

    def end(self, error: BaseException | None = None) -> None:
        """Note that all entries were counted, or the *error* that has prevented it."""
        self._is_counted = error is None
        if isinstance(error, StorageError):
            logger.warning("Purge by tags: not all of the entries can be counted and deleted: %s", error)
        elif isinstance(error, Exception):
            self._error = error
        self._done.set()

    async def _in_time(self, within_s: float) -> None:
        """Wait *within_s* seconds for the count, which continues in the background after that."""
        if within_s <= 0:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(None if within_s == math.inf else within_s):
                await self._done.wait()
        if self._error is not None:
            raise self._error

    async def _count(self) -> None:
        now = time.time()
        wanted = selection({"tags": sorted(self.tags)}).having(lambda info: info.fresh_until > now)
        try:
            async with aclosing(batched(upkeep.infos(self.stack, wanted))) as batches:
                async for found in batches:
                    self.totals.add(found.values())
                    unmarked = [key for key, info in found.items() if info.tagging is None]
                    if unmarked:  # stored by a version without marks
                        await soften(self.backend, unmarked, now)
        except BaseException as error:
            self.end(error)
            if not isinstance(error, Exception):
                raise
        else:
            self.end()


class Sweeps:
    """Deletes the entries that purges by tag have made unusable, in one event loop.

    One walk over the store at a time, for all purges that wait: many purges of a large store, such as one for each
    product that changes, would otherwise keep it busy with a walk each.
    """

    def __init__(self) -> None:
        self._waiting: list[TagPurge] = []
        self._is_running = False

    def add(self, purge: TagPurge) -> None:
        """Find and delete the entries of *purge* in the background, and tell it when that is done."""
        self._waiting.append(purge)
        if not self._is_running:
            self._is_running = True
            purge.stack.here().tasks.spawn(self._run(), owner=purge.backend)

    async def _run(self) -> None:
        try:
            while self._waiting:
                first = self._waiting[0]
                together = [each for each in self._waiting if each.stack is first.stack]
                self._waiting = [each for each in self._waiting if each.stack is not first.stack]
                await self._sweep_for(together)
        finally:
            self._is_running = False
            left, self._waiting = self._waiting, []  # none unless the cache is being closed
            for purge in left:
                purge.end(asyncio.CancelledError())

    async def _sweep_for(self, purges: Sequence[TagPurge]) -> None:
        error: BaseException | None = None
        try:
            await _sweep(purges)
        except BaseException as exc:
            error = exc
            if not isinstance(exc, Exception):
                raise
        finally:
            for purge in purges:
                purge.end(error)


async def _sweep(purges: Sequence[TagPurge]) -> None:
    """Delete the entries that *purges*, all of one backend and stack, have made unusable."""
    backend, stack = purges[0].backend, purges[0].stack
    known = stack.here().purges
    tags = frozenset[str]().union(*(purge.tags for purge in purges))
    wanted = selection({"tags": sorted(tags)}).having(lambda info: any(purge.concerns(info) for purge in purges))
    async with aclosing(batched(upkeep.infos(stack, wanted, purged=True))) as batches:
        async for found in batches:
            for key, info in found.items():
                purge = next(each for each in purges if each.concerns(info))
                purge.totals.add([info])
                known.remember(key, next(tag for tag in info.tags if tag in purge.tags))
            await drop_all(backend, list(found))
            await asyncio.sleep(0)  # a store in memory never yields to the event loop


async def drop_all(backend: Deleting, keys: Sequence[str]) -> None:
    """Delete the entries under *keys*; a `delete` that the user has overridden is called."""
    for part in in_batches(keys, PURGED_AT_A_TIME):
        if "delete" in backend.overridden:
            await delete_each(backend, part)
        else:
            await backend.stack.delete(part)


async def soften(backend: Deleting, keys: Sequence[str], now: float) -> None:
    """Make the responses under *keys* stale that are fresh at *now* (POSIX time)."""
    stack = backend.stack
    left = list(await upkeep.soften(stack, keys, now))
    for part in in_batches(left, SOFTENED_AT_A_TIME):
        items = await stack.items(part)
        entries = [stack.packing.entry_of(item, item.key) for item in items if not isinstance(item, str)]
        fresh = [entry for entry in entries if entry is not None and entry.fresh_until > now]
        await asyncio.gather(*(backend.write(replace(entry, fresh_until=now)) for entry in fresh))


async def batched(pages: AsyncGenerator[Sequence[EntryInfo]]) -> AsyncGenerator[dict[str, EntryInfo]]:
    """The infos of *pages*, by key, in batches that are large enough for one call to the store."""
    batch: dict[str, EntryInfo] = {}
    async with aclosing(pages):
        async for page in pages:
            batch.update((info.key, info) for info in page)
            if len(batch) >= PURGED_AT_A_TIME:
                yield batch
                batch = {}
    if batch:
        yield batch
