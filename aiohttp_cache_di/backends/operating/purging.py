"""How a purge goes: what it has concerned so far, and how the entries that it concerns are dropped or made stale."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Collection, Coroutine, Sequence
from contextlib import aclosing, suppress
from typing import Any, Final

from msgspec.structs import replace

from aiohttp_cache_di.backends.operating.deleting import Deleting
from aiohttp_cache_di.backends.operating.selection import Selectors, selection, tags_in
from aiohttp_cache_di.backends.store.inspecting import Purged
from aiohttp_cache_di.backends.wrap import upkeep
from aiohttp_cache_di.entries.info import EntryInfo
from aiohttp_cache_di.telemetry import CacheStats

__all__ = ["PurgeTotals", "TagPurge", "drop_all", "in_batches", "soften"]

PURGED_AT_A_TIME: Final = 256
SOFTENED_AT_A_TIME: Final = 32  # of which the bodies are read


class PurgeTotals:
    """What a purge has concerned so far.

    Args:
        stats: what counts it too, if anything does.
    """

    def __init__(self, stats: CacheStats | None = None) -> None:
        self._stats = stats
        self.entries: int = 0
        self.bytes: int = 0

    def add(self, infos: Collection[EntryInfo]) -> None:
        """Count *infos*, too."""
        self.entries += len(infos)
        if self._stats is not None:
            self._stats.purged += len(infos)
        self.bytes += sum(info.body_bytes for info in infos)


class TagPurge:
    """Has what has one of some tags gone at once; it is counted, and dropped, for a moment and then in the background.

    Args:
        backend: whose entries they are.
        selectors: of nothing but tags.
    """

    def __init__(self, backend: Deleting, selectors: Selectors) -> None:
        self._backend = backend
        self._tags = tags_in(selectors)
        self._wanted = selection(selectors)
        self._totals = PurgeTotals(backend.stats)
        self._done = asyncio.Event()
        self._error: Exception | None = None

    async def run(self, *, soft: bool, within_s: float) -> Purged:
        """Purge; what is told is what was counted in *within_s*."""
        stack = self._backend.stack
        if soft:  # which are counted first, as they are not to be told from others that are stale
            await self._in_time(self._count(), within_s)
            await upkeep.purge_tags(stack, self._tags, soft=True)
        else:
            number = await upkeep.purge_tags(stack, self._tags)
            await self._in_time(self._sweep(number), within_s)
        return Purged(self._totals.entries, self._totals.bytes, self._done.is_set())

    async def _in_time(self, counting: Coroutine[Any, Any, None], within_s: float) -> None:
        """Wait for *counting*, which goes on in the background after *within_s*."""
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
        except Exception as error:
            self._error = error
        self._done.set()

    async def _count(self) -> None:
        now = time.time()
        wanted = self._wanted.having(lambda info: info.fresh_until > now)
        async with aclosing(in_batches(upkeep.infos(self._backend.stack, wanted))) as batches:
            async for found in batches:
                self._totals.add(found.values())
                unmarked = [key for key, info in found.items() if info.tagging is None]
                if unmarked:  # stored before there were marks
                    await soften(self._backend, unmarked, now)

    async def _sweep(self, number: int) -> None:
        """Drop what the purge of that *number* has made unusable."""
        stack = self._backend.stack
        purges = stack.here().purges

        def is_purged(info: EntryInfo) -> bool:
            return info.tagging is None or info.tagging.purges < number

        infos = upkeep.infos(stack, self._wanted.having(is_purged), purged=True)
        async with aclosing(in_batches(infos)) as batches:
            async for found in batches:
                self._totals.add(found.values())
                for key, info in found.items():
                    purges.remember(key, next(tag for tag in info.tags if tag in self._tags))
                await drop_all(self._backend, list(found))
                await asyncio.sleep(0)  # a store in memory gives others no turn


async def drop_all(backend: Deleting, keys: Sequence[str]) -> None:
    """Drop what is stored under *keys*; a `delete` of the user's is asked."""
    for first in range(0, len(keys), PURGED_AT_A_TIME):
        part = keys[first : first + PURGED_AT_A_TIME]
        if "delete" in backend.overridden:
            for key in part:
                await backend.delete(key)
        else:
            await backend.stack.delete(part)


async def soften(backend: Deleting, keys: Sequence[str], now: float) -> None:
    """Make those responses under *keys* stale that are fresh at *now*."""
    stack = backend.stack
    left = list(await upkeep.soften(stack, keys, now))
    for first in range(0, len(left), SOFTENED_AT_A_TIME):
        items = await stack.items(left[first : first + SOFTENED_AT_A_TIME])
        entries = [stack.packing.entry_of(item, item.key) for item in items if not isinstance(item, str)]
        fresh = [entry for entry in entries if entry is not None and entry.fresh_until > now]
        await asyncio.gather(*(backend.write(replace(entry, fresh_until=now)) for entry in fresh))


async def in_batches(pages: AsyncGenerator[Sequence[EntryInfo]]) -> AsyncGenerator[dict[str, EntryInfo]]:
    """What *pages* tell, by key, so many at a time that what is done to them in one go is worth it."""
    batch: dict[str, EntryInfo] = {}
    async with aclosing(pages):
        async for page in pages:
            batch.update((info.key, info) for info in page)
            if len(batch) >= PURGED_AT_A_TIME:
                yield batch
                batch = {}
    if batch:
        yield batch
