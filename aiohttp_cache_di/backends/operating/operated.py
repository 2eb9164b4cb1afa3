"""What operators ask of a cache: what is in there, how much that is, and to have some of it gone."""

from __future__ import annotations

import asyncio
import math
import time
from abc import abstractmethod
from collections.abc import AsyncGenerator, Collection, Coroutine, Sequence
from contextlib import aclosing, suppress
from typing import Any, Final, Unpack

from msgspec.structs import replace

from aiohttp_cache_di.backends.operating.selection import Selectors, selection, tags_in
from aiohttp_cache_di.backends.operating.urls import Addressed
from aiohttp_cache_di.backends.store.inspecting import Purged, Selection, Usage
from aiohttp_cache_di.backends.wrap import upkeep
from aiohttp_cache_di.entries.info import EntryInfo
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.telemetry import CacheStats

__all__ = ["Operated"]

PURGED_AT_A_TIME: Final = 256
SOFTENED_AT_A_TIME: Final = 32  # of which the bodies are read
COUNTED_WITHIN_S: Final = 1.0


class PurgeTotals:
    """What a purge has concerned so far.

    Args:
        stats: what counts it too, if anything does.
    """

    def __init__(self, stats: CacheStats | None = None) -> None:
        self._stats = stats
        self.entries: int = 0
        self.bytes: int = 0
        self.done: asyncio.Event = asyncio.Event()
        self.error: Exception | None = None

    def add(self, infos: Collection[EntryInfo]) -> None:
        """Count *infos*, too."""
        self.entries += len(infos)
        if self._stats is not None:
            self._stats.purged += len(infos)
        self.bytes += sum(info.body_bytes for info in infos)

    async def run(self, counting: Coroutine[Any, Any, None]) -> None:
        """Let *counting* count, and set `done` when it ends or fails."""
        try:
            await counting
        except Exception as error:
            self.error = error
        self.done.set()


