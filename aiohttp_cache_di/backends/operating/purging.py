"""The work of a purge: counting entries, and deleting them or making them stale."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncGenerator, Collection, Coroutine, Sequence
from contextlib import aclosing, suppress
from typing import Any, Final

from msgspec.structs import replace

from aiohttp_cache_di.backends.batches import in_batches
from aiohttp_cache_di.backends.operating.deleting import Deleting
from aiohttp_cache_di.backends.operating.selection import Selectors, selection, tags_in
from aiohttp_cache_di.backends.store.inspecting import Purged
from aiohttp_cache_di.backends.wrap import upkeep
from aiohttp_cache_di.entries.info import EntryInfo
from aiohttp_cache_di.errors import StorageError
from aiohttp_cache_di.telemetry import CacheStats

__all__ = ["PurgeTotals", "TagPurge", "batched", "drop_all", "soften"]

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
    """

    def __init__(self, backend: Deleting, selectors: Selectors) -> None:
        self._backend = backend
        self._tags = tags_in(selectors)
        self._wanted = selection(selectors)
        self._totals = PurgeTotals(backend.stats)
        self._done = asyncio.Event()
        self._is_counted = False
        self._error: Exception | None = None

    async def run(self, *, soft: bool, within_s: float) -> Purged:
        """Purge; return what was counted within *within_s* seconds, and before the store failed.

        The count needs a walk over all entries, which some proxies and users of a server may not do; the purge itself
        does not.
        """
        stack = self._backend.stack
        if soft:  # counted first, since later they look like all other stale entries
            await self._in_time(self._count(), within_s)
            await upkeep.purge_tags(stack, self._tags, soft=True)
        else:
            number = await upkeep.purge_tags(stack, self._tags)
            await self._in_time(self._sweep(number), within_s)
        return Purged(self._totals.entries, self._totals.bytes, self._is_counted)

    async def _in_time(self, counting: Coroutine[Any, Any, None], within_s: float) -> None:
        """Wait *within_s* seconds for *counting*, which continues in the background after that."""
        self._backend.stack.here().tasks.spawn(self._noted(counting), owner=self._backend)
        if within_s <= 0:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(None if within_s == math.inf else within_s):
                await self._done.wait()
        if self._error is not None:
            raise self._error

    async def _noted(self, counting: Coroutine[Any, Any, None]) -> None:
        try:
            await counting
            self._is_counted = True
        except StorageError as error:
            logger.warning("Purge by tags: not all of the entries can be counted and deleted: %s", error)
        except Exception as error:
            self._error = error
        self._done.set()

    async def _count(self) -> None:
        now = time.time()
        wanted = self._wanted.having(lambda info: info.fresh_until > now)
        async with aclosing(batched(upkeep.infos(self._backend.stack, wanted))) as batches:
            async for found in batches:
                self._totals.add(found.values())
                unmarked = [key for key, info in found.items() if info.tagging is None]
                if unmarked:  # stored by a version without marks
                    await soften(self._backend, unmarked, now)

    async def _sweep(self, number: int) -> None:
        """Delete the entries that the purge *number* has made unusable."""
        stack = self._backend.stack
        purges = stack.here().purges

        def is_purged(info: EntryInfo) -> bool:
            return info.tagging is None or info.tagging.purges < number

        infos = upkeep.infos(stack, self._wanted.having(is_purged), purged=True)
        async with aclosing(batched(infos)) as batches:
            async for found in batches:
                self._totals.add(found.values())
                for key, info in found.items():
                    purges.remember(key, next(tag for tag in info.tags if tag in self._tags))
                await drop_all(self._backend, list(found))
                await asyncio.sleep(0)  # a store in memory never yields to the event loop


async def drop_all(backend: Deleting, keys: Sequence[str]) -> None:
    """Delete the entries under *keys*; a `delete` that the user has overridden is called."""
    for part in in_batches(keys, PURGED_AT_A_TIME):
        if "delete" in backend.overridden:
            for key in part:
                await backend.delete(key)
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