class Operated(Addressed):
    """Shows what is stored, and purges it, by what is told of entries without their bodies."""

    @abstractmethod
    async def clear(self) -> None:
        """See `CacheBackend`."""

    async def entries(self, **selectors: Unpack[Selectors]) -> AsyncGenerator[EntryInfo]:
        """Iterate over what is told of the entries that meet all of *selectors*; of all without any.

        Redirects are among them, and what has expired and is kept to be validated. In bounded memory; an entry that is
        stored or dropped meanwhile may be met or not. Close it where you leave it early (`contextlib.aclosing`).

        Args:
            selectors: see `Selectors`.

        Raises:
            ConfigurationError: a selector has a value that cannot be used.
        """
        async with aclosing(self._selected(selectors)) as pages:
            async for page in pages:
                for info in page:
                    yield info

    async def purge(
        self,
        *,
        all: bool = False,  # as people say it
        soft: bool = False,
        dry_run: bool = False,
        count_within_s: float = COUNTED_WITHIN_S,
        **selectors: Unpack[Selectors],
    ) -> Purged:
        """Drop the entries that meet all of *selectors*: of all methods, variants and principals.

        Every process that uses the store sees the effect with its next request. A purge by *tags* alone has it at once,
        however many entries have them: a response that is on its way counts as purged, too, and what is concerned is
        counted and dropped afterwards.

        Args:
            all: every entry, and no selector; without it there has to be one.
            soft: those that are fresh are stale from now on rather than gone, and so are validated, or stand in for an
                error where that is allowed.
            dry_run: drop nothing, and tell what would be.
            count_within_s: seconds for which a purge by *tags* alone waits for the count; ``inf`` for as long as it
                takes.
            selectors: see `Selectors`.

        Returns:
            How many entries are concerned, and how large their bodies are.

        Raises:
            ConfigurationError: nothing is selected, or all and a part, or a selector has a value that cannot be used.
        """
        if not all and not _names(selectors):
            raise ConfigurationError("purge(): select what is to go (url=, host=, match= …), or say all=True")
        if all and (parts := _names(selectors) & Selectors.__annotations__.keys()):
            raise ConfigurationError(
                f"purge(all=True, {'=…, '.join(sorted(parts))}=…): use all, or a part, and not both"
            )
        if not dry_run and not all and _names(selectors) == {"tags"}:
            return await self._purge_tags(selectors, soft, count_within_s)
        totals, now = PurgeTotals(), time.time()
        is_whole = all and not soft
        async with aclosing(_in_batches(self._selected(selectors, fresh_at=now if soft else -math.inf))) as batches:
            async for found in batches:
                totals.add(found.values())
                if not dry_run and not is_whole:
                    await (self._soften(list(found), now) if soft else self._drop_all(list(found)))
                    self.stats.purged += len(found)
        if is_whole and not dry_run:
            await self.clear()
            self.stats.purged += totals.entries
        return Purged(totals.entries, totals.bytes)

    async def _purge_tags(self, selectors: Selectors, soft: bool, within_s: float) -> Purged:
        """Have what has one of the tags gone at once, then drop it for a moment, and the rest in the background."""
        wanted = selection(selectors)
        totals = PurgeTotals(self.stats)
        if soft:  # which are counted first, as they are not to be told from others that are stale
            await self._in_time(self._count(wanted, totals), totals, within_s)
            await upkeep.purge_tags(self.stack, tags_in(selectors), soft=True)
        else:
            number = await upkeep.purge_tags(self.stack, tags_in(selectors))
            await self._in_time(self._sweep(tags_in(selectors), wanted, number, totals), totals, within_s)
        return Purged(totals.entries, totals.bytes, totals.done.is_set())

    async def _in_time(self, counting: Coroutine[Any, Any, None], totals: PurgeTotals, within_s: float) -> None:
        """Wait for *counting*, which goes on in the background after *within_s*."""
        self.stack.here().tasks.spawn(totals.run(counting), owner=self)
        if within_s <= 0:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(None if within_s == math.inf else within_s):
                await totals.done.wait()
        if totals.error is not None:
            raise totals.error

    async def _count(self, wanted: Selection, totals: PurgeTotals) -> None:
        now = time.time()
        async with aclosing(
            _in_batches(upkeep.infos(self.stack, wanted.having(lambda info: info.fresh_until > now)))
        ) as batches:
            async for found in batches:
                totals.add(found.values())
                unmarked = [key for key, info in found.items() if info.tagging is None]
                if unmarked:  # stored before there were marks
                    await self._soften(unmarked, now)

    async def _sweep(self, tags: Collection[str], wanted: Selection, number: int, totals: PurgeTotals) -> None:
        """Drop what the purge of *tags* of that *number* has made unusable."""
        purges = self.stack.here().purges

        def is_purged(info: EntryInfo) -> bool:
            return info.tagging is None or info.tagging.purges < number

        async with aclosing(_in_batches(upkeep.infos(self.stack, wanted.having(is_purged), purged=True))) as batches:
            async for found in batches:
                totals.add(found.values())
                for key, info in found.items():
                    purges.remember(key, next(tag for tag in info.tags if tag in tags))
                await self._drop_all(list(found))
                await asyncio.sleep(0)  # a store in memory gives others no turn

    async def usage(self) -> Usage:
        """How much is stored, by all processes that use the store."""
        return await upkeep.usage(self.stack)

    def _selected(self, selectors: Selectors, *, fresh_at: float = -math.inf) -> AsyncGenerator[Sequence[EntryInfo]]:
        wanted = selection(selectors, ignored_params=self.ignored_params, ordered=self.is_ordered)
        if fresh_at == -math.inf:
            return upkeep.infos(self.stack, wanted)
        # What has been made stale is written anew, and may be met again.
        return upkeep.infos(self.stack, wanted.having(lambda info: info.fresh_until > fresh_at))

    async def _drop_all(self, keys: Sequence[str]) -> None:
        for first in range(0, len(keys), PURGED_AT_A_TIME):
            part = keys[first : first + PURGED_AT_A_TIME]
            if "delete" in self.overridden:  # which the user's may have to hear of
                for key in part:
                    await self.delete(key)
            else:
                await self.stack.delete(part)

    async def _soften(self, keys: Sequence[str], now: float) -> None:
        left = list(await upkeep.soften(self.stack, keys, now))
        for first in range(0, len(left), SOFTENED_AT_A_TIME):
            items = await self.stack.items(left[first : first + SOFTENED_AT_A_TIME])
            entries = [self.stack.packing.entry_of(item, item.key) for item in items if not isinstance(item, str)]
            await asyncio.gather(
                *(
                    self.write(replace(entry, fresh_until=now))
                    for entry in entries
                    if entry is not None and entry.fresh_until > now
                )
            )


async def _in_batches(pages: AsyncGenerator[Sequence[EntryInfo]]) -> AsyncGenerator[dict[str, EntryInfo]]:
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


def _names(selectors: Selectors) -> set[str]:
    """The names of those that select anything."""
    return {name for name, value in selectors.items() if value is not None and value is not False}
